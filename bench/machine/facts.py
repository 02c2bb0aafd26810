"""Facts about this machine that may explain a time: ``python -m bench machine``, and in every published result.

They are read from where Linux has them, under a root that tests replace; what is not there is ``None``. Nothing here
changes a setting. What is wrong with them is in ``faults.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import units
from bench.machine import limits, nvidia_smi, processor, virtual
from bench.machine.files import match, read, words
from bench.machine.gpus import gpu_processes, read_gpus
from bench.machine.watch import spin, steal_share, timer

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.machine.gpus import Gpu, Smi
    from bench.machine.watch import Watched

SWAP_BYTES = 64 << 20
"""Less swap in use are pages from long ago, which nobody misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What may explain a time. ``None`` is what cannot be read here."""

    allowed: int | None = None
    """Processors by affinity."""
    quota: float | None = None
    """Processors by control group; infinite where it sets no limit."""
    machine_processors: int | None = None
    governor: str | None = None
    driver: str | None = None
    boost: bool | None = None
    boost_switch: str | None = None
    """The command that turns it off."""
    smt: bool | None = None
    virtual: bool | None = None
    hypervisor: str | None = None
    free_pages_reported: bool | None = None
    """Whether the host takes memory that is free here; ``None`` also where there is no balloon."""
    container: str | None = None
    """Which; ``none``."""
    load: float | None = None
    """Over a minute."""
    runnable: int | None = None
    """Threads that run or could run, this one included."""
    steal: float | None = None
    """Share of the wanted processor time that the hypervisor gave to others, in a short busy window."""
    steal_since_boot: float | None = None
    lost: float | None = None
    """Share of that window in which a busy loop did not run."""
    longest_gap_s: float | None = None
    timer_step_s: float | None = None
    timer_call_s: float | None = None
    clocksource: str | None = None
    clocksources: tuple[str, ...] = ()
    memory_bytes: int | None = None
    free_bytes: int | None = None
    """What can be had without swapping, and within the control group's limit."""
    swap_bytes: int | None = None
    """In use."""
    aslr: str | None = None
    huge_pages: str | None = None
    celsius: float | None = None
    """The hottest sensor of the processor."""
    hot_slowdowns: int | None = None
    """How often the processor lowered its clock for heat since the machine was started."""
    kernel: str | None = None
    blas: str | None = None
    """What NumPy multiplies with in a worker."""
    nvidia_driver: str | None = None
    gpus: tuple[Gpu, ...] | None = None
    """``None`` where ``nvidia-smi`` is not there, gives no answer or was not asked."""
    gpu_processes: tuple[int, ...] | None = None


def examine() -> Facts:
    """Everything, in about a second."""
    return read_facts(during=spin, smi=nvidia_smi.query)


def read_facts(root: Path = Path("/"), *, during: Callable[[], Watched] | None = None, smi: Smi | None = None) -> Facts:
    """What Linux says of the machine; fast, unless ``during`` keeps a processor busy or ``smi`` asks the driver.

    Without ``during`` there is no steal in a window and nothing lost; without ``smi`` there are no GPUs.
    """
    cpu = root / "sys/devices/system/cpu"
    before = read(root / "proc/stat")
    watched = during() if during else None
    after = read(root / "proc/stat")
    is_virtual, hypervisor = virtual.hypervisor(root)
    step, call = timer()
    boost, boost_switch = processor.boost(cpu)
    load, runnable = processor.load(read(root / "proc/loadavg"))
    memory = limits.meminfo(read(root / "proc/meminfo"))
    clock = root / "sys/devices/system/clocksource/clocksource0"
    driver = read(root / "proc/driver/nvidia/version") or ""
    return Facts(
        allowed=processor.allowed(root),
        quota=limits.quota(root),
        machine_processors=processor.machine_processors(root),
        governor=words(cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")),
        driver=words(cpu.glob("cpu[0-9]*/cpufreq/scaling_driver")),
        boost=boost,
        boost_switch=boost_switch,
        smt=processor.smt(cpu, is_virtual),
        virtual=is_virtual,
        hypervisor=hypervisor,
        free_pages_reported=virtual.free_pages_reported(root),
        container=virtual.container(root),
        load=load,
        runnable=runnable,
        steal=steal_share(before, after) if during else None,
        steal_since_boot=steal_share("cpu 0 0 0 0 0 0 0 0", after),
        lost=watched.lost if watched else None,
        longest_gap_s=watched.longest_gap_s if watched else None,
        timer_step_s=step,
        timer_call_s=call,
        clocksource=words([clock / "current_clocksource"]),
        clocksources=tuple((read(clock / "available_clocksource") or "").split()),
        memory_bytes=memory.get("MemTotal"),
        free_bytes=limits.free_bytes(root),
        swap_bytes=memory["SwapTotal"] - memory["SwapFree"] if {"SwapTotal", "SwapFree"} <= memory.keys() else None,
        aslr={"0": "off", "1": "partial", "2": "full"}.get(read(root / "proc/sys/kernel/randomize_va_space") or ""),
        huge_pages=match(r"\[(always|madvise|never)\]", read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        celsius=processor.celsius(root),
        hot_slowdowns=processor.hot_slowdowns(cpu),
        kernel=match(r"^(\d+\.\d+)", read(root / "proc/sys/kernel/osrelease")),
        nvidia_driver=match(r"Kernel Module.*?\b(\d{3,}\.[\d.]+)", driver),
        gpus=read_gpus(smi) if smi else None,
        gpu_processes=gpu_processes(smi) if smi else None,
    )


def facts_for_record(facts: Facts) -> dict[str, str]:
    """What every published result says of its machine: no word of whose it is or what it is called."""
    return {
        "governor": facts.governor or "unknown",
        "driver": facts.driver or "unknown",
        "boost": on_off(facts.boost),
        "smt": on_off(facts.smt),
        "hypervisor": "none" if facts.virtual is False else facts.hypervisor or "unknown",
        "container": facts.container or "unknown",
        "quota": quota(facts.quota),
        "clocksource": facts.clocksource or "unknown",
        "timer": "unknown" if facts.timer_step_s is None else f"{facts.timer_step_s * 1e9:.0f} ns",
        "aslr": facts.aslr or "unknown",
        "huge_pages": facts.huge_pages or "unknown",
        "swap": "unknown" if facts.swap_bytes is None else "in use" if facts.swap_bytes > SWAP_BYTES else "unused",
        "steal_since_boot": "unknown" if facts.steal_since_boot is None else units.percent(facts.steal_since_boot),
        "kernel": facts.kernel or "unknown",
        "nvidia_driver": facts.nvidia_driver or "none",
    }


def on_off(value: bool | None) -> str:
    """``on``, ``off`` or ``unknown``."""
    return "unknown" if value is None else "on" if value else "off"


def quota(value: float | None) -> str:
    """``1.5``, ``none`` or ``unknown``."""
    return "unknown" if value is None else "none" if math.isinf(value) else f"{value:g}"
