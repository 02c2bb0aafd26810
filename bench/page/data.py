"""What a page knows of its results: every cell, every ratio that a reader may ask for, and what charts need. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import combinations, groupby
from math import exp, log
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.analysis import stats, verdict
from bench.analysis.analysis import Analysis
from bench.analysis.cells import ratio_of
from bench.page.curves import Map, MapsOf, Point, curves, no_maps
from bench.page.datasets import fixed
from bench.page.history import Moment, over_time, over_versions
from bench.page.labels import label_of
from bench.records.schema import BOUND, Group, Struct
from bench.records.versions import compares_rows
from bench.report.export import rounded
from bench.report.featured import featured_result
from bench.report.rows import TableRow, table_rows
from bench.report.sentence import sentence
from bench.report.words import about_control, about_end, letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records.schema import Result


class Logarithms(NamedTuple):
    """Natural logarithm of one row's time over another's, its 95 % interval, and the verdict.

    Seen from the other row the signs change, and FASTER is SLOWER: nothing else has to be stored.
    """

    estimate: float
    low: float
    high: float
    verdict: str | None
    finds: float | None
    """The smallest fraction that so many blocks of this noise find four times in five."""


class PageResult(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A result as a whole."""

    name: str
    """Of its folder."""
    letter: str
    """Stands for it where there is no room for its name."""
    machine: str
    started_at: str
    command: str
    """Repeats the measurement."""
    baseline: str
    sentence: str
    """Who was the fastest at what, and how sure that is."""
    end: str
    """How many blocks it has, and why no more."""
    control: str
    doubt: str
    """Why it is not to be trusted, if so."""
    facts: dict[str, str]
    """The machine, its software and its settings."""
    workloads: dict[str, str]
    """Name to sizes and source."""


class PageGroup(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Cells that took turns with each other, and the ratios of all pairs of them."""

    result: int
    """Which of the results it is of."""
    label: str
    rows: list[TableRow]
    fixed_s: list[float | None]
    """Import, build and compile of each row; None where it has no time, or is a bound."""
    compared: list[int]
    """The rows that have ratios to each other, by their place among the rows."""
    ratios: list[Logarithms | None]
    """Of each pair of those, in the order of ``itertools.combinations``; None where no block has both."""


class Drift(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What should be 1 in a block: the baseline against itself in a group, or a fixed product over its median."""

    result: int
    run: str
    workload: str | None
    """None of the product, which belongs to no group."""
    task: str | None
    device: str | None
    threads: int | None
    precision: str | None
    group: str
    kind: str
    block: int
    ratio: float


class Spent(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """How much of a block's time went to one thing."""

    result: int
    run: str
    block: int
    phase: str
    seconds: float


class OnMachine(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A row against a baseline, in the newest result of a machine that has the cell against this baseline."""

    result: int
    machine: str
    series: str
    """The group, the baseline and the sizes: what has to be the same for machines to stand side by side."""
    cell_group: str
    implementation: str
    ratio: float
    ratio_low: float
    ratio_high: float
    verdict: str | None


class PageData(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """All that a page knows."""

    results: list[PageResult]
    """See `in_order`."""
    groups: list[PageGroup]
    drift: list[Drift]
    spent: list[Spent]
    machines: list[OnMachine]
    """Empty where all results are of one machine."""
    points: list[Point]
    """Of scaling curves."""
    maps: list[Map]
    moments: list[Moment]
    """The same cells over time, and over versions."""


BEYOND = 100.0
"""A difference that only a hundredfold would show is beyond all bounds, as in `units.percent`."""

DIGITS = 6
"""Significant ones of every number on the page."""


def in_order(analyses: Sequence[Analysis]) -> list[Analysis]:
    """The results in the order of the page.

    The one that says most comes first, then the newest; sweeps of sizes and of versions after all others.
    """
    first = featured_result([one.result for one in analyses])

    def place(one: Analysis) -> tuple[bool, bool, datetime]:
        return one.result is first, compares_rows(one.run), datetime.fromisoformat(one.run.started_at)

    return sorted(analyses, key=place, reverse=True)


def page_data(analyses: Sequence[Analysis], maps: MapsOf = no_maps) -> PageData:
    """What the page of these results knows; ``maps``: what is forecast from one, by its number."""
    ordered = in_order(analyses)
    numbered = list(enumerate(ordered))
    groups: list[PageGroup] = []
    for number, analysis in numbered:
        groups += _groups(number, analysis, f" · {letter_of(number)}" if len(ordered) > 1 else "")
    return PageData(
        results=[_result(number, analysis) for number, analysis in numbered],
        groups=groups,
        drift=[one for number, analysis in numbered for one in _drift(number, analysis)],
        spent=[one for number, analysis in numbered for one in _spent(number, analysis.result)],
        machines=_machines(ordered, groups),
        points=[point for number, analysis in numbered for point in curves(number, analysis)],
        maps=[one for number, analysis in numbered for one in maps(number, analysis)],
        moments=[*over_time(ordered), *over_versions(ordered)],
    )


COLUMNS = tuple(name for name in TableRow.__struct_fields__ if name != "result")
"""What the page has of each row: not where the result lies on somebody's disk."""


def to_json(data: PageData) -> bytes:
    """The data for the page's script: floats rounded to `DIGITS`, and the names of a row's fields said once."""
    groups = msgspec.to_builtins(data.groups)
    for group in groups:
        group["rows"] = [[row[name] for name in COLUMNS] for row in group["rows"]]
    results = msgspec.to_builtins(data.results)
    return msgspec.json.encode(
        rounded({"columns": COLUMNS, "results": results, "groups": groups, "datasets": fixed(data)}, DIGITS)
    )


def _result(number: int, analysis: Analysis) -> PageResult:
    result, run, here = analysis.result, analysis.run, analysis.run.environment
    facts = {
        "processor": here.cpu,
        "cores": str(here.cores),
        "GPUs": ", ".join(here.gpus) or "none",
        "memory": f"{here.memory_bytes / 2**30:.0f} GiB",
        "system": here.os,
        "Python": here.python,
        **here.versions,
        "commit": (here.git_commit or "none") + (", and changes" if here.git_dirty else ""),
        **here.facts,
        "preset": run.preset,
        "blocks": about_end(result),
        "order drawn by seed": str(run.plan.seed),
    }
    return PageResult(
        name=result.path.resolve().name,
        letter=letter_of(number),
        machine=here.machine,
        started_at=run.started_at,
        command=run.command,
        baseline=run.baseline,
        sentence=sentence(analysis, here.cpu),
        end=about_end(result),
        control=about_control(analysis.control),
        doubt=about_control(analysis.control, doubts_only=True),
        facts=facts,
        workloads={name: f"{one.shape}. Source: {one.source}" for name, one in run.workloads.items()},
    )


def _groups(number: int, analysis: Analysis, suffix: str) -> Iterator[PageGroup]:
    cells, costs = {(cell.group, cell.implementation): one for cell, one in analysis.cells.items()}, analysis.costs
    groups = {(one.workload, one.task, one.device, one.threads, one.precision): one for one in analysis.groups}
    for key, rows in groupby(
        table_rows([analysis]), key=lambda row: (row.workload, row.task, row.device, row.threads, row.precision)
    ):
        group, members = groups[key], list(rows)
        ours = [cells[group, row.implementation] for row in members]
        compared = [place for place, one in enumerate(ours) if one.ratio is not None and one.cell.role == "row"]
        yield PageGroup(
            result=number,
            label=label_of(group) + suffix,
            rows=[_trusted(row, analysis.is_trusted) for row in members],
            fixed_s=[costs[one.cell].fixed_s if one.cell in costs else None for one in ours],
            compared=compared,
            ratios=[
                _logarithms(ratio_of(ours[one], ours[other]), analysis.is_trusted)
                for one, other in combinations(compared, 2)
            ],
        )


def _logarithms(ratio: verdict.Ratio | None, trusted: bool) -> Logarithms | None:
    if ratio is None:
        return None
    verdict = ratio.verdict if trusted else None
    finds = None if ratio.mde is None else min(ratio.mde, BEYOND)
    return Logarithms(log(ratio.estimate), log(ratio.low), log(ratio.high), verdict, finds)


def _trusted(row: TableRow, trusted: bool) -> TableRow:
    """The row, without verdict and place where its run is not to be trusted."""
    finds = None if row.detectable is None else min(row.detectable, BEYOND)
    row = msgspec.structs.replace(row, detectable=finds)
    return row if trusted else msgspec.structs.replace(row, verdict=None, rank=None)


def _drift(number: int, analysis: Analysis) -> Iterator[Drift]:
    result = analysis.result
    run = f"{letter_of(number)}: {result.path.resolve().name}"
    for cell, one in analysis.cells.items():
        if cell.role == "control":
            group = cell.group
            for block, value in sorted(one.log_ratios.items()):
                yield Drift(
                    result=number,
                    run=run,
                    **group._asdict(),
                    group=label_of(group),
                    kind="control over baseline",
                    block=block,
                    ratio=exp(value),
                )
    seconds: dict[int, list[float]] = defaultdict(list)
    for of_block in result.blocks:
        seconds[of_block.block] += of_block.product_s
    if every := [one for own in seconds.values() for one in own]:
        middle = stats.median(every)
        for block, own in sorted(seconds.items()):
            yield Drift(
                result=number,
                run=run,
                **dict.fromkeys(Group._fields),
                group="",
                kind="fixed product over its median",
                block=block,
                ratio=stats.median(own) / middle,
            )


def _spent(number: int, result: Result) -> Iterator[Spent]:
    run = f"{letter_of(number)}: {result.path.resolve().name}"
    for one in result.blocks:
        if one.phases_s:
            other_s = max(0.0, one.elapsed_s - sum(one.phases_s.values()))
            for phase, seconds in (*one.phases_s.items(), ("other", other_s)):
                yield Spent(result=number, run=run, block=one.block, phase=phase, seconds=seconds)


def _machines(ordered: Sequence[Analysis], groups: Sequence[PageGroup]) -> list[OnMachine]:
    if len({one.run.environment.machine for one in ordered}) < 2:
        return []
    found: dict[tuple[str, str, str], OnMachine] = {}
    for group in groups:
        machine = ordered[group.result].run.environment.machine
        for row in group.rows:
            cell_group, _, _ = group.label.rpartition(" · ")  # there are several results here
            label = f"{cell_group}, to {row.baseline}\n{row.shape}"
            if row.ratio is not None and row.tier != BOUND:
                one = OnMachine(
                    result=group.result,
                    machine=machine,
                    series=label,
                    cell_group=cell_group,
                    implementation=row.implementation,
                    ratio=row.ratio,
                    ratio_low=row.ratio_low or row.ratio,
                    ratio_high=row.ratio_high or row.ratio,
                    verdict=row.verdict,
                )
                found.setdefault((machine, label, row.implementation), one)
    several = {label for _, label, _ in found}
    several = {label for label in several if len({machine for machine, own, _ in found if own == label}) > 1}
    return [one for (_, label, _), one in found.items() if label in several]
