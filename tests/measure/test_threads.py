"""One thread means one thread: what the worker's environment sets really limits each framework, affinity aside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.frameworks import need
from support.processes import python

from bench.machine.cpus import processors
from bench.measure.request import parse_threads
from bench.measure.worker_environment import CHANGE_SPEED, left_out, worker_environment
from impls.contract import InvalidInput

SCRIPT = """
import os, sys, time
from contextlib import suppress
framework = sys.argv[1]
if framework == "torch":
    import torch
    a = torch.randn(1000, 1000)
    work = lambda: a @ a
elif framework == "jax":
    import jax, numpy as np
    a = jax.device_put(np.random.randn(1000, 1000).astype("f"))
    f = jax.jit(lambda a: a @ a)
    work = lambda: f(a).block_until_ready()
else:
    from impls.thinc._adapter import find_ops
    ops = find_ops("cpu")
    a = ops.xp.random.randn(1000, 1000).astype("f")
    work = lambda: ops.gemm(a, a)
def had():
    found = {}
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError):
            found[task] = int(open(f"/proc/self/task/{task}/schedstat").read().split()[0])
    return found
work()
before, start = had(), time.process_time_ns()
for _ in range(60):
    work()
whole = time.process_time_ns() - start
print(whole / max(spent - before.get(task, 0) for task, spent in had().items()))
"""


def workers(framework: str, environment: dict[str, str]) -> float:
    """How many threads worked at large products: the time of all over that of the busiest, whatever else is at work."""
    done = python("-c", SCRIPT, framework, env=environment)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


needs_two = pytest.mark.skipif(len(processors()) < 2, reason="one processor: there is nothing to limit")


@needs_two
@pytest.mark.parametrize("framework", ["torch", "jax", "thinc"])
def test_one_thread_is_one_thread(framework: str, tmp_path: Path) -> None:
    need(framework)
    assert workers(framework, worker_environment(os.environ, threads=1, device="cpu", cache=tmp_path)) < 1.1


@needs_two
@pytest.mark.parametrize("framework", ["torch", "jax", "thinc"])
def test_the_check_above_can_fail(framework: str, tmp_path: Path) -> None:
    need(framework)
    two = worker_environment(os.environ, threads=2, device="cpu", cache=tmp_path)
    assert workers(framework, two) > 1.1


STEERS = {
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_VERBOSE", "MKL_CBWR", "OMP_SCHEDULE", "KMP_BLOCKTIME"),
    *("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "BLIS_ARCH_TYPE", "ONEDNN_MAX_CPU_ISA"),
    *("XLA_FLAGS", "JAX_ENABLE_X64", "TORCHINDUCTOR_MAX_AUTOTUNE", "PYTORCH_NO_CUDA_MEMORY_CACHING", "CUPY_TF32"),
    *("MALLOC_TOP_PAD_", "GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONMALLOC", "PYTHONOPTIMIZE"),
}
"""Variables that change how fast code runs."""


def test_a_worker_does_not_inherit_what_would_change_the_experiment(tmp_path: Path) -> None:
    base = dict.fromkeys(STEERS | {"PYTEST_ADDOPTS", "OF_TOMORROWS_LIBRARY", "TMPDIR"}, "1") | {"PATH": "/bin"}
    environment = worker_environment(base, threads=2, device="cpu", cache=tmp_path, extra={"MINE": "1"})
    assert environment.keys() & base.keys() == {"PATH", "TMPDIR"}
    assert environment["PATH"] == "/bin"
    assert environment["TMPDIR"] == str(tmp_path)
    assert environment["PJRT_NPROC"] == environment["OMP_NUM_THREADS"] == "2"
    assert environment["MINE"] == "1"
    assert left_out(base) == tuple(sorted(base.keys() - {"PATH"}))
    assert {name for name in left_out(base) if name.startswith(CHANGE_SPEED)} == STEERS
    assert left_out({"OMP_\udcff": "1"}) == (r"OMP_\udcff",)  # no text, and it can still be written


def test_a_worker_finds_its_programs_libraries_compiler_and_gpu(tmp_path: Path) -> None:
    wanted = {
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "LD_LIBRARY_PATH",
        "CONDA_PREFIX",
        "CC",
        "CXX",
    }
    wanted |= {"CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"}
    base = dict.fromkeys(wanted, "theirs")
    environment = worker_environment(base, threads=1, device="gpu", cache=tmp_path)
    assert {name: environment.get(name) for name in wanted} == base
    assert left_out(base) == ()
    assert worker_environment(base, threads=1, device="cpu", cache=tmp_path)["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", str(len(processors()) + 1)])
def test_a_bad_number_of_threads_is_named(value: str) -> None:
    with pytest.raises(InvalidInput, match=f"--threads {value}: must be"):
        parse_threads([value])
