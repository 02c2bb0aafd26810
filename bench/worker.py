"""A worker process: one row, one number of threads, one block. ``python -m bench.worker COMMANDS ANSWERS``.

Before it imports the row, and with it the framework, it holds itself to its processors and its memory, asks to die with
its parent, and makes the other frameworks unimportable. It hears the runner and answers through two pipes, whose
numbers it is given: standard output and error belong to the row and its framework.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.heap import keep_freed_memory
from bench.job import Job, hear

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


class Blocker(MetaPathFinder, Loader):
    """Makes packages unimportable. (``sys.modules[name] = None`` would break SciPy, which looks there.)

    Who only looks whether one is there, as PyTorch does for ``onnxruntime``, finds a package in no file.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take a blocked package on; leave the others to the next finder."""
        return ModuleSpec(fullname, self) if fullname.partition(".")[0] in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Raise ModuleNotFoundError: this is where an import comes."""
        raise ModuleNotFoundError(
            f"{spec.name} is blocked: another row's framework; ROW names what a row needs", name=spec.name
        )

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: no module is ever made."""


def settle_down(job: Job) -> None:
    """Bind this process to its processors, its memory and its parent's life, and block the other frameworks.

    What it frees it keeps, as a process does in time that frees large blocks: see `bench.heap`.
    """
    os.sched_setaffinity(0, job.processors)
    if job.memory_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (job.memory_limit_bytes, job.memory_limit_bytes))
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    sys.meta_path.insert(0, Blocker(job.blocked))
    keep_freed_memory()


def main(arguments: Sequence[str]) -> int:
    """Do what the runner says until it has nothing more to say: pytest's exit code."""
    command_fd, answer_fd = map(int, arguments)
    for fd in (command_fd, answer_fd):
        os.set_inheritable(fd, False)  # what the row starts must not keep the pipes open
    commands = os.fdopen(command_fd, "rb")
    job = hear(commands, Job)
    if job is None:
        return 0
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
            plugins=[cells.Worker(job, commands, answer_fd)],
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
