"""What a person can type where they are: paths from their folder, and the command that runs this as it runs now."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from impls import HERE

PLAIN = "python -m bench"
"""The command as it stands in texts, published ones too: whose Python has the packages differs from place to place."""


def shown(path: Path) -> str:
    """The path, from the current folder if it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def command(*words: str) -> str:
    """The line that calls this program with these words, here and with the Python that runs it."""
    return " ".join(filter(None, (_called(), shlex.join(words))))


def as_typed(text: str) -> str:
    """A text for a terminal, its commands as they are to be typed there."""
    return text.replace(PLAIN, _called())


def _called() -> str:
    """What ``PLAIN`` is here: after ``nox`` the packages are in no Python that a shell finds by itself."""
    python = Path(sys.executable or "python")
    name = shown(python) if shown(python) != python.name else str(python)  # one without a folder is looked for in PATH
    # what lets this be found from another folder has to be there again
    path = os.environ.get("PYTHONPATH") if Path.cwd() != HERE.parent else None
    return f"{f'PYTHONPATH={shlex.quote(path)} ' if path else ''}{shlex.join([name, '-m', 'bench'])}"


ROOT = Path(__file__).resolve().parent.parent
