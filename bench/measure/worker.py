"""A worker process: one row, one number of threads, one block. ``python -m bench.measure.worker COMMANDS ANSWERS``.

Before it imports the row, and with it the framework, it settles down. Commands and answers go through two pipes, whose
numbers it is given: standard output and error belong to the row and its framework.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from bench.machine.limits import lower
from bench.measure.messages import Job, Runner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec


PR_SET_PDEATHSIG = 1
"""Linux's ``prctl``: this process receives a signal when its parent ends."""

HIGHEST_THRESHOLD_BYTES = 32 * 2**20
"""glibc's largest (``M_MMAP_THRESHOLD`` in mallopt(3), on 64 bits): freeing what is larger does not raise it."""


class Blocker:
    """A finder of modules that finds all but some packages: as if those were not installed.

    To raise instead would not do, for frameworks look whether others are there (PyTorch for ``onnxruntime``). Nor would
    ``sys.modules[name] = None``: SciPy looks there.
    """

    def __init__(self, finder: Any, names: Sequence[str]) -> None:
        self._finder, self._names = finder, frozenset(names)

    def __getattr__(self, name: str) -> Any:
        """All else is the finder's."""
        return getattr(self._finder, name)

    def find_spec(self, fullname: str, *where: Any) -> ModuleSpec | None:
        """What the finder finds, or None for a blocked package."""
        blocked = fullname.partition(".")[0] in self._names
        found: ModuleSpec | None = None if blocked else self._finder.find_spec(fullname, *where)
        return found


def block(names: Sequence[str]) -> None:
    """Make packages unimportable in this process."""
    sys.meta_path[:] = [Blocker(finder, names) for finder in sys.meta_path]


def settle_down(processors: Sequence[int], memory_limit_bytes: int | None, blocked: Sequence[str]) -> None:
    """Bind this process to its processors, its memory and its parent's life, and block the other frameworks."""
    os.sched_setaffinity(0, processors)
    if memory_limit_bytes is not None:
        lower(resource.RLIMIT_AS, memory_limit_bytes, memory_limit_bytes)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    block(blocked)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Bring glibc's allocator to where it gets to by itself in a process that once freed a block of 32 MiB.

    Blocks above a threshold, 128 KiB at first, come from the kernel and go back to it, and each call touches them
    again, page by page (``docs/method.md`` has what that took). To free such a block raises the threshold to its size
    (and that of trimming to twice as much), up to 32 MiB: times would depend on what was measured before. Other C
    libraries than glibc lose nothing by it.
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.restype, library.free.argtypes = None, (ctypes.c_void_p,)
    library.free(library.malloc(HIGHEST_THRESHOLD_BYTES - 2**13))  # with its header, in whole pages


def main(arguments: Sequence[str]) -> int:
    """Do what the runner commands until it sends no more: 0, or 2 where the row interrupts."""
    for fd in (fds := [*map(int, arguments)]):
        os.set_inheritable(fd, False)  # what the row starts must not keep the pipes open
    runner = Runner(*fds)
    job = runner.receive(Job)
    if job is None:
        return 0
    settle_down(job.processors, job.memory_limit_bytes, job.blocked)
    faulthandler.enable()

    from bench.measure.serve import Worker

    try:
        Worker(job, runner).serve()
    except KeyboardInterrupt:
        traceback.print_exc()
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
