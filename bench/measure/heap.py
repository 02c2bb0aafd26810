"""What the C library does with memory that a call gives back."""

from __future__ import annotations

import ctypes

HIGHEST_THRESHOLD_BYTES = 32 * 2**20
"""glibc's largest (``M_MMAP_THRESHOLD`` in mallopt(3), on 64 bits): freeing what is larger does not raise it."""


def keep_freed_memory() -> None:
    """Bring glibc's allocator to where it gets to by itself in a process that once freed a block of 32 MiB.

    Blocks above a threshold, 128 KiB at first, come from the kernel and go back to it, and each call touches them anew,
    page by page (``docs/method.md`` has what that took). To free such a block raises the threshold to
    its size (and that of trimming to twice as much), up to 32 MiB: times would depend on what was measured before.
    Other C libraries than glibc lose nothing by it. (Variables that set glibc's thresholds, which then stay where they
    are, reach a worker only where its row asks for them: `bench.measure.worker_environment.INHERITED`.)
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.restype, library.free.argtypes = None, (ctypes.c_void_p,)
    library.free(library.malloc(HIGHEST_THRESHOLD_BYTES - 2**13))  # with its header, in whole pages
