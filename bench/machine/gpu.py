"""What an NVIDIA GPU says of itself before and after a measurement: its clock, why it slowed down, who else is on it.

Read through ``bench.machine.nvidia_smi``: nothing is ever set.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from bench.machine import nvidia_smi

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bench.records.schema import Flag

# NVML's names, ``nvmlClocksEventReason...`` (older: ``nvmlClocksThrottleReason...``)
GPU_IDLE = 0x001
APPLICATIONS_CLOCKS_SETTING = 0x002
SW_POWER_CAP = 0x004
HW_SLOWDOWN = 0x008
SYNC_BOOST = 0x010
SW_THERMAL_SLOWDOWN = 0x020
HW_THERMAL_SLOWDOWN = 0x040
HW_POWER_BRAKE_SLOWDOWN = 0x080
DISPLAY_CLOCK_SETTING = 0x100

THROTTLED = SW_POWER_CAP | HW_SLOWDOWN | SW_THERMAL_SLOWDOWN | HW_THERMAL_SLOWDOWN | HW_POWER_BRAKE_SLOWDOWN
"""Reasons that lower the clock under load by heat or power. The others are idleness, and clocks somebody has chosen."""

REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The field's name, and the one that older drivers know it by."""

FIELDS = ("index", "uuid", "clocks.sm", "{reasons}")

ABSENT = re.compile(r"\[?(N/A|Not Supported|Unknown Error|Insufficient Permissions|Not Found)\]?", re.IGNORECASE)
"""What stands for a value that the device does not give."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU at one moment. None stands for what it does not say."""

    clock_mhz: float | None
    reasons: int | None
    """NVML's bits: why the clock is not higher."""
    pids: frozenset[int] | None
    """The processes that compute on it, as the driver numbers them: in a container, these may be the host's numbers."""

    @property
    def throttled(self) -> bool:
        """Whether heat or power holds the clock down."""
        return bool((self.reasons or 0) & THROTTLED)


def state(environment: Mapping[str, str] | None = None) -> GpuState | None:
    """The first GPU that a process with this environment may use (default: this one's), as it is now.

    None where there is none, or where ``nvidia-smi`` is missing, fails, hangs or cannot be understood.

    ``CUDA_VISIBLE_DEVICES`` is obeyed. Where it holds a number and the machine has GPUs of different kinds, that is the
    same GPU to CUDA and ``nvidia-smi`` only with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
    """
    wanted = _first_visible(os.environ if environment is None else environment)
    if wanted is None:
        return None
    for name in REASONS:
        lines = _ask("--query-gpu=" + ",".join(FIELDS).format(reasons=name))
        if lines is None:
            continue
        row = next((line for line in lines if len(line) == len(FIELDS) and _is(wanted, *line[:2])), None)
        return _read(row) if row else None
    return None


def free_bytes(environment: Mapping[str, str] | None = None) -> int | None:
    """How much memory of the GPU that ``state`` is about nobody has; None where that is not said."""
    wanted = _first_visible(os.environ if environment is None else environment)
    lines = None if wanted is None else _ask("--query-gpu=index,uuid,memory.free")
    of_it = (line[2] for line in lines or () if len(line) == 3 and wanted is not None and _is(wanted, *line[:2]))
    mebibytes = next(of_it, "")
    return int(mebibytes) * 2**20 if mebibytes.isdecimal() else None


def flags(before: GpuState | None, after: GpuState | None, own_pids: Collection[int]) -> list[Flag]:
    """What a measurement between two states has to be flagged with: ``throttled``, ``foreign``.

    ``own_pids``: the processes that were measured, those of ``before`` among them; their descendants are theirs.
    """
    states = [one for one in (before, after) if one]
    found: list[Flag] = []
    if any(one.throttled for one in states):
        found.append("throttled")
    if any(foreign_pids(one, own_pids) for one in states):
        found.append("foreign")
    return found


def foreign_pids(seen: GpuState, own_pids: Collection[int]) -> frozenset[int]:
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


def _first_visible(environment: Mapping[str, str]) -> str | None:
    """The number or UUID of the first device that CUDA would show; None where it would show none."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "0"
    first = visible.split(",")[0].strip()
    return first if re.fullmatch(r"\d+|GPU-[0-9a-fA-F-]+", first) else None  # parts of a GPU (MIG) have no clock


def _is(wanted: str, index: str, uuid: str) -> bool:
    """Whether a device is the one wanted: CUDA takes the beginning of a UUID too."""
    return index == str(int(wanted)) if wanted.isdigit() else uuid.lower().startswith(wanted.lower())


def _read(row: list[str]) -> GpuState | None:
    """The state in a line of ``nvidia-smi``; None where something in it is neither a number nor said to be absent."""
    _, uuid, clock, reasons = row
    try:
        return GpuState(
            clock_mhz=_number(clock),
            reasons=None if ABSENT.fullmatch(reasons) else int(reasons, 16),
            pids=_pids(uuid),
        )
    except ValueError:
        return None


def _pids(uuid: str) -> frozenset[int] | None:
    """Who computes on this GPU; None where that cannot be read."""
    lines = _ask("--query-compute-apps=gpu_uuid,pid")
    if lines is None or any(len(line) != 2 for line in lines):
        return None
    numbers = [line[1] for line in lines if line[0] == uuid]
    return frozenset(map(int, numbers)) if all(number.isdecimal() for number in numbers) else None


def _number(text: str) -> float | None:
    return None if ABSENT.fullmatch(text) else float(text)


def _ask(question: str) -> list[list[str]] | None:
    """The lines of the answer, taken apart; None where there is none."""
    output = nvidia_smi.query(question)
    if output is None:
        return None
    return [[field.strip() for field in line.split(",")] for line in output.splitlines() if line.strip()]
