"""What a worker does at each command of the runner: it loads, prepares, times and validates cells.

Every result is awaited inside the timed body, by the harness. When a cell is validated, `docs/definitions.md` says;
`bench.measure.proof` has what else each turn is held to.
"""

from __future__ import annotations

import gc
import resource
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from inspect import signature
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from pytest_benchmark.fixture import BenchmarkFixture

from bench.machine.cpus import bind, children_s, delay_s, fall_asleep, is_bound
from bench.measure.errors import verdict_on, words_of
from bench.measure.letters import LetterTurns, Trained
from bench.measure.messages import (
    AwaitTurns,
    Built,
    Check,
    Compile,
    Finished,
    Prepare,
    Prepared,
    Revisit,
    Revisited,
    Turn,
    TurnTaken,
    Waiting,
)
from bench.measure.subjects import Bound, Model, peak_memory, wall_s
from bench.records.schema import Memory, Phase, Record, Status, without_time
from impls import import_row, read_row
from impls.contract import NoCounter
from impls.tasks import ALL_TASKS, LETTER_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.measure.messages import Job, Runner
    from bench.measure.proof import ModelTurns
    from bench.measure.subjects import BoundTurns
    from bench.records.schema import Cell, Flag

    Subject = Model | Bound | Trained


class Worker:
    """The row of a job, and what of it is loaded."""

    def __init__(self, job: Job, runner: Runner) -> None:
        self._job, self._runner = job, runner
        self._row = read_row(Path(job.row_path))
        self._loaded: tuple[tuple[str, bool], Subject] | None = None
        """A workload and whether its words are learnt, and the row at it."""
        self._phases_s: dict[Phase, float] = {}
        """Seconds by phase since they were sent last."""
        self._import_s: float | None = None
        self._build: Callable[..., Any] | None = None

    def serve(self) -> None:
        """Do what the runner commands until it is gone, and send whatever becomes of it."""
        while (command := self._runner.receive()) is not None:
            match command:
                case Prepare():
                    self._sit(command)
                case Revisit():
                    (cell,) = self._job.cells
                    self._runner.send(self._revisit(cell))
                case Compile():
                    (cell,) = self._job.cells
                    self._runner.send(self._compile(cell))

    def _sit(self, command: Prepare) -> None:
        cell = self._job.cells[command.cell]
        try:
            bind(command.processors)
            record, call_s = self._prepare(cell, command.attempt)
            self._runner.send(Prepared(call_s, self._spent_s()))
            record = self._take_turns(record)
        except BaseException as error:  # a row that calls sys.exit() or pytest.skip() has no result either
            record = self._failed(cell, *self._verdict_on(error), command.attempt)
        self._runner.send(Finished(record, self._spent_s()))

    def _prepare(self, cell: Cell, attempt: int) -> tuple[Record, float]:
        """The cell's record as far as it goes before its turns, and about how long a call takes.

        The cell is compiled then, validated in the first block, warm and as loaded. Invalid where its values are wrong.
        """
        subject, compiles = self._load(cell), self._row.compiles_on(cell.device)
        subject.reset()
        warm = subject.turns(cell, self._seed(cell, 0))

        def call_s() -> float:
            (inputs,) = warm.place(1)
            return wall_s(partial(warm.call, inputs))

        with self._phase("compile" if compiles else "warm-up"):
            first_call_s = call_s()
        with self._phase("warm-up"):
            warmup = [call_s()] if compiles else []
        compile_s = max(0.0, first_call_s - warmup[0]) if compiles else None
        with self._phase("check"):
            error = subject.validate(cell, 0) if self._job.block <= 1 else 0.0
        with self._phase("warm-up"):
            warm_until = time.perf_counter() + self._job.warmup_s
            while not warmup or time.perf_counter() < warm_until:
                warmup.append(call_s())
            subject.reset()
            gc.collect()  # not when all others wait for it to be entered
        record = Record(
            cell=cell,
            block=self._job.block,
            pool=self._job.pool,
            attempt=attempt,
            status="ok",
            import_s=self._import_s,
            build_s=subject.build_s,
            first_call_s=first_call_s,
            compile_s=compile_s,
            warmup_calls=len(warmup),
            max_relative_error=error,
            hash_seed=self._job.hash_seed,
            padding_bytes=self._job.padding_bytes,
        )
        return record, min(warmup)

    def _take_turns(self, record: Record) -> Record:
        """The cell's whole record, with a sample for each turn; Invalid where its values are wrong."""
        cell = record.cell
        subject = self._load(cell)
        sit: AwaitTurns = self._runner.expect(AwaitTurns)
        bind(sit.processors)
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        squares_s = subject.squares_s()  # nobody else works now: those who are not entered yet sleep as well
        timed = subject.turns(cell, self._seed(cell, 1 + record.attempt))
        turns = Turns(self._runner, timed, sit, cell.threads)
        turns.without_time()
        self._runner.send(Waiting())
        samples_s, check = turns.sample()
        flags = turns.flags()
        bind(check.processors)
        if sit.discards and cell.task in ("train_step", "learn_step"):
            turns.prove()
        with self._phase("check"):
            errors = [record.max_relative_error or 0.0, timed.verify(median(samples_s))]
            if check.unseen:
                errors.append(subject.validate(cell, 1))
        return msgspec.structs.replace(
            record,
            samples_s=samples_s,
            calls=sit.calls,
            discards=sit.discards,
            compiled=subject.compiled(),
            max_relative_error=max(errors),
            preempted=turns.preempted,
            cpu_per_wall=turns.cpu_s / turns.wall_s,
            waiting_cpu_s=turns.waiting_cpu_s,
            involuntary_switches=turns.switches,
            flags=flags,
            processors=sit.processors,
            started_at=started_at,
            square_size=subject.square_size,
            squares_s=squares_s,
        )

    def _revisit(self, cell: Cell) -> Revisited:
        """The cell's peak memory; and whether it is right on an input that it has not seen here."""
        failure = None
        try:
            subject = self._load(cell)
            peak_bytes, source = peak_memory(subject.row, cell.device, subject.body(cell))
            memory = Memory(cell=cell, status="ok", peak_bytes=peak_bytes, source=source)
        except NoCounter as error:
            memory = Memory(cell=cell, status="unsupported", reason=words_of(error))
        except BaseException as error:  # whether that is the row's fault, the validation tells
            status, reason = self._verdict_on(error)
            memory = Memory(cell=cell, status=status, reason=reason)
        try:
            self._load(cell).validate(cell, 1)
        except BaseException as error:
            failure = self._failed(cell, *self._verdict_on(error))
        return Revisited(memory, failure)

    def _compile(self, cell: Cell) -> Built | Finished:
        try:
            call = self._load(cell, blank=True).body(cell)
            first_call_s, second_call_s = wall_s(call), wall_s(call)
        except BaseException as error:
            return Finished(self._failed(cell, *self._verdict_on(error)))
        return Built(first_call_s, max(0.0, first_call_s - second_call_s))

    def _load(self, cell: Cell, *, blank: bool = False) -> Subject:
        """The row at the cell's workload: made once for all its tasks, and once more for those of its training."""
        if self._build is None:
            start = time.perf_counter()
            self._build = import_row(self._row).load
            self._import_s = time.perf_counter() - start
            gc.collect()
            gc.freeze()  # else each later collection walks through the whole framework: 0.2 s a cell
            self._phases_s["start"] = time.monotonic() - self._job.started_s
        key = cell.workload, cell.task in LETTER_TASKS
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # the old one's memory, before the new one is made
            source = self._job.problems[cell.workload]
            with self._phase("load"):
                if self._row.is_bound:
                    self._loaded = key, Bound(self._build, source, cell.device)
                elif cell.task in LETTER_TASKS:
                    self._loaded = key, Trained(self._row, source, cell.device, blank=blank)
                else:
                    self._loaded = key, Model(self._build, source, cell.device, blank=blank)
        return self._loaded[1]

    @contextmanager
    def _phase(self, name: Phase) -> Iterator[None]:
        """Count the time that the context lasts as a phase's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._phases_s[name] = self._phases_s.get(name, 0.0) + time.perf_counter() - start

    def _spent_s(self) -> dict[Phase, float]:
        """Seconds by phase, since the last time that they were asked for."""
        spent_s, self._phases_s = self._phases_s, {}
        return spent_s

    def _seed(self, cell: Cell, number: int) -> tuple[int, ...]:
        """Draws inputs in this block: not the row's own, for all who take turns are fed the same."""
        return self._job.seed, self._job.block, ALL_TASKS.index(cell.task), number

    def _failed(self, cell: Cell, status: Status, reason: str, attempt: int = 0) -> Record:
        """A record of this block and pool that has no time."""
        return without_time(cell, status, reason, block=self._job.block, pool=self._job.pool, attempt=attempt)

    def _verdict_on(self, error: BaseException) -> tuple[Status, str]:
        return verdict_on(error, self._row.path, self._job.blocked)


PREEMPTED = 0.05
"""A turn was preempted if for more than this share of it its threads were ready to run and waited for a processor, by
the system's own count, and the row as a whole lacked as much processor time. Who is slow, or waits by himself, was not
preempted."""

BACKGROUND_CPU = 0.01
"""A row that takes more than this share of a processor between its turns slows the others."""

WAKING_S = 0.0005
"""What it may take beside that in each round, to wake up and receive the command: about 0.2 ms here."""

EXTRA = 0.05
"""A row that takes so much more processor time than its processors have in its turns has taken others."""

OVERSUBSCRIBED = 2.5
"""Who has so many threads a processor that ran or were ready to, on average over its turns, has too many."""


class TurnsOver(Exception):
    """The runner gives no more turns; its next command is the argument."""


class Turns:
    """Takes turns when the runner says so, and counts what they cost."""

    def __init__(
        self, runner: Runner, subject: ModelTurns | BoundTurns | LetterTurns, sit: AwaitTurns, threads: int
    ) -> None:
        self._runner, self._subject, self._call = runner, subject, subject.call
        self._sit, self._threads = sit, threads
        self.cpu_s = self.wall_s = self.waiting_cpu_s = self.waiting_s = 0.0
        self.delayed_s = 0.0
        """How long threads were ready to run in turns, and waited for a processor."""
        self.taken = self.switches = 0
        self.preempted: list[int] = []
        self._result: Any = None
        self._inputs: Sequence[Any] = ()
        self._children_s = sum(children_s().values())

    def sample(self) -> tuple[list[float], Check]:
        """Seconds a call, one number a turn; and the command after the last turn.

        No test asks for the fixture: it is made here, without pytest. What else it takes differs from version to
        version, and ``pedantic`` makes no use of it.
        """
        used = {
            "node": SimpleNamespace(name="", nodeid="", _nodeid=""),  # before 5.3 it is read with an underscore
            "timer": SimpleNamespace(target=time.perf_counter),
            "disable_gc": True,
            "add_stats": lambda _: None,
        }
        known = dict.fromkeys(signature(BenchmarkFixture).parameters, 0)
        benchmark: Any = BenchmarkFixture(**known | used)  # type: ignore[no-untyped-call]
        try:
            benchmark.pedantic(self.timed, setup=self.before, teardown=self.after, rounds=self._sit.most_turns)
            check: Check = self._runner.expect(Check)
        except TurnsOver as over:
            (check,) = over.args
        return [seconds / self._sit.calls for seconds in benchmark.stats.stats.data], check

    def before(self) -> None:
        """Sleep until the turn comes. Its first call finds cold caches: where the runner says so, it is not timed.

        Raises:
            TurnsOver: there are no more turns.
        """
        cpu, wall = time.process_time(), time.perf_counter()
        command = self._runner.expect(Turn | Check)
        if isinstance(command, Check):
            raise TurnsOver(command)
        self.waiting_cpu_s += time.process_time() - cpu
        self.waiting_s += time.perf_counter() - wall
        self._inputs = self._subject.place(self._sit.discards + self._sit.calls)
        if self._sit.discards:
            self._call(self._inputs[0])
            self._inputs = self._inputs[1:]
        self._delay_s = delay_s()
        self._switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def timed(self) -> None:
        """As many calls as a turn has."""
        for inputs in self._inputs:
            self._result = self._call(inputs)

    def after(self) -> None:
        """Count what the turn took, look at what it gave, and send that it is over."""
        cpu_s, wall_s = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self.switches += resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - self._switches
        now = delay_s()
        self._subject.look(self._result)
        delayed_s = 0.0 if now is None or self._delay_s is None else max(0.0, now - self._delay_s)
        # a thread that waits for another of its own row loses nothing: the row has the processor. Of several threads on
        # several processors that cannot be told: each may wait for the place of another while its own is free
        preempted = self._threads == 1 and min(delayed_s, wall_s - cpu_s) > PREEMPTED * wall_s
        if preempted:
            self.preempted.append(self.taken)
        self.cpu_s, self.wall_s, self.taken = self.cpu_s + cpu_s, self.wall_s + wall_s, self.taken + 1
        self.delayed_s += delayed_s
        self.without_time()
        self._runner.send(TurnTaken(preempted))

    def prove(self) -> None:
        """One more turn that is no sample and has no discarded call: only its own calls can move the weights."""
        self._inputs = self._subject.place(self._sit.calls)
        self.timed()
        self._subject.look(self._result)

    def without_time(self) -> None:
        """Several threads spin on before they sleep: nobody else's turn begins until they do."""
        if self._threads > 1:
            fall_asleep()

    def flags(self) -> list[Flag]:
        """What was noticed of a row that was to keep to its processors, and to its turns.

        What processes of its own had counts as the row's: they may run anywhere, at any time.
        """
        own_s = self.cpu_s + sum(children_s().values()) - self._children_s
        had_s = self._threads * self.wall_s
        noticed: dict[Flag, bool] = {
            "restless": self.waiting_cpu_s > BACKGROUND_CPU * self.waiting_s + WAKING_S * self.taken,
            "extra_processors": own_s > (1 + EXTRA) * had_s or not is_bound(self._sit.processors),
            "oversubscribed": self.cpu_s + self.delayed_s > OVERSUBSCRIBED * had_s,
        }
        return [flag for flag, seen in noticed.items() if seen]
