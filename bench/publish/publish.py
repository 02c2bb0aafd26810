"""Copies what proves something into ``results/``, and makes every table and page of what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bench.records.atomic import mend, write_folder, write_together, write_whole
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.publish.kinds import Kind, Repository


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
            kind.check(thing, folder, self.repository)
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
                for path, text in self._files(only):
                    status.update(f"{path.parent.name}/{path.name}")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(path, text.encode())
        except OSError as error:
            raise self._unwritten(error) from None

    def generated(self) -> dict[Path, str]:
        """Every generated file, and what it has to say: all of it made again from the raw records."""
        return dict(self._files())

    def _files(self, only: Path | None = None) -> Iterator[tuple[Path, str]]:
        """What is made of each thing, or of one alone, then what is made of all of a kind."""
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
