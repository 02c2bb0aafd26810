"""``bench run``: draws the numbers, runs the plan, writes the result, shows the table."""

from __future__ import annotations

import errno
import os
import signal
import time
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from rich.console import Console

from bench import answers, gpu
from bench.environment import CHANGE_SPEED, available_bytes, code_facts, describe, left_out, memory_limit
from bench.expected import expected_s
from bench.forecast import model_of
from bench.here import command, shown
from bench.job import ProblemFile
from bench.lock import only_run
from bench.machine.facts import read_facts
from bench.machine.faults import limiting
from bench.page import REPORT_FILE
from bench.plan import make_plan
from bench.preflight import preflight
from bench.processors import processors
from bench.progress import Progress
from bench.records import (
    FAILURES,
    RECORDS_FILE,
    SCHEMA_VERSION,
    End,
    PlanFacts,
    Run,
    WorkloadFacts,
    drop_half_written,
    read_result,
    record_line,
    start_result,
)
from bench.report import markdown, scaling_page, scaling_text, text
from bench.report.pytest_benchmark import to_pytest_benchmark
from bench.report.rows import table_rows
from bench.runner import DiskFull, run_plan, scratch
from bench.speed import measure_speed
from bench.sweeps import SCALING
from bench.versions import failures_of, join
from bench.where import where
from bench.whole import whole_folder, write_whole, written
from bench.workloads import estimate_bytes
from impls import HERE
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.forecast import Model
    from bench.machine.facts import Facts
    from bench.plan import Plan
    from bench.records import EndsBy, Result
    from bench.request import Request
    from bench.resume import Resumed
    from bench.workloads import Workload
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
"""How much of what is free the workers of a table may need."""


def run(request: Request) -> int:
    """Measure, write and show; exit code 0; 1 where a row failed or none has a time; 130 where interrupted.

    A row that fails under one version and works under another has not failed: that is what was to be found out.

    Raises:
        InvalidInput: no row can be timed so, a person's own file does not meet the contract, the folder cannot be
            written, or another run has this machine.
    """
    began = time.monotonic()
    plan = planned(request, int(np.random.SeedSequence().generate_state(1)[0]))
    if not plan.tables:
        reasons = dict.fromkeys(f"{one.implementation}: {one.reason}" for one in plan.settled)
        raise InvalidInput(f"no row can be timed so: {'; '.join(reasons)}")
    with only_run(f"bench run into {request.out.name}") as mark:
        for row in request.rows:
            latest = request.interpreters[-1]
            if not row.path.is_relative_to(HERE) and row.missing(latest.has) is None:
                preflight(row, request.device, mark, (one.config for one in request.workloads), latest)
        head = _head(request, plan)  # takes a while: whoever is interrupted before has no folder
        with whole_folder(request.out) as folder, written(request.out):
            (folder / "logs").mkdir()
            start_result(head, folder)
        return _carry_out(plan, request, read_result(request.out), mark, began)


def go_on(resumed: Resumed) -> int:
    """Measure what a run lacks, write and show; exit code as that of ``run``.

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
        return _carry_out(plan, resumed, result, mark, began)


def planned(request: Request, seed: int) -> Plan:
    """What is to be done of a request; ``seed`` draws the orders."""
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
        seats_a_table=seats_that_fit(request.workloads, request.device),
        bounds=request.bounds,
        interpreters=request.interpreters,
    )


def planned_again(resumed: Resumed) -> Plan:
    """The plan that a run was begun with, from what it wrote down: the same rows sit at each table.

    Raises:
        InvalidInput: they would not.
    """
    had, run = resumed.result.run.plan, resumed.result.run
    plan = make_plan(
        rows=resumed.rows,
        workloads=resumed.workloads,
        tasks=had.tasks,
        device=had.device,
        threads=had.threads,
        precisions=had.precisions,
        budget=resumed.budget,
        baseline=run.baseline,
        seed=had.seed,
        seats_a_table=max(map(len, had.tables), default=None),
        bounds=resumed.bounds,
        interpreters=resumed.interpreters,
        seated={name for table in had.tables for name in table},
    )
    if plan.names != had.tables:
        raise InvalidInput(f"--resume {resumed.result.path}: other rows would sit at its tables; begin anew")
    return plan


def _carry_out(plan: Plan, asked: Request | Resumed, result: Result, mark: str, began: float) -> int:
    folder = result.path
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    stopped, code = "", 0
    for line in beforehand(read_facts(), os.environ, result.run.plan.threads):
        stderr.print(line)

    def ended(why: EndsBy) -> End:
        return End(why=why, elapsed_s=time.monotonic() - began, budget_s=plan.budget.total_s)

    with Progress(plan, result, stderr) as progress:
        try:
            with scratch(folder / "numbers") as numbers:
                problems = _pose(asked.workloads, result.run.plan, numbers, progress)
                why = run_plan(
                    plan,
                    problems,
                    folder,
                    progress.listener,
                    mark=mark,
                    memory_limit_bytes=result.run.plan.memory_limit_bytes,
                    began=began,
                    had_s=result.elapsed_s,
                    known=[*result.records, *result.memory, *result.blocks, *result.efforts, *result.said],
                )
            _note(folder, ended(why))
        except KeyboardInterrupt as reason:
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
                signal.SIGHUP,
            ):  # an impatient second one must not cost the table
                signal.signal(number, signal.SIG_IGN)
            stopped, code = f"{str(reason) or 'interrupted'}: what was measured is kept", 130
            _note(folder, ended("interrupted"))
        except DiskFull as error:
            stopped, code = f"{error}: what was measured before is kept; make room", 1
            _note(folder, ended("disk"))
        except OSError as error:  # no more processes, a folder that is gone, and the like
            words = f"{error.filename or 'the system'}: {error.strerror}{ULIMITS.get(error.errno or 0, '')}"
            stopped, code = f"{words}: what was measured before is kept", 1
            _note(folder, ended("error"))
    return _show(folder, stopped, stderr, _named_again(asked)) or code


def beforehand(facts: Facts, environment: Mapping[str, str], threads: Sequence[int]) -> Iterator[str]:
    """What whoever starts a run should know before it measures: what its workers do not have from here, or lack."""
    if names := [name for name in left_out(environment) if name.startswith(CHANGE_SPEED)]:
        yield f"workers have values of their own, or none, of: {', '.join(names)}"
    yield from limiting(facts, threads)


def _named_again(asked: Request | Resumed) -> list[str]:
    """What whoever goes on has to name again, for a result does not say where it is."""
    own = [shown(row.path) for row in asked.rows if not row.path.is_relative_to(HERE)]
    pythons = [f"{one.version}={shown(one.path)}" for one in asked.interpreters if one.version]
    return [*(["--impl", *own] if own else []), *(["--interpreter", *pythons] if pythons else [])]


def _pose(workloads: Sequence[Workload], plan: PlanFacts, numbers: Path, progress: Progress) -> dict[str, ProblemFile]:
    """Work out the oracle's answers; where they are."""
    problems = {}
    for workload in workloads:
        progress.say(f"the oracle works out {workload.name}")
        path = numbers / f"{workload.name}.safetensors"
        try:
            answers.save(answers.pose(workload, tuple(plan.tasks), tuple(plan.precisions)), path)
        except MemoryError:
            raise InvalidInput(f"{workload.name} does not fit into memory; choose smaller sizes") from None
        except OSError as error:
            raise DiskFull(f"{path}: cannot be written ({error.strerror})") from None
        problems[workload.name] = ProblemFile(workload.config, str(path), answers.sizes_of(workload))
    return problems


def _note(folder: Path, end: End) -> None:
    """Add how the run ended, if that can be written."""
    try:
        drop_half_written(folder)
        with (folder / RECORDS_FILE).open("ab") as file:
            file.write(record_line(end))
    except OSError:
        return


def _show(folder: Path, stopped: str, stderr: Console, named_again: Sequence[str]) -> int:
    """Write and show the tables; 1 where a row failed or none has a time, 0 otherwise, or if the run was stopped.

    ``named_again``: the words that whoever goes on has to add.
    """
    result = read_result(folder)
    rows, failed = table_rows([result]), False
    model = _model(result)
    try:
        if model is not None:
            write_whole(folder / scaling_page.PAGE_FILE, scaling_page.page(model).encode())
            write_whole(folder / scaling_page.FACTS_FILE, scaling_page.to_json(model).encode())
        write_whole(folder / markdown.TABLE_FILE, markdown.full(rows, [result]).encode())
        write_whole(folder / "pytest-benchmark.json", to_pytest_benchmark(result))
    except OSError as error:
        failed = True
        if not stopped:
            again = command("table", shown(folder))
            stderr.print(f"{shown(folder)}: its tables cannot be written ({error.strerror}); to see them: {again}")
    # the table of a scaling run has a hundred groups: what is fitted to them is shown instead
    said = text.render(rows, [result]) if model is None else chain(scaling_text.render(model), text.endings([result]))
    try:
        Console(highlight=False, markup=False).print(*said, sep="\n")
        again = command("run", "--resume", shown(folder), *named_again)
        if stopped:
            stderr.print(f"{stopped}; go on with: {again}")
        elif not result.whole or result.ends[-1].why == "budget":
            stderr.print(f"the budget is spent; for more blocks: {again}")
        failed = failed or bool(failures_of(result.records))
        if any(record.status in FAILURES for record in result.records):
            stderr.print(f"what the workers that failed have said: {shown(folder)}/logs")
        if _write_page(result, stderr):
            stderr.print(f"page: {shown(folder)}/{REPORT_FILE}")
    finally:  # whatever happens while it is shown and drawn, it has been measured
        stderr.print(f"result: {shown(folder)}")
    if stopped:
        return 0
    return 1 if failed or not any(record.ok for record in result.records) else 0


def _write_page(result: Result, stderr: Console) -> bool:
    """Write the page into the result's folder, if that can be done: the table has been shown by now."""
    try:
        # imported late: what draws is large, and what is measured should have the machine to itself
        from bench.page.write import write_report

        with stderr.status("draws the page"):
            write_report([result], result.path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of what draws, which is no Python, is no Exception
        folder = shown(result.path)
        why = (isinstance(error, OSError) and error.strerror) or where(error, HERE)
        stderr.print(f"{folder}: its page cannot be made ({why}); to try again: {command('page', folder)}")
        return False
    return True


def _model(result: Result) -> Model | None:
    """Of a scaling run, what is fitted to it, if it has shapes enough."""
    if result.run.preset != SCALING:
        return None
    try:
        return model_of(result)
    except InvalidInput:
        return None


def seats_that_fit(workloads: Sequence[Workload], device: Device) -> int:
    """How many workers fit into memory together, on a GPU into its own as well: at least the baseline, its control and
    one row."""
    # the estimate counts the oracle's float64 copies as well: a row needs about a quarter of it
    own = max(estimate_bytes(workload) for workload in workloads) // 4
    rooms = [int(ROOM * available_bytes()) // (WORKER_BYTES + own)]
    if device == "gpu" and (free := gpu.free_bytes()) is not None:
        rooms.append(int(ROOM * free) // (GPU_WORKER_BYTES + own))
    return max(3, min(rooms))


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
        seed=answers.SEED,
        plan=PlanFacts(
            seed=plan.seed,
            tables=plan.names,
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
                batches=answers.sizes_of(workload),
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
