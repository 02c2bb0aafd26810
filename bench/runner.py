"""Runs a plan: seats workers, reads what they report, appends and flushes each record as it comes.

A worker that crashes, hangs or reports rubbish costs its own cell: its seat goes on with the rest in a new worker.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bench.environment import ROOT, processors, worker_environment
from bench.job import Finished, Job, ProblemFile, Started
from bench.plan import Seat, cell_of, settle
from bench.records import RECORDS_FILE, record_line
from impls import HERE, find_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.plan import Plan
    from bench.records import Cell, Record
    from impls import Row

START_LIMIT_S = 120.0
"""How long a worker may take, beyond the limit of a cell, before it has its first result."""


ENDING_LIMIT_S = 10.0
"""How long a worker may take to end when it has nothing more to report."""

SHARED = frozenset({"numpy", "scipy"})
"""Array libraries that frameworks and the harness stand on: they stay importable, whichever row names them."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of progress."""

    started: Callable[[Cell], None]
    finished: Callable[[Record], None]


def run_plan(plan: Plan, problems: Mapping[str, ProblemFile], folder: Path, listener: Listener) -> None:
    """Measure everything in the plan; the records stand in the folder, in the order they came.

    One worker at a time, or, where the budget says so, as many as there are processors for. However this ends, no
    worker outlives it.
    """
    (folder / "logs").mkdir(exist_ok=True)
    waiting = deque((seat, seat.cells) for seat in plan.seats)
    known = {name for row in find_rows().values() for name in row.frameworks}
    live: list[WorkerProcess] = []
    with (folder / RECORDS_FILE).open("ab") as file, selectors.DefaultSelector() as selector:

        def keep(record: Record) -> None:
            file.write(record_line(record))
            file.flush()
            os.fsync(file.fileno())
            listener.finished(record)

        for record in plan.settled:
            keep(record)
        try:
            while waiting or live:
                while waiting and (free := _processors_for(waiting[0][0], live, plan)):
                    seat, cells = waiting.popleft()
                    worker = WorkerProcess(seat, cells, free, blocked(seat.row, known), plan, problems, folder)
                    live.append(worker)
                    selector.register(worker.pipe, selectors.EVENT_READ, worker)
                nearest = min(worker.deadline for worker in live)
                ready = selector.select(timeout=max(0.0, nearest - time.monotonic()))
                for key, _ in ready:
                    key.data.read(keep, listener.started)
                for worker in [one for one in live if one.over]:
                    selector.unregister(worker.pipe)
                    live.remove(worker)
                    worker.end()
                    if left := worker.settle_lost(keep):
                        waiting.appendleft((worker.seat, left))
        finally:
            for worker in live:
                worker.end()


def _processors_for(seat: Seat, live: list[WorkerProcess], plan: Plan) -> list[int]:
    """The processors that a seat's worker gets now, or none if it has to wait."""
    if live and not plan.budget.at_once:
        return []
    taken = {number for worker in live for number in worker.processors}
    free = [number for number in processors() if number not in taken]
    return free[-seat.threads :] if len(free) >= seat.threads else []


class WorkerProcess:
    """A worker process and what is known of it."""

    def __init__(
        self,
        seat: Seat,
        cells: tuple[Cell, ...],
        processors: list[int],
        blocked: list[str],
        plan: Plan,
        problems: Mapping[str, ProblemFile],
        folder: Path,
    ) -> None:
        self.seat, self.processors = seat, processors
        self._left = deque(cells)
        self._began: Cell | None = None
        self._reported = False
        self._limit_s = plan.budget.limit_s
        self._failure: tuple[str, str] | None = None
        self._buffer = b""
        self.deadline = time.monotonic() + START_LIMIT_S + self._limit_s

        read_fd, write_fd = os.pipe()
        self.pipe = os.fdopen(read_fd, "rb", buffering=0)
        job = Job(
            row_path=str(seat.row.path),
            row_root=str(HERE) if seat.row.path.is_relative_to(HERE) else None,
            cells=list(cells),
            problems=dict(problems),
            budget=plan.budget,
            processors=processors,
            blocked=blocked,
            report_fd=write_fd,
        )
        job_file = folder / "logs" / f"{seat_name(seat)}.job.json"
        job_file.write_bytes(msgspec.json.encode(job))
        with (folder / "logs" / f"{seat_name(seat)}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", str(job_file)],
                cwd=ROOT,
                env=worker_environment(
                    os.environ, threads=seat.threads, device=cells[0].device, extra=seat.row.environment
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[write_fd],
                start_new_session=True,
            )
        os.close(write_fd)

    def read(self, keep: Callable[[Record], None], started: Callable[[Cell], None]) -> None:
        """Take in what the worker has reported."""
        chunk = self.pipe.read(1 << 16)
        if not chunk:
            self._failure = self._ending()
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            try:
                event = msgspec.json.decode(line, type=Started | Finished)
            except msgspec.MsgspecError as error:
                self._failure = "error", f"the worker reported something that is no record ({error})"
                return
            cell = event.cell if isinstance(event, Started) else cell_of(event.record)
            if not self._left or cell != self._left[0] or (isinstance(event, Finished) and cell != self._began):
                self._failure = "error", "the worker reported a cell out of turn"
                return
            self.deadline = time.monotonic() + self._limit_s
            if isinstance(event, Started):
                self._began = cell
                started(cell)
            else:
                keep(event.record)
                self._left.popleft()
                self._began, self._reported = None, True

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected of it."""
        if not self._left:
            return True
        if self._failure is None and time.monotonic() >= self.deadline:
            self._failure = "timeout", f"no result within {self._limit_s:.0f} s"
        return self._failure is not None

    def end(self) -> None:
        """End the process and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.pipe.close()

    def settle_lost(self, keep: Callable[[Record], None]) -> tuple[Cell, ...]:
        """Record what the worker left undone by its own fault; the cells that another worker is to try."""
        if self._left and self._failure:
            status, reason = self._failure
            began = self._began is not None or self._reported
            lost = 1 if began else len(self._left)  # one that never began would not begin again either
            for _ in range(lost):
                keep(settle(self._left.popleft(), status, f"{reason}; see logs/{seat_name(self.seat)}.log"))
        return tuple(self._left)

    def _ending(self) -> tuple[str, str]:
        try:
            code = self._process.wait(timeout=ENDING_LIMIT_S)
        except subprocess.TimeoutExpired:
            return "error", "the worker closed its report and lived on"
        if code < 0:
            name = signal.Signals(-code).name
            if name == "SIGKILL":
                return "out_of_memory", "the worker was ended by SIGKILL, as the system does where memory runs out"
            return "crashed", f"the worker was ended by {name}"
        return "crashed", f"the worker ended with exit code {code} and without a result"


def seat_name(seat: Seat) -> str:
    """What a seat's files in the run's ``logs`` are called."""
    return f"{seat.number:02d}-{seat.row.name.replace('/', '-')}-{seat.threads}"


def blocked(row: Row, known: set[str]) -> list[str]:
    """The frameworks of other rows, which this row's worker must not import."""
    return sorted(known - set(row.frameworks) - SHARED)
