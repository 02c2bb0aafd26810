"""What can be published, each kind in its own way, and the publisher, which makes all pages of what is there.

A kind says how one is read, refused, placed and shown. Side products have theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from rich.console import Console

from bench.records.atomic import mend, write_atomic, write_folder, write_together
from bench.report.markdown import commit_in_words
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.records.schema import Environment

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
    def trained(self) -> Path:
        """A folder for each of the published trainings, and their index."""
        return self.results / "trained"

    @property
    def method(self) -> Path:
        """What was simulated and measured of the method itself."""
        return self.results / "method"

    @property
    def machines(self) -> Path:
        """A folder for each machine: pictures of the result that says most."""
        return self.results / "machines"


class Head(Protocol):
    """When a thing began, on what machine and by what code."""

    @property
    def started_at(self) -> str:
        """With the offset of its time zone."""

    @property
    def environment(self) -> Environment:
        """The machine, its software and its code."""


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
    def check(self, thing: Thing, folder: Path, repository: Repository) -> Thing:
        """The thing as it is to be published: with the commit that has the code which made it.

        Raises:
            InvalidInput: why it may not be published, and the way out.
        """

    @abstractmethod
    def head(self, thing: Thing) -> Head:
        """When it began, and what made it."""

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
        return sorted(found, key=lambda one: datetime.fromisoformat(self.head(one[1]).started_at))

    def pages(self, things: Sequence[tuple[Path, Thing]], repository: Repository) -> dict[Path, str]:
        """What is made of all of them together; nothing, for most kinds."""
        del things, repository
        return {}


def dated(path: Path, thing: Thing, kind: Kind[Thing]) -> Path:
    """The folder for what began then: the path with the day, or, where others of that day are, the next number."""
    free: Path | None = None
    started_at = kind.head(thing).started_at
    for number in count(1):
        numbered = path.with_name(f"{path.name}-{started_at[:10]}" + (f"-{number}" if number > 1 else ""))
        if not numbered.exists():
            return free or numbered
        if all(path.name.startswith(".") for path in numbered.iterdir()):  # nothing but what a system has left
            free = free or numbered
        elif kind.head(kind.read(numbered)).started_at == started_at:
            return numbered
    raise AssertionError


def refusal(folder: Path) -> Callable[[str], InvalidInput]:
    """Makes the error that says why what is in the folder may not be published."""
    return lambda why: InvalidInput(f"{folder}: {why}")


@dataclass(frozen=True, slots=True)
class Publisher:
    """A repository, and the kinds of things that it publishes."""

    repository: Repository
    kinds: tuple[Kind[Any], ...]
    """A folder that holds none of the others is taken for the last."""

    def publish(self, folder: Path) -> Path:
        """The published copy of what the folder holds; index, README and pages speak of it.

        Raises:
            InvalidInput: the folder holds nothing of any kind, or what proves nothing, or code that no commit has made.
                Or what is to be made again cannot be written.
        """
        try:
            self._mend()
            kind = next((kind for kind in self.kinds if (folder / kind.head_file).exists()), self.kinds[-1])
            thing = kind.read(folder)
            console = Console(stderr=True, highlight=False, markup=False)
            looks = "looks for the commit that has its code"
            if not console.is_terminal:
                console.print(looks)
            with console.status(looks):
                thing = kind.check(thing, folder, self.repository)
            made_by, stands = (
                kind.head(thing).environment,
                "the code that stands here; a clone tells which commit has it",
            )
            console.print(f"made by {commit_in_words(made_by) if made_by.git_commit else stands}")
            target = kind.target(thing, self.repository)
            if target.resolve() != folder.resolve():
                files = kind.raw(thing, folder)
                if target == self.repository.method:  # among other files
                    target.mkdir(parents=True, exist_ok=True)
                    write_together({target / name: data for name, data in files.items()})
                else:
                    write_folder(target, files)
        except OSError as error:
            raise self._unwritten(error) from None
        self.refresh(target)
        return target

    def refresh(self, only: Path | None = None) -> None:
        """Make every published table, or those of one thing, and the index and README's table again.

        Raises:
            InvalidInput: something that is published is damaged, or what is made of it cannot be written.
        """
        try:
            self._mend()
            with Console(stderr=True, highlight=False, markup=False).status("reading what is published") as status:
                for path, text in self.made(only):
                    status.update(f"{path.parent.name}/{path.name}")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(path, text.encode())
        except OSError as error:
            raise self._unwritten(error) from None

    def made(self, only: Path | None = None) -> Iterator[tuple[Path, str]]:
        """Each file that is made of the raw ones, and its text: of each thing, or one alone, then of all of a kind."""
        published = {}
        for kind in self.kinds:
            published[kind] = kind.published(self.repository)
            for folder, thing in published[kind]:
                if only in (None, folder):
                    yield from kind.made(thing, folder).items()
        for kind, things in published.items():
            yield from kind.pages(things, self.repository).items()

    def _mend(self) -> None:
        """Put right what was left by a publish that was killed."""
        machines = self.repository.machines
        places = [machines, *(place for kind in self.kinds for place in kind.places(self.repository))]
        folders = [*machines.glob("[!.]*/"), *(one for kind in self.kinds for one in kind.folders(self.repository))]
        for folder in (*places, *folders):
            mend(folder)

    def _unwritten(self, error: OSError) -> InvalidInput:
        return InvalidInput(f"{error.filename or self.repository.results}: cannot be written ({error.strerror})")
