"""The NVIDIA devices of this machine, idle as they are, for ``python -m bench machine``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.machine.files import number

if TYPE_CHECKING:
    from collections.abc import Callable

    Smi = Callable[[str], str | None]
    """Answers a query, such as ``--query-gpu=name``, with CSV lines; ``None`` where there is no answer."""

THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""Bits of NVML's reasons for a lower clock that change while a program runs; being idle and set clocks are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA device, as ``nvidia-smi`` sees it."""

    name: str
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    throttles: tuple[str, ...] | None = None
    celsius: float | None = None
    busy: float | None = None
    """Share of the time in which something ran on it."""


def read_gpus(smi: Smi) -> tuple[Gpu, ...] | None:
    """The devices; ``None`` where the driver gives no answer."""
    fields = "name,clocks.sm,clocks.max.sm,clocks_{}_reasons.active,temperature.gpu,utilization.gpu"
    answer = smi("--query-gpu=" + fields.format("event"))
    if answer is None:  # drivers before 535 know the older name only
        answer = smi("--query-gpu=" + fields.format("throttle"))
    if answer is None:
        return None
    return tuple(_gpu([part.strip() for part in line.rsplit(",", 5)]) for line in answer.splitlines() if line.strip())


def gpu_processes(smi: Smi) -> tuple[int, ...] | None:
    """Who computes on them; ``None`` where the driver gives no answer."""
    answer = smi("--query-compute-apps=pid")
    return None if answer is None else tuple(int(line) for line in answer.splitlines() if line.strip().isdecimal())


def _gpu(parts: list[str]) -> Gpu:
    name, clock, most, reasons, celsius, busy = [*parts, *[""] * 6][:6]
    bits = int(reasons, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", reasons) else None
    share = number(busy)
    return Gpu(
        name=name,
        clock_mhz=number(clock),
        max_clock_mhz=number(most),
        throttles=None if bits is None else tuple(word for bit, word in THROTTLES.items() if bits & bit),
        celsius=number(celsius),
        busy=None if share is None else share / 100,
    )
