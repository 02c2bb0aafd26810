"""What an NVIDIA GPU says of itself: its clock, why it slowed down, who is on it. Nothing is ever set."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from bench.records.schema import Flag

LIMIT_S = 15.0
"""How long the driver may take: without persistence mode it wakes the GPU up first."""

THROTTLES = {
    "SwPowerCap": "power cap",
    "HwSlowdown": "hardware slowdown",
    "SwThermalSlowdown": "heat (software)",
    "HwThermalSlowdown": "heat (hardware)",
    "HwPowerBrakeSlowdown": "power brake",
}
"""NVML's names, behind ``nvmlClocksEventReason``, of reasons that lower the clock under load by heat or power. The
others are idleness, and clocks somebody has chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU at one moment. None stands for what it does not say."""

    name: str
    uuid: str = ""
    clock_mhz: float | None = None
    max_clock_mhz: float | None = None
    throttles: tuple[str, ...] | None = None
    """How heat or power hold the clock down."""
    pids: frozenset[int] | None = None
    """The processes that compute on it, as the driver numbers them: in a container, these may be the host's numbers."""
    celsius: float | None = None
    busy: float | None = None
    """Share of the time in which something ran on it."""
    free_bytes: int | None = None
    """Memory that nobody has."""


def gpus() -> tuple[Gpu, ...] | None:
    """The GPUs of this machine, as they are now; None where the driver is missing, fails or hangs.

    The driver is asked in a thread of its own: one that hangs is left behind.
    """
    answer: list[tuple[Gpu, ...]] = []

    def ask() -> None:
        with suppress(ImportError):  # an environment from before it was needed has no such library
            import pynvml

            with suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                try:
                    devices = range(pynvml.nvmlDeviceGetCount())
                    answer.append(tuple(gpu for index in devices if (gpu := _read(pynvml, index))))
                finally:
                    pynvml.nvmlShutdown()

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return answer[0] if answer else None


def state(environment: Mapping[str, str] | None = None) -> Gpu | None:
    """The first GPU that a process with this environment may use (default: this one's); None where there is none.

    ``CUDA_VISIBLE_DEVICES`` is obeyed. Where it holds a number and the machine has GPUs of different kinds, that is the
    same GPU to CUDA and to the driver only with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES", "0")
    wanted = visible.split(",")[0].strip()
    if not re.fullmatch(r"\d+|GPU-[0-9a-fA-F-]+", wanted):
        return None  # none, or a part of a GPU (MIG), which has no clock
    for index, gpu in enumerate(gpus() or ()):
        # CUDA takes the beginning of a UUID too
        if index == int(wanted) if wanted.isdigit() else gpu.uuid.lower().startswith(wanted.lower()):
            return gpu
    return None


def flags(before: Gpu | None, after: Gpu | None, own_pids: Collection[int]) -> list[Flag]:
    """What a measurement between two states has to be flagged with: ``throttled``, ``foreign``.

    ``own_pids``: the processes that were measured, those of ``before`` among them; their descendants are theirs.
    """
    states = [one for one in (before, after) if one]
    found: list[Flag] = []
    if any(one.throttles for one in states):
        found.append("throttled")
    if any(foreign_pids(one, own_pids) for one in states):
        found.append("foreign")
    return found


def foreign_pids(seen: Gpu, own_pids: Collection[int]) -> frozenset[int]:
    """The processes on the GPU that are not ``own_pids``, and do not descend from them.

    In a container the driver may give the host's numbers, under which nothing is known here. As many unknown numbers as
    there are own processes missing from the list are taken to be those.
    """
    others = {pid: _lineage(pid) for pid in (seen.pids or frozenset()) - frozenset(own_pids)}
    strangers = {pid for pid, lineage in others.items() if lineage is not None and lineage.isdisjoint(own_pids)}
    unknown = {pid for pid, lineage in others.items() if lineage is None}
    missing = frozenset(own_pids) - {os.getpid()} - (seen.pids or frozenset())  # the harness itself uses no GPU
    return frozenset(strangers | (unknown if len(unknown) > len(missing) else set()))


def _lineage(pid: int) -> frozenset[int] | None:
    """The process's parents, and theirs; None where no such process is known here."""
    try:
        return frozenset(parent.pid for parent in psutil.Process(pid).parents())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return frozenset()


def _read(pynvml: Any, index: int) -> Gpu | None:
    """The GPU of that number; None where it does not answer, as one that fell off its bus."""
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        name = pynvml.nvmlDeviceGetName(device)
    except pynvml.NVMLError:
        return None

    def value(ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except pynvml.NVMLError:  # the device does not say it
            return None

    reasons = value(pynvml.nvmlDeviceGetCurrentClocksEventReasons, device)
    if reasons is None:  # older drivers know them by another name
        reasons = value(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, device)
    throttles = None
    if reasons is not None:
        bits = {word: getattr(pynvml, f"nvmlClocksEventReason{name}") for name, word in THROTTLES.items()}
        throttles = tuple(word for word, bit in bits.items() if reasons & bit)
    processes = value(pynvml.nvmlDeviceGetComputeRunningProcesses, device)
    use = value(pynvml.nvmlDeviceGetUtilizationRates, device)
    memory = value(pynvml.nvmlDeviceGetMemoryInfo, device)
    return Gpu(
        name=name,
        uuid=value(pynvml.nvmlDeviceGetUUID, device) or "",
        clock_mhz=value(pynvml.nvmlDeviceGetClockInfo, device, pynvml.NVML_CLOCK_SM),
        max_clock_mhz=value(pynvml.nvmlDeviceGetMaxClockInfo, device, pynvml.NVML_CLOCK_SM),
        throttles=throttles,
        pids=None if processes is None else frozenset(process.pid for process in processes),
        celsius=value(pynvml.nvmlDeviceGetTemperature, device, pynvml.NVML_TEMPERATURE_GPU),
        busy=None if use is None else use.gpu / 100,
        free_bytes=None if memory is None else memory.free,
    )
