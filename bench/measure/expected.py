"""How long things will take: before anything is measured, and from what was. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.stats import median
from bench.measure.plan import groups_of, rounds_of
from bench.workloads.flops import expected_call_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bench.measure.plan import Plan, PlannedGroup
    from bench.records.schema import Block, Effort, Phase, Record
    from bench.workloads.shapes import Workload

WORKER_S = 1.3
"""About how long a worker takes to start, its framework included."""

OF_PYTHON_S = 0.4
"""Of that, what is not the import of the row."""

CELL_S = 0.15
"""About how long it takes to load a cell and to hold it against the oracle, beside its calls."""

COMPILE_S = 1.6
"""About how long a program takes to compile."""

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
    """What to expect of a plan before anything is measured; compiling weighs most in the first block."""
    first = later = 0.0
    for pool in plan.pools:
        first += len(pool.entries) * WORKER_S * speed.start / slots
        later += len(pool.entries) * WORKER_S * speed.start / slots
        for group, members in groups_of(pool).items():
            workload = workloads[group.workload]
            call_s = expected_call_s(workload, group.task) * speed.arithmetic
            rows = sum(not entry.row.is_bound for entry, _ in members)
            calls_s = [call_s] * rows + [OF_A_BOUND * call_s] * (len(members) - rows)
            rounds = rounds_of(calls_s, plan.budget)
            turns = rounds * sum(max(1.5 * plan.budget.turn_s, own_s) for own_s in calls_s)
            apart = (len(members) * (plan.budget.warmup_s + CELL_S * speed.start) + 5 * sum(calls_s)) / slots
            trains = 2 if group.task in ("gradients", "train_step") else 1
            compiled = sum(workload.num_batches * trains for entry, _ in members if entry.row.compiles)
            compiling = COMPILE_S * speed.start * compiled / slots
            first += turns + 2 * apart + compiling
            later += turns + apart + AFTER_A_COLD_BLOCK["compile"] * compiling
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
    less_s = sum((1 - share) * block.phases_s.get(phase, 0.0) for phase, share in AFTER_A_COLD_BLOCK.items())
    followed = [one for one in efforts if one.block == block.block]
    return (
        block.elapsed_s
        - (less_s if block.cold else 0.0)
        + sum((one.turns - one.before) * one.round_s for one in followed)
    )


def last_s(records: Sequence[Record], slots: int) -> float:
    """About how long it takes to start each cell of these records once more, alone, and to call it a few times."""
    each = (
        sum(seconds or 0.0 for seconds in (one.import_s, one.build_s, one.first_call_s)) + 4 * median(one.samples_s)
        for one in records
    )
    return sum(OF_PYTHON_S + seconds for seconds in each) / slots
