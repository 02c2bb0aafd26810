"""The Pythons that rows run under: this one, or several with other versions of a framework, at one pool."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.machine.installed import version_of
from impls import HERE, find_rows, is_installed
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from impls import Row

COMPANIONS = {"jax": ("jaxlib",), "thinc": ("blis",)}
"""What a framework's speed depends on beside its own version."""

ASKING_LIMIT_S = 60.0
"""How long a Python may take to say what it has."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python, and what it has: the one that runs this process, or one that a command line names, asked once."""

    version: str = ""
    """What the names of its rows end in; empty where a run has no other Python."""
    path: Path = Path(sys.executable)
    """What starts it."""
    python: str = platform.python_version()
    """The version of Python itself."""
    modules: frozenset[str] | None = None
    """Frameworks that can be imported; None of this process, which is asked each time."""
    packages: dict[str, str] = field(default_factory=dict, hash=False)
    """Versions of what is there."""

    def has(self, name: str) -> bool:
        """Whether a framework can be imported."""
        return is_installed(name) if self.modules is None else name in self.modules

    def version_of(self, name: str) -> str | None:
        """The version of a package, if it is there."""
        return version_of(name) if self.modules is None else self.packages.get(name)


OWN = Interpreter()


def choose_interpreters(words: Sequence[str], rows: Iterable[Row]) -> tuple[Interpreter, ...]:
    """The Pythons that words such as ``2.9.1=PATH`` name, and what each has of the rows' frameworks; this one if none.

    Raises:
        InvalidInput: a word has another form, two versions are the same, or what is there is no Python that a worker
            can run under.
    """
    frameworks = {name for row in (*find_rows().values(), *rows) for name in row.frameworks}
    companions = {name for some in COMPANIONS.values() for name in some}
    found: dict[str, Interpreter] = {}
    for word in words:
        match = re.fullmatch(r"([0-9A-Za-z.+_-]+)=(.+)", word, flags=re.DOTALL)
        if match is None:
            raise InvalidInput(f"--interpreter {word}: must be a version and a Python, such as 2.9.1=old/bin/python")
        if match[1] in found:
            raise InvalidInput(f"--interpreter {word}: there is a {match[1]} already; give it another name")
        path = Path(match[2]).absolute()  # unresolved: an environment's Python is a link, and known by its own place
        found[match[1]] = _ask(word, match[1], path, frameworks | companions | {"numpy"})
    return tuple(found.values()) or (OWN,)


def in_words(interpreter: Interpreter) -> str:
    """The word that names it: with its place in the repository, or without the folders of this machine."""
    path = interpreter.path
    return f"{interpreter.version}={path.relative_to(HERE.parent) if path.is_relative_to(HERE.parent) else path.name}"


class _Said(msgspec.Struct, frozen=True):
    """What ``bench.machine.installed`` prints."""

    python: str
    lacks: str | None
    modules: frozenset[str]
    packages: dict[str, str]


def _ask(word: str, version: str, path: Path, names: Collection[str]) -> Interpreter:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [path, "-m", "bench.machine.installed", *sorted(names)],
            cwd=HERE.parent,
            env=environment | {"PYTHONPATH": str(HERE.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASKING_LIMIT_S,
            check=False,
        )
        said = msgspec.json.decode(done.stdout, type=_Said)
    except OSError as error:
        raise InvalidInput(f"--interpreter {word}: cannot be started ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"--interpreter {word}: did not answer within {ASKING_LIMIT_S:.0f} s") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidInput(f"--interpreter {word}: is no Python that can run the bench") from None
    if said.lacks:
        raise InvalidInput(f"--interpreter {word}: {said.lacks}")
    return Interpreter(version, path, said.python, said.modules, said.packages)
