"""The lines of a run, on the disk before anybody is told of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.schema import Block, Effort, Group, Memory, Record, VerdictChange
from bench.records.store import record_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from bench.measure.plan import PlannedGroup
    from bench.records.schema import Cell, Line


LEAST_FREE_BYTES = 2**20
"""With less on the disk a run stops: a worker that cannot write its log would look like one that fails."""


class DiskFull(OSError):
    """What was measured cannot be written; the message says where."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of progress."""

    block: Callable[[int, Sequence[PlannedGroup]], None] = lambda _block, _planned: None
    """A block begins, with these groups."""
    doing: Callable[[PlannedGroup | None, str], None] = lambda _planned_group, _what: None
    """What goes on now."""
    kept: Callable[[Sequence[Line]], None] = lambda _lines: None
    """These lines are on disk."""


@dataclass(slots=True)
class Journal:
    """The records of a run, on disk before anybody is told of them."""

    file: BinaryIO
    listener: Listener
    records: list[Record] = field(default_factory=list)
    looked_at_after: dict[Cell, int] = field(default_factory=dict)
    """After which block each cell was looked at once more, in a process of its own."""
    blocks: list[Block] = field(default_factory=list)
    efforts: dict[tuple[int, Group], Effort] = field(default_factory=dict)
    said: dict[Cell, str] = field(default_factory=dict)
    """The verdict on each cell that was told last."""

    def take(self, line: Line) -> None:
        """Know of a line that is on the disk."""
        match line:
            case Record():
                self.records.append(line)
            case Memory():
                self.looked_at_after[line.cell] = line.block
            case Block():
                self.blocks.append(line)
            case Effort():
                self.efforts[line.pool, Group(*(getattr(line, name) for name in Group._fields))] = line
            case VerdictChange():
                self.said[line.cell] = line.verdict

    def keep(self, *lines: Line) -> None:
        """Append the lines, and force them to the disk.

        Raises:
            DiskFull: they cannot be written.
        """
        data = b"".join(map(record_line, lines))
        try:
            while data:  # a disk that is almost full takes a part
                data = data[self.file.write(data) :]
            os.fsync(self.file.fileno())
        except OSError as error:
            raise DiskFull(f"{self.file.name}: cannot be written ({error.strerror})") from None
        for line in lines:
            self.take(line)
        self.listener.kept(lines)
        disk = os.fstatvfs(self.file.fileno())
        if disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES:
            raise DiskFull(f"{self.file.name}: the disk is almost full")


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder while the context lasts; what a killed run has left there goes first.

    Raises:
        DiskFull: it cannot be made.
    """
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir()
    except OSError as error:
        raise DiskFull(f"{path}: cannot be made ({error.strerror})") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
