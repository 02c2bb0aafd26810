"""Two functions timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable


def paired_ratio(ours: Callable[[], object], plain: Callable[[], object], budget_s: float = 1.5) -> float:
    """The median of ``ours`` over ``plain``, taking turns, so that the machine's moods hit both alike."""
    ratios = []
    ours(), plain()
    until = time.perf_counter() + budget_s
    while len(ratios) < 9 or time.perf_counter() < until:
        start = time.perf_counter()
        ours()
        middle = time.perf_counter()
        plain()
        ratios.append((middle - start) / (time.perf_counter() - middle))
    return sorted(ratios)[len(ratios) // 2]
