"""What a profile is, as it is saved: ``profile.json``, with the traces beside it. Derived numbers are not stored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from bench.profiling.attribution import typical
from bench.records.schema import Cell, CodeFacts, Environment, Status, Struct
from bench.records.store import decode
from impls.contract import InvalidInput
from impls.profiling import KINDS, Kind

PROFILE_FILE = "profile.json"
SCHEMA_VERSION = 1

Category = Kind | Literal["overhead"]


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """What a call took, the mean of those of a turn."""

    wall_s: float
    waited_s: float
    """How much of it the row's thread was ready to run, and another program had the processor."""

    @property
    def had_s(self) -> float:
        """What it took without that."""
        return self.wall_s - self.waited_s


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
    def cell(self) -> Cell:
        """What was profiled."""
        return Cell(**{name: getattr(self, name) for name in Cell.__struct_fields__})

    @property
    def call_s(self) -> float:
        """Seconds of a call without the profiler."""
        return typical([turn.had_s for turn in self.turns])

    @property
    def slowdown(self) -> float:
        """How many times as long a call lasts under the profiler."""
        return typical([turn.had_s for turn in self.profiled]) / self.call_s

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
        seconds["overhead"] = max(0.0, self.call_s - sum(seconds.values()))
        return seconds


class Profiles(Struct, frozen=True, kw_only=True):
    """What one command profiled."""

    schema_version: int
    started_at: str
    command: str
    environment: Environment
    shapes: dict[str, str]
    """Workload to its sizes in a line."""
    profiles: list[Profile]


def read_profiles(folder: Path) -> Profiles:
    """The profiles in a folder.

    Raises:
        InvalidInput: there are none, they are damaged, or another version wrote them.
    """
    path = folder / PROFILE_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from None
    found: Profiles = decode(data, Profiles, str(path))
    if found.schema_version != SCHEMA_VERSION:
        raise InvalidInput(f"{path}: has schema version {found.schema_version}, this program reads {SCHEMA_VERSION}")
    return found
