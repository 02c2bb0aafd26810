"""The NVIDIA devices of this machine, idle as they are, for ``python -m bench machine``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.machine import gpu
from bench.machine.files import number

if TYPE_CHECKING:
    from collections.abc import Callable

    Smi = Callable[[str], str | None]
    """Answers a query, such as ``--query-gpu=name``, with CSV lines; ``None`` where there is no answer."""

THROTTLES = {
    gpu.SW_POWER_CAP: "power cap",
    gpu.HW_SLOWDOWN: "hardware slowdown",
    gpu.SW_THERMAL_SLOWDOWN: "heat (software)",
    gpu.HW_THERMAL_SLOWDOWN: "heat (hardware)",
    gpu.HW_POWER_BRAKE_SLOWDOWN: "power brake",
}
"""What each of the reasons that throttle is called."""


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
    fields = "name,clocks.sm,clocks.max.sm,{},temperature.gpu,utilization.gpu"
    answers = (smi("--query-gpu=" + fields.format(reasons)) for reasons in gpu.REASONS)
    answer = next((answer for answer in answers if answer is not None), None)
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
