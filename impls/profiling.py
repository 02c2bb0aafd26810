"""What a framework's profiler says of calls, in one form. Pure: imports no framework.

A framework that has a profiler offers it in ``impls/FRAMEWORK/_profile.py``, a module as ``Profiler`` has it. What it
recorded are events of the Chrome trace event format, as dicts; each that is an operation has its kind as ``cat``.
"""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from impls import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from impls import Row

Kind = Literal["product", "elementwise", "movement", "fused", "other"]
"""What an operation does: multiplies matrices; works number by number, or sums them up; moves or sets them; several of
these in one kernel, whose parts no profiler tells apart; something that this program does not know."""

KINDS: tuple[Kind, ...] = ("product", "elementwise", "movement", "fused", "other")

CALL = "call"
"""Name and ``cat`` of the event that spans one call of the row."""

TraceEvent = dict[str, Any]
"""An event as JSON has it: ``name``, ``ph``, ``pid``, ``tid``, ``ts`` and ``dur`` in microseconds, ``cat`` and more."""

Mark = Callable[[], AbstractContextManager[object]]
"""Makes the context that one call of the row is made in."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a profiler says of calls."""

    events: list[TraceEvent]
    own_s: float
    """How much of the time of each operation is the profiler's own."""


class Profiler(Protocol):
    """What the module ``_profile`` of a framework offers."""

    SAYS: str
    """Whose profiler it is, and what of a call it cannot see: a sentence for the reader of its numbers."""

    def prepare(self) -> None:
        """Set what has to be set before the row is loaded."""

    def record(self, frameworks: Sequence[str], calls: Callable[[Mark], None]) -> Recording:
        """What the profiler says of these calls.

        ``calls`` is called once, with a ``Mark``. It loads the row's weights and inputs again, warms up, and makes each
        call that counts inside ``with mark():``. ``frameworks``: those of the row.
        """


def find_profiler(row: Row) -> Profiler | None:
    """The profiler of the row's framework, or None where it has none. Imports the framework where there is one."""
    if not (HERE / row.framework / "_profile.py").exists():
        return None
    return cast("Profiler", importlib.import_module(f"impls.{row.framework}._profile"))


def span(name: str, thread: int, start_s: float, end_s: float, kind: Kind | str | None = None) -> TraceEvent:
    """An event that lasts from ``start_s`` to ``end_s``."""
    event = {"name": name, "ph": "X", "pid": 1, "tid": thread, "ts": 1e6 * start_s, "dur": 1e6 * (end_s - start_s)}
    return event if kind is None else event | {"cat": kind}


def plain_name(name: str) -> str:
    """The name without the number that tells alike operations of a program apart: ``fusion`` for ``fusion.12``."""
    return re.sub(r"(\.\d+|\.clone|\.remat\d*)+$", "", name)


def shortest_s(events: Iterable[TraceEvent]) -> float:
    """Seconds of the shortest operation, of those that are there often: the first quartile of its times.

    Setting one number takes next to nothing, so that all of it can be taken for the profiler's own.
    """
    times = defaultdict(list)
    for event in events:
        if event.get("cat") in KINDS:
            times[event["name"]].append(event["dur"])
    return min((sorted(own)[len(own) // 4] for own in times.values() if len(own) >= OFTEN), default=0.0) / 1e6


OFTEN = 20
"""So many times at least."""
