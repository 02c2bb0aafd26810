"""Workers whose true ratio is known: identical ones, and ones with extra work planted in them.

Synthetic ones: a call is two hundred units of work, small NumPy products, and a turn is one call. A worker with ten
units more does five per cent more of the same work: the slow-down is real. In time it is a little less than five per
cent, for the call itself, and the cold caches it begins with, take the same for any number of units. The answer, which
is checked like that of any row, is computed by the first call with an input: before the clock runs.

Real rows as each other's twins: the same row as several workers, and rows that are longer by a known share. There a
planted slow-down is a wrapper that, after each call of the row, works on for a known share of the processor time that
the call took: calls of some rows last longer than a turn, so that one call more in twenty would not be in most turns.
What was really planted is what the workers took of the processor: it is measured, beside the verdicts on wall time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import msgspec
import numpy as np

from bench.analysis.cells import counted_of
from bench.analysis.stats import log_ratio_of_block
from bench.analysis.verdict import MIN_BLOCKS
from bench.calibration.simulate import said_in_groups
from bench.measure.messages import ProblemFile
from bench.measure.plan import BUDGETS, PRESETS, Budget, Entry, Plan, PlannedGroup, Pool, cells_of, groups_of
from bench.measure.runner import NextBlock
from bench.measure.stopping import shuffled
from bench.records.schema import Group, Record, Struct
from bench.workloads import reference_outputs
from bench.workloads.shapes import Workload, choose, shape_workload
from impls import Row, RowFacts, read_row
from impls.tasks import AnyTask

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

PAIRS_A_TABLE = 8
PLANTED = (1, 2, 3, 5, 10)
"""Per cent of extra work, each held against a worker of a pair of its own."""

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

TWINS_BUDGET = replace(BUDGETS["default"], max_blocks=8, total_s=float("inf"), measures_memory=False)
"""As many blocks as a default run has time for, about."""

PAIRS_A_ROW = 2
"""Disjoint: no worker is in two of them."""

PLANTED_IN_ROWS = (5, 10)
"""Per cent of processor time that a row's longer ones take more, each held against one of a pair."""

LONGER_TEMPLATE = '''"""{name}, and {percent} % of its processor time more in each call."""

import time
from pathlib import Path

from impls import import_row, read_row

ROW = {facts!r}

SHARE = {percent} / 100


class Longer:
    """The row, whose calls go on after they are done."""

    def __init__(self, row):
        self._row = row

    def __getattr__(self, name):
        return getattr(self._row, name)

    def forward(self, *arguments):
        return self._longer(self._row.forward, arguments)

    def train_step(self, *arguments):
        return self._longer(self._row.train_step, arguments)

    def _longer(self, call, arguments):
        began = time.process_time()
        result = call(*arguments)
        self._row.wait(result)
        now = time.process_time()
        until = now + SHARE * (now - began)
        while time.process_time() < until:
            pass
        return result


def load(config, parameters, device):
    row = read_row(Path({path!r}))
    return Longer(import_row(row).load(config, parameters, device))
'''


@dataclass(frozen=True, slots=True)
class Pair:
    """Two workers that are held against each other: ours has so many per cent more work."""

    ours: str
    theirs: str
    percent: int = 0
    row: str | None = None
    """Which row both are, if they are not synthetic."""


@dataclass(frozen=True, slots=True)
class Table:
    """Workers that take turns with each other, and which is held against which in every group."""

    pairs: list[Pair]
    plan: Plan
    problems: dict[str, ProblemFile]


def synthetic_table(folder: Path, seed: int) -> Table:
    """Pairs of identical synthetic workers, and one of each planted slow-down; what they need is in the folder."""
    pairs = identical_pairs(PAIRS_A_TABLE)
    pairs += [Pair(f"plus{percent}", pair.ours, percent) for pair, percent in zip(pairs, PLANTED, strict=False)]
    return Table(pairs, plan_of(entries_of(folder, pairs), seed), pose(folder))


def identical_pairs(number: int) -> list[Pair]:
    """So many pairs of identical synthetic workers, none of which is in two."""
    return [Pair(f"pair{index}-a", f"pair{index}-b") for index in range(number)]


def entries_of(folder: Path, pairs: Sequence[Pair]) -> list[Entry]:
    """The synthetic workers of these pairs, written into the folder."""
    percents = {name: 0 for pair in pairs for name in (pair.ours, pair.theirs)}
    percents |= {pair.ours: pair.percent for pair in pairs}
    return [entry(write_worker(folder, name, percent)) for name, percent in percents.items()]


def twins_table(folder: Path, rows: Sequence[Row], seed: int) -> Table:
    """Each row several times, on the default workloads; what they need is in the folder."""
    workloads, tasks = choose([], "default", "cpu"), PRESETS["default"]
    longer = {(row.name, percent): write_longer(folder, row, percent) for row in rows for percent in PLANTED_IN_ROWS}
    entries = twin_entries(rows, longer, workloads, tasks)
    return Table(twins_of(rows), plan_of(entries, seed, TWINS_BUDGET), pose(folder, workloads, tasks))


def twin_entries(
    rows: Sequence[Row], longer: Mapping[tuple[str, int], Row], workloads: Sequence[Workload], tasks: Sequence[AnyTask]
) -> list[Entry]:
    """All twins of these rows; ``longer``: the rows with a planted slow-down, by name and per cent."""
    entries: dict[str, Entry] = {}
    for row in rows:
        for pair in twins_of([row]):
            ours = longer[row.name, pair.percent] if pair.percent else row
            for name, own in ((pair.ours, ours), (pair.theirs, row)):
                entries.setdefault(name, entry(own, name, workloads, tasks))
    return [*entries.values()]


def twins_of(rows: Sequence[Row]) -> list[Pair]:
    """The pairs of a table of rows: identical ones, and one for each planted slow-down."""
    pairs = []
    for row in rows:
        numbers = range(1, 2 * PAIRS_A_ROW, 2)
        plain = [Pair(f"{row.name}~{number}", f"{row.name}~{number + 1}", row=row.name) for number in numbers]
        planted = zip(PLANTED_IN_ROWS, plain, strict=False)
        longer = [Pair(f"{row.name}+{percent}", pair.ours, percent, row.name) for percent, pair in planted]
        pairs += [*plain, *longer]
    return pairs


def write_worker(folder: Path, name: str, percent: int = 0) -> Row:
    """The row of a synthetic worker with so many per cent of extra work, written into the folder."""
    path = folder / f"{name}.py"
    path.write_text(TEMPLATE.format(units=UNITS * (100 + percent) // 100), encoding="utf-8")
    return read_row(path)


def write_longer(folder: Path, row: Row, percent: int) -> Row:
    """The row whose calls take so much more, written into the folder."""
    facts = msgspec.to_builtins({name: getattr(row, name) for name in RowFacts.__struct_fields__})
    path = folder / f"{row.name.replace('/', '-')}-{percent}.py"
    text = LONGER_TEMPLATE.format(name=row.name, percent=percent, facts=facts, path=str(row.path))
    path.write_text(text, encoding="utf-8")
    return read_row(path)


def entry(
    row: Row, name: str = "", workloads: Sequence[Workload] = (WORKLOAD,), tasks: Sequence[AnyTask] = ("forward",)
) -> Entry:
    """A worker, and all that it is timed on; ``name``: what it is called, if not as its row."""
    cells, _ = cells_of(row, workloads, tasks, "cpu", 1, "float32")
    named = tuple(msgspec.structs.replace(cell, implementation=name or row.name) for cell in cells)
    return Entry(name or row.name, row, 1, "float32", named)


def plan_of(entries: Sequence[Entry], seed: int, budget: Budget = BUDGET) -> Plan:
    """All of these workers in one pool."""
    return Plan((Pool(0, 1, tuple(entries)),), (), budget, entries[0].name, seed)


def pose(
    folder: Path, workloads: Sequence[Workload] = (WORKLOAD,), tasks: Sequence[AnyTask] = ("forward",)
) -> dict[str, ProblemFile]:
    """The workloads' numbers and the right answers, written into the folder."""
    problems = {}
    for one in workloads:
        path = folder / f"{one.name}.safetensors"
        reference_outputs.save(reference_outputs.pose(one, tuple(tasks)), path)
        problems[one.name] = ProblemFile(one.config, str(path), reference_outputs.sizes_of(one))
    return problems


class Sides(Struct, frozen=True, kw_only=True):
    """What two workers took, block by block, in the blocks that both have."""

    ours_s: list[list[float]]
    """Seconds a call of each turn."""
    theirs_s: list[list[float]]
    preempted: list[list[int]] = msgspec.field(name="disturbed")
    """The turns in which somebody else had the processor of either."""

    @property
    def log_ratios(self) -> list[float]:
        """Log of ours over theirs, block by block."""
        ratios = map(log_ratio_of_block, self.ours_s, self.theirs_s, self.preempted)
        return [ratio for ratio in ratios if ratio is not None]


class Processor(Struct, frozen=True, kw_only=True):
    """Processor seconds a call that two workers took, block by block."""

    ours_s: list[float]
    theirs_s: list[float]

    @property
    def log_ratios(self) -> list[float]:
        """Log of ours over theirs, block by block."""
        return list(np.log(self.ours_s) - np.log(self.theirs_s))


def _of(name: str, records: Sequence[Record]) -> list[Record]:
    return [one for one in records if one.cell.implementation == name]


def sides_of(pair: Pair, records: Sequence[Record]) -> Sides:
    """What the pair's workers took, in the attempts that count."""
    ours, theirs = (
        {(one.block, one.attempt): one for one in counted_of(_of(name, records))} for name in (pair.ours, pair.theirs)
    )
    both = sorted(ours.keys() & theirs.keys())
    return Sides(
        ours_s=[ours[block].samples_s for block in both],
        theirs_s=[theirs[block].samples_s for block in both],
        preempted=[sorted({*ours[block].preempted, *theirs[block].preempted}) for block in both],
    )


def processor_of(pair: Pair, records: Sequence[Record]) -> Processor:
    """What the pair took of the processor in the blocks that both have, by their last attempt."""
    in_order = sorted((one for one in records if one.ok), key=lambda one: one.attempt)
    ours, theirs = (
        {one.block: (one.cpu_per_wall or 0.0) * fmean(one.samples_s) for one in _of(name, in_order)}
        for name in (pair.ours, pair.theirs)
    )
    both = sorted(ours.keys() & theirs.keys())
    return Processor(ours_s=[ours[block] for block in both], theirs_s=[theirs[block] for block in both])


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
