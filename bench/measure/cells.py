"""The timed bodies. A worker runs this file under pytest, and pytest-benchmark samples: each of its rounds is a turn.

Every result is awaited inside the timed body, by the harness. When a cell is compared with the oracle,
`docs/definitions.md` says ("validated"); `bench.measure.proof` has what else each turn is held to.
"""

from __future__ import annotations

import gc
import os
import resource
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import pytest

from bench.machine.cpus import bind, children_s, delay_s, fall_asleep, is_bound
from bench.measure import memory
from bench.measure.error_location import where, words_of
from bench.measure.messages import (
    AnyCommand,
    Check,
    Finished,
    Prepare,
    Prepared,
    Revisit,
    Revisited,
    Seated,
    Sit,
    Turn,
    TurnTaken,
    hear,
    say,
)
from bench.measure.subjects import Bound, Model, Unsupported, wall_s
from bench.measure.validate import Invalid
from bench.records.schema import Memory, Phase, Status, settle
from impls import import_row, read_row
from impls.contract import TASKS, DeviceUnavailable, NoCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import UnionType

    from pytest_benchmark.fixture import BenchmarkFixture

    from bench.measure.messages import Job
    from bench.measure.subjects import Subject, SubjectTurns
    from bench.records.schema import Cell, Flag, Record

MIN_WARMUP_CALLS = 1
"""Beside the call of the first-call measurement, and those of the validation."""

DISTURBED = 0.05
"""A turn was disturbed if for more than this share of it its threads were ready to run and waited for a processor, by
the system's own count, and the row as a whole lacked as much processor time. Who is slow, or waits by himself, does not
count as disturbed."""

RESTLESS = 0.01
"""A row that takes more than this share of a processor between its turns disturbs the others."""

EXTRA = 0.05
"""A row that takes so much more processor time than its processors have in its turns has taken others."""

OVERSUBSCRIBED = 2.5
"""Who has so many threads a processor that ran or were ready to, on average over its turns, has too many."""

WAKING_S = 0.0005
"""What it may take beside that in each round, to wake up and hear that it is its turn: about 0.2 ms here."""


@dataclass(frozen=True)
class Ready:
    """A cell that is compiled and warm, and what was learnt on the way."""

    cell: Cell
    attempt: int
    subject: Subject
    error: float
    first_call_s: float
    compile_s: float | None
    warmup_calls: int


class TableCleared(Exception):
    """The runner gives no more turns; carries its next command."""

    def __init__(self, command: Check) -> None:
        super().__init__()
        self.command = command


class Turns:
    """Waits for turns, and keeps what they cost: pytest-benchmark calls ``before`` and ``after`` each round."""

    def __init__(self, worker: Worker, subject: SubjectTurns, sit: Sit, threads: int) -> None:
        self._worker, self._subject, self._call = worker, subject, subject.call
        self._calls, self._discards, self._threads = sit.calls, sit.discards, threads
        self.cpu_s = self.wall_s = self.waiting_cpu_s = self.waiting_s = 0.0
        self.waited_s = 0.0
        """How long threads were ready to run in turns, and waited for a processor."""
        self.taken = 0
        self.disturbed: list[int] = []
        self.switches = 0
        self._result: Any = None
        self._inputs: Sequence[Any] = ()
        self._children_s = sum(children_s().values())

    def before(self) -> None:
        """Sleep until the turn comes. Its first call finds cold caches: where the runner says so, it is not timed.

        Raises:
            TableCleared: there are no more turns.
        """
        cpu, wall = time.process_time(), time.perf_counter()
        command = self._worker.expect(Turn | Check)
        if isinstance(command, Check):
            raise TableCleared(command)
        self.waiting_cpu_s += time.process_time() - cpu
        self.waiting_s += time.perf_counter() - wall
        self._inputs = self._subject.place(self._discards + self._calls)
        if self._discards:
            self._call(self._inputs[0])
            self._inputs = self._inputs[1:]
        self._delay_s = delay_s()
        self._switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def timed(self) -> None:
        """As many calls as a turn has."""
        for inputs in self._inputs:
            self._result = self._call(inputs)

    def prove(self) -> None:
        """One more turn that is no sample and has no discarded call: only its own calls can move the weights."""
        self._inputs = self._subject.place(self._calls)
        self.timed()
        self._subject.look(self._result)

    def after(self) -> None:
        """Count what the turn took, look at what it gave, and say that it is over."""
        cpu_s, wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self.switches += resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - self._switches
        now = delay_s()
        self._subject.look(self._result)
        waited_s = 0.0 if now is None or self._delay_s is None else max(0.0, now - self._delay_s)
        # a thread that waits for another of its own row loses nothing: the row has the processor. Of several threads on
        # several processors that cannot be told: each may wait for the place of another while its own is free
        disturbed = self._threads == 1 and min(waited_s, wall_s - cpu_s) > DISTURBED * wall_s
        if disturbed:
            self.disturbed.append(self.taken)
        self.cpu_s, self.wall_s, self.taken = self.cpu_s + cpu_s, self.wall_s + wall_s, self.taken + 1
        self.waited_s += waited_s
        self.settle()
        self._worker.answer(TurnTaken(disturbed))

    def flags(self, processors: Sequence[int]) -> list[Flag]:
        """What was noticed of a row that was to keep to these processors, and to its turns.

        What processes of its own had counts as the row's: they may run anywhere, at any time.
        """
        own = sum(children_s().values()) - self._children_s
        noticed: dict[Flag, bool] = {
            "restless": self.waiting_cpu_s > RESTLESS * self.waiting_s + WAKING_S * self.taken,
            "extra_processors": self.cpu_s + own > (1 + EXTRA) * self._threads * self.wall_s
            or not is_bound(processors),
            "oversubscribed": self.cpu_s + self.waited_s > OVERSUBSCRIBED * self._threads * self.wall_s,
        }
        return [flag for flag, seen in noticed.items() if seen]

    def settle(self) -> None:
        """Several threads spin on before they sleep: nobody else's turn begins until they do."""
        if self._threads > 1:
            fall_asleep()


class Worker:
    """The pytest plugin that carries a job to ``test_sitting``: the row, what it has loaded, and the runner's ear."""

    def __init__(self, job: Job, commands: BinaryIO, answer_fd: int) -> None:
        self.job, self._commands, self._answer_fd = job, commands, answer_fd
        self.row = read_row(Path(job.row_path), Path(job.row_root) if job.row_root else None)
        self._loaded: tuple[str, Subject] | None = None
        """A workload, and the row at it."""
        self._phases_s: dict[Phase, float] = {}
        """Seconds by phase since they were told last."""
        self._import_s: float | None = None
        self._build: Callable[..., Any] | None = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each time that the runner may ask."""
        metafunc.parametrize("_number", range(self.job.sittings))

    @pytest.fixture(scope="session")
    def worker(self) -> Worker:
        """The plugin itself."""
        return self

    def hear(self) -> AnyCommand | None:
        """The runner's next command, waited for asleep; None where it has nothing more to say."""
        command: AnyCommand | None = hear(self._commands, AnyCommand)
        return command

    def expect(self, kind: type | UnionType) -> Any:
        """The runner's next command, which has to be of this kind; the process ends with the runner."""
        command = self.hear()
        if not isinstance(command, kind):
            os._exit(0 if command is None else 3)
        return command

    def answer(self, message: Prepared | Seated | TurnTaken | Finished | Revisited) -> None:
        """Say something to the runner."""
        say(self._answer_fd, message)

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count the time that the context lasts as a phase's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._phases_s[name] = self._phases_s.get(name, 0.0) + time.perf_counter() - start

    def phases_s(self) -> dict[Phase, float]:
        """Seconds by phase, from the last time that they were asked for."""
        told, self._phases_s = self._phases_s, {}
        return told

    def load(self, cell: Cell) -> Subject:
        """The row at the cell's workload: made once for all its tasks."""
        if self._build is None:
            start = time.perf_counter()
            self._build = import_row(self.row).load
            self._import_s = time.perf_counter() - start
            gc.collect()
            gc.freeze()  # else each later collection walks through the whole framework: 0.2 s a cell
            self._phases_s["start"] = time.monotonic() - self.job.started_s
        if self._loaded is None or self._loaded[0] != cell.workload:
            self._loaded = None  # the old one's memory, before the new one is made
            kind = Bound if self.row.is_bound else Model
            with self.phase("load"):
                self._loaded = cell.workload, kind(self._build, self.job.problems[cell.workload], cell.device)
        return self._loaded[1]

    def prepare(self, cell: Cell, attempt: int) -> tuple[Ready, float]:
        """The cell, compiled, validated in the first block, warm and as loaded; and about how long a call takes.

        Raises:
            Invalid: the row's values are wrong.
        """
        subject = self.load(cell)
        subject.reset()
        warm = subject.turns(cell, self.seed(cell, 0))

        def call_s() -> float:
            (inputs,) = warm.place(1)
            return wall_s(partial(warm.call, inputs))

        with self.phase("compile" if self.row.compiles else "warm-up"):
            first_call_s = call_s()
        with self.phase("warm-up"):
            warmup = [call_s()] if self.row.compiles else []
        compile_s = max(0.0, first_call_s - warmup[0]) if self.row.compiles else None
        with self.phase("check"):
            error = subject.validate(cell, 0) if self.job.block <= 1 else 0.0
        with self.phase("warm-up"):
            warm_until = time.perf_counter() + self.job.warmup_s
            while len(warmup) < MIN_WARMUP_CALLS or time.perf_counter() < warm_until:
                warmup.append(call_s())
            subject.reset()
            gc.collect()  # not when all others wait for it to be seated
        ready = Ready(cell, attempt, subject, error, first_call_s, compile_s, len(warmup))
        return ready, min(warmup)

    def take_turns(self, ready: Ready, benchmark: BenchmarkFixture) -> Record:
        """The cell's record, with a sample for each turn.

        Raises:
            Invalid: the row's values are wrong.
        """
        cell, subject = ready.cell, ready.subject
        sit = self.expect(Sit)
        bind(sit.processors)
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        squares_s = subject.squares_s()  # nobody else works now: those who are not seated yet sleep as well
        timed = subject.turns(cell, self.seed(cell, 1 + ready.attempt))
        turns = Turns(self, timed, sit, cell.threads)
        turns.settle()
        self.answer(Seated())
        try:
            benchmark.pedantic(  # type: ignore[no-untyped-call]
                turns.timed, setup=turns.before, teardown=turns.after, rounds=sit.most_turns, iterations=1
            )
            check = self.expect(Check)
        except TableCleared as cleared:
            check = cleared.command
        flags = turns.flags(sit.processors)
        bind(check.processors)
        if sit.discards and cell.task == "train_step":
            turns.prove()
        assert benchmark.stats is not None
        samples_s = [seconds / sit.calls for seconds in benchmark.stats.stats.data]
        with self.phase("check"):
            error = max(ready.error, timed.verify(median(samples_s)))
            if check.unseen:
                error = max(error, subject.validate(cell, 1))
        return msgspec.structs.replace(
            self.settled(cell, ready.attempt, "ok", ""),
            reason=None,
            samples_s=samples_s,
            calls=sit.calls,
            discards=sit.discards,
            import_s=self._import_s,
            build_s=subject.build_s,
            first_call_s=ready.first_call_s,
            compile_s=ready.compile_s,
            compiled=subject.compiled(),
            warmup_calls=ready.warmup_calls,
            max_relative_error=error,
            disturbed=turns.disturbed,
            cpu_per_wall=turns.cpu_s / turns.wall_s,
            waiting_cpu_s=turns.waiting_cpu_s,
            involuntary_switches=turns.switches,
            flags=flags,
            processors=sit.processors,
            hash_seed=self.job.hash_seed,
            padding_bytes=self.job.padding_bytes,
            started_at=started_at,
            square_size=subject.square_size,
            squares_s=squares_s,
        )

    def revisit(self, cell: Cell) -> Revisited:
        """The cell's peak memory; and whether it is right on an input that it has not seen here."""
        failure = None
        try:
            memory = self.weigh(cell)
        except NoCounter as error:
            memory = Memory(cell=cell, status="unsupported", reason=words_of(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whether that is the row's fault, the oracle tells
            status, reason = verdict_on(error, self)
            memory = Memory(cell=cell, status=status, reason=reason)
        try:
            self.load(cell).validate(cell, 1)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = self.settled(cell, 0, *verdict_on(error, self))
        return Revisited(memory, failure)

    def weigh(self, cell: Cell) -> Memory:
        """The peak of the second call above what the process holds once the model is loaded."""
        subject = self.load(cell)
        call = subject.body(cell)
        scale = memory.scale_of(subject.row, cell.device)
        call()  # what a first call leaves behind, such as a compiled program, is held from then on
        peak_bytes = scale.peak_of(call)
        return Memory(cell=cell, status="ok", peak_bytes=peak_bytes, source=scale.source)

    def seed(self, cell: Cell, number: int) -> tuple[int, ...]:
        """Draws inputs in this block: not the row's own, for all who take turns are fed the same."""
        return self.job.seed, self.job.block, TASKS.index(cell.task), number

    def settled(self, cell: Cell, attempt: int, status: Status, reason: str) -> Record:
        """A record of this block and table."""
        return settle(cell, status, reason, block=self.job.block, table=self.job.table, attempt=attempt)


def test_sitting(_number: int, worker: Worker, benchmark: BenchmarkFixture) -> None:
    """Do what the runner asks for next, and report whatever becomes of it."""
    command = worker.hear()
    if command is None:
        pytest.exit("the runner has nothing more to ask", returncode=0)
    elif isinstance(command, Revisit):
        (cell,) = worker.job.cells
        worker.answer(worker.revisit(cell))
        return
    assert isinstance(command, Prepare)
    cell = worker.job.cells[command.cell]
    try:
        bind(command.processors)
        ready, call_s = worker.prepare(cell, command.attempt)
        worker.answer(Prepared(call_s, worker.phases_s()))
        record = worker.take_turns(ready, benchmark)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a row that calls sys.exit() or pytest.skip() has no result either
        record = worker.settled(cell, command.attempt, *verdict_on(error, worker))
    worker.answer(Finished(record, worker.phases_s()))


def verdict_on(error: BaseException, worker: Worker) -> tuple[Status, str]:
    """The status and the reason that an exception stands for."""
    if isinstance(error, Invalid):
        return "invalid", words_of(error)
    if isinstance(error, DeviceUnavailable):
        return "unavailable", words_of(error)
    if isinstance(error, Unsupported):
        return "unsupported", words_of(error)
    traceback.print_exception(error)
    return "out_of_memory" if is_out_of_memory(error) else "error", where(error, worker.row.path, worker.job.blocked)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, PyTorch, JAX or CuPy says that memory has run out."""
    words = words_of(error, 100_000).lower()
    return isinstance(error, MemoryError) or any(
        sign in words for sign in ("out of memory", "resource_exhausted", "can't allocate memory")
    )
