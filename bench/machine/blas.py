"""Which library NumPy multiplies with, and its kernels: ``python -m bench.machine.blas`` says it of its own process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_info

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_S = 60.0


def blas_in(environment: Mapping[str, str]) -> str | None:
    """What NumPy multiplies with in a process that has this environment; None where that cannot be told."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.machine.blas"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
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


if __name__ == "__main__":
    print(blas() or "")
