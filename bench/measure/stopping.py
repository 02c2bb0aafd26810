"""Which block is next, what it is for, and when a run is done. Pure."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.cells import analyse, undecided
from bench.analysis.verdict import MIN_BLOCKS
from bench.measure.plan import Entry, Plan, PlannedGroup, groups_of
from bench.records.schema import CONTROL, Cell, Group, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def checks_unseen(plan: Plan, planned: PlannedGroup, block: int) -> bool:
    """Whether a group is held against the oracle, after its turns, on an input that its workers have not seen.

    In the first block, in one of the three after the first verdicts, as the seed draws for it, and in the last where
    that is planned. Where it is not, each cell is once more, by a process of its own, before the run ends.
    """
    number = zlib.crc32(" ".join(map(str, (*planned.group, planned.pool.number))).encode())
    drawn = MIN_BLOCKS + 1 + int(np.random.default_rng([plan.seed, number]).integers(3))
    return block in (1, drawn, plan.budget.max_blocks)


def next_block(plan: Plan, records: Sequence[Record]) -> tuple[int, tuple[PlannedGroup, ...]] | None:
    """The first block that is not complete, and what is missing of it, in its random order; None: all is decided.

    The smallest number of blocks has every cell that has not failed, nor lost all that it is compared with; later
    blocks have the rows that are undecided on the blocks before. It depends on the plan and the records alone, so that
    a run can go on where another has stopped.
    """
    failed = {record.cell for record in records if not record.ok}
    have = {(record.block, record.pool, record.cell) for record in records}
    latest = max((record.block for record in records), default=0)
    block = max(0, latest - 1)  # those before it were completed first
    while True:
        block += 1
        if plan.budget.max_blocks is not None and block > plan.budget.max_blocks:
            return None
        wanted: Mapping[Group, set[str]] | None = None
        if block > plan.budget.min_blocks:
            wanted = _wanted([record for record in records if record.block < block], plan.baseline)
            if not wanted:
                return None
        missing, anything = [], False
        for pool in plan.pools:
            again = _to_retake(one for one in records if (one.block, one.pool) == (block, pool.number))
            for group, members in groups_of(pool).items():
                due = _with_company(
                    [
                        (entry, cell)
                        for entry, cell in members
                        if cell not in failed and (wanted is None or entry.name in wanted.get(group, ()))
                    ],
                    members,
                )
                if _is_alone(due) and (wanted is not None or not _is_alone(members)):
                    continue
                anything = True
                if due and (group in again or any((block, pool.number, cell) not in have for _, cell in due)):
                    missing.append(PlannedGroup(pool, group, tuple(due)))
        if missing:
            return block, shuffled(missing, plan.seed, block)
        if wanted is not None and not anything and block > latest:
            return None  # what is undecided can no longer be measured


def _is_alone(members: Sequence[tuple[Entry, Cell]]) -> bool:
    """Whether at most one row is there, so that nothing is compared."""
    return sum(cell.role == "row" for _, cell in members) < 2


def _with_company(due: list[tuple[Entry, Cell]], members: Sequence[tuple[Entry, Cell]]) -> list[tuple[Entry, Cell]]:
    """Those who are due, without the bounds that none of them is held against, though some member was."""
    left, had = ({entry.row.multiplier for entry, cell in some if cell.role == "row"} for some in (due, members))
    gone = had - left
    return [(entry, cell) for entry, cell in due if not (entry.row.is_bound and entry.row.framework in gone)]


RETAKES = 0.25
"""At most this share of a block's groups is measured again because they were contended."""


def retakes_of(groups: int) -> int:
    """How many of the groups that are in a pool in a block may be measured again."""
    return max(1, int(RETAKES * groups))


def _to_retake(records: Iterable[Record]) -> set[Group]:
    """The contended groups, of those in a pool in a block, whose second attempt a run was ended before."""
    groups: dict[Group, list[Record]] = {}
    for record in records:
        groups.setdefault(record.cell.group, []).append(record)
    taken = [group for group, own in groups.items() if any(record.attempt for record in own)]
    contended = [
        group
        for group, own in groups.items()
        if group not in taken and any("contended" in record.flags for record in own)
    ]
    return set(contended[: max(0, retakes_of(len(groups)) - len(taken))])


def _wanted(records: Sequence[Record], baseline: str) -> dict[Group, set[str]]:
    cells = analyse(records, baseline)
    bases = {one.cell.group: one.baseline for one in cells.values() if one.baseline}
    return {group: names | {bases[group], CONTROL} for group, names in undecided(cells.values()).items()}


def shuffled(planned_groups: Sequence[PlannedGroup], seed: int, block: int) -> tuple[PlannedGroup, ...]:
    """Pool by pool, both the pools and the groups of each in a random order, workload by workload.

    A worker holds one workload's model at a time, so the tasks of a workload stay together.
    """
    rng = np.random.default_rng([seed, block])
    pools = {planned.pool.number for planned in planned_groups}
    workloads = {planned.group.workload for planned in planned_groups}
    rank = {name: rng.random() for name in sorted(workloads)}
    turn = {number: rng.random() for number in sorted(pools)}
    return tuple(
        sorted(
            planned_groups,
            key=lambda one: (turn[one.pool.number], rank[one.group.workload], rng.random()),
        )
    )
