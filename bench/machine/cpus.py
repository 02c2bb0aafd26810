"""Processors: which may be used, who is bound to which, who took them away, and how fast they multiply."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TASKS = Path("/proc/self/task")
"""A folder for each thread of this process."""

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

GAP_S = 100e-6
"""A loop that does nothing but read the clock takes a thousandth of that a turn."""


def processors() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def load_average() -> float:
    """How many processes wanted to run, over the last minute."""
    return os.getloadavg()[0]


class Ticks(NamedTuple):
    """What ``/proc/stat`` has counted for some processors, in ticks of the system's clock."""

    stolen: int
    """Given to other virtual machines."""
    idle: int
    all: int


def processor_ticks(numbers: Sequence[int]) -> Ticks | None:
    """What was counted so far; None where nobody counts."""
    try:
        text = Path("/proc/stat").read_text(encoding="ascii")
    except OSError:
        return None
    counts = [
        [int(count) for count in counted.split()]
        for number, counted in re.findall(r"^cpu(\d+) (.*)$", text, flags=re.MULTILINE)
        if int(number) in numbers
    ]
    # user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in user already
    return Ticks(
        sum(line[7] for line in counts),
        sum(line[3] + line[4] for line in counts),
        sum(sum(line[:8]) for line in counts),
    )


def stolen(before: Ticks | None, after: Ticks | None) -> float | None:
    """The share of processor time between two counts that went to other virtual machines."""
    passed = _between(before, after)
    return None if passed is None else passed.stolen / passed.all


def taken_by_others(before: Ticks | None, after: Ticks | None, own_s: float) -> float | None:
    """The share of processor time between two counts that other programs had: what was neither idle, stolen nor own."""
    passed = _between(before, after)
    if passed is None:
        return None
    return max(0.0, passed.all - passed.stolen - passed.idle - own_s * TICKS_A_SECOND) / passed.all


def _between(before: Ticks | None, after: Ticks | None) -> Ticks | None:
    if before is None or after is None or after.all <= before.all:
        return None
    return Ticks(*(late - early for early, late in zip(before, after, strict=True)))


def steal_share(spent: Sequence[float]) -> float | None:
    """Of processor time by kind, in the order of ``psutil.cpu_times``: what was stolen of what programs wanted."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = spent[:8]
    wanted = user + nice + system + irq + softirq + steal
    return steal / wanted if wanted > 0 else None


class Watched(NamedTuple):
    """What a loop that wants one whole processor saw of it."""

    lost: float
    """Share of the time in which the loop did not run."""
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


def cpu_s(pids: Iterable[int]) -> dict[int, float]:
    """Processor time that each of these processes has had, all its threads together; nothing of one that has ended."""
    found = {}
    for pid in pids:
        with suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            found[pid] = times.user + times.system
    return found


def children_s() -> dict[int, float]:
    """Processor time that each process which this one has started, and those that they have, has had."""
    return cpu_s(child.pid for child in psutil.Process().children(recursive=True))


def bind(numbers: Sequence[int]) -> None:
    """Bind all threads of this process to these processors; those that start later follow the one that starts them."""
    for task in TASKS.iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(task.name), numbers)


def is_bound(numbers: Sequence[int]) -> bool:
    """Whether all threads of this process keep to these processors."""
    allowed = set(numbers)
    for task in TASKS.iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if not os.sched_getaffinity(int(task.name)) <= allowed:
                return False
    return True


@contextmanager
def kept_off(place: Sequence[int], allowed: Sequence[int]) -> Iterator[None]:
    """Keep this process off these processors, where there are others."""
    bind(sorted(set(allowed) - set(place)) or allowed)
    try:
        yield
    finally:
        bind(allowed)


def fall_asleep(limit_s: float = 0.3) -> None:
    """Wait until no other thread of this process runs: many spin for a while before they sleep."""
    until, looks = time.monotonic() + limit_s, 0
    while looks < 2 and time.monotonic() < until:
        time.sleep(0.0005)
        looks = 0 if _another_runs() else looks + 1


def _another_runs() -> bool:
    own = str(threading.get_native_id())
    for task in TASKS.iterdir():
        with suppress(OSError):  # it has ended meanwhile
            if task.name != own and b") R " in (task / "stat").read_bytes():
                return True
    return False


def delay_s() -> float | None:
    """How long this process's threads have been ready to run, and waited for a processor; None where nobody counts."""
    total = 0
    try:
        for task in TASKS.iterdir():
            with suppress(FileNotFoundError):  # it has ended meanwhile
                total += int((task / "schedstat").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return total / 1e9


PRODUCT_SIZE = 512
"""Rows and columns of the product that shows how the machine drifts: about 3 ms on one core."""


def product(place: Sequence[int]) -> float:
    """Seconds of a fixed product on the processors where turns are taken, one thread: the fastest of five."""
    matrix = np.full((PRODUCT_SIZE, PRODUCT_SIZE), 0.5, np.float32)
    others = [number for number in processors() if number not in place[-1:]]
    seconds = []
    with threadpool_limits(1), kept_off(others, processors()):
        for _ in range(5):
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
    return min(seconds)
