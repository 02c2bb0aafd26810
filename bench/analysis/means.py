"""Each row's geometric mean over the workloads, where all of them have one baseline. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.analysis import stats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Group


class TaskAtPlace(NamedTuple):
    """What of a group is the same from workload to workload."""

    task: str
    device: str
    threads: int
    precision: str


def task_at_place(group: Group) -> TaskAtPlace:
    """The group without its workload."""
    return TaskAtPlace(group.task, group.device, group.threads, group.precision)


def means(cells: Iterable[CellAnalysis]) -> dict[TaskAtPlace, dict[str, stats.Summary]]:
    """For each task at its place, the mean ratio of each row that has all workloads: none of a single workload."""
    ratios: dict[TaskAtPlace, dict[str, list[list[float]]]] = {}
    workloads: dict[TaskAtPlace, set[str]] = {}
    baselines: dict[TaskAtPlace, set[str | None]] = {}
    for one in cells:
        at = task_at_place(one.cell.group)
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
