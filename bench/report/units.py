"""Numbers as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.stats import Ratio


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
    """``1.24×``, ``12.4×``."""
    return "–" if value is None else f"{_bare(value)}×"


def percent(value: float | None) -> str:
    """``12 %``; what is beyond all bounds has no digits."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if value < 0.0995 else f"{100 * value:.0f} %" if value < 100 else "> 9999 %"


def error(value: float | None) -> str:
    """``2e-07``."""
    return "–" if value is None else f"{value:.0e}"


def place(device: str, threads: int, precision: str = "float32") -> str:
    """Where it ran: ``cpu×1``, with the number of threads; ``gpu``; ``gpu tf32``."""
    where = f"cpu×{threads}" if device == "cpu" else device
    return where if precision == "float32" else f"{where} {precision}"


def between(low: float | None, high: float | None) -> str:
    """``[1.22, 1.26]``."""
    if low is None or high is None:
        return "–"
    return f"[{_bare(low)}, {_bare(high)}]"


def _bare(value: float) -> str:
    """Three digits, or two behind the point."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def percents(low: float | None, high: float | None) -> str:
    """``71 to 73 %``."""
    return "–" if low is None or high is None else f"{100 * low:.0f} to {100 * high:.0f} %"


def interval(value: Ratio | None) -> str:
    """``1.24× [1.22, 1.26]``."""
    return "–" if value is None else f"{ratio(value.estimate)} {between(value.low, value.high)}"


def duration(value: float) -> str:
    """Whole seconds below two minutes, else minutes: ``45 s``, ``12 min``, ``1.5 h``."""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: int | None) -> str:
    """``12.3 MiB``; a dash for nothing."""
    if value is None:
        return "–"
    mebibytes = value / 2**20
    return f"{mebibytes:.1f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.2f} GiB"


def rate(flops_per_s: float | None) -> str:
    """``85.5 GFLOP/s``; a dash for nothing."""
    return "–" if flops_per_s is None else f"{_thousands(flops_per_s)}FLOP/s"


def flops(count: float | None) -> str:
    """``9.05 GFLOP``; a dash for nothing."""
    return "–" if count is None else f"{_thousands(count)}FLOP"


def _thousands(value: float) -> str:
    """Three digits and a prefix."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size or prefix == "k":
            scaled = value / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {prefix}"
    raise AssertionError


def calls(value: float | None) -> str:
    """``1,240 calls``; a dash for never."""
    return "–" if value is None else f"{value:,.0f} calls"
