"""What a worker has before its Python starts: its environment, how much memory, and room beside others.

What really limits threads, by framework (measured; ``tests/measure/test_threads.py`` checks it again):

- PyTorch and NumPy: ``OMP_NUM_THREADS``, ``MKL_NUM_THREADS``, ``OPENBLAS_NUM_THREADS``.
- JAX on the CPU: ``PJRT_NPROC`` and ``NPROC`` (or affinity); ``XLA_FLAGS`` and ``OMP_NUM_THREADS`` have no effect.

Affinity holds them all to N processors as well, and is set in the worker before it imports its framework.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.here import ROOT
from bench.machine import gpu
from bench.machine.describe import blas_in
from bench.machine.facts import features
from bench.machine.limits import available_bytes, process_limit
from bench.measure.lock import MARK_VARIABLE
from bench.workloads.shapes import estimate_bytes
from impls.contract import PRECISION_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.workloads.shapes import Workload
    from impls import Row
    from impls.contract import Device


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "PJRT_NPROC",
    "NPROC",
)


LEAST_LIMIT_BYTES = 2**32
"""A worker may have this much address space in any case: frameworks reserve more than they use."""


WORKER_BYTES = 2**29
"""About what a worker holds before it has a model: Python, its framework, and a compiler."""

GPU_WORKER_BYTES = 2**29
"""About what a worker holds of a GPU's memory before it has a model. Not measured here: a process's context, with the
kernels that it has called, is some 300 MB, as PyTorch's maintainers say of CUDA since 11.7; libraries add workspaces of
their own."""

ROOM = 0.8
"""How much of what is free the workers of a pool may need."""

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME"),  # where programs are, whose settings are read, what caches are named after
    *("LANG", "LOCALE_ARCHIVE", "TZ"),  # how text and times are written; the archive is where Nix has locales
    *("LD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH"),  # libraries, and on NixOS the loader of foreign programs
    "CONDA_PREFIX",  # CuPy looks for CUDA there
    *("CC", "CXX", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH"),  # what compiles, and from where
    *("CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"),  # the GPU's compilers and headers, and which GPU
    *("CUDA_MPS_PIPE_DIRECTORY", "TRITON_LIBCUDA_PATH"),  # how its driver is reached where it is shared, or not found
)
"""What a worker has of a person's environment, beside what begins with ``LC_``: what it needs to run, and to find what
it stands on. All else may make one person's run another experiment than the next one's, and does not reach it.

Not needed: a terminal's variables, for nobody reads there; proxies and certificates, for nothing is fetched;
``VIRTUAL_ENV``, for Python knows its own place; ``NVIDIA_VISIBLE_DEVICES``, which only what starts a container reads.
"""


CHANGE_SPEED = (
    *("OPENBLAS_", "GOTO_", "MKL_", "BLIS_", "NVPL_", "OMP_", "GOMP_", "KMP_", "DNNL_", "ONEDNN_", "NPY_"),
    *("ATEN_", "TORCH", "PYTORCH_", "XLA_", "JAX_", "PJRT_", "KERAS_", "TRITON_", "CUPY_", "CUBLAS", "CUDNN_"),
    *("CUDA_LAUNCH_", "CUDA_MODULE_", "CUDA_DEVICE_MAX_", "CUDA_FORCE_", "NVIDIA_TF32_OVERRIDE"),
    *("LD_", "GLIBC_TUNABLES", "MALLOC_"),
    *("PYTHONPATH", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHON_"),
)
"""What the names of variables begin with that are known to change how fast numeric code runs, or which code that is."""


def worker_environment(
    base: Mapping[str, str],
    *,
    threads: int,
    device: str,
    precision: str = "float32",
    hash_seed: int = 0,
    padding_bytes: int = 0,
    cache: Path,
    mark: str = "",
    extra: Mapping[str, str] = {},
) -> dict[str, str]:
    """The environment that a worker starts in: what it needs of ``base``, the rest the same but for what is drawn.

    ``cache``: a folder for compiled programs and temporary files, which has to be there; empty in the first block.
    ``extra``: what its row needs besides.
    """
    environment = {name: value for name, value in base.items() if is_inherited(name)}
    environment |= extra
    environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment |= {
        "PYTHONHASHSEED": str(hash_seed),
        "SEQ2SEQ_LSTM_BENCH_PADDING": "x" * padding_bytes,
        MARK_VARIABLE: mark,
        PRECISION_VARIABLE: precision,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(cache),  # PyTorch's compiler keeps headers there, past its own cache
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "KERAS_HOME": str(cache),  # with a person's own settings, or else one is made in their home
    }
    if device == "cpu":
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    else:
        environment |= {
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:2",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # CUDA then counts devices as nvidia-smi does
            "CUDA_CACHE_PATH": str(cache),  # or kernels are kept in the home
            "CUPY_CACHE_DIR": str(cache),
        }
        if precision == "float32":
            environment["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 means float32
    return environment


def is_inherited(name: str) -> bool:
    """Whether a worker has the variable of that name from the process that starts the bench."""
    return name in INHERITED or name.startswith("LC_")


def left_out(base: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the variables that do not reach a worker as they are, in order, such that they can be written.

    Without one that threadpoolctl sets in this process, and that changes nothing.
    """
    names = sorted(name for name in base if not is_inherited(name) and name != "KMP_DUPLICATE_LIB_OK")
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)


def blas_of_workers() -> str | None:
    """What NumPy multiplies with in a worker; None where that cannot be told."""
    with TemporaryDirectory(prefix="blas-") as cache:
        return blas_in(worker_environment(os.environ, threads=1, device="cpu", cache=Path(cache)))


def environment_of(row: Row) -> dict[str, str]:
    """The variables that the row needs on this processor."""
    found, here = dict(row.environment), features()
    for feature, variables in row.environment_with.items():
        if feature in here:
            found |= variables
    return found


def memory_limit(device: Device) -> int | None:
    """How much address space a worker may have, in bytes: on the CPU half of what can be had; None: it has no limit."""
    ours = max(LEAST_LIMIT_BYTES, available_bytes() // 2) if device == "cpu" else None
    limits = [limit for limit in (ours, process_limit(resource.RLIMIT_AS)) if limit is not None]
    return min(limits, default=None)


def entries_that_fit(workloads: Sequence[Workload], device: Device) -> int:
    """How many workers fit into memory together, on a GPU into its own as well: at least the baseline, its control and
    one row."""
    # the estimate counts the oracle's float64 copies as well: a row needs about a quarter of it
    own = max(estimate_bytes(workload) for workload in workloads) // 4
    rooms = [int(ROOM * available_bytes()) // (WORKER_BYTES + own)]
    if device == "gpu" and (seen := gpu.state()) and seen.free_bytes is not None:
        rooms.append(int(ROOM * seen.free_bytes) // (GPU_WORKER_BYTES + own))
    return max(3, min(rooms))
