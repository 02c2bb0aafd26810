"""Which entries share a pool, for how many turns, and what the next block is for: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor
from typing import TYPE_CHECKING

import msgspec

from bench.machine.interpreters import OWN
from bench.measure.presets import Budget
from bench.records.schema import CONTROL, Cell, Group, Record, without_time
from bench.records.versions import join, split

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from bench.machine.interpreters import Interpreter
    from bench.workloads.shapes import Workload
    from impls import Row
    from impls.contract import Device, Precision, Task


@dataclass(frozen=True, slots=True)
class Entry:
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
        """What the entry's files are called; a person's own ``torch-mine.py`` has others than ``torch/mine``."""
        return f"{self.name.replace('-', '--').replace('/', '-')}-{self.threads}-{self.precision}"


@dataclass(frozen=True, slots=True)
class Pool:
    """Entries whose workers are alive at once and take turns."""

    number: int
    threads: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: its pools, and the cells that are skipped without a worker."""

    pools: tuple[Pool, ...]
    skipped: tuple[Record, ...]
    budget: Budget
    baseline: str
    seed: int

    @property
    def names(self) -> list[list[str]]:
        """Who is in each pool, control and bounds included."""
        return [[entry.name for entry in pool.entries] for pool in self.pools]


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """A group of cells in a pool: its members take turns with each other."""

    pool: Pool
    group: Group
    members: tuple[tuple[Entry, Cell], ...]


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
    entries_a_pool: int | None = None,
    bounds: Sequence[Row] = (),
    interpreters: Sequence[Interpreter] = (OWN,),
    entered: Collection[str] | None = None,
) -> Plan:
    """Every row x workload x task in a pool for each number of threads and precision, and the control at each.

    A row has an entry for each interpreter, the baseline's row before the others. Where a pool has room for fewer,
    there are several, each with the baseline and the control. ``bounds``: what rows are held against, entered once.
    ``entered``: who had an entry when a run began that goes on; nobody else gets one, whatever was installed since.
    """
    rows = sorted(rows, key=lambda row: row.name != split(baseline).row)
    pools: list[Pool] = []
    skipped: list[Record] = []
    for number in threads:
        for precision in precisions:
            entries = []
            for row, interpreter in product(rows, interpreters):
                cells, without = cells_of(row, workloads, tasks, device, number, precision, interpreter)
                skipped += without
                name = join(row.name, interpreter.version)
                if entered is not None and name not in entered:
                    skipped += [
                        without_time(cell, "unavailable", "was not installed when the run began") for cell in cells
                    ]
                elif cells:
                    entries.append(Entry(name, row, number, precision, cells, interpreter))
            for bound in bounds:
                held = [entry for entry in entries if entry.row.multiplier == bound.framework]
                groups = {cell.group for entry in held for cell in entry.cells}
                cells, _ = cells_of(bound, workloads, tasks, device, number, precision)
                if wanted := tuple(cell for cell in cells if cell.group in groups):
                    entries.append(Entry(bound.name, bound, number, precision, wanted))
            for members in _pools_of(entries, baseline, entries_a_pool):
                pools.append(Pool(len(pools), number, members))
    return Plan(tuple(pools), tuple(skipped), budget, baseline, seed)


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
    cells, skipped = [], []
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
                skipped.append(without_time(cell, "unsupported", reason))
            elif missing:
                skipped.append(without_time(cell, "unavailable", missing))
            else:
                cells.append(cell)
    return tuple(cells), skipped


def _pools_of(entries: Sequence[Entry], baseline: str, most: int | None) -> Iterable[tuple[Entry, ...]]:
    if not entries:
        return
    base = next((entry for entry in entries if entry.name == baseline), entries[0])
    twin = replace(base, name=CONTROL, cells=tuple(_renamed(cell, CONTROL) for cell in base.cells))
    others = [entry for entry in entries if entry is not base]
    room = max(1, (most or len(entries) + 1) - 2)
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
    """How many turns each member of a planned group takes, for calls that take this long."""
    turns = [seconds * (budget.calls or calls_a_turn(seconds, budget)) for seconds in call_s]
    affordable = floor(budget.timed_s * len(turns) / sum(turns) + ROUNDING) if turns else 0
    return max(budget.min_turns, min(ceil(budget.timed_s / budget.turn_s), affordable))


def groups_of(pool: Pool) -> dict[Group, list[tuple[Entry, Cell]]]:
    """The members of each group in a pool."""
    groups: dict[Group, list[tuple[Entry, Cell]]] = {}
    for entry in pool.entries:
        for cell in entry.cells:
            groups.setdefault(cell.group, []).append((entry, cell))
    return groups
