"""A profile in a process of its own: ``python -m bench.profiling.worker TASK_FILE RESULT_FILE``.

The row is loaded as a worker loads it, and held against the oracle before anything is profiled and on what was.
"""

from __future__ import annotations

import gc
import gzip
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.machine.cpus import delay_s
from bench.measure.errors import verdict_on
from bench.measure.messages import Job
from bench.measure.subjects import Model, wall_s
from bench.measure.worker import settle_down
from bench.profiling.profiles import Profile, Turn, attribute, operations_of
from bench.records.atomic import write_atomic
from bench.records.schema import Cell, CodeFacts, Status, Struct
from impls import Row, import_row, read_row
from impls.profiling import Mark, Profiler, Recording, find_profiler

WARMUP_S = 0.5
LEAST_WARMUP_CALLS = 3

PLAIN_S = 1.0
"""How long calls are timed without the profiler, before it and once more after it."""

PROFILED_S = 1.0
"""How long calls would last that are profiled, if the profiler cost nothing."""

LEAST_CALLS, MOST_PROFILED_CALLS = 4, 20

TURN_S = 0.002
SHORT_S = 0.005
"""Calls up to so long have one before them in each turn that is not timed."""


class Assignment(Struct, frozen=True, kw_only=True):
    """What the process has to do."""

    job: Job
    """With one cell."""
    code: CodeFacts
    trace: str
    """Path of the file that the trace is written to."""

    def ended(self, status: Status, reason: str | None = None, **found: Any) -> Profile:
        """What came of it."""
        (cell,) = self.job.cells
        return Profile(**msgspec.structs.asdict(cell), code=self.code, status=status, reason=reason, **found)


def main(task_file: str, result_file: str) -> int:
    """Do what is assigned, and write what came of it."""
    assigned = msgspec.json.decode(Path(task_file).read_bytes(), type=Assignment)
    job = assigned.job
    settle_down(job.processors, job.memory_limit_bytes, job.blocked)
    row = read_row(Path(job.row_path))
    try:
        found = profile(row, assigned)
    except BaseException as error:  # a row that calls sys.exit() has no result either
        found = assigned.ended(*verdict_on(error, row.path, job.blocked))
    write_atomic(Path(result_file), msgspec.json.encode(found))
    return 0


def profile(row: Row, assigned: Assignment) -> Profile:
    """The row's call, timed without its framework's profiler and under it; its trace is in the assigned file then.

    Raises:
        Invalid: the row's values are wrong.
        Unsupported: it does not take the workload's shape.
    """
    (cell,) = assigned.job.cells
    profiler = find_profiler(row)
    if profiler is not None:
        profiler.prepare()
    subject = Model(import_row(row).load, assigned.job.problems[cell.workload], cell.device)
    error = subject.validate(cell, 0)
    turns = timed(subject, cell)
    if profiler is None:
        error = max(error, subject.validate(cell, 1))
        return assigned.ended("ok", turns=tuple(turns), max_relative_error=error)
    count = min(MOST_PROFILED_CALLS, max(LEAST_CALLS, int(PROFILED_S / min(own.wall_s for own in turns))))
    profiled, recording, result = recorded(profiler, row, subject, cell, count)
    error = max(error, subject.validate_timed(cell, result), subject.validate(cell, 1))
    turns += timed(subject, cell)  # with its own inputs again: those that were profiled may have been of another kind
    calls = attribute(recording.events)
    if len(calls) != count:
        raise RuntimeError(f"the profiler shows {len(calls)} of {count} calls")
    # in the Chrome trace event format, compressed; Perfetto opens it so
    trace = json.dumps({"displayTimeUnit": "ns", "traceEvents": recording.events}, separators=(",", ":"))
    write_atomic(Path(assigned.trace), gzip.compress(trace.encode(), compresslevel=6, mtime=0))
    return assigned.ended(
        "ok",
        profiler=profiler.SAYS,
        turns=tuple(turns),
        profiled=tuple(profiled),
        own_s=recording.own_s,
        operations=operations_of(calls, recording.own_s),
        max_relative_error=error,
        trace=Path(assigned.trace).name,
    )


def recorded(profiler: Profiler, row: Row, subject: Model, cell: Cell, count: int) -> tuple[list[Turn], Recording, Any]:
    """So many calls under the profiler, what it says of them, and the result of the last."""
    turns: list[Turn] = []
    result = None

    def calls(mark: Mark) -> None:
        nonlocal result
        subject.reset()
        call = subject.body(cell)
        for _ in range(LEAST_WARMUP_CALLS):
            call()
        with without_garbage():
            for _ in range(count):
                with turn(turns, 1, cell.threads), mark():
                    result = call()

    recording = profiler.record(row.frameworks, calls)
    return turns, recording, result


def timed(subject: Model, cell: Cell) -> list[Turn]:
    """Warm turns such as a run has, for about `PLAIN_S`. Where calls are short, the first of a turn is not timed."""
    subject.reset()
    call = subject.body(cell)
    until, warm_up_calls = time.perf_counter() + WARMUP_S, 0
    while warm_up_calls < LEAST_WARMUP_CALLS or time.perf_counter() < until:
        call()
        warm_up_calls += 1
    call_s = min(wall_s(call) for _ in range(LEAST_WARMUP_CALLS))
    calls = max(1, round(TURN_S / call_s))
    turns: list[Turn] = []
    with without_garbage():
        until = time.perf_counter() + PLAIN_S
        while len(turns) < LEAST_CALLS or time.perf_counter() < until:
            if call_s < SHORT_S:
                call()
            with turn(turns, calls, cell.threads):
                for _ in range(calls):
                    call()
    return turns


@contextmanager
def turn(turns: list[Turn], calls: int, threads: int) -> Iterator[None]:
    """Add what the context takes, in which so many calls are made, to the turns."""
    delay_before_s, cpu_s, start_s = delay_s(), time.process_time(), time.perf_counter()
    yield
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_s
    delay_after_s = delay_s()
    waited_s = 0.0
    if threads == 1 and delay_before_s is not None and delay_after_s is not None:  # of several it is not known
        waited_s = max(0.0, min(delay_after_s - delay_before_s, wall_s - cpu_s))
    turns.append(Turn(wall_s / calls, waited_s / calls))


@contextmanager
def without_garbage() -> Iterator[None]:
    """Python's cyclic garbage is collected before, and not while the context lasts."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
