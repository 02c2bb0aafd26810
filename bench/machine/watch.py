"""What a busy second shows of a processor and of its clock."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import NamedTuple

from bench.machine.files import match

GAP_S = 100e-6
"""A loop that does nothing but read the clock takes a thousandth of that a turn."""


class Watched(NamedTuple):
    """What a loop that wants one whole processor saw of it."""

    lost: float
    longest_gap_s: float


def spin(seconds: float = 1.0) -> Watched:
    """Keep one processor busy: a machine that sleeps has nothing stolen from it."""
    clock = time.perf_counter
    start = last = clock()
    lost = longest = 0.0
    while last - start < seconds:
        now = clock()
        gap = now - last
        last = now
        if gap > GAP_S:
            lost += gap
            longest = max(longest, gap)
    return Watched(lost / (last - start), longest)


def timer(batches: int = 5, readings: int = 500) -> tuple[float, float]:
    """The smallest step of the clock that samples are read from, and what reading it takes at best: seconds."""
    clock = time.perf_counter_ns
    read = [[clock() for _ in range(readings)] for _ in range(batches)]
    steps = [later - earlier for times in read for earlier, later in pairwise(times) if later > earlier]
    call = min((times[-1] - times[0]) / (readings - 1) for times in read)
    return min(steps, default=0) / 1e9, call / 1e9


def steal_share(before: str | None, after: str | None) -> float | None:
    """Between two readings of ``/proc/stat``: stolen time as a share of the time that programs wanted."""
    earlier, later = (match(r"^cpu +([\d ]+)", text) for text in (before, after))
    if earlier is None or later is None:
        return None
    spent = [int(end) - int(start) for start, end in zip(earlier.split()[:8], later.split()[:8], strict=False)]
    if len(spent) < 8:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = spent
    wanted = user + nice + system + irq + softirq + steal
    return steal / wanted if wanted > 0 else None
