"""What the time of calls goes to, by the events of a trace. Pure.

At each instant of a call, a thread does what its innermost event says. Where several threads are in operations at once,
the instant is shared among them; where none is, it belongs to no operation. So the operations of a call never add up to
more than the call.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise, zip_longest

from impls.profiling import CALL, KINDS, Kind, TraceEvent, plain_name

Operation = tuple[str, Kind]
"""Name, without the number that distinguishes alike ones, and kind."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which one thread is in one operation and in nothing inside it, in microseconds."""

    start: float
    end: float
    operation: Operation
    number: int
    """Which event it is of: an operation that something inside it interrupts has several stretches."""


@dataclass(frozen=True, slots=True)
class CallProfile:
    """One call under the profiler."""

    seconds: float
    operations: dict[Operation, list[float]]
    """Operation to the seconds that it had of the call, each time that it was carried out, in order."""


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
        lasted: dict[tuple[Operation, int], float] = {}
        begun = bisect_right(starts, start)
        first = bisect_left(starts, starts[begun - 1]) if begun else 0  # of several threads, some begin at once
        for stretch, share in stretches[first : bisect_right(starts, end)]:
            length = min(stretch.end, end) - max(stretch.start, start)
            if length > 0:
                which = stretch.operation, stretch.number
                lasted[which] = lasted.get(which, 0.0) + share * length / 1e6
        operations: dict[Operation, list[float]] = {}
        for (operation, _), seconds in lasted.items():
            operations.setdefault(operation, []).append(seconds)
        found.append(CallProfile((end - start) / 1e6, operations))
    return found


def innermost(events: Iterable[TraceEvent], number: Iterator[int]) -> Iterator[Stretch]:
    """The stretches of one thread, in order. An event that outlasts the one around it is cut to it."""
    open_: list[tuple[float, Operation | None, int]] = []
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


def typical(times: Sequence[float]) -> float:
    """The first quartile: what disturbs a program only ever makes it slower, and now and then does so to most calls."""
    ordered = sorted(times)
    return ordered[(len(ordered) - 1) // 4]


ABSENT = -math.inf
"""Stands where a call has no such time: shorter than any."""


def each_time(calls: Sequence[CallProfile], own_s: float) -> dict[Operation, list[float]]:
    """Operation to the seconds of each time that a call carries it out, typical ones of all calls.

    Calls do the same things in the same order, so that the first time of one is held against the first of the others:
    what somebody else's program did to a call, wherever in it, does not count; nor does a time that a call typically
    has not. ``own_s`` is taken off each: what of it is the profiler's own.
    """
    found = {}
    for operation in {operation: None for call in calls for operation in call.operations}:
        times = zip_longest(*(call.operations.get(operation, ()) for call in calls), fillvalue=ABSENT)
        if there := [seconds for own in times if (seconds := typical(own)) != ABSENT]:
            found[operation] = [max(0.0, seconds - own_s) for seconds in there]
    return found
