"""How far a run has come, on standard error: the table on standard output can be piped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from bench.plan import cell_of, expected_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.plan import Plan
    from bench.records import Cell, Record


class Progress:
    """A bar with the time left on a terminal, a line a row elsewhere."""

    def __init__(self, plan: Plan, batches: Mapping[str, int]) -> None:
        """For a plan, and how many batches each of its workloads has."""
        self._cost = {
            cell: expected_s(cell, seat.row, plan.budget, batches[cell.workload])
            for seat in plan.seats
            for cell in seat.cells
        }
        self._left = {seat.row.name: 0 for seat in plan.seats}
        for cell in self._cost:
            self._left[cell.implementation] += 1
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=120,
            refresh_per_second=1,  # it shares the processors with what is measured
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=sum(self._cost.values()))

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, what: str) -> None:
        """Show what goes on."""
        self._bar.update(self._task, description=what)
        if not self._console.is_terminal:
            self._console.print(what)

    def started(self, cell: Cell) -> None:
        """Show the cell that is being measured."""
        self._bar.update(self._task, description=f"{cell.implementation}  {cell.workload} {cell.task}")

    def finished(self, record: Record) -> None:
        """Move on by one cell."""
        cell = cell_of(record)
        if cell not in self._cost:
            return
        self._bar.advance(self._task, self._cost[cell])
        self._left[cell.implementation] -= 1
        if not self._console.is_terminal and self._left[cell.implementation] == 0:
            self._console.print(f"{cell.implementation} is done")
