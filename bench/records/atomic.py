"""Files and folders that are there whole, or as they were, even where the process that writes them is killed."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bench.here import shown
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NEW, BEFORE = ".new", ".before"
"""What the hidden names end in of what is not whole yet, and of a folder while another takes its place."""


def write_atomic(path: Path, data: bytes) -> None:
    """Put the data into the file, on the disk: a reader meets all of it or what was there before.

    Raises:
        OSError: it cannot be written; the error names it.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Put the data into these files of one folder, of which the last is there only while the others belong to it.

    Raises:
        OSError: one of them cannot be written.
    """
    *others, last = files
    fresh = {path: _hidden(path, NEW) for path in files}
    try:
        for path, data in files.items():
            try:
                with fresh[path].open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:  # of a file beside it that nobody knows
                raise OSError(error.errno, error.strerror, str(path)) from None
        if others:
            last.unlink(missing_ok=True)
        for path in files:
            fresh[path].replace(path)
    finally:
        for rest in fresh.values():
            with suppress(OSError):  # where nothing can be written, nothing can be removed either
                rest.unlink(missing_ok=True)
    _sync(last.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder of these files there, on the disk and in the place of any other: a reader meets one or neither.

    Where it was neither, for the writing process was killed, ``mend`` brings the old one back.

    Raises:
        OSError: it cannot be written.
    """
    fresh, before = _hidden(path, NEW), _hidden(path, BEFORE)
    _mend(path)
    try:
        fresh.mkdir(parents=True)
        for name, data in files.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            write_atomic(fresh / name, data)
        if path.exists():
            path.rename(before)
        fresh.rename(path)
        _sync(path.parent)
    finally:
        _mend(path)


def mend(folder: Path) -> None:
    """Put right what somebody has left in the folder who was killed while he wrote.

    Raises:
        OSError: it cannot be put right.
    """
    for end in (NEW, BEFORE):
        for rest in folder.glob(f".?*{end}"):
            _mend(folder / rest.name[1:].removesuffix(end))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write in, which is at ``path`` once all is written, and gone if it is not.

    Raises:
        InvalidInput: it cannot be written.
    """
    fresh = _hidden(path, NEW)
    shutil.rmtree(fresh, ignore_errors=True)  # what one that was killed has left
    with written(path):
        fresh.mkdir(parents=True)
    try:
        yield fresh
        with written(path):
            fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What cannot be written to ``--out`` is one line.

    Raises:
        InvalidInput: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"--out {shown(path)}: cannot be written ({error.strerror})") from None


def _mend(path: Path) -> None:
    """What is at the path is whole afterwards, and nothing is beside it."""
    fresh, before = _hidden(path, NEW), _hidden(path, BEFORE)
    _remove(fresh)
    if before.exists() and not path.exists():
        before.rename(path)
    elif before.exists():
        before.rename(fresh)  # which nobody takes for whole: it may be half gone when this is killed as well
        _remove(fresh)


def _hidden(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name}{end}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
