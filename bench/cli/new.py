"""``bench new row``."""

from __future__ import annotations

import keyword
import re
from contextlib import suppress
from pathlib import Path

from cyclopts import App

from bench.here import shown
from bench.records.atomic import write_atomic
from impls import HERE
from impls.contract import InvalidInput

TEMPLATES = Path(__file__).resolve().parent / "templates"

new = App(name="new", help="Write a template.", version_flags=[])


@new.command
def row(name: str) -> None:
    """Write the template of a row, which passes once its model is filled in.

    An example:
      python -m bench new row torch/mine     (then fill in impls/torch/mine.py)

    Parameters
    ----------
    name
        Framework and variant, such as torch/mine; a framework that has no folder yet gets one.
    """
    print(shown(write_row(name)))


def write_row(name: str) -> Path:
    """The path of the new file, which is there whole.

    Raises:
        InvalidInput: the name is no ``framework/variant``, there is such a row already, or it cannot be written.
    """
    match = re.fullmatch(r"([a-z][a-z0-9_]*)/([a-z][a-z0-9_]*)", name)
    if match is None:
        raise InvalidInput(f"new row {name!r}: a name is framework/variant in small letters, such as torch/mine")
    framework, variant = match.groups()
    if reserved := [word for word in match.groups() if keyword.iskeyword(word)]:
        raise InvalidInput(f"new row {name}: {reserved[0]} is a word of Python; choose another")
    path = HERE / framework / f"{variant}.py"
    if path.exists():
        raise InvalidInput(f"new row {name}: there is one already, impls/{name}.py")
    template = TEMPLATES / f"{framework}.txt"
    text = (template if template.exists() else TEMPLATES / "other.txt").read_text(encoding="utf-8")
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, text.replace("FRAMEWORK", framework).encode())
    except OSError as error:
        with suppress(OSError):
            path.parent.rmdir()  # of a framework that is new: all others have something in theirs
        raise InvalidInput(f"new row {name}: impls/{name}.py cannot be written ({error.strerror})") from None
    return path
