"""Which cells, in which workers, for how long: pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from bench.records import Cell, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.workloads import Workload
    from impls import Row
    from impls.contract import Device, Task


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a cell is sampled and warmed up, and when it is given up."""

    sampling_s: float
    warmup_s: float
    min_samples: int
    limit_s: float
    at_once: bool = False
    """Whether several workers may work at once, each on processors of its own: a check, no measurement."""


BUDGETS = {
    "smoke": Budget(sampling_s=0.15, warmup_s=0.05, min_samples=5, limit_s=120, at_once=True),
    "default": Budget(sampling_s=0.4, warmup_s=0.2, min_samples=5, limit_s=300),
    "full": Budget(sampling_s=3.0, warmup_s=1.0, min_samples=10, limit_s=1800),
}

SAMPLE_S = 0.010
"""A sample lasts at least this long, so that the clock's own time is nothing beside it."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One worker: a row with a number of threads, and all the cells it measures."""

    number: int
    row: Row
    threads: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: the workers' cells, and the cells that are settled without one."""

    seats: tuple[Seat, ...]
    settled: tuple[Record, ...]
    budget: Budget

    @property
    def cells(self) -> int:
        """How many records a whole run has."""
        return sum(len(seat.cells) for seat in self.seats) + len(self.settled)


def make_plan(
    *,
    rows: Sequence[Row],
    workloads: Sequence[Workload],
    tasks: Sequence[Task],
    device: Device,
    threads: Sequence[int],
    budget: Budget,
) -> Plan:
    """Every row x workload x task x number of threads on the device, row by row."""
    seats: list[Seat] = []
    settled: list[Record] = []
    for row in rows:
        missing = row.missing()
        for number in threads:
            cells = []
            for workload in workloads:
                for task in tasks:
                    cell = Cell(
                        implementation=row.name,
                        framework=row.framework,
                        tier=row.tier,
                        workload=workload.name,
                        task=task,
                        device=device,
                        threads=number,
                    )
                    if reason := row.unsupported.get(task) or _without(row, device):
                        settled.append(settle(cell, "unsupported", reason))
                    elif missing:
                        settled.append(settle(cell, "unavailable", missing))
                    else:
                        cells.append(cell)
            if cells:
                seats.append(Seat(len(seats), row, number, tuple(cells)))
    return Plan(tuple(seats), tuple(settled), budget)


def cell_of(record: Record) -> Cell:
    """The cell that a record is about."""
    return Cell(**{name: getattr(record, name) for name in Cell.__struct_fields__})


def settle(cell: Cell, status: str, reason: str) -> Record:
    """The record of a cell that has no time."""
    return Record(
        **{name: getattr(cell, name) for name in Cell.__struct_fields__},
        status=status,  # type: ignore[arg-type]
        reason=reason,
    )


def _without(row: Row, device: Device) -> str | None:
    if device in row.devices:
        return None
    return row.unsupported.get(device, f"the row does not run on a {device}")


def samples_and_iterations(call_s: float, budget: Budget) -> tuple[int, int]:
    """How many samples of how many calls fill the budget, for a call that takes ``call_s``."""
    iterations = max(1, ceil(SAMPLE_S / call_s))
    samples = round(budget.sampling_s / (call_s * iterations))
    return max(budget.min_samples, samples), iterations


def expected_s(cell: Cell, row: Row, budget: Budget, batches: int) -> float:
    """About how long a cell takes, for the progress bar: compiling weighs most."""
    compiling = 2.5 * batches * (2 if cell.task in ("gradients", "train_step") else 1) if row.compiles else 0.0
    return compiling + budget.sampling_s + budget.warmup_s + 0.2
