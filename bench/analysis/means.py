"""Each row's geometric mean over the workloads, where all of them have one baseline. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench import units
from bench.analysis import stats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Cell, Group
    from impls.contract import Device, Precision
    from impls.tasks import AnyTask


class TaskAt(NamedTuple):
    """A task, and where it is measured: a group without its workload."""

    task: AnyTask
    device: Device
    precision: Precision
    threads: int

    @property
    def place(self) -> str:
        """``cpu×1``."""
        return units.place(self.device, self.threads, self.precision)


def task_at(one: Group | Cell) -> TaskAt:
    """The task of a group or cell, and where it is measured."""
    return TaskAt(one.task, one.device, one.precision, one.threads)


def means(cells: Iterable[CellAnalysis]) -> dict[TaskAt, dict[str, stats.Summary]]:
    """For each task at its place, the mean ratio of each row that has all workloads: none of a single workload."""
    ratios: dict[TaskAt, dict[str, list[list[float]]]] = {}
    workloads: dict[TaskAt, set[str]] = {}
    baselines: dict[TaskAt, set[str | None]] = {}
    for one in cells:
        at = task_at(one.cell.group)
        if one.cell.role == "row" and one.log_ratios:
            of_row = ratios.setdefault(at, {}).setdefault(one.cell.implementation, [])
            of_row.append([one.log_ratios[block] for block in sorted(one.log_ratios)])
            workloads.setdefault(at, set()).add(one.cell.workload)
            baselines.setdefault(at, set()).add(one.baseline)
    return {
        at: {name: stats.geometric_mean(lists) for name, lists in of_place.items() if len(lists) == len(workloads[at])}
        for at, of_place in ratios.items()
        if len(workloads[at]) > 1 and len(baselines[at]) == 1
    }
