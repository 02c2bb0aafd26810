"""What is said of a profile, on a terminal and on the page alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.profiling.profiles import Category, Profile

NAMES: dict[Category, str] = {
    "product": "matrix product",
    "elementwise": "elementwise",
    "movement": "data movement",
    "fused": "fused kernel",
    "other": "other operations",
    "overhead": "overhead",
}

BUSY = 0.05
"""Where a row waited for its processor for more than this share of the time, its profile is of a busy machine."""


def slowdown_in_words(profile: Profile) -> str:
    """How much slower the profiler makes it."""
    return f"{units.ratio(profile.slowdown)} as long under the profiler"


def doubts(profile: Profile) -> Iterator[str]:
    """What makes the shares less than they seem."""
    if profile.scale < 1:
        yield (
            f"its operations alone take {units.ratio(1 / profile.scale)} the call under the profiler: shares are those"
            " among them, and what is overhead cannot be told"
        )
    if profile.waited > BUSY:
        yield (
            f"other programs had its processor for {units.percent(profile.waited)} of the time: profile it again on a"
            " machine that is at rest"
        )
