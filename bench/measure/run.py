"""A run from its request to its end: draws the numbers, carries the plan out, writes the result."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec.structs import replace

from bench.here import shown
from bench.machine import gpu
from bench.machine.cpus import processors
from bench.machine.describe import code_facts, describe
from bench.machine.limits import available_bytes
from bench.measure.lock import only_run
from bench.measure.messages import ProblemFile
from bench.measure.plan import make_plan
from bench.measure.preflight import preflight
from bench.measure.runner import DiskFull, Listener, product, run_plan, scratch
from bench.measure.stopping import Speed, expected_s
from bench.measure.subjects import wall_s
from bench.measure.worker_environment import left_out, memory_limit
from bench.records.atomic import new_folder, written
from bench.records.schema import End, PlanFacts, Run, WorkloadFacts
from bench.records.store import RECORDS_FILE, SCHEMA_VERSION, drop_half_written, read_result, record_line, start_result
from bench.records.versions import join
from bench.workloads import reference_outputs
from bench.workloads.shapes import estimate_bytes
from impls import HERE
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure.plan import Plan
    from bench.measure.request import Request
    from bench.measure.resume import Resumed
    from bench.records.schema import EndsBy, Result
    from bench.workloads.shapes import Workload
    from impls.contract import Device

ULIMITS = {errno.EAGAIN: " (ulimit -u)", errno.EMFILE: " (ulimit -n)"}
"""By error, which limit of this process or its user it mostly comes from."""

WORKER_BYTES = 2**29
"""About what a worker holds before it has a model: Python, its framework, and a compiler."""

GPU_WORKER_BYTES = 2**29
"""About what a worker holds of a GPU's memory before it has a model. Not measured here: a process's context, with the
kernels that it has called, is some 300 MB, as PyTorch's maintainers say of CUDA since 11.7; libraries add workspaces of
their own."""

ROOM = 0.8
"""How much of what is free the workers of a pool may need."""


IMPORT_S = 0.08
"""A Python that imports NumPy took so long on the machine that the figures of `bench.measure.stopping` are of."""

PRODUCT_S = 0.0018
"""So did `bench.measure.runner.product`."""

TRIES = 3


class Watch(Protocol):
    """Who watches a run."""

    @property
    def listener(self) -> Listener:
        """Who is told of blocks and lines."""

    def say(self, what: str) -> None:
        """Show what goes on."""


Watching = Callable[["Plan", "Result"], AbstractContextManager[Watch]]
"""Begins to watch a plan, of which so much is there already."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run, or its continuation, ended."""

    folder: Path
    stopped: str
    """What stopped it before its own end; or ``""``."""
    code: int
    """The exit code that follows from that."""
    again: tuple[str, ...]
    """What has to be named again to go on."""


@contextmanager
def run(request: Request, watching: Watching) -> Iterator[Ended]:
    """Measure what is asked for, and write it down; the machine is held until the context ends.

    Raises:
        InvalidInput: no row can be timed so, a person's own file does not meet the contract, the folder cannot be
            written, or another run has this machine.
    """
    began = time.monotonic()
    plan = planned(request, int(np.random.SeedSequence().generate_state(1)[0]))
    if not plan.pools:
        reasons = dict.fromkeys(f"{one.cell.implementation}: {one.reason}" for one in plan.skipped)
        raise InvalidInput(f"no row can be timed so: {'; '.join(reasons)}")
    with only_run(f"bench run into {request.out.name}") as mark:
        for row in request.rows:
            latest = request.interpreters[-1]
            if not row.path.is_relative_to(HERE) and row.missing(latest.has) is None:
                preflight(row, request.device, mark, (one.config for one in request.workloads), latest)
        head = _head(request, plan)  # takes a while: a run that is interrupted before has no folder
        with new_folder(request.out) as folder, written(request.out):
            (folder / "logs").mkdir()
            start_result(head, folder)
        yield _carry_out(plan, request, read_result(request.out), mark, began, watching)


@contextmanager
def go_on(resumed: Resumed, watching: Watching) -> Iterator[Ended]:
    """Measure what a run lacks, and write it down; the machine is held until the context ends.

    Raises:
        InvalidInput: it would not be the same run, the folder cannot be written, or another run has this machine.
    """
    began = time.monotonic()
    result, plan = resumed.result, planned_again(resumed)
    with only_run(f"bench run --resume {result.path.name}") as mark:
        try:
            drop_half_written(result.path)
        except OSError as error:
            raise InvalidInput(f"--resume {result.path}: cannot be written ({error.strerror})") from None
        result = read_result(result.path)  # as it is now that nobody else writes it
        yield _carry_out(plan, resumed.request, result, mark, began, watching)


def planned(request: Request, seed: int, had: PlanFacts | None = None) -> Plan:
    """What is to be done of a request; ``seed`` draws the orders.

    ``had``: the plan of a run that goes on. Nobody new is entered, and no more rows share a pool.
    """
    fit = entries_that_fit(request.workloads, request.device) if had is None else max(map(len, had.pools), default=None)
    return make_plan(
        rows=request.rows,
        workloads=request.workloads,
        tasks=request.tasks,
        device=request.device,
        threads=request.threads,
        precisions=request.precisions,
        budget=request.budget,
        baseline=request.baseline,
        seed=seed,
        entries_a_pool=fit,
        bounds=request.bounds,
        interpreters=request.interpreters,
        entered=None if had is None else {name for pool in had.pools for name in pool},
    )


def planned_again(resumed: Resumed) -> Plan:
    """The plan that a run was begun with, from what it wrote down: the same rows are in each pool.

    Raises:
        InvalidInput: they would not.
    """
    had = resumed.result.run.plan
    plan = planned(resumed.request, had.seed, had)
    if plan.names != had.pools:
        raise InvalidInput(f"--resume {resumed.result.path}: other rows would share its pools; start a new run")
    return plan


def _carry_out(plan: Plan, request: Request, result: Result, mark: str, began: float, watching: Watching) -> Ended:
    folder = result.path
    stopped, code = "", 0

    def note(why: EndsBy) -> None:
        """Add how the run ended, if that can be written."""
        end = End(why=why, elapsed_s=time.monotonic() - began, budget_s=plan.budget.total_s)
        with suppress(OSError):
            drop_half_written(folder)
            with (folder / RECORDS_FILE).open("ab") as file:
                file.write(record_line(end))

    with watching(plan, result) as watch:
        try:
            with scratch(folder / "numbers") as numbers:
                problems = _pose(request, numbers, watch)
                why = run_plan(
                    plan,
                    problems,
                    folder,
                    watch.listener,
                    mark=mark,
                    memory_limit_bytes=result.run.plan.memory_limit_bytes,
                    began=began,
                    had_s=result.elapsed_s,
                    known=[*result.records, *result.memory, *result.blocks, *result.efforts, *result.said],
                )
            note(why)
        except KeyboardInterrupt as reason:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # an impatient second one must not cost the table
            stopped, code = f"{str(reason) or 'interrupted'}: what was measured is kept", 130
            note("interrupted")
        except DiskFull as error:
            stopped, code = f"{error}: what was measured before is kept; make room", 1
            note("disk")
        except OSError as error:  # no more processes, a folder that is gone, and the like
            words = f"{error.filename or 'the system'}: {error.strerror}{ULIMITS.get(error.errno or 0, '')}"
            stopped, code = f"{words}: what was measured before is kept", 1
            note("error")
    return Ended(folder, stopped, code, tuple(_named_again(request)))


def _named_again(request: Request) -> list[str]:
    """What has to be named again to go on, for a result does not say where it is."""
    own = [shown(row.path) for row in request.rows if not row.path.is_relative_to(HERE)]
    pythons = [f"{one.version}={shown(one.path)}" for one in request.interpreters if one.version]
    return [*(["--impl", *own] if own else []), *(["--interpreter", *pythons] if pythons else [])]


def _pose(request: Request, numbers: Path, watch: Watch) -> dict[str, ProblemFile]:
    """Work out the oracle's answers; where they are."""
    problems = {}
    for workload in request.workloads:
        watch.say(f"the oracle works out {workload.name}")
        path = numbers / f"{workload.name}.safetensors"
        try:
            reference_outputs.save(reference_outputs.pose(workload, request.tasks, request.precisions), path)
        except MemoryError:
            raise InvalidInput(f"{workload.name} does not fit into memory; choose smaller sizes") from None
        except OSError as error:
            raise DiskFull(f"{path}: cannot be written ({error.strerror})") from None
        problems[workload.name] = ProblemFile(workload.config, str(path), reference_outputs.sizes_of(workload))
    return problems


def entries_that_fit(workloads: Sequence[Workload], device: Device) -> int:
    """How many workers fit into memory together, on a GPU into its own as well: at least the baseline, its control and
    one row."""
    # the estimate counts the oracle's float64 copies as well: a row needs about a quarter of it
    own = max(estimate_bytes(workload) for workload in workloads) // 4
    rooms = [int(ROOM * available_bytes()) // (WORKER_BYTES + own)]
    if device == "gpu" and (seen := gpu.state()) and seen.free_bytes is not None:
        rooms.append(int(ROOM * seen.free_bytes) // (GPU_WORKER_BYTES + own))
    return max(3, min(rooms))


def measure_speed() -> Speed:
    """Half a second's look at this machine: the fastest of a few tries."""

    def start() -> None:
        subprocess.run([sys.executable, "-c", "import numpy"], check=True, stdin=subprocess.DEVNULL)

    starts_s = min(wall_s(start) for _ in range(TRIES))
    return Speed(start=starts_s / IMPORT_S, arithmetic=product(processors()[-1:]) / PRODUCT_S)


def _head(request: Request, plan: Plan) -> Run:
    by_name = {workload.name: workload for workload in request.workloads}
    slots = max(1, len(processors()) // min(request.threads))
    expected = expected_s(plan, by_name, slots, measure_speed())
    return Run(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=request.command,
        preset=request.preset,
        baseline=request.baseline,
        seed=reference_outputs.SEED,
        plan=PlanFacts(
            seed=plan.seed,
            pools=plan.names,
            tasks=list(request.tasks),
            threads=list(request.threads),
            precisions=list(request.precisions),
            device=request.device,
            min_blocks=plan.budget.min_blocks,
            max_blocks=plan.budget.max_blocks,
            budget_s=plan.budget.total_s,
            first_block_s=round(expected.first_block_s),
            min_blocks_s=round(expected.blocks_s(plan.budget.min_blocks)),
            turn_s=plan.budget.turn_s,
            memory_limit_bytes=memory_limit(request.device),
        ),
        environment=replace(describe(), left_out=left_out(os.environ)),
        workloads={
            workload.name: WorkloadFacts(
                shape=workload.shape,
                sequences=workload.sequences,
                source=workload.source,
                config=workload.config,
                batches=reference_outputs.sizes_of(workload),
                held_out=workload.held_out,
            )
            for workload in request.workloads
        },
        rows={
            join(row.name, one.version): code_facts(row, one)
            for row in (*request.rows, *request.bounds)
            for one in request.interpreters
        },
        bounds={
            row.name: bound.name
            for row in request.rows
            for bound in request.bounds
            if row.multiplier == bound.framework
        },
    )
