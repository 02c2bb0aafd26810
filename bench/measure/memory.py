"""Memory of a worker: the peak of a call, and what the C library does with what a call gives back."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impls.contract import NoCounter

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

HIGHEST_THRESHOLD_BYTES = 32 * 2**20
"""glibc's largest (``M_MMAP_THRESHOLD`` in mallopt(3), on 64 bits): freeing what is larger does not raise it."""


def peak_memory(row: Any, device: str, call: Callable[[], Any]) -> tuple[int, str]:
    """Bytes at the peak of a second call, above what is held now that ``row`` is loaded; and what was read.

    What a first call leaves behind, such as a compiled program, counts: it is held from then on. On a CPU it is the
    process's ``VmHWM``, which a write to ``clear_refs`` resets. (``ru_maxrss`` would start from the parent's peak.)
    Linux keeps it in batches of 32 pages a processor, so that it may be off by 128 KiB for each.

    Raises:
        NoCounter: the system, or the row on this device, has no counter.
    """
    if device == "cpu":
        if not STATUS.exists() or not CLEAR.exists():
            raise NoCounter("this system does not tell a process's peak memory (no /proc)")
        _give_back()
        held = _bytes("VmRSS")
        call()
        CLEAR.write_text("5")
        call()
        return max(0, _bytes("VmHWM") - held), "VmHWM"
    if not hasattr(row, "peak_bytes"):
        raise NoCounter("the row offers no peak_bytes(), which counts the device's memory")
    row.reset_peak()
    held = row.peak_bytes()
    call()
    row.reset_peak()
    call()
    return max(0, row.peak_bytes() - held), f"peak_bytes of {type(row).__name__}"


def _give_back() -> None:
    """Let the system have what was freed: else the next call finds it here already, and seems to need less."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _bytes(name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
    if match is None:
        raise NoCounter(f"this system does not tell a process's {name}")
    return 1024 * int(match[1])


def keep_freed_memory() -> None:
    """Bring glibc's allocator to where it gets to by itself in a process that once freed a block of 32 MiB.

    Blocks above a threshold, 128 KiB at first, come from the kernel and go back to it, and each call touches them
    again, page by page (``docs/method.md`` has what that took). To free such a block raises the threshold to its size
    (and that of trimming to twice as much), up to 32 MiB: times would depend on what was measured before. Other C
    libraries than glibc lose nothing by it. (Variables that set glibc's thresholds, which then stay where they are,
    reach a worker only where its row asks for them: `bench.measure.worker_environment.INHERITED`.)
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    library.free.restype, library.free.argtypes = None, (ctypes.c_void_p,)
    library.free(library.malloc(HIGHEST_THRESHOLD_BYTES - 2**13))  # with its header, in whole pages
