"""Processors: which are allowed, who is bound to which, and who took them away."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TASKS = Path("/proc/self/task")
"""A folder for each thread of this process."""


def processors() -> list[int]:
    """The processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def load_average() -> float:
    """How many processes wanted to run, over the last minute."""
    return os.getloadavg()[0]


def processor_ticks(numbers: Sequence[int]) -> tuple[int, int] | None:
    """What ``/proc/stat`` has counted for these processors: ticks given to other virtual machines, and all ticks."""
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
    return sum(line[7] for line in counts), sum(sum(line[:8]) for line in counts)


def stolen(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    """The share of processor time between two counts that went to other virtual machines."""
    if before is None or after is None or after[1] <= before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def bind(numbers: Sequence[int]) -> None:
    """Bind all threads of this process to these processors; those that start later follow the one that starts them."""
    for task in TASKS.iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(task.name), numbers)


@contextmanager
def kept_off(place: Sequence[int], allowed: Sequence[int]) -> Iterator[None]:
    """Keep this process off these processors, where there are others."""
    others = sorted(set(allowed) - set(place))
    if not others:
        yield
        return
    bind(others)
    try:
        yield
    finally:
        bind(allowed)


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
