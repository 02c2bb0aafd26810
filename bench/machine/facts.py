"""Facts about this machine that may explain a time: ``python -m bench machine``, and in every published result.

``psutil`` says the common ones; the rest is read from where Linux has it, under a root that tests replace. Nothing here
changes a setting. What is wrong with them is in ``warnings.py``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import units
from bench.machine import limits, processor, virtual
from bench.machine.cpus import load_average, processors, spin, steal_share
from bench.machine.files import match, read, words
from bench.machine.gpu import gpus as gpus_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.machine.cpus import Watched
    from bench.machine.gpu import Gpu

SWAP_BYTES = 64 << 20
"""Less swap in use are pages from long ago, which nobody misses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What may explain a time. ``None`` is what cannot be read here."""

    allowed: int
    """Processors by affinity."""
    machine_processors: int | None = None
    quota: float | None = None
    """Processors by control group; infinite where it sets no limit."""
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
    load: float
    """Over a minute."""
    runnable: int | None = None
    """Threads that run or could run, this one included."""
    steal: float | None = None
    """Share of the wanted processor time that the hypervisor gave to others, in a short busy window."""
    steal_since_boot: float | None = None
    lost: float | None = None
    """Share of that window in which a busy loop did not run."""
    longest_gap_s: float | None = None
    timer_step_s: float
    timer_call_s: float
    clocksource: str | None = None
    clocksources: tuple[str, ...] = ()
    memory_bytes: int
    free_bytes: int
    """What can be had without swapping, and within the control group's limit."""
    swap_bytes: int
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
    """``None`` where the driver is not there, gives no answer or was not asked."""


def examine() -> Facts:
    """Everything, in about a second."""
    return read_facts(during=spin, gpus=gpus_here())


def read_facts(
    root: Path = Path("/"), *, during: Callable[[], Watched] | None = None, gpus: tuple[Gpu, ...] | None = None
) -> Facts:
    """What Linux says of the machine; fast, unless ``during`` keeps a processor busy.

    Without ``during`` there is no steal in a window and nothing lost.
    """
    cpu = root / "sys/devices/system/cpu"
    before = psutil.cpu_times()
    watched = during() if during else None
    after = psutil.cpu_times()
    is_virtual, hypervisor = virtual.hypervisor(root)
    smt = {"0": False, "1": True}.get(read(cpu / "smt/active") or "")
    step, call = timer()
    boost, boost_switch = processor.boost(cpu)
    runnable = match(r" (\d+)/\d+", read(root / "proc/loadavg"))
    clock = root / "sys/devices/system/clocksource/clocksource0"
    return Facts(
        allowed=len(processors()),
        machine_processors=psutil.cpu_count(),
        quota=limits.quota(root),
        governor=words(cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")),
        driver=words(cpu.glob("cpu[0-9]*/cpufreq/scaling_driver")),
        boost=boost,
        boost_switch=boost_switch,
        smt=None if is_virtual and not smt else smt,  # that two are not one core, a virtual machine cannot know
        virtual=is_virtual,
        hypervisor=hypervisor,
        free_pages_reported=virtual.free_pages_reported(root),
        container=virtual.container(root),
        load=load_average(),
        runnable=int(runnable) if runnable else None,
        steal=steal_share([late - early for early, late in zip(before, after, strict=True)]) if during else None,
        steal_since_boot=steal_share(after),
        lost=watched.lost if watched else None,
        longest_gap_s=watched.longest_gap_s if watched else None,
        timer_step_s=step,
        timer_call_s=call,
        clocksource=words([clock / "current_clocksource"]),
        clocksources=tuple((read(clock / "available_clocksource") or "").split()),
        memory_bytes=psutil.virtual_memory().total,
        free_bytes=limits.available_bytes(root),
        swap_bytes=psutil.swap_memory().used,
        aslr={"0": "off", "1": "partial", "2": "full"}.get(read(root / "proc/sys/kernel/randomize_va_space") or ""),
        huge_pages=match(r"\[(always|madvise|never)\]", read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        celsius=processor.celsius(),
        hot_slowdowns=processor.hot_slowdowns(cpu),
        kernel=match(r"^(\d+\.\d+)", read(root / "proc/sys/kernel/osrelease")),
        nvidia_driver=match(r"Kernel Module.*?\b(\d{3,}\.[\d.]+)", read(root / "proc/driver/nvidia/version")),
        gpus=gpus,
    )


def timer(batches: int = 5, readings: int = 500) -> tuple[float, float]:
    """The smallest step of the clock that samples are read from, and what reading it takes at best: seconds."""
    clock = time.perf_counter_ns
    read = [[clock() for _ in range(readings)] for _ in range(batches)]
    steps = [later - earlier for times in read for earlier, later in pairwise(times) if later > earlier]
    call = min((times[-1] - times[0]) / (readings - 1) for times in read)
    return min(steps, default=0) / 1e9, call / 1e9


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
        "timer": f"{facts.timer_step_s * 1e9:.0f} ns",
        "aslr": facts.aslr or "unknown",
        "huge_pages": facts.huge_pages or "unknown",
        "swap": "in use" if facts.swap_bytes > SWAP_BYTES else "unused",
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
