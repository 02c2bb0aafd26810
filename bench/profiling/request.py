"""What is asked of ``bench profile``: the words of a command line, checked before anything is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.here import ROOT
from bench.measure.plan import cells_of
from bench.measure.request import (
    check_workloads,
    choose_rows,
    choose_tasks,
    command_of,
    free_folder,
    parse_threads,
    plain,
)
from bench.workloads.shapes import choose
from impls.contract import InvalidInput, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.schema import Cell
    from bench.workloads.shapes import Workload
    from impls import Row

PROFILES = ROOT / "results" / "profiles"
"""Where profiles go; git ignores it."""

TIERS = ("idiomatic", "tuned")
"""Of what rows are profiled where none is named."""

DEFAULT_WORKLOADS = ("seed",)
DEFAULT_TASKS: tuple[Task, ...] = ("forward", "train_step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of ``bench profile``, checked."""

    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]
    """Each row, and what it is profiled at."""
    workloads: tuple[Workload, ...]
    threads: int
    out: Path
    command: str

    @property
    def cells(self) -> list[tuple[Row, Cell]]:
        """All that is to be profiled, in order."""
        return [(row, cell) for row, cells in self.rows for cell in cells]


def check_profile(
    *,
    rows: Sequence[str],
    workload: Sequence[str],
    task: Sequence[Task],
    threads: str,
    out: Path | None,
) -> Asked:
    """What the words of a command line ask for.

    Raises:
        InvalidInput: a word means nothing here, a row cannot do what is asked of it, or is not installed.
    """
    chosen_rows = choose_rows(rows)
    if not rows:
        chosen_rows = [row for row in chosen_rows if row.tier in TIERS and row.missing() is None]
    workloads = choose(workload or DEFAULT_WORKLOADS, "default", "cpu")
    tasks = choose_tasks(task or DEFAULT_TASKS, "default")
    (number,) = parse_threads([threads])
    check_workloads(workloads)
    cells_of_rows = []
    for row in chosen_rows:
        if missing := row.missing():
            raise InvalidInput(f"{row.name}: {missing}; install it, or leave the row out")
        cells, unable = cells_of(row, workloads, tasks, "cpu", number, "float32")
        if rows and unable and (task or not cells):
            raise InvalidInput(f"{row.name} has no {unable[0].cell.task}: {unable[0].reason}")
        if cells:
            cells_of_rows.append((row, cells))
    if not cells_of_rows:
        raise InvalidInput("no idiomatic or tuned row is installed; `python -m bench list` says what is missing")
    return Asked(
        rows=tuple(cells_of_rows),
        workloads=tuple(workloads),
        threads=number,
        out=free_folder(out, PROFILES),
        command=command_of(
            "profile", *map(plain, rows), workload=workload, task=task, threads=[threads] if threads != "1" else []
        ),
    )
