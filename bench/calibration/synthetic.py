"""Workers whose true ratio is known: identical ones, and ones with extra work planted in them.

A call is two hundred units of work, small NumPy products, and a turn is one call. A worker with ten units more does
five per cent more of the same work: the slow-down is real. In time it is a little less than five per cent, for the
call itself, and the cold caches it begins with, take the same for any number of units. The answer, which is checked
like that of any row, is computed by the first call with an input: before the clock runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from bench.analysis.cells import counted_of
from bench.analysis.stats import log_ratio_of_block
from bench.analysis.verdict import MIN_BLOCKS
from bench.calibration.simulate import said_in_groups
from bench.measure.messages import ProblemFile
from bench.measure.plan import Budget, Entry, Plan, PlannedGroup, Pool, cells_of, groups_of
from bench.measure.runner import NextBlock
from bench.measure.stopping import shuffled
from bench.records.schema import Group, Record, Struct
from bench.workloads import reference_outputs
from bench.workloads.shapes import Workload, shape_workload
from impls import Row, read_row
from impls.contract import Task

WORKLOAD = shape_workload(
    embedding_dim=8,
    hidden_dim=16,
    num_encoder_layers=1,
    num_decoder_layers=1,
    bidirectional=False,
    sequence_length=2,
    output_seq_length=1,
    batch_size=4,
)

UNITS = 200
"""Products in a call, which is the whole of a turn and takes about as long as one is to: two more are one per cent."""

BUDGET = Budget(
    timed_s=0.3,
    warmup_s=0.02,
    min_turns=5,
    calls=1,
    min_blocks=MIN_BLOCKS,
    max_blocks=12,
    total_s=float("inf"),
    limit_s=60,
    measures_memory=False,
)

TEMPLATE = '''"""A synthetic worker: {units} units of work a call."""

import numpy as np

from impls.reference import Reference

ROW = {{"tier": "loop", "summary": "{units} units of work a call", "frameworks": ["numpy"]}}

WEIGHTS = np.eye(64, dtype=np.float32)


class Synthetic(Reference):
    """The oracle's answer, and work that is counted."""

    answered, state = None, np.zeros((16, 64), np.float32)

    def forward(self, x, y):
        if x is not self.answered:
            self.answered, self.answer = x, super().forward(x, y)
        for _ in range({units}):
            self.state = unit(self.state)
        return self.answer


def unit(state):
    return np.tanh(state @ WEIGHTS)


def load(config, parameters, device):
    return Synthetic(config, parameters, np.float32)
'''


def write_worker(folder: Path, name: str, percent: int = 0) -> Row:
    """The row of a synthetic worker with so many per cent of extra work, written into the folder."""
    path = folder / f"{name}.py"
    path.write_text(TEMPLATE.format(units=UNITS * (100 + percent) // 100), encoding="utf-8")
    return read_row(path)


def entry(
    row: Row, name: str = "", workloads: Sequence[Workload] = (WORKLOAD,), tasks: Sequence[Task] = ("forward",)
) -> Entry:
    """A worker, and all that it is timed on; ``name``: what it is called, if not as its row."""
    cells, _ = cells_of(row, workloads, tasks, "cpu", 1, "float32")
    named = tuple(replace(cell, implementation=name or row.name) for cell in cells)
    return Entry(name or row.name, row, 1, "float32", named)


def plan_of(rows: Sequence[Row], seed: int, budget: Budget = BUDGET) -> Plan:
    """All synthetic workers in one pool."""
    return Plan((Pool(0, 1, tuple(map(entry, rows))),), (), budget, rows[0].name, seed)


def pose(
    folder: Path, workloads: Sequence[Workload] = (WORKLOAD,), tasks: Sequence[Task] = ("forward",)
) -> dict[str, ProblemFile]:
    """The workloads' numbers and the right answers, written into the folder."""
    problems = {}
    for one in workloads:
        path = folder / f"{one.name}.safetensors"
        reference_outputs.save(reference_outputs.pose(one, tuple(tasks)), path)
        problems[one.name] = ProblemFile(one.config, str(path), reference_outputs.sizes_of(one))
    return problems


@dataclass(frozen=True, slots=True)
class Pair:
    """Two workers that are held against each other: ours has so many per cent more work."""

    ours: str
    theirs: str
    percent: int = 0


class Sides(Struct, frozen=True, kw_only=True):
    """What two workers took, block by block, in the blocks that both have."""

    ours_s: list[list[float]]
    """Seconds a call of each turn."""
    theirs_s: list[list[float]]
    disturbed: list[list[int]]
    """The turns in which somebody else had the processor of either."""

    @property
    def log_ratios(self) -> list[float]:
        """Log of ours over theirs, block by block."""
        ratios = map(log_ratio_of_block, self.ours_s, self.theirs_s, self.disturbed)
        return [ratio for ratio in ratios if ratio is not None]


def sides_of(pair: Pair, records: Sequence[Record]) -> Sides:
    """What the pair's workers took, in the attempts that count."""
    ours, theirs = (
        {
            (one.block, one.attempt): one
            for one in counted_of([one for one in records if one.cell.implementation == name])
        }
        for name in (pair.ours, pair.theirs)
    )
    both = sorted(ours.keys() & theirs.keys())
    return Sides(
        ours_s=[ours[block].samples_s for block in both],
        theirs_s=[theirs[block].samples_s for block in both],
        disturbed=[sorted({*ours[block].disturbed, *theirs[block].disturbed}) for block in both],
    )


def works(pair: Pair, records: Sequence[Record]) -> bool:
    """Whether neither side has failed in any of these records."""
    return all(one.ok for one in records if one.cell.implementation in (pair.ours, pair.theirs))


def undecided_pairs(pairs: Sequence[Pair]) -> NextBlock:
    """What is due next where each pair goes on, group by group, until it has a verdict, as a row of a run does."""

    def next_block(plan: Plan, records: Sequence[Record]) -> tuple[int, tuple[PlannedGroup, ...]] | None:
        block = max((record.block for record in records), default=0) + 1
        if plan.budget.max_blocks is not None and block > plan.budget.max_blocks:
            return None
        (table,) = plan.pools
        groups = groups_of(table)
        by_group: dict[Group, list[Record]] = {group: [] for group in groups}
        for record in records:
            by_group[record.cell.group].append(record)
        series = [[sides_of(pair, own).log_ratios for pair in pairs] for own in by_group.values()]
        planned_groups = []
        for (group, own), said in zip(by_group.items(), said_in_groups(series), strict=True):
            wanted = {
                name
                for pair, (verdict, blocks) in zip(pairs, said, strict=True)
                if (verdict == "UNCLEAR" or blocks < plan.budget.min_blocks) and works(pair, own)
                for name in (pair.ours, pair.theirs)
            }
            if due := tuple(member for member in groups[group] if member[0].name in wanted):
                planned_groups.append(PlannedGroup(table, group, due))
        return (block, shuffled(planned_groups, plan.seed, block)) if planned_groups else None

    return next_block
