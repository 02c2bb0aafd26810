"""Which block is next, how many turns it has, how long it will take, and when a run is done. Pure."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from math import ceil, floor, sqrt
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.cells import analyse, log_ratios, undecided
from bench.analysis.verdict import MIN_BLOCKS
from bench.measure.plan import Entry, Plan, PlannedGroup, groups_of, rounds_of
from bench.records.schema import CONTROL, Cell, Effort, Group, Record
from bench.workloads.flops import expected_call_s

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bench.measure.plan import Budget
    from bench.records.schema import Block, Phase
    from bench.workloads.shapes import Workload
    from impls.contract import Device


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
    blocks have the rows that are undecided on the blocks before. Where the plan goes pool by pool, each has its
    smallest number before the next begins. It depends on the plan and the records alone, so that a run can go on where
    another has stopped.
    """
    failed = {record.cell for record in records if not record.ok}
    if plan.budget.pool_by_pool:
        least = replace(plan.budget, max_blocks=plan.budget.min_blocks)
        for pool in plan.pools:
            own = [record for record in records if record.pool == pool.number]
            if (first := _next_block(replace(plan, pools=(pool,), budget=least), own, failed)) is not None:
                return first
    return _next_block(plan, records, failed)


def _next_block(
    plan: Plan, records: Sequence[Record], failed: Collection[Cell]
) -> tuple[int, tuple[PlannedGroup, ...]] | None:
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


def is_contended(records: Iterable[Record]) -> bool:
    """Whether somebody else had the processors while a group took its turns."""
    return any("contended" in record.flags for record in records)


def _to_retake(records: Iterable[Record]) -> set[Group]:
    """The contended groups, of those in a pool in a block, whose second attempt a run was ended before."""
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.cell.group].append(record)
    again = [group for group, own in groups.items() if any(record.attempt for record in own)]
    contended = [group for group, own in groups.items() if group not in again and is_contended(own)]
    return set(contended[: max(0, retakes_of(len(groups)) - len(again))])


def _wanted(records: Sequence[Record], baseline: str) -> dict[Group, set[str]]:
    cells = analyse(records, baseline)
    bases = {one.cell.group: one.baseline for one in cells.values() if one.baseline}
    return {group: names | {bases[group], CONTROL} for group, names in undecided(cells.values()).items()}


def shuffled(planned_groups: Sequence[PlannedGroup], seed: int, block: int) -> tuple[PlannedGroup, ...]:
    """Pool by pool, both the pools and the groups of each in a random order, workload by workload.

    A worker holds one workload's model at a time, so the tasks of a workload stay together.
    """
    rng = np.random.default_rng([seed, block])
    rank = {name: rng.random() for name in sorted({one.group.workload for one in planned_groups})}
    turn = {number: rng.random() for number in sorted({one.pool.number for one in planned_groups})}
    order = sorted(planned_groups, key=lambda one: (turn[one.pool.number], rank[one.group.workload], rng.random()))
    return tuple(order)


PROCESS_SD = 0.02
"""Standard deviation that fresh processes give to a log ratio, as published runs of real rows have it: of groups whose
turns explain little of what blocks differ by, the middle one (`tests/measure/test_effort.py` works it out again)."""

WORTH = 4
"""That counts as much as so many groups' controls: one block shows each but once."""

LEAST_SD = 0.005
"""Less is not believed of processes, whatever the controls of one block say."""

MEDIAN_FACTOR = 1.57
"""The variance of a median is that of a mean times about this (π/2), where what it is taken of is Gaussian."""

LONGEST = 3.0
"""A group's turns in a block may take so many times as long as a row is timed in a block by its preset."""


def turn_variance(records: Sequence[Record], baseline: str) -> float | None:
    """What one turn adds to the variance of a log ratio to the baseline, in the middle of a group's rows.

    ``records``: a group's, of one block. None where no row has two turns beside the baseline.
    """
    base = next((one for one in records if one.cell.implementation == baseline and one.samples_s), None)
    if base is None:
        return None
    variances = []
    for one in records:
        turns = min(len(one.samples_s), len(base.samples_s))
        free = [turn for turn in range(turns) if turn not in {*one.preempted, *base.preempted}]
        if one is not base and len(free) >= 2:
            logs = np.log(np.take(one.samples_s, free)) - np.log(np.take(base.samples_s, free))
            # few values mostly have a variance below the true one: that of the middle one of many such is known
            variances.append(float(np.var(logs, ddof=1)) / (1 - 2 / (9 * (len(free) - 1))) ** 3)
    return MEDIAN_FACTOR * median(variances) if variances else None


def process_variance(controls: Sequence[tuple[float, float]]) -> float:
    """What fresh processes add to the variance of a log ratio.

    ``controls``: of each group, the log ratio of the baseline to itself, and what its turns explain of the variance.
    """
    seen = [max(0.0, ratio**2 - explained) for ratio, explained in controls]
    return max(LEAST_SD**2, (WORTH * PROCESS_SD**2 + sum(seen)) / (WORTH + len(seen)))


def turns_of(turn_var: float, process_var: float, *, round_s: float, around_s: float, least: int, most: int) -> int:
    """How many turns a process should have, within limits."""
    best = sqrt(around_s / round_s * turn_var / process_var)
    return max(least, min(most, ceil(best)))


def efforts(
    records: Sequence[Record],
    seconds: Mapping[tuple[int, Group], tuple[float, float]],
    baselines: Mapping[Group, str],
    budget: Budget,
    block: int = 1,
) -> list[Effort]:
    """The turns of each group in each pool in later blocks.

    ``records``: what counts of this block. ``seconds``: of each pool and group, those of its turns and those of
    all around them that later blocks have too. ``baselines``: of each group.
    """
    found = {}
    for key in seconds:
        pool, group = key
        own = [one for one in records if one.ok and one.pool == pool and one.cell.group == group]
        variance = turn_variance(own, baselines[group]) if group in baselines else None
        if variance is not None:
            found[key] = own, variance, min(len(one.samples_s) for one in own)
    controls = []
    for (_, group), (own, variance, turns) in found.items():
        sides = [[one for one in own if one.cell.implementation == name] for name in (CONTROL, baselines[group])]
        controls += [(ratio, variance / turns) for ratio in log_ratios(*sides).values()]
    process = process_variance(controls)
    made = []
    for (pool, group), (own, variance, turns) in found.items():
        turns_s, around_s = seconds[pool, group]
        round_s = turns_s / max(len(one.samples_s) for one in own)
        longest_s = LONGEST * budget.timed_s * len(own)
        most = max(budget.min_turns, min(ceil(budget.timed_s / budget.turn_s), floor(longest_s / round_s)))
        wanted = turns_of(variance, process, round_s=round_s, around_s=around_s, least=budget.min_turns, most=most)
        made.append(
            Effort(
                **group._asdict(),
                pool=pool,
                block=block,
                turns=wanted,
                before=turns,
                turn_sd=sqrt(variance),
                process_sd=sqrt(process),
                round_s=round_s,
                around_s=around_s,
            )
        )
    return made


WORKER_S: dict[Device, float] = {"cpu": 1.3, "gpu": 6.0}
"""About how long a worker takes to start, its framework included; on a GPU a guess."""

OF_PYTHON_S = 0.4
"""Of that, what is not the import of the row."""

CELL_S = 0.15
"""About how long it takes to load a cell and to hold it against the oracle, beside its calls."""

COMPILE_S: dict[Device, float] = {"cpu": 1.6, "gpu": 38.0}
"""About how long a program takes to compile, on one processor. On a GPU, half of what `jax/scan` took for a training
step of one batch of `g2p` (an H200's host): a training step counts as two."""

AFTER_A_COLD_BLOCK: dict[Phase, float] = {"compile": 0.15, "check": 0.15}
"""What share of these phases of a block that compiles everything the next ones have: they load what was compiled, and
are held against the oracle but on what was timed."""

OF_A_BOUND = 0.5
"""About what share of a row's time its products take."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How many times as long as on the machine that the figures here are of (Intel Xeon of 2021, two processors)."""

    start: float = 1.0
    """Starting Python, importing and compiling take."""
    arithmetic: float = 1.0
    """Products take."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long the parts of a run will take."""

    first_block_s: float
    later_block_s: float

    def blocks_s(self, number: int) -> float:
        """So many blocks."""
        return self.first_block_s + (number - 1) * self.later_block_s


def expected_s(plan: Plan, workloads: Mapping[str, Workload], slots: int, speed: Speed = Speed()) -> Expected:
    """What to expect of a plan before anything is measured; compiling weighs most in the first block.

    Of a plan that goes pool by pool, what to expect of the first pool.
    """
    first = later = 0.0
    for pool in plan.pools[: 1 if plan.budget.pool_by_pool else None]:
        device = pool.entries[0].cells[0].device
        first += len(pool.entries) * WORKER_S[device] * speed.start / slots
        later += len(pool.entries) * WORKER_S[device] * speed.start / slots
        for group, members in groups_of(pool).items():
            workload = workloads[group.workload]
            call_s = expected_call_s(workload, group.task, device) * (speed.arithmetic if device == "cpu" else 1.0)
            rows = sum(not entry.row.is_bound for entry, _ in members)
            calls_s = [call_s] * rows + [OF_A_BOUND * call_s] * (len(members) - rows)
            rounds = rounds_of(calls_s, plan.budget)
            turns = rounds * sum(max(1.5 * plan.budget.turn_s, own_s) for own_s in calls_s)
            apart = (len(members) * (plan.budget.warmup_s + CELL_S * speed.start) + 5 * sum(calls_s)) / slots
            trains = 2 if group.task in ("gradients", "train_step") else 1
            compiled = sum(workload.num_batches * trains for entry, _ in members if entry.row.compiles_on(device))
            compiling = COMPILE_S[device] * speed.start * compiled / slots
            first += turns + 2 * apart + compiling
            later += turns + apart + (AFTER_A_COLD_BLOCK["compile"] * compiling if device == "cpu" else 0.0)
    return Expected(first, later)


def next_block_s(
    planned_groups: Sequence[PlannedGroup], earlier: Sequence[Block], efforts: Iterable[Effort] = ()
) -> float:
    """About how long a block takes: as long as the last one with as many cells, in proportion to them.

    One with fewer says little: most of it may have been the start of the workers. Without any, nothing is known.
    """
    cells = sum(len(one.members) for one in planned_groups)
    full = [block for block in earlier if block.records >= cells]
    like = full[-1] if full else max(earlier, key=lambda block: block.records, default=None)
    if like is None:
        return 0.0
    return after_s(like, efforts) * cells / max(1, like.records)


def after_s(block: Block, efforts: Iterable[Effort]) -> float:
    """About how long a block takes that is like this one, but for the turns that have followed from it.

    After one that was cold there is less to compile and to check.
    """
    less_s = 0.0
    if block.cold:
        less_s = sum((1 - share) * block.phases_s.get(phase, 0.0) for phase, share in AFTER_A_COLD_BLOCK.items())
    followed = (one for one in efforts if one.block == block.block and block.pool in (None, one.pool))
    more_s = sum((one.turns - one.before) * one.round_s for one in followed)
    return block.elapsed_s - less_s + more_s


def last_s(records: Sequence[Record], slots: int) -> float:
    """About how long it takes to start each cell of these records once more, alone, and to call it a few times."""
    each = (
        sum(seconds or 0.0 for seconds in (one.import_s, one.build_s, one.first_call_s)) + 4 * median(one.samples_s)
        for one in records
    )
    return sum(OF_PYTHON_S + seconds for seconds in each) / slots
