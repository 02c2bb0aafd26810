"""Which of several results speaks for them all, on README, in the index and on a page. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from bench.measure.plan import BASELINE, BUDGETS
from bench.records.versions import compares_rows
from bench.workloads.shapes import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.records.schema import Cell, Result
    from bench.report.rows import TableRow

TASKS_OF_README = ("train_step", "forward")


def featured_result(results: Iterable[Result]) -> Result | None:
    """The result with the most to say of which row to choose: see `weight`; None if there is none."""
    return max(results, key=weight, default=None)


def weight(result: Result) -> tuple[bool, bool, bool, int, float]:
    """What results are ordered by: whether it answers README's question, and in the time that README's command takes;
    whether it compares rows, how many, and when.

    A short run of two rows, however new, says less than one of all; and what readers are shown is what they will get.
    """
    rows = {record.cell.implementation for record in result.records if record.ok}
    began = datetime.fromisoformat(result.run.started_at).timestamp()
    answers = answers_readme(result)
    usual = answers and result.run.plan.budget_s == BUDGETS["default"].total_s
    return answers, usual, compares_rows(result.run) and len(rows) > 1, len(rows), began


def answers_readme(result: Result) -> bool:
    """Whether it compares rows on the default workloads and README's tasks, with the usual baseline."""
    names = [name for name, one in WORKLOADS.items() if "default" in one.presets]
    here = {(record.cell.workload, record.cell.task) for record in result.records if is_readmes(record.cell)}
    wanted = {(name, task) for name in names for task in TASKS_OF_README}
    return wanted <= here and compares_rows(result.run) and result.run.baseline == BASELINE


def is_readmes(cell: Cell | TableRow) -> bool:
    """Whether README speaks of it: the CPU, one thread, float32."""
    return (cell.device, cell.threads, cell.precision) == ("cpu", 1, "float32")
