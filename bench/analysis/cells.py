"""From records to verdicts: which samples count, how they pair, what may be said. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis import stats, verdict
from bench.records.schema import CONTROL, REFUSED, Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records.schema import Cell, Record


@dataclass(frozen=True, slots=True)
class CellAnalysis:
    """A cell with all its blocks, and what may be said of it."""

    cell: Cell
    failure: Record | None
    """The record that says why there is no time."""
    blocks: tuple[Record, ...]
    """What counts of it: one record a block and pool, in order (the baseline is in every pool)."""
    set_aside: tuple[Record, ...]
    """Contended attempts that were measured again."""
    baseline: str | None
    log_ratios: dict[int, float]
    """Block to the log of the ratio to the baseline in it."""
    ratio: verdict.Ratio | None = None
    prior: verdict.Prior = verdict.NOTHING_KNOWN
    """What the run's comparisons say of the variance of this group's."""
    is_refused: bool = False
    """Whether it was seen doing what nobody may: it gets no verdict and no place, and nobody a verdict against it."""
    may_be_compared: bool = True
    """Whether neither it nor the baseline of its group is refused."""

    @property
    def is_baseline(self) -> bool:
        """Whether it is what its group is compared with."""
        return self.cell.implementation == self.baseline

    @property
    def is_compared(self) -> bool:
        """Whether it is a row's, and has a ratio to another: the baseline has none."""
        return self.ratio is not None and self.cell.role == "row" and not self.is_baseline

    @property
    def is_decided(self) -> bool:
        """Whether the ratio has a verdict that is not UNCLEAR."""
        return self.is_compared and self.ratio is not None and self.ratio.verdict not in (None, "UNCLEAR")

    @property
    def samples_s(self) -> list[list[float]]:
        """Seconds a call, process by process."""
        return [record.samples_s for record in self.blocks]

    @property
    def median_s(self) -> float | None:
        """The median of the process medians."""
        return stats.median([stats.median(samples) for samples in self.samples_s]) if self.blocks else None


def analyse(records: Iterable[Record], baseline: str) -> dict[Cell, CellAnalysis]:
    """Every cell that was recorded, judged against the baseline of its group.

    If the baseline has no time in a group, the first row that has one stands in for it. A cell of which any record is a
    failure has no time: what goes wrong once is not proven equal.
    """
    groups: dict[Group, dict[Cell, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        cell = record.cell
        groups[cell.group][cell].append(record)
    paired_groups = {group: _pair_group(cells, baseline) for group, cells in groups.items()}
    known = priors(one for cells in paired_groups.values() for one in cells.values())
    found: dict[Cell, CellAnalysis] = {}
    for group, cells in paired_groups.items():
        found |= _compare_group(cells, known.get(group, verdict.NOTHING_KNOWN))
    return found


def _pair_group(cells: dict[Cell, list[Record]], baseline: str) -> dict[Cell, CellAnalysis]:
    failures = {cell: next((record for record in records if not record.ok), None) for cell, records in cells.items()}
    counted = {cell: counted_of(records) if failures[cell] is None else () for cell, records in cells.items()}
    timed = [cell for cell in cells if counted[cell] and cell.role == "row"]
    base = next((cell for cell in timed if cell.implementation == baseline), timed[0] if timed else None)
    refused = {cell for cell, records in counted.items() if any(not REFUSED.isdisjoint(one.flags) for one in records)}
    judged = {}
    for cell, records in cells.items():
        lost = cell.implementation == CONTROL and base is not None and base.implementation != baseline
        ratios = log_ratios(counted[cell], counted[base]) if base and not lost else {}
        judged[cell] = CellAnalysis(
            cell=cell,
            failure=failures[cell],
            blocks=counted[cell],
            set_aside=tuple(
                record for record in records if record.ok and record not in counted[cell] and failures[cell] is None
            ),
            baseline=base.implementation if base else None,
            log_ratios=ratios,
            is_refused=cell in refused,
            may_be_compared=refused.isdisjoint({cell, base}),
        )
    return judged


def _compare_group(cells: dict[Cell, CellAnalysis], prior: verdict.Prior) -> dict[Cell, CellAnalysis]:
    by_blocks: dict[int, list[Cell]] = defaultdict(list)
    for cell, one in cells.items():
        by_blocks[len(one.log_ratios)].append(cell)
    ratios: dict[Cell, verdict.Ratio] = {}
    for blocks, alike in by_blocks.items():
        if blocks:
            compared = verdict.compare_each([_in_order_of_blocks(cells[cell].log_ratios) for cell in alike], prior)
            ratios |= zip(alike, compared, strict=True)
    return {
        cell: replace(one, prior=prior, ratio=_allowed(ratios.get(cell), may_be_compared=one.may_be_compared))
        for cell, one in cells.items()
    }


def priors(judged: Iterable[CellAnalysis]) -> dict[Group, verdict.Prior]:
    """What the comparisons of a run that have blocks enough, control and bounds included, say of each group's variance.

    The pairs of a group share their baseline, and the variance of one row to the next is that of rows to it.
    """
    by_group: dict[Group, list[list[float]]] = defaultdict(list)
    for one in sorted(judged, key=lambda one: repr(one.cell)):  # else sums would depend on the order of the records
        if one.cell.implementation != one.baseline and len(one.log_ratios) >= verdict.MIN_BLOCKS:
            by_group[one.cell.group].append(list(one.log_ratios.values()))
    most = max(map(len, by_group.values()), default=0)
    variances, freedom = (np.full((len(by_group), most), np.nan) for _ in range(2))
    for row, members in enumerate(by_group.values()):
        variances[row, : len(members)] = [np.var(ratios, ddof=1) for ratios in members]
        freedom[row, : len(members)] = [len(ratios) - 1 for ratios in members]
    known = verdict.priors(variances, freedom)
    return {group: verdict.Prior(*one) for group, *one in zip(by_group, known.variance, known.freedom, strict=True)}


def counted_of(records: Sequence[Record]) -> tuple[Record, ...]:
    """One record a block and pool: of several attempts the last, which is the one after the contention."""
    last: dict[tuple[int, int], Record] = {}
    for record in records:
        key = record.block, record.pool
        if key not in last or record.attempt >= last[key].attempt:
            last[key] = record
    return tuple(last[key] for key in sorted(last))


def log_ratios(ours: Sequence[Record], theirs: Sequence[Record]) -> dict[int, float]:
    """The log ratio of each block that both have, in one pool and in one attempt; of several pools, the mean."""
    others = {(record.block, record.pool, record.attempt): record for record in theirs}
    ratios: dict[int, list[float]] = defaultdict(list)
    for record in ours:
        other = others.get((record.block, record.pool, record.attempt))
        if other is not None:
            preempted = {*record.preempted, *other.preempted}
            ratio = stats.log_ratio_of_block(record.samples_s, other.samples_s, preempted)
            if ratio is not None:
                ratios[record.block].append(ratio)
    return {block: fmean(of_block) for block, of_block in ratios.items()}


def neighbours(judged: Iterable[CellAnalysis]) -> list[tuple[CellAnalysis, CellAnalysis, verdict.Ratio | None]]:
    """Each row of a group with the next slower one, and the ratio of the two, slower over faster."""
    return [
        (faster, slower, ratio_of(slower, faster))
        for members in in_order(judged)
        for faster, slower in pairwise(members)
    ]


def in_order(judged: Iterable[CellAnalysis]) -> list[list[CellAnalysis]]:
    """The rows of each group that have a ratio and are not refused, fastest first; control and bounds are no rows."""
    by_group: dict[Group, list[CellAnalysis]] = defaultdict(list)
    for one in judged:
        if one.ratio is not None and one.cell.role == "row" and not one.is_refused:
            by_group[one.cell.group].append(one)
    return [sorted(members, key=lambda one: one.ratio.estimate if one.ratio else 0.0) for members in by_group.values()]


def ratio_of(ours: CellAnalysis, theirs: CellAnalysis) -> verdict.Ratio | None:
    """The ratio of two rows of a group; None where no block has both."""
    ratios = paired(ours, theirs)
    ratio = verdict.compare(_in_order_of_blocks(ratios), ours.prior) if ratios else None
    return _allowed(ratio, may_be_compared=not (ours.is_refused or theirs.is_refused))


def interval_of(ours: CellAnalysis, theirs: CellAnalysis, level: float) -> tuple[float, float]:
    """From where to where the log of their ratio may lie, with this error; both have a block in common."""
    low, high = verdict.locate(np.array(_in_order_of_blocks(paired(ours, theirs))), ours.prior).interval(level)
    return float(low), float(high)


def paired(ours: CellAnalysis, theirs: CellAnalysis) -> dict[int, float]:
    """The log ratio of two rows of a group, block by block.

    Rows that were never in one pool are compared through the baseline of each.
    """
    if theirs.is_baseline:
        return ours.log_ratios
    ratios = log_ratios(ours.blocks, theirs.blocks)
    if not ratios:
        both = ours.log_ratios.keys() & theirs.log_ratios.keys()
        ratios = {block: ours.log_ratios[block] - theirs.log_ratios[block] for block in both}
    return ratios


def _in_order_of_blocks(ratios: dict[int, float]) -> list[float]:
    return [ratios[block] for block in sorted(ratios)]


def _allowed(ratio: verdict.Ratio | None, *, may_be_compared: bool) -> verdict.Ratio | None:
    return ratio if may_be_compared or ratio is None else replace(ratio, verdict=None)


def undecided(judged: Iterable[CellAnalysis]) -> dict[Group, set[str]]:
    """The rows, by group, that another block may bring a verdict for: against the baseline, or against the next row."""
    judged = list(judged)
    open_rows: dict[Group, set[str]] = defaultdict(set)
    for one in judged:
        if one.is_compared and not one.is_decided and one.may_be_compared:
            open_rows[one.cell.group].add(one.cell.implementation)
    for faster, slower, ratio in neighbours(judged):
        if ratio is None or ratio.verdict in (None, "UNCLEAR"):
            open_rows[faster.cell.group] |= {faster.cell.implementation, slower.cell.implementation}
    return dict(open_rows)


def control(judged: Iterable[CellAnalysis]) -> stats.Control | None:
    """The baseline against itself, pooled over all cells; None where it was not entered twice."""
    ratios = [
        _in_order_of_blocks(one.log_ratios) for one in judged if one.cell.implementation == CONTROL and one.log_ratios
    ]
    return stats.control(ratios) if ratios else None


def ranks_of(judged: Iterable[CellAnalysis]) -> dict[Cell, str]:
    """Each cell's place in its group: ``2=`` for those that no verdict tells from the first at their place.

    No place where there is no verdict yet.
    """
    ranks: dict[Cell, str] = {}
    for members in in_order(judged):
        places: dict[int, list[CellAnalysis]] = {}
        for position, one in enumerate(members, 1):
            last = max(places, default=None)
            shares = last is not None and not _is_slower(one, places[last][0])
            places.setdefault(last if last is not None and shares else position, []).append(one)
        if len(members) > 1 and any(one.is_compared and one.ratio and one.ratio.verdict for one in members):
            for place, sharing in places.items():
                ranks |= {one.cell: f"{place}{'=' * (len(sharing) > 1)}" for one in sharing}
    return ranks


def _is_slower(one: CellAnalysis, than: CellAnalysis) -> bool:
    ratio = ratio_of(one, than)
    return ratio is not None and ratio.verdict == "SLOWER"
