"""Numbers as people read them."""

from __future__ import annotations


def seconds(value: float | None) -> str:
    """Three digits and the unit that fits: ``312 µs``, ``1.24 ms``, ``35.1 s``; a dash for nothing."""
    if value is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size or unit == "µs":
            scaled = value / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {unit}"
    raise AssertionError


def ratio(value: float | None) -> str:
    """``1.24×``."""
    return "–" if value is None else f"{value:.2f}×" if value < 100 else f"{value:.0f}×"


def percent(value: float | None) -> str:
    """``12 %``."""
    return "–" if value is None else f"{100 * value:.1f} %" if value < 0.0995 else f"{100 * value:.0f} %"


def error(value: float | None) -> str:
    """``2e-07``."""
    return "–" if value is None else f"{value:.0e}"


def place(device: str, threads: int) -> str:
    """Where it ran: ``cpu×1``, with the number of threads; ``gpu``."""
    return f"cpu×{threads}" if device == "cpu" else device
