"""Presets and their budgets; which entries share a pool, and for how many turns. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor
from typing import TYPE_CHECKING, Literal

import msgspec

from bench.analysis.verdict import MIN_BLOCKS
from bench.machine.interpreters import OWN
from bench.records.schema import CONTROL, Cell, Group, Record, without_time
from bench.records.versions import join, split
from impls import HERE
from impls.contract import TASKS, Device, Precision
from impls.tasks import LETTER_TASKS, AnyTask
from impls.training import training_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from bench.machine.interpreters import Interpreter
    from bench.workloads.shapes import Workload
    from impls import Row


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
    """Rounds go on until every row had its turns without preemption, for at most so many times their number."""
    measures_memory: bool = True
    """Whether peak memory is measured."""
    sure_blocks: int = 1
    """So many blocks are measured whatever time they take."""
    adapts: bool = False
    """Whether the number of turns follows, after the first block, from what that has shown."""
    pool_by_pool: bool = False
    """Whether a pool has its smallest number of blocks before the next begins: verdicts on the first come early."""


BUDGETS = {
    "smoke": Budget(
        timed_s=0.1,
        warmup_s=0.02,
        min_turns=2,
        min_blocks=1,
        max_blocks=1,
        total_s=90,
        limit_s=120,
        measures_memory=False,
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
        measures_memory=False,
    ),
}


BUDGETS["threads"] = BUDGETS["default"]
BUDGETS["gpu"] = replace(
    BUDGETS["default"],
    timed_s=0.1,
    min_turns=2,  # after each step of `gnmt` a row's 270 MB of weights are read
    total_s=360,
    limit_s=120,
    measures_memory=False,  # a process for each cell, of some seconds' start, has no room in it
    pool_by_pool=True,
)

Preset = Literal["smoke", "default", "full", "scaling", "threads", "gpu"]

PRESETS: dict[str, tuple[AnyTask, ...]] = {
    "smoke": ("forward", "train_step"),  # what compiles longest is left out: it takes two minutes on two cores
    "default": ("forward", "train_step"),  # inference and training: what decides, in twenty minutes
    "full": TASKS,
    "scaling": ("forward", "train_step"),  # not named workloads, but shapes: see `bench.workloads.sweeps`
    "threads": ("forward", "train_step"),  # one such shape
    "gpu": ("forward", "train_step"),
}
"""Name to the tasks that it measures where none is named."""

PRESET_ON: dict[Device, Preset] = {"cpu": "default", "gpu": "gpu"}
"""Device to the preset that is taken where none is named."""

PRECISIONS_OF: dict[Preset, tuple[Precision, ...]] = {"gpu": ("float32", "tf32", "bfloat16")}
"""Preset to the precisions that it measures where none is named, if not float32 alone; the most asked for first."""


BASELINE = "torch/module"


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
    tasks: Sequence[AnyTask],
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
    for number, precision in product(threads, precisions):
        entries = []
        for row, interpreter in product(rows, interpreters):
            cells, without = cells_of(row, workloads, tasks, device, number, precision, interpreter)
            skipped += without
            name = join(row.name, interpreter.version)
            if entered is not None and name not in entered:
                skipped += [without_time(cell, "unavailable", "was not installed when the run began") for cell in cells]
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
    tasks: Sequence[AnyTask],
    device: Device,
    threads: int,
    precision: Precision,
    interpreter: Interpreter = OWN,
) -> tuple[tuple[Cell, ...], list[Record]]:
    """What the row can be timed on, and the records of what it cannot."""
    cells, skipped = [], []
    missing = row.missing(interpreter.has)
    for workload, task in product(workloads, tasks):
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
        if reason := _declared(row, task) or _without(row, device, precision) or _no_letters(row, cell, workload):
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
    cells = tuple(msgspec.structs.replace(cell, implementation=CONTROL) for cell in base.cells)
    twin = replace(base, name=CONTROL, cells=cells)
    others = [entry for entry in entries if entry is not base]
    room = max(1, (most or len(entries) + 1) - 2)
    for start in range(0, max(1, len(others)), room):
        yield (base, *others[start : start + room], twin)


def _without(row: Row, device: Device, precision: Precision) -> str | None:
    if device not in row.devices:
        return row.unsupported.get(device, f"the row does not run on a {device}")
    return None if precision in row.precisions else f"the row does not compute in {precision}"


def _declared(row: Row, task: AnyTask) -> str | None:
    return next((why for name, why in row.unsupported.items() if name == task), None)


def _no_letters(row: Row, cell: Cell, workload: Workload) -> str | None:
    """Why the cell is no training's."""
    if cell.task not in LETTER_TASKS:
        return "the workload is for what is timed of a training" if workload.as_trained else None
    has_one = row.path.is_relative_to(HERE) and training_file(row).exists()  # of a file elsewhere it would be another's
    if not (row.is_bound or has_one):
        return "the row has no training"
    if not workload.is_words:
        return "the workload has no words; --workload letters has"
    if cell.precision != "float32":
        return f"no training computes in {cell.precision}"
    return None


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
