"""A run from its request, or from where another was left, to its end: carries the plan out, writes the result."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from bench.here import shown
from bench.machine.cpus import processors, product
from bench.machine.describe import code_facts, describe
from bench.machine.interpreters import choose_interpreters
from bench.measure.ahead import pose, problem_files
from bench.measure.errors import DiskFull
from bench.measure.lock import only_run
from bench.measure.plan import BUDGETS, Budget, make_plan
from bench.measure.preflight import preflight
from bench.measure.request import Options, Request, choose_budget, choose_rows, is_here
from bench.measure.runner import Listener, run_plan, scratch
from bench.measure.stopping import Speed, expected_s
from bench.measure.subjects import wall_s
from bench.measure.worker_environment import entries_that_fit, left_out, memory_limit
from bench.records.atomic import new_folder, written
from bench.records.schema import SAME_PROGRAM, End, PlanFacts, Run, WorkloadFacts
from bench.records.store import RECORDS_FILE, SCHEMA_VERSION, drop_half_written, read_result, record_line, start_result
from bench.records.versions import join, split, versions_of
from bench.workloads import reference_outputs
from bench.workloads.shapes import named
from impls import HERE, find_bounds, find_rows
from impls.contract import InvalidInput
from impls.tasks import of_training

if TYPE_CHECKING:
    from bench.measure.plan import Plan
    from bench.records.schema import EndsBy, Result
    from impls import Row

ULIMITS = {errno.EAGAIN: " (ulimit -u)", errno.EMFILE: " (ulimit -n)"}
"""By error, which limit of this process or its user it mostly comes from."""

IMPORT_S = 0.08
"""A Python that imports NumPy took so long on the machine that the figures of `bench.measure.stopping` are of."""

PRODUCT_S = 0.0018
"""So did `bench.machine.cpus.product`."""

TRIES = 3


GOES_ALONG = ("resume", "impl", "budget", "interpreter")
"""The options that a run may go on with; the others are part of what it is."""


class Watch(Protocol):
    """Who watches a run."""

    @property
    def listener(self) -> Listener:
        """Who is told of blocks and lines, and of what goes on."""


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


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that is to go on."""

    result: Result
    """What it has."""
    request: Request
    """What it set out to do, with the budget that it goes on with."""


@contextmanager
def run(request: Request, watching: Watching) -> Iterator[Ended]:
    """Measure what is asked for, and write it down; the machine is held until the context ends.

    Raises:
        InvalidInput: no row can be timed so, a person's own file does not meet the contract, the folder cannot be
            written, or another run has this machine.
    """
    began = time.monotonic()
    plan = drawn(request)
    with only_run(f"bench run into {request.out.name}") as mark:
        latest = request.interpreters[-1]
        for row in request.rows:
            if not row.path.is_relative_to(HERE) and row.missing(latest.has) is None:
                preflight(row, request.device, mark, (one.config for one in request.workloads), latest)
        head = _head(request, plan)  # takes a while: a run that is interrupted before has no folder
        with new_folder(request.out) as folder, written(request.out):
            (folder / "logs").mkdir()
            start_result(head, folder)
        yield _carry_out(plan, request, read_result(request.out), mark, began, watching)


@contextmanager
def go_on(resumed: Resumed, watching: Watching) -> Iterator[Ended]:
    """Measure what a run lacks, and write it down; raises and holds the machine as ``run`` does."""
    began = time.monotonic()
    request, plan = resumed.request, planned_again(resumed)
    with only_run(f"bench run --resume {request.out.name}") as mark:
        try:
            drop_half_written(request.out)
        except OSError as error:
            raise InvalidInput(f"--resume {request.out}: cannot be written ({error.strerror})") from None
        result = read_result(request.out)  # as it is now that nobody else writes it
        yield _carry_out(plan, request, result, mark, began, watching)


def dry_run(request: Request) -> tuple[Plan, Run]:
    """The plan of a run, and the head that it would have: all that is known before anything is measured."""
    plan = drawn(request)
    return plan, _head(request, plan)


def drawn(request: Request) -> Plan:
    """The plan of a new run, its seed drawn; InvalidInput where no row can be timed so."""
    plan = planned(request, int(np.random.SeedSequence().generate_state(1)[0]))
    if not plan.pools:
        reasons = dict.fromkeys(f"{one.cell.implementation}: {one.reason}" for one in plan.skipped)
        raise InvalidInput(f"no row can be timed so: {'; '.join(reasons)}")
    return plan


def planned(request: Request, seed: int, had: PlanFacts | None = None) -> Plan:
    """What is to be done of a request; ``seed`` draws the orders.

    ``had``: the plan of a run that goes on. Nobody new is entered, and no more rows share a pool.
    """
    if had is not None:
        fit = max(map(len, had.pools), default=None)
    else:  # a plan for a device that is elsewhere has room for all
        fit = entries_that_fit(request.workloads, request.device) if is_here(request.device) else None
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
    """The plan that a run was begun with, from what it wrote down; InvalidInput where other rows would share a pool."""
    had = resumed.result.run.plan
    plan = planned(resumed.request, had.seed, had)
    if plan.names != had.pools:
        raise InvalidInput(f"--resume {resumed.request.out}: other rows would share its pools; start a new run")
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
                problems = problem_files(request.workloads, numbers)
                why = run_plan(
                    plan,
                    problems,
                    folder,
                    watch.listener,
                    pose=partial(pose, request, problems),
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


def _named_again(request: Request) -> Iterator[str]:
    """What has to be named again to go on, for a result does not say where it is."""
    if own := [shown(row.path) for row in request.rows if not row.path.is_relative_to(HERE)]:
        yield from ("--impl", *own)
    if pythons := [f"{one.version}={shown(one.path)}" for one in request.interpreters if one.version]:
        yield from ("--interpreter", *pythons)


def measure_speed() -> Speed:
    """Half a second's look at this machine: the fastest of a few tries."""
    start = partial(subprocess.run, [sys.executable, "-c", "import numpy"], check=True, stdin=subprocess.DEVNULL)
    starts_s = min(wall_s(start) for _ in range(TRIES))
    return Speed(start=starts_s / IMPORT_S, arithmetic=product(processors()[-1:]) / PRODUCT_S)


def _head(request: Request, plan: Plan) -> Run:
    slots = max(1, len(processors()) // min(request.threads))
    expected = expected_s(plan, {workload.name: workload for workload in request.workloads}, slots, measure_speed())
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
        environment=msgspec.structs.replace(describe(), left_out=left_out(os.environ)),
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
            join(row.name, one.version): code_facts(row, one, trained=of_training(request.tasks))
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


def check_resume(options: Options) -> Resumed:
    """The run in the folder that ``--resume`` names, if program, rows, versions and machine are the same here and now.

    Beside it there may be ``--budget``, the files of rows that are not in the tree, and the Pythons, where it had
    several. A result does not say where they are: it could name any file, and that would be run.

    Raises:
        InvalidInput: it is no run, or would be another one: then the message says in what.
    """
    folder, impl = options.resume, options.impl
    assert folder is not None
    if given := [
        one.name for one in fields(options) if one.name not in GOES_ALONG and getattr(options, one.name) != one.default
    ]:
        raise InvalidInput(
            f"--resume goes on with what the run set out to do; leave --{given[0].replace('_', '-')} out"
        )
    result = read_result(folder)
    run, here = result.run, describe()

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"--resume {folder}: {why}")

    for what in (*SAME_PROGRAM, *(["gpus"] if run.plan.device == "gpu" else [])):
        then = getattr(run.environment, what)
        now = _known_then(then, getattr(here, what))
        if then != now:
            changed = f"{what} not the same ({_difference(then, now)})"
            if what == "harness":
                changed = "what measures has changed since (bench/ as far as runner and worker import it)"
            raise refuse(f"{changed}; start a new run")
    if run.preset not in BUDGETS or not run.rows:
        raise refuse("does not say which rows and preset it had; start a new run")
    effort = effort_of(run, options.budget)
    known = find_rows() | {bound.name: bound for bound in find_bounds().values()}
    files = {row.name: row for row in choose_rows(impl)} if impl else {}
    rows: dict[str, Row] = {}
    for name in (split(name).row for name in run.rows):
        row = files.get(name) or known.get(name)
        if row is None:
            raise refuse(f"{name} is a file of your own; name it again, with --impl {name}.py")
        rows[name] = row
    if unknown := [name for name in files if name not in rows]:
        raise refuse(f"{unknown[0]} is not in it; leave --impl out, or start a new run")
    interpreters = choose_interpreters(options.interpreter, rows.values())
    if [one.version for one in interpreters if one.version] != versions_of(run):
        had = " ".join(f"{version}=PATH" for version in versions_of(run))
        raise refuse(f"name the Pythons that it had, with --interpreter {had}" if had else "it had no --interpreter")
    python_of = {one.version: one for one in interpreters}
    for name, then_row in run.rows.items():
        row, python = rows[split(name).row], python_of[split(name).version]
        facts = code_facts(row, python, trained=of_training(run.plan.tasks))
        if (then_row.code, then_row.versions) != (facts.code, _known_then(then_row.versions, facts.versions)):
            raise refuse(f"{name} has changed since; start a new run")
    request = Request(
        rows=tuple(row for row in rows.values() if not row.is_bound),
        interpreters=interpreters,
        bounds=tuple(row for row in rows.values() if row.is_bound),
        workloads=tuple(named(name, run.preset) for name in run.workloads),
        tasks=tuple(run.plan.tasks),
        device=run.plan.device,
        threads=tuple(run.plan.threads),
        precisions=tuple(run.plan.precisions),
        preset=run.preset,
        budget=effort,
        baseline=run.baseline,
        out=folder.absolute(),  # workers run in another folder than the person
        command=run.command,
    )
    return Resumed(result, request)


def effort_of(run: Run, budget: str | None) -> Budget:
    """The effort that the run goes on with; a time that is given, now or when it was begun, is obeyed."""
    preset = choose_budget(run.preset, budget)
    if budget is not None or run.plan.budget_s == preset.total_s:
        return preset
    return replace(preset, total_s=run.plan.budget_s, sure_blocks=1)


def _known_then(then: object, now: object) -> object:
    """What of now was there then: a package installed since is in no row that had a time."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {name: now[name] for name in now if name in then}
    return now


def _difference(then: object, now: object) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        name = next(name for name in [*then, *now] if then.get(name) != now.get(name))
        return f"{name} {then.get(name, 'absent')}, now {now.get(name, 'absent')}"
    return f"{str(then)[:40]}, now {str(now)[:40]}"
