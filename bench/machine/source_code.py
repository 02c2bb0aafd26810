"""What code a row or the harness is: hashes that change when one of the files that run does, and only then."""

from __future__ import annotations

import ast
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from impls import HERE, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from impls import Row


def code_of_row(row: Row) -> str:
    """SHA-256 of the row's file, and of what it imports, directly or not, from ``impls/``.

    What stands beside the row and is not imported has no part in it: another row that is changed, or added, leaves
    this one the same, and so comparable. Of a person's own file, what it imports from its own folder counts as well;
    there, a file that has the name of a package is taken for it, for not every interpreter has the package.
    """
    beside = None if row.path.is_relative_to(HERE) else row.path.parent
    files = _closure([row.path, HERE / "__init__.py"], beside) - {row.path}  # the package itself is loaded for any row
    ours = {path for path in files if path.is_relative_to(HERE)}
    named = {path.relative_to(HERE).as_posix(): path for path in ours}
    if beside:
        named |= {f"./{path.relative_to(beside).as_posix()}": path for path in files - ours}
    return _hash({"row": row.path} | named)


MEASURES = ("bench/measure/runner.py", "bench/measure/worker.py")
"""What carries a run out: all that times and verdicts rest on is imported from here."""

HASHING = 2
"""The way of hashing: before this there was no number, and it was all of ``bench/``."""


def code_of_harness() -> str:
    """The way of hashing, and SHA-256 of what a run is carried out by: runner, worker, and all that these import.

    What words or pictures are made by has no part in it: a run goes on after a caption was changed.
    """
    return f"{HASHING}:{_hash({path.relative_to(HERE.parent).as_posix(): path for path in measuring_files()})}"


def measuring_files() -> set[Path]:
    """Runner, worker, and all files of ``bench/`` and ``impls/`` that they import, directly or not."""
    return _closure([HERE.parent / name for name in MEASURES])


def _hash(files: dict[str, Path]) -> str:
    whole = sha256()
    for name in sorted(files):
        whole.update(f"{name} {sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _closure(paths: Iterable[Path], beside: Path | None = None) -> set[Path]:
    """These files, and all that they import of ``impls/`` and ``bench/``, and of the folder ``beside``."""
    found: set[Path] = set()
    left = list(paths)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path, beside)
    return found


def _imported(path: Path, beside: Path | None) -> Iterator[Path]:
    """The files of ours, and of the folder, that a file imports by name; none of one that does not parse."""
    try:
        tree = parse(path)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*_package(path, node.level, beside), *(node.module.split(".") if node.module else [])]
            names = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for name in names:
            if name[:1] in ([HERE.name], ["bench"]):
                yield from _files_of(name, HERE.parent)
            if beside and not path.is_relative_to(HERE):
                yield from _files_of(name, beside)


def _files_of(name: Sequence[str], folder: Path) -> Iterator[Path]:
    """The files in a folder that are read where a name is imported: packages, a module, or a compiled one."""
    for length in range(1, len(name) + 1):
        place = folder.joinpath(*name[:length])
        yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))
        yield from (file for file in place.parent.glob("*.so") if file.name.partition(".")[0] == place.name)


def _package(path: Path, level: int, beside: Path | None) -> tuple[str, ...]:
    """The package that an import with so many leading dots starts from."""
    root = HERE.parent if path.is_relative_to(HERE) else beside
    if level == 0 or root is None:
        return ()
    return path.relative_to(root).parts[: -1 - (level - 1)]
