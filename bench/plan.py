"""Who sits at which table, for how many turns, and what the next block is for: pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bench.interpreters import OWN
from bench.judge import Group, group_of, judge, undecided
from bench.records import CONTROL, Cell, Record, cell_of, competes, settle
from bench.rule import MIN_BLOCKS
from bench.versions import join, split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bench.interpreters import Interpreter
    from bench.workloads import Workload
    from impls import Row
    from impls.contract import Device, Precision, Task

TURN_S = 0.002
"""About how long a turn lasts. What disturbs a turn hardly depends on its length, so many short ones say more than few
long ones (``results/method/turns.md`` has the measurement)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much effort a run may take, and when a cell is given up."""

    timed_s: float
    """How long a row is timed on a cell in a block, on average over the rows."""
    warmup_s: float
    min_turns: int
    """A row whose calls are long takes at least this many turns."""
    min_blocks: int
    max_blocks: int | None
    total_s: float
    """No block is begun that would end later than this, but for those that are sure."""
    limit_s: float
    """How long a worker may take over a cell, beside twice what its turns should take, before it is given up."""
    turn_s: float = TURN_S
    calls: int | None = None
    """How many calls a turn has; as many as fill it where this is not given."""
    most_rounds: int = 2
    """Rounds go on until every row has had its number of undisturbed turns, for at most so many times that number."""
    weighs: bool = True
    """Whether peak memory is measured."""
    sure_blocks: int = 1
    """So many blocks are measured whatever time they take."""
    adapts: bool = False
    """Whether the number of turns follows, after the first block, from what that has shown."""


BUDGETS = {
    "smoke": Budget(
        timed_s=0.1, warmup_s=0.02, min_turns=2, min_blocks=1, max_blocks=1, total_s=90, limit_s=120, weighs=False
    ),
    "default": Budget(
        timed_s=0.3,
        warmup_s=0.05,
        min_turns=3,
        min_blocks=MIN_BLOCKS,
        max_blocks=None,
        total_s=1200,
        limit_s=300,
        sure_blocks=MIN_BLOCKS,
        adapts=True,
    ),
    "full": Budget(
        timed_s=1.0,
        warmup_s=0.5,
        min_turns=5,
        min_blocks=10,
        max_blocks=None,
        total_s=4 * 3600,
        limit_s=1800,
        sure_blocks=MIN_BLOCKS,
        adapts=True,
    ),
    "scaling": Budget(
        timed_s=0.1,
        warmup_s=0.02,
        min_turns=3,
        min_blocks=3,
        max_blocks=3,
        total_s=3600,
        limit_s=300,
        weighs=False,
    ),
}
BUDGETS["threads"] = BUDGETS["default"]


@dataclass(frozen=True, slots=True)
class Seat:
    """A row with a number of threads and a precision, and all the cells it can be timed on."""

    name: str
    """The row's name, with its version where the run has several; or ``control``: the baseline, a second time."""
    row: Row
    threads: int
    precision: Precision
    cells: tuple[Cell, ...]
    interpreter: Interpreter = OWN
    """What its workers run under."""

    @property
    def versioned(self) -> str:
        """The row's name with its version; the control's is that of the baseline which it is."""
        return join(self.row.name, self.interpreter.version)

    @property
    def label(self) -> str:
        """What the seat's files are called; a person's own ``torch-mine.py`` has others than ``torch/mine``."""
        return f"{self.name.replace('-', '--').replace('/', '-')}-{self.threads}-{self.precision}"


@dataclass(frozen=True, slots=True)
class Table:
    """Seats whose workers are alive at once and take turns."""

    number: int
    threads: int
    seats: tuple[Seat, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: its tables, and the cells that are settled without a worker."""

    tables: tuple[Table, ...]
    settled: tuple[Record, ...]
    budget: Budget
    baseline: str
    seed: int

    @property
    def names(self) -> list[list[str]]:
        """Who sits at each table, control and bounds included."""
        return [[seat.name for seat in table.seats] for table in self.tables]


@dataclass(frozen=True, slots=True)
class Sitting:
    """A group of cells at a table: its members take turns with each other."""

    table: Table
    group: Group
    members: tuple[tuple[Seat, Cell], ...]


def make_plan(
    *,
    rows: Sequence[Row],
    workloads: Sequence[Workload],
    tasks: Sequence[Task],
    device: Device,
    threads: Sequence[int],
    precisions: Sequence[Precision] = ("float32",),
    budget: Budget,
    baseline: str,
    seed: int,
    seats_a_table: int | None = None,
    bounds: Sequence[Row] = (),
    interpreters: Sequence[Interpreter] = (OWN,),
    seated: Collection[str] | None = None,
) -> Plan:
    """Every row x workload x task at a table for each number of threads and precision, and the control at each.

    A row has a seat for each interpreter, the baseline's row before the others. Where a table seats fewer than all,
    there are several, each with the baseline and the control. ``bounds``: what rows are held against, seated once.
    ``seated``: who had a seat when a run began that goes on; nobody else gets one, whatever was installed since.
    """
    rows = sorted(rows, key=lambda row: row.name != split(baseline).row)
    tables: list[Table] = []
    settled: list[Record] = []
    for number in threads:
        for precision in precisions:
            seats = []
            for row, interpreter in product(rows, interpreters):
                cells, without = cells_of(row, workloads, tasks, device, number, precision, interpreter)
                settled += without
                name = join(row.name, interpreter.version)
                if seated is not None and name not in seated:
                    settled += [settle(cell, "unavailable", "was not installed when the run began") for cell in cells]
                elif cells:
                    seats.append(Seat(name, row, number, precision, cells, interpreter))
            for bound in bounds:
                held = [seat for seat in seats if seat.row.multiplier == bound.framework]
                groups = {group_of(cell) for seat in held for cell in seat.cells}
                cells, _ = cells_of(bound, workloads, tasks, device, number, precision)
                if wanted := tuple(cell for cell in cells if group_of(cell) in groups):
                    seats.append(Seat(bound.name, bound, number, precision, wanted))
            for members in _tables_of(seats, baseline, seats_a_table):
                tables.append(Table(len(tables), number, members))
    return Plan(tuple(tables), tuple(settled), budget, baseline, seed)


def cells_of(
    row: Row,
    workloads: Sequence[Workload],
    tasks: Sequence[Task],
    device: Device,
    threads: int,
    precision: Precision,
    interpreter: Interpreter = OWN,
) -> tuple[tuple[Cell, ...], list[Record]]:
    """What the row can be timed on, and the records of what it cannot."""
    cells, settled = [], []
    missing = row.missing(interpreter.has)
    for workload in workloads:
        for task in tasks:
            cell = Cell(
                implementation=join(row.name, interpreter.version),
                framework=row.framework,
                tier=row.tier,
                workload=workload.name,
                task=task,
                device=device,
                threads=threads,
                precision=precision,
            )
            if reason := row.unsupported.get(task) or _without(row, device, precision):
                settled.append(settle(cell, "unsupported", reason))
            elif missing:
                settled.append(settle(cell, "unavailable", missing))
            else:
                cells.append(cell)
    return tuple(cells), settled


def _tables_of(seats: Sequence[Seat], baseline: str, most: int | None) -> Iterable[tuple[Seat, ...]]:
    if not seats:
        return
    base = next((seat for seat in seats if seat.name == baseline), seats[0])
    twin = replace(base, name=CONTROL, cells=tuple(_renamed(cell, CONTROL) for cell in base.cells))
    others = [seat for seat in seats if seat is not base]
    room = max(1, (most or len(seats) + 1) - 2)
    for start in range(0, max(1, len(others)), room):
        yield (base, *others[start : start + room], twin)


def _renamed(cell: Cell, name: str) -> Cell:
    return msgspec.structs.replace(cell, implementation=name)


def _without(row: Row, device: Device, precision: Precision) -> str | None:
    if device not in row.devices:
        return row.unsupported.get(device, f"the row does not run on a {device}")
    return None if precision in row.precisions else f"the row does not compute in {precision}"


ROUNDING = 1e-9
"""So much short of a whole number of turns is one: 1.2 / 0.4 is 2.9999999999999996."""


def calls_a_turn(call_s: float, budget: Budget) -> int:
    """How many calls fill a turn."""
    return max(1, ceil(budget.turn_s / call_s))


def rounds_of(call_s: Iterable[float], budget: Budget) -> int:
    """How many turns each member of a sitting takes, for calls that take this long."""
    turns = [seconds * (budget.calls or calls_a_turn(seconds, budget)) for seconds in call_s]
    affordable = floor(budget.timed_s * len(turns) / sum(turns) + ROUNDING) if turns else 0
    return max(budget.min_turns, min(ceil(budget.timed_s / budget.turn_s), affordable))


def checks_unseen(plan: Plan, sitting: Sitting, block: int) -> bool:
    """Whether a group is held against the oracle, after its turns, on an input that its workers have not seen.

    In the first block, in one of the three after the first verdicts, as the seed draws for it, and in the last where
    that is planned. Where it is not, each cell is once more, by a process of its own, before the run ends.
    """
    number = zlib.crc32(" ".join(map(str, (*sitting.group, sitting.table.number))).encode())
    drawn = MIN_BLOCKS + 1 + int(np.random.default_rng([plan.seed, number]).integers(3))
    return block in (1, drawn, plan.budget.max_blocks)


def next_block(plan: Plan, records: Sequence[Record]) -> tuple[int, tuple[Sitting, ...]] | None:
    """The first block that is not complete, and what is missing of it, in its random order; None: all is decided.

    The smallest number of blocks has every cell that has not failed, nor lost all that it is compared with; later
    blocks have the rows that are undecided on the blocks before. It depends on the plan and the records alone, so that
    a run can go on where another has stopped.
    """
    failed = {cell_of(record) for record in records if not record.ok}
    have = {(record.block, record.table, cell_of(record)) for record in records}
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
        for table in plan.tables:
            again = _to_retake(one for one in records if (one.block, one.table) == (block, table.number))
            for group, members in groups_of(table).items():
                due = _with_company(
                    [
                        (seat, cell)
                        for seat, cell in members
                        if cell not in failed and (wanted is None or seat.name in wanted.get(group, ()))
                    ],
                    members,
                )
                if _is_alone(due) and (wanted is not None or not _is_alone(members)):
                    continue
                anything = True
                if due and (group in again or any((block, table.number, cell) not in have for _, cell in due)):
                    missing.append(Sitting(table, group, tuple(due)))
        if missing:
            return block, shuffled(missing, plan.seed, block)
        if wanted is not None and not anything and block > latest:
            return None  # what is undecided can no longer be measured


def _is_alone(members: Sequence[tuple[Seat, Cell]]) -> bool:
    """Whether at most one row is there, so that nothing is compared."""
    return sum(competes(cell) for _, cell in members) < 2


def _with_company(due: list[tuple[Seat, Cell]], members: Sequence[tuple[Seat, Cell]]) -> list[tuple[Seat, Cell]]:
    """Those who are due, without the bounds that none of them is held against, though some member was."""
    left, had = ({seat.row.multiplier for seat, cell in some if competes(cell)} for some in (due, members))
    gone = had - left
    return [(seat, cell) for seat, cell in due if not (seat.row.is_bound and seat.row.framework in gone)]


RETAKES = 0.25
"""At most this share of a block's groups is measured again because they were contended."""


def retakes_of(groups: int) -> int:
    """How many of the groups that sit at a table in a block may be measured again."""
    return max(1, int(RETAKES * groups))


def _to_retake(records: Iterable[Record]) -> set[Group]:
    """The contended groups, of those in a block at a table, whose second attempt a run was ended before."""
    groups: dict[Group, list[Record]] = {}
    for record in records:
        groups.setdefault(group_of(cell_of(record)), []).append(record)
    taken = [group for group, own in groups.items() if any(record.attempt for record in own)]
    contended = [
        group
        for group, own in groups.items()
        if group not in taken and any("contended" in record.flags for record in own)
    ]
    return set(contended[: max(0, retakes_of(len(groups)) - len(taken))])


def _wanted(records: Sequence[Record], baseline: str) -> dict[Group, set[str]]:
    judged = judge(records, baseline)
    bases = {group_of(one.cell): one.baseline for one in judged.values() if one.baseline}
    return {group: names | {bases[group], CONTROL} for group, names in undecided(judged.values()).items()}


def groups_of(table: Table) -> dict[Group, list[tuple[Seat, Cell]]]:
    """The members of each group at a table."""
    groups: dict[Group, list[tuple[Seat, Cell]]] = {}
    for seat in table.seats:
        for cell in seat.cells:
            groups.setdefault(group_of(cell), []).append((seat, cell))
    return groups


def shuffled(sittings: Sequence[Sitting], seed: int, block: int) -> tuple[Sitting, ...]:
    """Table by table, both the tables and the groups of each in a random order, workload by workload.

    A worker holds one workload's model at a time, so the tasks of a workload stay together.
    """
    rng = np.random.default_rng([seed, block])
    tables = {sitting.table.number for sitting in sittings}
    workloads = {sitting.group.workload for sitting in sittings}
    rank = {name: rng.random() for name in sorted(workloads)}
    turn = {number: rng.random() for number in sorted(tables)}
    return tuple(
        sorted(
            sittings,
            key=lambda one: (turn[one.table.number], rank[one.group.workload], rng.random()),
        )
    )
