"""A worker process as the runner sees it: started, sent commands, waited for, ended; and plainer processes."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from bench.here import ROOT
from bench.machine.interpreters import OWN
from bench.measure.messages import Answer, Compile, Job, Prepare, Revisit, send
from bench.measure.worker_environment import environment_of, worker_environment
from bench.records.schema import Status
from impls import find_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bench.machine.interpreters import Interpreter
    from bench.measure.messages import AnyCommand, ProblemFile
    from bench.measure.plan import Entry, Plan
    from bench.records.schema import Cell
    from impls import Row

ENDING_LIMIT_S = 10.0
"""How long a worker may take to end once it has closed its answers."""

START_LIMIT_S = 120.0
"""How long a worker may take to start, beyond what it has for a cell."""

LONGEST_ANSWER_BYTES = 2**24
"""A record of a million samples is about as long."""

GIVE_UP_S = 1.0
"""At the latest after this it is asked again whether to wait any longer."""

SHARED = frozenset({"numpy", "scipy"})
"""Array libraries that frameworks and the harness stand on: they stay importable, whichever row names them."""

LAST_WORDS_BYTES = 2**16
"""How much of a dead worker's log is looked at: Python's dump of all stacks comes after what it died of."""

OUT_OF_MEMORY = re.compile(rb"bad_alloc|MemoryError|[Cc]annot allocate memory|[Oo]ut of memory|RESOURCE_EXHAUSTED")
"""What is in the log of a process that was aborted because memory ran out."""

NO_MORE_THREADS = re.compile(rb"pthread_create[^\n]* failed|Resource temporarily unavailable")
"""What is there where the system gave no more threads or processes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker gave no answer."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the workers of a pool have in common in a block."""

    plan: Plan
    folder: Path
    """The run's: the logs are in it."""
    cache: Path
    """Where compiled programs and temporary files are kept from block to block: private to the run, and empty when it
    starts."""
    problems: Mapping[str, ProblemFile]
    memory_limit_bytes: int | None
    mark: str
    """Stands in the environment of every process of the run, so that strays are known."""
    block: int = 0
    """0, as the pool, where a cell is looked at once more at the end."""
    pool: int = 0


class WorkerProcess:
    """A worker process and what is known of it."""

    def __init__(
        self,
        entry: Entry,
        cells: tuple[Cell, ...],
        setting: Setting,
        *,
        hash_seed: int = 0,
        padding_bytes: int = 0,
        log: str | None = None,
    ) -> None:
        """``log``: what its log is called; as its entry if not given."""
        self.entry, self.cells, self._setting = entry, cells, setting
        self._hash_seed, self._padding_bytes = hash_seed, padding_bytes
        self._log = setting.folder / "logs" / f"{log or entry.label}.log"
        self._log_length = 0
        """How long the log was when the last command was sent."""
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self.answered = False
        """Whether it has ever sent anything."""
        self._sent_at = self._limit_s = self._left_s = self.deadline = 0.0
        """``_limit_s`` is how much time it has for a cell, and ``_left_s`` how much of that is left."""
        self.signs: tuple[Any, ...] = ()
        """What is readable once it has sent something or has ended: a child of its own may hold its pipe open."""

    def start(self, processors: list[int]) -> None:
        """Start the process on these processors, if it has not started yet.

        Workers start when they are first asked for something: no more at a time than there are slots, so that the time
        of an import is not that of a crowd.
        """
        if self._process is not None:
            return
        entry, setting = self.entry, self._setting
        command_read, self._command_fd = os.pipe()
        answer_read, answer_write = os.pipe()
        self._pipe = os.fdopen(answer_read, "rb", buffering=0)
        drawn = {"hash_seed": self._hash_seed, "padding_bytes": self._padding_bytes}
        job = Job(
            row_path=str(entry.row.path),
            cells=list(self.cells),
            problems=dict(setting.problems),
            seed=setting.plan.seed,
            block=setting.block,
            pool=setting.pool,
            warmup_s=setting.plan.budget.warmup_s,
            processors=processors,
            memory_limit_bytes=setting.memory_limit_bytes,
            blocked=blocked(entry.row, entry.interpreter),
            started_s=time.monotonic(),
            **drawn,
        )
        cache = setting.cache / entry.label
        cache.mkdir(exist_ok=True)
        environment = worker_environment(
            os.environ,
            threads=entry.threads,
            device=self.cells[0].device,
            precision=entry.precision,
            cache=cache,
            mark=setting.mark,
            extra=environment_of(entry.row),
            **drawn,
        )
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [entry.interpreter.path, "-m", "bench.measure.worker", str(command_read), str(answer_write)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[command_read, answer_write],
                start_new_session=True,
            )
        os.close(command_read)
        os.close(answer_write)
        os.set_blocking(answer_read, False)
        self.signs = self._pipe, os.pidfd_open(self._process.pid)
        with suppress(BrokenPipeError):
            send(self._command_fd, job)

    @property
    def pid(self) -> int | None:
        """The process's number, once it has started."""
        return self._process.pid if self._process else None

    def send(self, command: AnyCommand) -> None:
        """Send a command. A cell has so much time for all of its answers, which runs while one is waited for."""
        if isinstance(command, Prepare | Revisit | Compile):
            self._limit_s = self._left_s = self._setting.plan.budget.limit_s + (0.0 if self.answered else START_LIMIT_S)
        self._sent_at = time.monotonic()
        self.deadline = self._sent_at + self._left_s
        self._log_length = self._log.stat().st_size
        with suppress(BrokenPipeError):  # it is gone: reading says how
            send(self._command_fd, command)

    def allow(self, seconds: float) -> None:
        """Give it so much more time for its cell."""
        self._limit_s += seconds
        self._left_s += seconds

    def outcome(self, ready: Collection[Any]) -> Answer | Failure | None:
        """Its answer, or why there is none; None where it still has time. ``ready``: signs that are readable."""
        found = self._read() if any(sign in ready for sign in self.signs) else None
        if found is None and time.monotonic() >= self.deadline:
            reason = f"did not get done within the {self._limit_s:.0f} s that it had"
            return Failure("timeout", f"{reason}; see logs/{self._log.name}")
        return found

    def _read(self) -> Answer | Failure | None:
        assert self._process is not None
        chunk = self._pipe.read(1 << 16)
        if chunk is None and self._process.poll() is None:  # nothing to read now
            return None
        if not chunk:
            status, reason = self._ending()
            return Failure(status, f"{reason}; see logs/{self._log.name}")
        self._buffer += chunk
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return Failure("error", "the worker sent too much") if len(line) > LONGEST_ANSWER_BYTES else None
        self._buffer = b""
        try:
            answer: Answer = msgspec.json.decode(line, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return Failure("error", f"the worker sent something that is no answer ({error})")
        if rest:
            return Failure("error", "the worker sent something that it was not asked")
        self.answered = True
        self._left_s -= time.monotonic() - self._sent_at
        return answer

    def end(self) -> None:
        """End the process and all its children, if that was not done before."""
        if self._process is None or self._pipe.closed:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # stuck in a driver: not even a kill ends it
            self._process.wait(ENDING_LIMIT_S)
        self._pipe.close()
        for fd in (self._command_fd, *self.signs[1:]):
            os.close(fd)

    def _ending(self) -> tuple[Status, str]:
        assert self._process is not None
        try:
            code = self._process.wait(timeout=ENDING_LIMIT_S)
        except subprocess.TimeoutExpired:
            return "error", "the worker closed its answers and lived on"
        log_bytes = self._log.stat().st_size
        with self._log.open("rb") as log:  # the end of what it has written since it was last sent a command
            log.seek(max(self._log_length, log_bytes - LAST_WORDS_BYTES))
            words = log.read(LAST_WORDS_BYTES)
        if code == -signal.SIGKILL:
            return "out_of_memory", "the worker was ended by SIGKILL, as the system does where memory runs out"
        if code == -signal.SIGXCPU:
            return "timeout", "the worker used up the processor time that a process may have here (ulimit -t)"
        if code and OUT_OF_MEMORY.search(words):
            return "out_of_memory", "the worker ended for want of memory"
        if code and NO_MORE_THREADS.search(words):
            return "crashed", "the worker ended for want of threads or processes (ulimit -u)"
        if code and log_bytes == resource.getrlimit(resource.RLIMIT_FSIZE)[0]:
            return "crashed", "the worker's log is as long as a file may be here (ulimit -f)"
        if code < 0:
            return "crashed", f"the worker was ended by {signal.Signals(-code).name}"
        return "crashed", f"the worker ended with exit code {code} and without a result"


def together(
    requests: Mapping[WorkerProcess, Callable[[list[int]], AnyCommand]],
    slots: Sequence[list[int]],
    *,
    once: bool = False,
    give_up: Callable[[], bool] | None = None,
) -> list[tuple[WorkerProcess, Answer | Failure]]:
    """What each worker answers to its request, as many asked at a time as there are slots of processors.

    ``once``: a worker is ended when it has answered, so that a device has its memory back. ``give_up``: whether nobody
    is to be waited for any longer; it is asked every second, and where it is not given this process sleeps on: others
    may have their turns.
    """
    waiting, free = deque(requests.items()), deque(slots)
    busy: dict[WorkerProcess, list[int]] = {}
    outcomes = []
    while (waiting or busy) and not (give_up and give_up()):
        while waiting and free:
            worker, command = waiting.popleft()
            busy[worker] = slot = free.popleft()
            worker.start(slot)
            worker.send(command(slot))
        nearest_s = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        ready = wait(
            [sign for worker in busy for sign in worker.signs], min(nearest_s, GIVE_UP_S) if give_up else nearest_s
        )
        for worker in list(busy):
            if (outcome := worker.outcome(ready)) is not None:
                free.append(busy.pop(worker))
                outcomes.append((worker, outcome))
                if once:
                    worker.end()
    return outcomes


def exit_code(
    command: Sequence[str | Path], environment: Mapping[str, str], limit_s: float, stdout: IO[Any], stderr: IO[Any]
) -> int | None:
    """How a process of its own has ended, and its children with it; None where it took more than ``limit_s``."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def blocked(row: Row, interpreter: Interpreter = OWN) -> list[str]:
    """The frameworks of other rows that the interpreter has, which this row's worker must not import."""
    known = {name for other in find_rows().values() for name in other.frameworks}
    return sorted(name for name in known - set(row.frameworks) - SHARED if interpreter.has(name))
