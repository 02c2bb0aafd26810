"""Peak memory of a call: the process's own high-water mark, or on a GPU the framework's counter."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from impls.contract import NoCounter

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Scale(Protocol):
    """Weighs calls."""

    source: str

    def peak_of(self, call: Callable[[], Any]) -> int:
        """Bytes at the peak of the call, above what was held when the scale was made."""


def scale_of(row: Any, device: str) -> Scale:
    """The scale for a loaded row; what is held now counts as nothing.

    Raises:
        NoCounter: the system, or the row on this device, has no counter.
    """
    if device == "cpu":
        return HostScale()
    return DeviceScale(row)


class HostScale:
    """``VmHWM``, which a write to ``clear_refs`` resets. (``ru_maxrss`` would start from the parent's peak.)

    Linux keeps it in batches of 32 pages a processor, so that it may be off by 128 KiB for each.
    """

    source = "VmHWM"

    def __init__(self) -> None:
        if not STATUS.exists() or not CLEAR.exists():
            raise NoCounter("this system does not tell a process's peak memory (no /proc)")
        _give_back()
        self._held = _kibibytes("VmRSS")

    def peak_of(self, call: Callable[[], Any]) -> int:
        """Bytes at the peak of the call, above what was held when the scale was made."""
        CLEAR.write_text("5")
        call()
        return max(0, _kibibytes("VmHWM") - self._held) * 1024


class DeviceScale:
    """The framework's own counter, offered by the row."""

    def __init__(self, row: Any) -> None:
        if not hasattr(row, "peak_bytes"):
            raise NoCounter("the row offers no peak_bytes(), which counts the device's memory")
        self.source = f"peak_bytes of {type(row).__name__}"
        self._row = row
        row.reset_peak()
        self._held: int = row.peak_bytes()

    def peak_of(self, call: Callable[[], Any]) -> int:
        """Bytes at the peak of the call, above what was held when the scale was made."""
        self._row.reset_peak()
        call()
        peak: int = self._row.peak_bytes()
        return max(0, peak - self._held)


def _give_back() -> None:
    """Let the system have what was freed: else the next call finds it here already, and seems to need less."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _kibibytes(name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB$", STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
    if match is None:
        raise NoCounter(f"this system does not tell a process's {name}")
    return int(match[1])
