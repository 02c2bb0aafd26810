"""The same cells in several results: over time, under several versions, machine beside machine. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.analysis.cells import ratio_of
from bench.analysis.compare import compare
from bench.records.schema import BOUND, Run, Struct
from bench.records.versions import package_of
from bench.report.words import label_of, letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.page.data import PageGroup
    from bench.records.schema import Cell


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A cell at one of several times, or under one of several versions, and what is said of the change since the last.

    A version is one of a run in which rows of several environments took turns.
    """

    result: int
    series: str
    """The row and the group; below, what else has to be the same: sizes and machine, or the run of several versions."""
    implementation: str
    """Without a version."""
    cell_group: str
    at: str
    """When the run began, or the version."""
    order: int
    """Its place in the series, from 0."""
    median_s: float
    low_s: float
    high_s: float
    packages: str
    """The packages of the row that have another version than the last time; of the first, all."""
    verdict: str | None
    """On the change since the last: None where nothing is said."""
    change: float | None
    """The time over that of the last, paired where that can be."""
    change_low: float | None
    change_high: float | None


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


class _Seen(NamedTuple):
    """A cell that has a time in a result."""

    number: int
    run: Run
    one: CellAnalysis


_Change = tuple[str | None, float, float, float]
"""Its verdict, the ratio, and how low and how high that may be."""


def over_time(analyses: Sequence[Analysis]) -> Iterator[Moment]:
    """Cells that have a time in several results of a machine, oldest first in each series.

    The change is that of `bench.analysis.compare` against the last earlier result that has the cell: through a row that
    did not change, where there is one. Nothing is said of results between which no verdict can be.
    """
    series: dict[str, list[_Seen]] = defaultdict(list)
    oldest_first = sorted(enumerate(analyses), key=lambda pair: datetime.fromisoformat(pair[1].run.started_at))
    for number, analysis in oldest_first:
        run = analysis.run
        for cell, one in analysis.cells.items():
            if one.median_s is not None and cell.role == "row" and not cell.version:
                row = f"{cell.implementation}: {label_of(cell.group)}"
                name = "\n".join((row, run.workloads[cell.workload].shape, run.environment.machine))
                series[name].append(_Seen(number, run, one))
    several = {name: seen for name, seen in series.items() if len(seen) > 1}
    pairs = {(old.number, new.number) for seen in several.values() for old, new in pairwise(seen)}
    compared = {pair: _changes(*(analyses[number] for number in pair)) for pair in pairs}
    for name, of_series in several.items():
        before: _Seen | None = None
        for order, seen in enumerate(of_series):
            change = compared[before.number, seen.number].get(seen.one.cell) if before else None
            at = seen.run.started_at[:16].replace("T", " ")
            yield _moment(seen, before, change, series=name, at=at, order=order)
            before = seen


def _changes(old: Analysis, new: Analysis) -> dict[Cell, _Change]:
    """What changed between two results, where something may be said: nothing if one of them is not to be trusted."""
    comparison = compare(old, new)
    if comparison.untrusted:
        return {}
    return {
        one.cell: (one.verdict, one.change.ratio, one.change.low, one.change.high)
        for one in comparison.cells
        if one.change and one.status == "compared"
    }


def over_versions(number: int, analysis: Analysis) -> Iterator[Moment]:
    """Rows of a result that took turns under several versions, in the order in which these were named."""
    run, named = analysis.run, list(analysis.run.rows)

    def series_of(one: CellAnalysis) -> tuple[str, ...]:
        return (one.cell.row, *map(str, one.cell.group))

    versioned = sorted(
        (one for cell, one in analysis.cells.items() if one.median_s and cell.role == "row" and cell.version),
        key=lambda one: (*series_of(one), named.index(one.cell.implementation)),
    )
    for _, of_series in groupby(versioned, key=series_of):
        before: _Seen | None = None
        for order, one in enumerate(of_series):
            ratio, seen = ratio_of(one, before.one) if before else None, _Seen(number, run, one)
            verdict = ratio.verdict if ratio and analysis.is_trusted else None
            change = (verdict, ratio.estimate, ratio.low, ratio.high) if ratio else None
            of = f"versions of {package_of(run)}, run {letter_of(number)}"
            series = f"{one.cell.row}: {label_of(one.cell.group)}\n{of}"
            yield _moment(seen, before, change, series=series, at=one.cell.version, order=order)
            before = seen


def _moment(seen: _Seen, before: _Seen | None, change: _Change | None, *, series: str, at: str, order: int) -> Moment:
    one, interval = seen.one, stats.time_interval(seen.one.samples_s)
    verdict, ratio, low, high = change or (None, None, None, None)
    return Moment(
        result=seen.number,
        series=series,
        implementation=one.cell.row,
        cell_group=label_of(one.cell.group),
        at=at,
        order=order,
        median_s=one.median_s or 0.0,
        low_s=interval.low,
        high_s=interval.high,
        packages=_packages(seen, before),
        verdict=verdict,
        change=ratio,
        change_low=low,
        change_high=high,
    )


def _packages(seen: _Seen, before: _Seen | None) -> str:
    theirs = _versions(before) if before else {}
    return ", ".join(f"{name} {version}" for name, version in _versions(seen).items() if theirs.get(name) != version)


def _versions(seen: _Seen) -> dict[str, str]:
    facts = seen.run.rows.get(seen.one.cell.implementation)
    return facts.versions if facts else {}


def machines(ordered: Sequence[Analysis], groups: Sequence[PageGroup]) -> list[OnMachine]:
    """Rows against a baseline that several machines have; nothing where all results are of one machine."""
    found: dict[tuple[str, str, str], OnMachine] = {}
    for group in groups:
        machine = ordered[group.result].run.environment.machine
        cell_group, _, _ = group.label.rpartition(" · ")  # several machines are several results
        for row in group.rows:
            series = f"{cell_group}, to {row.baseline}\n{row.shape}"
            if row.ratio is not None and row.tier != BOUND:
                one = OnMachine(
                    result=group.result,
                    machine=machine,
                    series=series,
                    cell_group=cell_group,
                    implementation=row.implementation,
                    ratio=row.ratio,
                    ratio_low=row.ratio_low or row.ratio,
                    ratio_high=row.ratio_high or row.ratio,
                    verdict=row.verdict,
                )
                found.setdefault((machine, series, row.implementation), one)
    of_series: dict[str, set[str]] = defaultdict(set)
    for machine, series, _ in found:
        of_series[series].add(machine)
    return [one for one in found.values() if len(of_series[one.series]) > 1]
