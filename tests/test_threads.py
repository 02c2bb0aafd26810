"""One thread means one thread: what the worker's environment sets really limits each framework, affinity aside."""

from __future__ import annotations

import os

import pytest
from frameworks import need
from processes import python

from bench.environment import parse_threads, worker_environment
from bench.processors import processors
from impls.contract import InvalidInput

SCRIPT = """
import sys, time
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
work()
ratios = []
for _ in range(20):
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(3):
        work()
    ratios.append((time.process_time() - cpu) / (time.perf_counter() - wall))
print(max(ratios))
"""


def busiest(framework: str, environment: dict[str, str]) -> float:
    """Processor seconds a second of large products: how many threads worked."""
    done = python("-c", SCRIPT, framework, env=environment)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


needs_two = pytest.mark.skipif(len(processors()) < 2, reason="one processor: there is nothing to limit")


@needs_two
@pytest.mark.parametrize("framework", ["torch", "jax", "thinc"])
def test_one_thread_is_one_thread(framework: str) -> None:
    need(framework)
    assert busiest(framework, worker_environment(os.environ, threads=1, device="cpu")) < 1.1


@needs_two
@pytest.mark.parametrize("framework", ["torch", "jax", "thinc"])
def test_the_check_above_can_fail(framework: str) -> None:
    need(framework)
    two = worker_environment(os.environ, threads=2, device="cpu")
    assert busiest(framework, two) > 1.1


def test_a_worker_does_not_inherit_what_would_change_the_experiment() -> None:
    base = {"XLA_FLAGS": "--xla_x", "OMP_SCHEDULE": "static", "PATH": "/bin", "PYTEST_ADDOPTS": "-x"}
    base |= {"MALLOC_TOP_PAD_": "0", "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}
    environment = worker_environment(base, threads=2, device="cpu", extra={"MINE": "1"})
    assert environment.keys() & base.keys() == {"PATH"}
    assert environment["PATH"] == "/bin"
    assert environment["PJRT_NPROC"] == environment["OMP_NUM_THREADS"] == "2"
    assert environment["MINE"] == "1"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", str(len(processors()) + 1)])
def test_a_bad_number_of_threads_is_named(value: str) -> None:
    with pytest.raises(InvalidInput, match=f"--threads {value}: must be"):
        parse_threads([value])
