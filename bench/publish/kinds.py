"""What can be published: a kind says how one is read, refused, placed and shown. Side products have theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository keeps what is published, and the pages made of it."""

    root: Path

    @property
    def readme(self) -> Path:
        """Has the latest result's table."""
        return self.root / "README.md"

    @property
    def results(self) -> Path:
        """A folder for each result, and the index."""
        return self.root / "results"

    @property
    def method(self) -> Path:
        """What was simulated and measured of the method itself."""
        return self.results / "method"

    @property
    def machines(self) -> Path:
        """A folder for each machine: pictures of the result that says most."""
        return self.results / "machines"


class Kind(ABC, Generic[Thing]):
    """A kind of thing that can be published, each in a folder of its own."""

    head_file: ClassVar[str]
    """The file by which a folder is known to hold one."""

    @abstractmethod
    def read(self, folder: Path) -> Thing:
        """The thing in a folder.

        Raises:
            InvalidInput: it is damaged.
        """

    @abstractmethod
    def check(self, thing: Thing, folder: Path, repository: Repository) -> None:
        """Refuse a thing that proves nothing.

        Raises:
            InvalidInput: why it may not be published, and the way out.
        """

    @abstractmethod
    def started_at(self, thing: Thing) -> str:
        """When it began."""

    @abstractmethod
    def target(self, thing: Thing, repository: Repository) -> Path:
        """The folder where it is to stand."""

    @abstractmethod
    def raw(self, thing: Thing, folder: Path) -> dict[str, bytes]:
        """The files of it that are published, by name: what all else is made of."""

    @abstractmethod
    def places(self, repository: Repository) -> list[Path]:
        """The folders in which the published ones stand, each in one of its own."""

    def folders(self, repository: Repository) -> list[Path]:
        """The folders of the published ones."""
        return [path.parent for place in self.places(repository) for path in place.glob(f"[!.]*/{self.head_file}")]

    def made(self, thing: Thing, folder: Path) -> dict[Path, str]:
        """What is made of one, and stands beside it; nothing, for some kinds."""
        del thing, folder
        return {}

    def published(self, repository: Repository) -> list[tuple[Path, Thing]]:
        """The published ones, oldest first, and where each stands."""
        found = [(folder, self.read(folder)) for folder in sorted(self.folders(repository))]
        return sorted(found, key=lambda one: datetime.fromisoformat(self.started_at(one[1])))

    def pages(self, things: Sequence[tuple[Path, Thing]], repository: Repository) -> dict[Path, str]:
        """What is made of all of them together; nothing, for most kinds."""
        del things, repository
        return {}


def dated(path: Path, thing: Thing, kind: Kind[Thing]) -> Path:
    """The folder for what began then: the path with the day, or, where others of that day are, the next number."""
    free: Path | None = None
    started_at = kind.started_at(thing)
    for number in count(1):
        numbered = path.with_name(f"{path.name}-{started_at[:10]}" + (f"-{number}" if number > 1 else ""))
        if not numbered.exists():
            return free or numbered
        if all(path.name.startswith(".") for path in numbered.iterdir()):  # nothing but what a system has left
            free = free or numbered
        elif kind.started_at(kind.read(numbered)) == started_at:
            return numbered
    raise AssertionError
