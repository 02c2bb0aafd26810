"""What the charts draw: lists of flat data, from the results of a page. Pure.

``result`` of each datum is the number of its result on the page; charts, filters and tooltips ask for the other fields
by their names.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import cache
from itertools import groupby
from math import exp
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bench import units
from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.analysis.cells import ratio_of
from bench.analysis.compare import compare
from bench.records.schema import BOUND, Struct
from bench.records.versions import package_of
from bench.report.words import label_of, letter_of
from bench.workloads.sweeps import THREADS, sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.page.data import PageGroup
    from bench.records.schema import Cell, Result

Datum = dict[str, Any]

LEAST_VALUES = 3
"""A curve has at least so many points."""

SHORT = {
    "embedding_dim": "E",
    "hidden_dim": "H",
    "num_encoder_layers": "encoder layers",
    "num_decoder_layers": "decoder layers",
    "directions": "directions",
    "sequence_length": "T",
    "output_seq_length": "T'",
    "batch_size": "B",
}


class Map(Struct, frozen=True, kw_only=True):
    """Who is expected to be the fastest at a batch size and hidden size: a forecast, not a measurement."""

    result: int
    label: str
    """The task and place, and what the other sizes are."""
    task: str
    device: str
    threads: int
    precision: str
    batch_size: int
    hidden_dim: int
    winner: str
    """The row with the shortest expected time."""
    tied: list[str]
    """Those that may as well be the fastest, for all that is known: more than one is a tie."""
    time_s: float


def in_words(own: Mapping[str, int]) -> str:
    """``E 64, T 16, T' 16, B 16, …``."""
    return ", ".join(f"{SHORT[name]} {value}" for name, value in own.items())


def curves(number: int, analysis: Analysis) -> Iterator[Datum]:
    """The time of each row at each value of a size or number of threads, all others alike: the points of all sweeps."""
    facts = analysis.run.workloads
    shapes = {
        name: sizes(one.config, one.batches) for name, one in facts.items() if one.config and len(one.batches) == 1
    }
    lines = {size: _lines(shapes, size) for size in next(iter(shapes.values()), {})}
    for cell, one in analysis.cells.items():
        if one.median_s is None or cell.role != "row":
            continue
        interval = stats.time_interval(one.samples_s)
        place = units.place(cell.device, cell.threads, cell.precision)
        found = [
            (size, shapes[cell.workload][size], f"{cell.task} {place}: {size}\nat {of_size[cell.workload]}")
            for size, of_size in lines.items()
            if cell.workload in of_size
        ]
        if len(analysis.run.plan.threads) > 1 and cell.device == "cpu":
            place = units.place(cell.device, 0, cell.precision).replace("×0", "")
            found.append((THREADS, cell.threads, f"{cell.task} {place}: threads\nat {cell.workload}"))
        for size, value, curve in found:
            where = {"result": number, "curve": curve, "size": size, "value": value, **msgspec.structs.asdict(cell)}
            yield where | {"median_s": one.median_s, "low_s": interval.low, "high_s": interval.high}


def _lines(shapes: Mapping[str, Mapping[str, int]], size: str) -> dict[str, str]:
    """The workloads that lie on a line along this size, each with what the other sizes are."""
    lines: dict[str, list[str]] = defaultdict(list)
    for workload, own in shapes.items():
        lines[in_words({name: value for name, value in own.items() if name != size})].append(workload)
    return {
        workload: others
        for others, workloads in lines.items()
        if len({shapes[name][size] for name in workloads}) >= LEAST_VALUES
        for workload in workloads
    }


OF_A_GROUP = ("workload", "task", "device", "threads", "precision")


def drifts(number: int, analysis: Analysis) -> Iterator[Datum]:
    """What should be 1 in each block: the baseline against itself in a group, and a fixed product over its median.

    The product belongs to no group: the fields of one are None.
    """
    run = _name(number, analysis.result)
    for cell, one in analysis.cells.items():
        if cell.role == "control":
            of_group = {"result": number, "run": run, **{name: getattr(cell, name) for name in OF_A_GROUP}}
            of_group |= {"group": label_of(cell.group), "kind": "A/A control over baseline"}
            for block, value in sorted(one.log_ratios.items()):
                yield of_group | {"block": block, "ratio": exp(value)}
    seconds: dict[int, list[float]] = defaultdict(list)
    for of_block in analysis.result.blocks:
        seconds[of_block.block] += of_block.product_s
    if every := [one for own in seconds.values() for one in own]:
        of_none = {"result": number, "run": run, **dict.fromkeys(OF_A_GROUP)}
        of_none |= {"group": "", "kind": "fixed product over its median"}
        middle = stats.median(every)
        for block, own in sorted(seconds.items()):
            yield of_none | {"block": block, "ratio": stats.median(own) / middle}


def times_spent(number: int, result: Result) -> Iterator[Datum]:
    """How much of the time of each block went to each phase."""
    for one in result.blocks:
        if one.phases_s:
            other_s = max(0.0, one.elapsed_s - sum(one.phases_s.values()))
            for phase, seconds in (*one.phases_s.items(), ("other", other_s)):
                of_block = {"result": number, "run": _name(number, result), "block": one.block}
                yield of_block | {"phase": phase, "seconds": seconds}


def _name(number: int, result: Result) -> str:
    return f"{letter_of(number)}: {result.path.resolve().name}"


class _Seen(NamedTuple):
    """A cell that has a time in a result."""

    number: int
    at: str
    """When the run began, or the version."""
    versions: Mapping[str, str]
    one: CellAnalysis


_Change = tuple[str | None, float, float, float]
"""Its verdict, the ratio, and how low and how high that may be."""


def over_time(analyses: Sequence[Analysis]) -> Iterator[Datum]:
    """Cells that have a time in several results of a machine, oldest first in each series.

    The change is that of `bench.analysis.compare` against the last earlier result that has the cell: through a row that
    did not change, where there is one. Nothing is said of results between which no verdict can be.
    """

    @cache
    def changes(old: int, new: int) -> dict[Cell, _Change]:
        comparison = compare(analyses[old], analyses[new])
        if comparison.untrusted:
            return {}
        return {
            one.cell: (one.verdict, one.change.ratio, one.change.low, one.change.high)
            for one in comparison.cells
            if one.change and one.status == "compared"
        }

    series: dict[str, list[_Seen]] = defaultdict(list)
    oldest_first = sorted(enumerate(analyses), key=lambda pair: datetime.fromisoformat(pair[1].run.started_at))
    for number, analysis in oldest_first:
        run = analysis.run
        for cell, one in analysis.cells.items():
            if one.median_s is not None and cell.role == "row" and not cell.version:
                row = f"{cell.implementation}: {label_of(cell.group)}"
                name = "\n".join((row, run.workloads[cell.workload].shape, run.environment.machine))
                at = run.started_at[:16].replace("T", " ")
                series[name].append(_Seen(number, at, _versions(analysis, cell), one))

    def change(old: _Seen, new: _Seen) -> _Change | None:
        return changes(old.number, new.number).get(new.one.cell)

    for name, of_series in series.items():
        if len(of_series) > 1:
            yield from _moments(name, of_series, change)


def over_versions(number: int, analysis: Analysis) -> Iterator[Datum]:
    """Rows of a result that took turns under several versions, in the order in which these were named."""
    run, named = analysis.run, list(analysis.run.rows)

    def series_of(one: CellAnalysis) -> tuple[str, ...]:
        return (one.cell.row, *map(str, one.cell.group))

    def change(old: _Seen, new: _Seen) -> _Change | None:
        ratio = ratio_of(new.one, old.one)
        if ratio is None:
            return None
        return ratio.verdict if analysis.is_trusted else None, ratio.estimate, ratio.low, ratio.high

    versioned = sorted(
        (one for cell, one in analysis.cells.items() if one.median_s and cell.role == "row" and cell.version),
        key=lambda one: (*series_of(one), named.index(one.cell.implementation)),
    )
    for _, group in groupby(versioned, key=series_of):
        of_series = [_Seen(number, one.cell.version, _versions(analysis, one.cell), one) for one in group]
        cell = of_series[0].one.cell
        of = f"versions of {package_of(run)}, run {letter_of(number)}"
        yield from _moments(f"{cell.row}: {label_of(cell.group)}\n{of}", of_series, change)


def _versions(analysis: Analysis, cell: Cell) -> dict[str, str]:
    facts = analysis.run.rows.get(cell.implementation)
    return facts.versions if facts else {}


def _moments(
    series: str, of_series: Sequence[_Seen], change_of: Callable[[_Seen, _Seen], _Change | None]
) -> Iterator[Datum]:
    """The same cell at one time, or under one version, after the other, and what is said of the change since the last.

    ``packages`` are those that have another version than the last time; of the first, all.
    """
    before: _Seen | None = None
    for order, seen in enumerate(of_series):
        one, interval = seen.one, stats.time_interval(seen.one.samples_s)
        change = change_of(before, seen) if before else None
        verdict, ratio, low, high = change or (None, None, None, None)
        known = before.versions if before else {}
        packages = [f"{name} {version}" for name, version in seen.versions.items() if known.get(name) != version]
        yield {
            "result": seen.number,
            "series": series,
            "implementation": one.cell.row,
            "cell_group": label_of(one.cell.group),
            "at": seen.at,
            "order": order,
            "median_s": one.median_s,
            "low_s": interval.low,
            "high_s": interval.high,
            "packages": ", ".join(packages),
            "verdict": verdict,
            "change": ratio,
            "change_low": low,
            "change_high": high,
            "step": verdict or "no verdict",
        }
        before = seen


OF_A_ROW = ("implementation", "ratio", "ratio_low", "ratio_high", "verdict")


def machines(ordered: Sequence[Analysis], groups: Sequence[PageGroup]) -> list[Datum]:
    """Rows against a baseline that several machines have, in the newest result of each that has both.

    Nothing where all results are of one machine.
    """
    found: dict[tuple[str, str, str], Datum] = {}
    for group in groups:
        machine = ordered[group.result].run.environment.machine
        cell_group, _, _ = group.label.rpartition(" · ")  # several machines are several results
        for row in group.rows:
            series = f"{cell_group}, to {row.baseline}\n{row.shape}"
            if row.ratio is not None and row.tier != BOUND:
                one = {"result": group.result, "machine": machine, "series": series, "cell_group": cell_group}
                one |= {name: getattr(row, name) for name in OF_A_ROW}
                found.setdefault((machine, series, row.implementation), one)
    of_series: dict[str, set[str]] = defaultdict(set)
    for machine, series, _ in found:
        of_series[series].add(machine)
    return [one for one in found.values() if len(of_series[one["series"]]) > 1]
