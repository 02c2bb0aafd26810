"""What a profile is, as it is saved, and what the time of its calls goes to.

It is saved in ``profile.json``, with the traces beside it; derived numbers are not stored. What the time goes to is
known by the events of a trace: at each instant of a call, a thread does what its innermost event says. Where several
threads are in operations at once, the instant is shared among them; where none is, it belongs to no operation. So the
operations of a call never add up to more than the call.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise, zip_longest
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from bench.records.schema import Cell, CodeFacts, Environment, Status, Struct
from bench.records.store import read_versioned
from impls.profiling import CALL, KINDS, Kind, TraceEvent, plain_name

PROFILE_FILE = "profile.json"
SCHEMA_VERSION = 1

Category = Kind | Literal["overhead"]


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """What a call took, the mean of those of a turn."""

    wall_s: float
    waited_s: float
    """How much of it the row's thread was ready to run, and another program had the processor."""


class Operation(Struct, frozen=True, kw_only=True):
    """All operations of one name and kind, in a call."""

    name: str
    kind: Kind
    count: int
    """How many a call typically has."""
    seconds: float
    """Of a call under the profiler, all of them together: first quartiles over the calls, less the profiler's own."""


class Profile(Cell, frozen=True, kw_only=True):
    """What one row does at one workload and task."""

    status: Status
    reason: str | None = None
    profiler: str | None = None
    """Whose it is, and what it cannot see; None where the row's framework has none."""
    code: CodeFacts
    turns: tuple[Turn, ...] = ()
    """Without the profiler, some before and some after those with it."""
    profiled: tuple[Turn, ...] = ()
    """Under the profiler, each of one call."""
    own_s: float | None = None
    """What was taken off each operation, as the profiler's own."""
    operations: tuple[Operation, ...] = ()
    """Longest first."""
    max_relative_error: float | None = None
    """The worst quantity against the float64 oracle, without the profiler and under it."""
    trace: str | None = None
    """Name of the file beside this one."""

    @property
    def call_s(self) -> float:
        """Seconds of a call without the profiler."""
        return _without_waiting(self.turns)

    @property
    def slowdown(self) -> float:
        """How many times as long a call lasts under the profiler."""
        return _without_waiting(self.profiled) / self.call_s

    @property
    def waited(self) -> float:
        """What share of the time the row waited for a processor that somebody else had, without the profiler."""
        return sum(turn.waited_s for turn in self.turns) / sum(turn.wall_s for turn in self.turns)

    @property
    def scale(self) -> float:
        """What operations are multiplied with to fit into the call: 1, or less where they outlast it."""
        seconds = sum(operation.seconds for operation in self.operations)
        return min(1.0, self.call_s / seconds) if self.operations else 1.0

    @property
    def categories_s(self) -> dict[Category, float]:
        """Category to seconds of a call: those of the operations, and what is left of it. They add up to the call."""
        seconds: dict[Category, float] = {
            kind: self.scale * sum(own.seconds for own in self.operations if own.kind == kind) for kind in KINDS
        }
        return seconds | {"overhead": max(0.0, self.call_s - sum(seconds.values()))}


class Profiles(Struct, frozen=True, kw_only=True):
    """What one command profiled."""

    schema_version: int
    started_at: str
    command: str
    environment: Environment
    shapes: dict[str, str]
    """Workload to its sizes in a line."""
    profiles: list[Profile]


def typical(times: Sequence[float]) -> float:
    """The first quartile: what disturbs a program only ever makes it slower, and now and then does so to most calls."""
    return sorted(times)[(len(times) - 1) // 4]


def _without_waiting(turns: Sequence[Turn]) -> float:
    return typical([turn.wall_s - turn.waited_s for turn in turns])


def read_profiles(folder: Path) -> Profiles:
    """The profiles in a folder.

    Raises:
        InvalidInput: there are none, they are damaged, or another version wrote them.
    """
    return read_versioned(folder / PROFILE_FILE, Profiles, SCHEMA_VERSION)


Name: TypeAlias = tuple[str, Kind]
"""Of an operation, without the number that distinguishes alike ones, and its kind."""

CallProfile: TypeAlias = dict[Name, list[float]]
"""Operation to the seconds that it had of one call, each time that it was carried out, in order."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which one thread is in one operation and in nothing inside it, in microseconds."""

    start: float
    end: float
    operation: Name
    number: int
    """Which event it is of: an operation that something inside it interrupts has several stretches."""


def attribute(events: Iterable[TraceEvent]) -> list[CallProfile]:
    """The calls of a trace, in order, and what each one's time went to."""
    calls, threads = [], defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            if event.get("cat") == CALL:
                calls.append((event["ts"], event["ts"] + event["dur"]))
            else:
                threads[event["pid"], event["tid"]].append(event)
    number = count()
    stretches = shared([stretch for own in threads.values() for stretch in innermost(own, number)])
    starts = [stretch.start for stretch, _ in stretches]
    found = []
    for start, end in sorted(calls):
        lasted: dict[tuple[Name, int], float] = defaultdict(float)
        begun = bisect_right(starts, start)
        first = bisect_left(starts, starts[begun - 1]) if begun else 0  # of several threads, some begin at once
        for stretch, share in stretches[first : bisect_right(starts, end)]:
            length = min(stretch.end, end) - max(stretch.start, start)
            if length > 0:
                lasted[stretch.operation, stretch.number] += share * length / 1e6
        operations: CallProfile = {}
        for (operation, _), seconds in lasted.items():
            operations.setdefault(operation, []).append(seconds)
        found.append(operations)
    return found


def innermost(events: Iterable[TraceEvent], number: Iterator[int]) -> Iterator[Stretch]:
    """The stretches of one thread, in order. An event that outlasts the one around it is cut to it."""
    open_: list[tuple[float, Name | None, int]] = []
    now = -math.inf

    def until(end: float) -> Iterator[Stretch]:
        """The stretch from now to there, of what is open."""
        nonlocal now
        _, operation, own = open_[-1]
        if end > now and operation is not None:
            yield Stretch(now, end, operation, own)
        now = max(now, end)

    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        start, end = event["ts"], event["ts"] + event["dur"]
        while open_ and open_[-1][0] <= start:
            yield from until(open_[-1][0])
            open_.pop()
        if open_:
            yield from until(start)
            end = min(end, open_[-1][0])
        now = max(now, start)
        kind = event.get("cat")
        open_.append((end, (plain_name(event["name"]), kind) if kind in KINDS else None, next(number)))
    while open_:
        yield from until(open_[-1][0])
        open_.pop()


def shared(stretches: Sequence[Stretch]) -> list[tuple[Stretch, float]]:
    """The stretches of all threads, cut where one begins or ends, with the share that each has of its time."""
    ordered = sorted(stretches, key=lambda stretch: stretch.start)
    if all(one.end <= after.start for one, after in pairwise(ordered)):
        return [(stretch, 1.0) for stretch in ordered]
    edges = sorted({edge for stretch in ordered for edge in (stretch.start, stretch.end)})
    cut: list[tuple[Stretch, float]] = []
    active: list[Stretch] = []
    waiting = deque(ordered)
    for start, end in pairwise(edges):
        while waiting and waiting[0].start <= start:
            active.append(waiting.popleft())
        active = [stretch for stretch in active if stretch.end > start]
        cut += [(replace(stretch, start=start, end=end), 1 / len(active)) for stretch in active]
    return cut


ABSENT = -math.inf
"""Stands where a call has no such time: shorter than any."""


def operations_of(calls: Sequence[CallProfile], own_s: float) -> tuple[Operation, ...]:
    """What a call's operations take, longest first: of each time that one is carried out, what is typical of all calls.

    Calls do the same things in the same order, so that the first time of one is held against the first of the others:
    what somebody else's program did to a call, wherever in it, does not count; nor does a time that a call typically
    has not. ``own_s`` is taken off each: what of it is the profiler's own.
    """
    found = []
    for name, kind in dict.fromkeys(operation for call in calls for operation in call):
        times = zip_longest(*(call.get((name, kind), ()) for call in calls), fillvalue=ABSENT)
        there = [max(0.0, seconds - own_s) for own in times if (seconds := typical(own)) != ABSENT]
        if there:
            found.append(Operation(name=name, kind=kind, count=len(there), seconds=sum(there)))
    return tuple(sorted(found, key=lambda operation: -operation.seconds))
