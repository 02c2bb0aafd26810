"""Which code ran: hashes of a row and of the harness, and what git says of a folder.

A hash changes when one of the files that run does, and only then.
"""

from __future__ import annotations

import ast
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from bench.here import ROOT
from impls import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def code_of_row(path: Path, root: Path = ROOT) -> str:
    """SHA-256 of a row's file, and of what it imports, directly or not, from ``impls/`` of the tree below ``root``.

    What stands beside the row and is not imported has no part in it: another row that is changed, or added, leaves
    this one the same, and so comparable. Of a person's own file, what it imports from its own folder counts as well;
    there, a file that has the name of a package is taken for it, for not every interpreter has the package.
    """
    impls = root / "impls"
    beside = None if path.is_relative_to(impls) else path.parent
    files = _closure([path, impls / "__init__.py"], root, beside) - {path}  # the package itself is loaded for any row
    ours = {one for one in files if one.is_relative_to(impls)}
    named = {one.relative_to(impls).as_posix(): one for one in ours}
    if beside:
        named |= {f"./{one.relative_to(beside).as_posix()}": one for one in files - ours}
    return _hash({"row": path} | named)


def code_of_trained(path: Path, root: Path = ROOT) -> str:
    """That of a row and, behind a space, that of its training, if it has one."""
    training = path.parent / "training" / path.name
    return " ".join(code_of_row(own, root) for own in (path, training) if own == path or own.exists())


MEASURES = ("bench/measure/runner.py", "bench/measure/worker.py")
"""What carries a run out: all that times and verdicts rest on is imported from here."""

HASHING = 2
"""The way of hashing: before this there was no number, and it was all of ``bench/``."""


def code_of_harness(root: Path = ROOT, files: Iterable[str] = MEASURES) -> str:
    """The way of hashing, and SHA-256 of what carries a run out below ``root``: these files, and what they import.

    What words or pictures are made by has no part in it: a run goes on after a caption was changed.
    """
    found = _closure([root / name for name in files], root)
    return f"{HASHING}:{_hash({path.relative_to(root).as_posix(): path for path in found})}"


def _hash(files: dict[str, Path]) -> str:
    whole = sha256()
    for name in sorted(files):
        whole.update(f"{name} {sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _closure(paths: Iterable[Path], root: Path, beside: Path | None = None) -> set[Path]:
    """These files, and all that they import of ``impls/`` and ``bench/``, and of the folder ``beside``."""
    found: set[Path] = set()
    left = list(paths)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path, root, beside)
    return found


def _imported(path: Path, root: Path, beside: Path | None) -> Iterator[Path]:
    """The files of ours, and of the folder, that a file imports by name; none of one that does not parse."""
    try:
        tree = parse(path)
    except (SyntaxError, ValueError):
        return
    is_ours = path.is_relative_to(root / "impls")
    top = root if is_ours else beside
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(top).parts[: -node.level] if node.level and top else ()
            base = [*package, *(node.module.split(".") if node.module else [])]
            names = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for name in names:
            if name[:1] in (["impls"], ["bench"]):
                yield from _files_of(name, root)
            if beside and not is_ours:
                yield from _files_of(name, beside)


def _files_of(name: Sequence[str], folder: Path) -> Iterator[Path]:
    """The files in a folder that are read where a name is imported: packages, a module, or a compiled one."""
    for length in range(1, len(name) + 1):
        place = folder.joinpath(*name[:length])
        yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))
        yield from (file for file in place.parent.glob("*.so") if file.name.partition(".")[0] == place.name)


def git(folder: Path, *arguments: str) -> str | None:
    """What git says of the repository that the folder is the top level of; None where there is none, or git refuses.

    A repository around it is another one: that of a person who has unpacked this in it.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    return _git(folder, *arguments) if top and Path(top).resolve() == folder.resolve() else None


def _git(folder: Path, *arguments: str) -> str | None:
    # without what would name another repository; that the folder may be another user's is no matter, for its code runs
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", f"safe.directory={folder.resolve()}", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    except OSError:
        return None
    return os.fsdecode(done.stdout).rstrip("\n") if done.returncode == 0 else None
