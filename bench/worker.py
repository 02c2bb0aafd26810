"""A worker process: one row, one number of threads, all its cells. ``python -m bench.worker JOB`` with a job file.

Before it imports the row, and with it the framework, it holds itself to its processors, asks to die with its parent,
and makes the other frameworks unimportable. What it finds goes to the runner, a JSON line each, through a pipe of its
own: standard output and error belong to the row and its framework.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Blocker(MetaPathFinder):
    """Makes packages unimportable. (``sys.modules[name] = None`` would break SciPy, which looks there.)"""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a blocked package; leave the others to the next finder."""
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{fullname} is blocked: another row's framework", name=fullname)
        return None


def settle_down(job: Job) -> None:
    """Bind this process to its processors and to its parent's life, and block the other frameworks."""
    os.set_inheritable(job.report_fd, False)  # what the row starts must not keep the pipe open
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.processors)
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    sys.meta_path.insert(0, Blocker(job.blocked))


def main(arguments: Sequence[str]) -> int:
    """Measure every cell of the job: pytest-benchmark's exit code."""
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Job)
    settle_down(job)

    import pytest

    from bench import cells

    return int(
        pytest.main(
            [
                str(Path(cells.__file__)),
                f"-c{os.devnull}",
                f"--rootdir={Path(cells.__file__).parent}",
                "-pno:cacheprovider",
                "-ppytest_benchmark.plugin",
                "--benchmark-disable-gc",
                "--assert=plain",
                "--capture=no",
                "-q",
            ],
            plugins=[cells.Seated(job)],
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
