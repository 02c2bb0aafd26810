"""Notes beside raw files, that spare the work of deriving the same again. They may be deleted at any time.

A note counts only for the very bytes that it was made of, and for the program that made it. One that is damaged,
foreign or stale is as none; where none can be written, the work is done again.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from bench.records import Struct
from bench.source_code import code_of_harness
from bench.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MADE_FILE = ".made.json"
"""Ignored by git, as all notes are."""


class Note(Struct, frozen=True, kw_only=True):
    """What is remembered of some raw files."""

    source: str
    """SHA-256 of these and of the program: see `source_of`."""


AnyNote = TypeVar("AnyNote", bound=Note)


class Made(Note, frozen=True, kw_only=True, tag_field="type", tag="made"):
    """Which files were made of them."""

    files: dict[str, str]
    """Name to SHA-256."""


PAGE = Path(__file__).resolve().parent / "page"
LIBRARIES = ("numpy", "scipy", "altair", "vl-convert-python")
"""What numbers and drawings depend on beside the harness."""


@cache
def program(page: Path = PAGE) -> str:
    """SHA-256 of the harness, of what its page has that is not Python, and of what else files may depend on."""
    rest = sorted(path for path in page.iterdir() if path.suffix in (".html", ".css", ".js"))
    versions = platform.python_version(), *(version(name) for name in LIBRARIES)
    whole = sha256("\n".join([code_of_harness(), *versions]).encode())
    for path in rest:
        whole.update(path.read_bytes())
    return whole.hexdigest()


def source_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' bytes, with the program's.

    Raises:
        OSError: one cannot be read.
    """
    whole = sha256(program().encode())
    for path in paths:
        whole.update(sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def recall(path: Path, kind: type[AnyNote], source: str) -> AnyNote | None:
    """The note in the file, if it is about this source."""
    try:
        note = msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return note if note.source == source else None


def keep(path: Path, note: Note) -> None:
    """Write the note, if that can be done."""
    with suppress(OSError):
        write_whole(path, msgspec.json.encode(note))


def write_made(folder: Path, source: str, make: Callable[[], Mapping[Path, str]]) -> None:
    """Put what is made of the source into the folder, unless a note says that all of it is there already.

    Raises:
        OSError: a file cannot be written.
    """
    known = recall(folder / MADE_FILE, Made, source)
    if known is not None and all(_hash_of(folder / name) == made for name, made in known.files.items()):
        return
    files = make()
    for path, text in files.items():
        write_whole(path, text.encode())
    hashes = {path.relative_to(folder).as_posix(): sha256(text.encode()).hexdigest() for path, text in files.items()}
    keep(folder / MADE_FILE, Made(source=source, files=hashes))


def _hash_of(path: Path) -> str | None:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
