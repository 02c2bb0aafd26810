"""The same cells in several results, or under several versions, and where a verdict says that they changed. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.analysis.cells import ratio_of
from bench.analysis.compare import compare
from bench.page.labels import label_of
from bench.records.schema import CodeFacts, Run, Struct
from bench.records.versions import package_of, split
from bench.report.words import letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.analysis.two_runs import Change
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


class _Seen(NamedTuple):
    """A cell that has a time in a result."""

    number: int
    run: Run
    one: CellAnalysis


def over_time(analyses: Sequence[Analysis]) -> list[Moment]:
    """Cells that have a time in several results of a machine, oldest first in each series.

    The change is that of `bench.analysis.compare` against the last earlier result that has the cell: through a row that
    did not change, where there is one. Nothing is said of results between which no verdict can be.
    """
    series: dict[str, list[_Seen]] = defaultdict(list)
    for number, analysis in sorted(
        enumerate(analyses), key=lambda pair: datetime.fromisoformat(pair[1].run.started_at)
    ):
        run = analysis.run
        for cell, one in analysis.cells.items():
            if one.median_s is not None and cell.role == "row" and not cell.version:
                lines = (
                    f"{cell.implementation}: {label_of(cell.group)}",
                    run.workloads[cell.workload].shape,
                    run.environment.machine,
                )
                series["\n".join(lines)].append(_Seen(number, run, one))
    several = {name: seen for name, seen in series.items() if len(seen) > 1}
    pairs = {(old.number, new.number) for seen in several.values() for old, new in pairwise(seen)}
    compared = {pair: _changes(*(analyses[number] for number in pair)) for pair in pairs}
    moments = []
    for name, seen in several.items():
        for order, (number, run, one) in enumerate(seen):
            before = seen[order - 1] if order else None
            change = compared[before.number, number].get(one.cell) if before else None
            moments.append(
                Moment(
                    result=number,
                    series=name,
                    implementation=one.cell.implementation,
                    cell_group=label_of(one.cell.group),
                    at=run.started_at[:16].replace("T", " "),
                    order=order,
                    **_times(one),
                    packages=_packages(run, one.cell, before),
                    verdict=change.verdict if change else None,
                    change=change.ratio if change else None,
                    change_low=change.low if change else None,
                    change_high=change.high if change else None,
                )
            )
    return moments


def _changes(old: Analysis, new: Analysis) -> dict[Cell, Change]:
    """What changed between two results, where something may be said: nothing if one of them is not to be trusted."""
    comparison = compare(old, new)
    if comparison.untrusted:
        return {}
    return {one.cell: one.change for one in comparison.cells if one.change and one.status == "compared"}


def over_versions(analyses: Sequence[Analysis]) -> list[Moment]:
    """Rows that took turns under several versions, in the order in which these were named."""
    return [moment for number, analysis in enumerate(analyses) for moment in _over_versions(number, analysis)]


def _over_versions(number: int, analysis: Analysis) -> Iterator[Moment]:
    run, named = analysis.run, list(analysis.run.rows)
    versioned = [
        one for cell, one in analysis.cells.items() if one.median_s is not None and cell.role == "row" and cell.version
    ]

    def series_of(one: CellAnalysis) -> tuple[str, ...]:
        return (one.cell.row, *map(str, one.cell.group))

    versioned.sort(key=lambda one: (*series_of(one), named.index(one.cell.implementation)))
    for _, of_series in groupby(versioned, key=series_of):
        before: CellAnalysis | None = None
        for order, one in enumerate(of_series):
            row, version = split(one.cell.implementation)
            ratio = ratio_of(one, before) if before else None
            group = label_of(one.cell.group)
            yield Moment(
                result=number,
                series=f"{row}: {group}\nversions of {package_of(run)}, run {letter_of(number)}",
                implementation=row,
                cell_group=group,
                at=version,
                order=order,
                **_times(one),
                packages=_packages(run, one.cell, _Seen(number, run, before) if before else None),
                verdict=ratio.verdict if ratio and analysis.is_trusted else None,
                change=ratio.estimate if ratio else None,
                change_low=ratio.low if ratio else None,
                change_high=ratio.high if ratio else None,
            )
            before = one


def _times(one: CellAnalysis) -> dict[str, float]:
    interval, middle = stats.time_interval(one.samples_s), one.median_s
    assert middle is not None
    return {"median_s": middle, "low_s": interval.low, "high_s": interval.high}


def _packages(run: Run, cell: Cell, before: _Seen | None) -> str:
    ours = _versions(run, cell)
    theirs = _versions(before.run, before.one.cell) if before else {}
    return ", ".join(f"{name} {version}" for name, version in ours.items() if theirs.get(name) != version)


def _versions(run: Run, cell: Cell) -> dict[str, str]:
    return run.rows.get(cell.implementation, CodeFacts(code="", versions={})).versions
