"""Numbers as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ratio(Protocol):
    """An estimate within its interval."""

    @property
    def estimate(self) -> float:
        """What is most likely."""

    @property
    def low(self) -> float:
        """The least it may be."""

    @property
    def high(self) -> float:
        """The most it may be."""


def seconds(value: float | None) -> str:
    """Three digits and the unit that fits: ``312 µs``, ``1.24 ms``, ``35.1 s``; a dash for nothing."""
    return "–" if value is None else _in_units(value, {"µs": 1e-6, "ms": 1e-3, "s": 1.0})


def ratio(value: float | None) -> str:
    """``1.24×``, ``12.4×``."""
    return "–" if value is None else f"{bare(value)}×"


def percent(value: float | None) -> str:
    """``12 %``; what is beyond all bounds has no digits."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if value < 0.0995 else f"{100 * value:.0f} %" if value < 99.995 else "> 9999 %"


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
    return f"[{bare(low)}, {bare(high)}]"


def bare(value: float) -> str:
    """Three digits, or two behind the point, or all before it."""
    texts = (f"{value:.{digits}f}" for digits in (2, 1))
    return next((text for text in texts if len(text) <= len("9.99")), f"{value:.0f}")


def _in_units(value: float, sizes: Mapping[str, float]) -> str:
    """Three digits and the smallest unit that they have room in: 999.6 µs are ``1.00 ms``."""
    texts = {unit: bare(value / size) for unit, size in sizes.items()}
    unit = next((unit for unit, text in texts.items() if float(text) < 1000), [*texts][-1])
    return f"{texts[unit]} {unit}"


def percents(low: float | None, high: float | None) -> str:
    """``71 to 73 %``."""
    return "–" if low is None or high is None else f"{100 * low:.0f} to {100 * high:.0f} %"


def interval(value: Ratio | None) -> str:
    """``1.24× [1.22, 1.26]``."""
    return "–" if value is None else f"{ratio(value.estimate)} {between(value.low, value.high)}"


def duration(value: float) -> str:
    """Whole seconds below two minutes, else minutes: ``45 s``, ``12 min``, ``1.5 h``."""
    if value < 119.5:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7170 else f"{value / 3600:.1f} h"


def size(value: int | None) -> str:
    """``12.3 MiB``; a dash for nothing."""
    if value is None:
        return "–"
    mebibytes = value / 2**20
    return f"{mebibytes:.1f} MiB" if mebibytes < 1023.95 else f"{mebibytes / 1024:.2f} GiB"


def rate(flops_per_s: float | None) -> str:
    """``85.5 GFLOP/s``; a dash for nothing."""
    return "–" if flops_per_s is None else f"{flops(flops_per_s)}/s"


def flops(count: float | None) -> str:
    """``9.05 GFLOP``; a dash for nothing."""
    return "–" if count is None else _in_units(count, {"kFLOP": 1e3, "MFLOP": 1e6, "GFLOP": 1e9, "TFLOP": 1e12})


def tokens(per_s: float | None) -> str:
    """``85.5 k``; a dash for nothing."""
    return "–" if per_s is None else _in_units(per_s, {"": 1.0, "k": 1e3, "M": 1e6}).rstrip()


def calls(value: float | None) -> str:
    """``1,240 calls``; a dash for never."""
    return "–" if value is None else f"{value:,.0f} calls"
