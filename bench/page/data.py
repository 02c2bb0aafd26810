"""What a page knows of its results: every cell, every ratio that a reader may ask for, and what charts need. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import combinations, groupby
from math import exp, log
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench import stats
from bench.cost import costs
from bench.judge import control, group_of, judge, ratio_of
from bench.page.datasets import fixed
from bench.page.history import Moment, label_of, over_time, over_versions
from bench.page.scaling import Map, Point, curves, maps
from bench.records import BOUND, CONTROL, Struct, competes
from bench.report.rows import TableRow, table_rows
from bench.report.sentence import sentence
from bench.report.words import about_control, about_end
from bench.sweeps import compares_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.judge import Judged
    from bench.records import Cell, Result


class Logarithms(NamedTuple):
    """Natural logarithm of one row's time over another's, its 95 % interval, and the verdict.

    Seen from the other row the signs change, and FASTER is SLOWER: nothing else has to be stored.
    """

    estimate: float
    low: float
    high: float
    verdict: str | None


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
    group: str
    kind: str
    block: int
    ratio: float


class OnMachine(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A row against the baseline of its run, in the newest result of a machine that has the cell."""

    result: int
    machine: str
    cell_group: str
    implementation: str
    order: float
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
    machines: list[OnMachine]
    """Empty where all results are of one machine."""
    points: list[Point]
    """Of scaling curves."""
    maps: list[Map]
    moments: list[Moment]
    """The same cells over time, and over versions."""


DIGITS = 6
"""Significant ones of every number on the page."""


def in_order(results: Sequence[Result]) -> list[Result]:
    """The results in the order of the page: the newest first, but sweeps of sizes and of versions after the others."""
    return sorted(results, key=lambda one: (compares_rows(one.run), _began(one)), reverse=True)


def _began(result: Result) -> datetime:
    return datetime.fromisoformat(result.run.started_at)


def page_data(results: Sequence[Result]) -> PageData:
    """What the page of these results knows."""
    ordered = in_order(results)
    groups: list[PageGroup] = []
    drift: list[Drift] = []
    for number, result in enumerate(ordered):
        judged = judge(result.records, result.run.baseline)
        suffix = f" · {letter_of(number)}" if len(ordered) > 1 else ""
        groups += _groups(number, result, judged, suffix)
        drift += _drift(number, result, judged)
    return PageData(
        results=[_result(number, result) for number, result in enumerate(ordered)],
        groups=groups,
        drift=drift,
        machines=_machines(ordered, groups),
        points=[point for number, result in enumerate(ordered) for point in curves(number, result)],
        maps=[one for number, result in enumerate(ordered) for one in maps(number, result)],
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
        _rounded({"columns": COLUMNS, "results": results, "groups": groups, "datasets": fixed(data)})
    )


def _rounded(value: object) -> object:
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: _rounded(own) for key, own in value.items()}
        case list() | tuple():
            return [_rounded(own) for own in value]
    return value


def letter_of(number: int) -> str:
    """``A``, …, ``Z``, ``AA``, …"""
    more, last = divmod(number, len(ascii_uppercase))
    return (letter_of(more - 1) if more else "") + ascii_uppercase[last]


def _result(number: int, result: Result) -> PageResult:
    run, here = result.run, result.run.environment
    judged = judge(result.records, run.baseline).values()
    found = control(judged)
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
        sentence=sentence(judged, run, here.cpu),
        end=about_end(result),
        control=about_control(found),
        doubt=about_control(found, doubts_only=True),
        facts=facts,
        workloads={name: f"{one.shape}. Source: {one.source}" for name, one in run.workloads.items()},
    )


def _groups(number: int, result: Result, judged: dict[Cell, Judged], suffix: str) -> Iterator[PageGroup]:
    fixed = {
        (group, cost.implementation): cost.fixed_s
        for group, of_group in costs(judged.values()).items()
        for cost in of_group
    }
    cells = {(group_of(cell), cell.implementation): one for cell, one in judged.items()}
    groups = {(one.workload, one.task, one.device, one.threads, one.precision): one for one in map(group_of, judged)}
    for key, rows in groupby(
        table_rows([result]), key=lambda row: (row.workload, row.task, row.device, row.threads, row.precision)
    ):
        group, members = groups[key], list(rows)
        ours = [cells[group, row.implementation] for row in members]
        compared = [place for place, one in enumerate(ours) if one.ratio is not None and competes(one.cell)]
        yield PageGroup(
            result=number,
            label=label_of(group) + suffix,
            rows=members,
            fixed_s=[fixed.get((group, row.implementation)) for row in members],
            compared=compared,
            ratios=[_logarithms(ratio_of(ours[one], ours[other])) for one, other in combinations(compared, 2)],
        )


def _logarithms(ratio: stats.Ratio | None) -> Logarithms | None:
    if ratio is None:
        return None
    return Logarithms(log(ratio.estimate), log(ratio.low), log(ratio.high), ratio.verdict)


def _drift(number: int, result: Result, judged: dict[Cell, Judged]) -> Iterator[Drift]:
    run = f"{letter_of(number)}: {result.path.resolve().name}"
    for cell, one in judged.items():
        if cell.implementation == CONTROL:
            group = label_of(group_of(cell))
            for block, value in sorted(one.log_ratios.items()):
                kind = "control over baseline"
                yield Drift(result=number, run=run, group=group, kind=kind, block=block, ratio=exp(value))
    seconds: dict[int, list[float]] = defaultdict(list)
    for of_block in result.blocks:
        seconds[of_block.block] += of_block.product_s
    if every := [one for own in seconds.values() for one in own]:
        middle = stats.median(every)
        for block, own in sorted(seconds.items()):
            kind, ratio = "fixed product over its median", stats.median(own) / middle
            yield Drift(result=number, run=run, group="", kind=kind, block=block, ratio=ratio)


def _machines(ordered: Sequence[Result], groups: Sequence[PageGroup]) -> list[OnMachine]:
    if len({result.run.environment.machine for result in ordered}) < 2:
        return []
    found: dict[tuple[str, str, str], OnMachine] = {}
    for group in groups:
        machine = ordered[group.result].run.environment.machine
        label = f"{group.label.partition(' · ')[0]}\n{group.rows[0].shape}"
        for row in group.rows:
            if row.ratio is not None and row.tier != BOUND:
                one = OnMachine(
                    result=group.result,
                    machine=machine,
                    cell_group=label,
                    implementation=row.implementation,
                    order=row.ratio,
                    ratio=row.ratio,
                    ratio_low=row.ratio_low or row.ratio,
                    ratio_high=row.ratio_high or row.ratio,
                    verdict=row.verdict,
                )
                found.setdefault((machine, label, row.implementation), one)
    several = {label for _, label, _ in found}
    several = {label for label in several if len({machine for machine, own, _ in found if own == label}) > 1}
    return [one for (_, label, _), one in found.items() if label in several]
