"""The turns of a cell: pytest-benchmark samples, each of its rounds is a turn; what was noticed of the row in them."""

from __future__ import annotations

import resource
import time
from inspect import signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_benchmark.fixture import BenchmarkFixture

from bench.machine.cpus import children_s, delay_s, fall_asleep, is_bound
from bench.measure.messages import Check, Turn, TurnTaken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure.messages import AwaitTurns, Runner
    from bench.measure.proof import ModelTurns
    from bench.measure.subjects import BoundTurns
    from bench.records.schema import Flag

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

    def __init__(self, runner: Runner, subject: ModelTurns | BoundTurns, sit: AwaitTurns, threads: int) -> None:
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
