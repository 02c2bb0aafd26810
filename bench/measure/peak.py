"""``bench peak``: how fast products can be made here: the bounds alone in interleaved blocks, no row beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.analysis.cells import analyse
from bench.measure.lock import only_run
from bench.measure.messages import ProblemFile
from bench.measure.plan import BUDGETS, Entry, Plan, Pool, cells_of
from bench.measure.request import check_device, check_workloads, choose_precisions, choose_tasks, parse_threads
from bench.measure.runner import Listener, run_plan
from bench.records.schema import Block, Record
from bench.workloads import reference_outputs
from bench.workloads.shapes import choose
from impls import find_bounds
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.measure.plan import PlannedGroup
    from bench.records.schema import Cell, Line
    from bench.workloads.shapes import Workload
    from impls import Row
    from impls.contract import Device, Precision
    from impls.tasks import AnyTask

BLOCKS = 3
SEED = 1
"""Draws the order of groups and turns: nothing is compared here that it could favour."""

BUDGET = replace(
    BUDGETS["default"],
    timed_s=0.2,
    min_blocks=BLOCKS,
    max_blocks=BLOCKS,
    total_s=float("inf"),
    measures_memory=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of ``bench peak``, checked."""

    bounds: tuple[Row, ...]
    workloads: tuple[Workload, ...]
    tasks: tuple[AnyTask, ...]
    device: Device
    threads: tuple[int, ...]
    precisions: tuple[Precision, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What was measured."""

    asked: Asked
    problems: dict[str, ProblemFile]
    """Workload to its configuration and batches."""
    cells: dict[Cell, CellAnalysis]

    @property
    def failures(self) -> list[Record]:
        """Why something has no time."""
        return [one.failure for one in self.cells.values() if one.failure is not None]


def check_peak(
    *,
    workload: Sequence[str],
    task: Sequence[AnyTask],
    device: Device,
    threads: Sequence[str],
    precision: Sequence[Precision],
) -> Asked:
    """What the words of a command line ask for; InvalidInput where that means nothing or cannot be measured here."""
    check_device(device)
    bounds = tuple(bound for bound in find_bounds().values() if bound.missing() is None and device in bound.devices)
    if not bounds:
        raise InvalidInput("no framework is installed that has a bound; `python -m bench list` names them")
    workloads = choose(workload, "default", device)
    check_workloads(workloads)
    precisions = choose_precisions(precision, device)
    had = {one for bound in bounds for one in bound.precisions if one != "tf32" or device == "gpu"}
    if without := [one for one in precisions if one not in had]:
        raise InvalidInput(f"--precision {without[0]}: no bound computes in it; choose {' or '.join(sorted(had))}")
    return Asked(
        bounds=bounds,
        workloads=tuple(workloads),
        tasks=choose_tasks(task, "default"),
        device=device,
        threads=tuple(parse_threads(threads)),
        precisions=precisions,
    )


def plan_of(asked: Asked) -> Plan:
    """A pool for each number of threads and precision, with all bounds at it."""
    pools = []
    for index, (number, precision) in enumerate(product(asked.threads, asked.precisions)):
        entries = []
        for bound in asked.bounds:
            cells, _ = cells_of(bound, asked.workloads, asked.tasks, asked.device, number, precision)
            if cells:
                entries.append(Entry(bound.name, bound, number, precision, cells))
        pools.append(Pool(index, number, tuple(entries)))
    return Plan(tuple(pools), (), BUDGET, asked.bounds[0].name, SEED)


def measure(asked: Asked, tell: Callable[[str], None]) -> Peak:
    """A few blocks of the bounds; ``tell`` hears what goes on. No file is left.

    Raises:
        InvalidInput: another run has this machine, or the dictionary cannot be read.
    """
    problems = {
        workload.name: ProblemFile(workload.config, "", reference_outputs.sizes_of(workload))
        for workload in asked.workloads
    }
    lines: list[Line] = []

    def doing(planned: PlannedGroup | None, what: str) -> None:
        if planned is not None:
            block = 1 + sum(isinstance(line, Block) for line in lines)
            tell(f"block {block} of {BLOCKS}: {planned.group.workload} {planned.group.task}: {what}")

    with only_run("bench peak") as mark, TemporaryDirectory(prefix="peak-") as folder:
        run_plan(plan_of(asked), problems, Path(folder), Listener(doing=doing, kept=lines.extend), mark=mark)
    records = [line for line in lines if isinstance(line, Record)]
    return Peak(asked=asked, problems=problems, cells=analyse(records, ""))
