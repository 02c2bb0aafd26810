"""What code a row or the harness is: hashes that change when one of the files that run does, and only then."""

from __future__ import annotations

import ast
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from impls import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from impls import Row


def code_of_row(row: Row) -> str:
    """SHA-256 of the row's file, and of what it imports, directly or not, from ``impls/``.

    What stands beside the row and is not imported has no part in it: another row that is changed, or added, leaves
    this one the same, and so comparable.
    """
    ours = _closure([row.path, HERE / "__init__.py"]) - {row.path}  # the package itself is loaded for any row
    return _hash({"row": row.path} | {path.relative_to(HERE).as_posix(): path for path in ours})


def code_of_harness() -> str:
    """SHA-256 of all of ``bench/``, and of what it imports of ``impls/``: the oracle, and the limits of its errors."""
    root = HERE.parent
    own = set((root / "bench").rglob("*.py"))
    return _hash({path.relative_to(root).as_posix(): path for path in _closure(own)})


def _hash(files: dict[str, Path]) -> str:
    whole = sha256()
    for name in sorted(files):
        whole.update(f"{name} {sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _closure(paths: Iterable[Path]) -> set[Path]:
    found: set[Path] = set()
    left = list(paths)
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path)
    return found


def _imported(path: Path) -> Iterator[Path]:
    """The files of ``impls/`` that a file imports by name; none of one that does not parse."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*_package(path, node.level), *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            file = HERE.parent.joinpath(*name.split(".")).with_suffix(".py")
            if name.split(".")[0] == HERE.name and file.is_file():
                yield file


def _package(path: Path, level: int) -> tuple[str, ...]:
    """The package that an import with so many leading dots starts from."""
    if level == 0 or not path.is_relative_to(HERE):
        return ()
    return path.relative_to(HERE.parent).parts[: -1 - (level - 1)]
