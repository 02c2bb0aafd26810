"""Facts about this machine that may explain a time: ``python -m bench machine``, and in every published result.

``psutil`` says the common ones; the rest is read from where Linux has it, under a root that tests replace. Nothing here
changes a setting. What is wrong with them is in ``warnings.py``.

Libraries name processors of x86 alone: the numbers of ARM's makers, and other architectures, are looked up here, for a
machine's name decides which results are compared. It must stay the same for the same ``/proc/cpuinfo``.
"""

from __future__ import annotations

import math
import platform
import re
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bench import units
from bench.machine import limits
from bench.machine.cpus import load_average, processors, steal_share
from bench.machine.limits import match, read, there, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
    is_virtual, hypervisor = _hypervisor(root)
    smt = {"0": False, "1": True}.get(read(cpu / "smt/active") or "")
    step, call = timer()
    boost, boost_switch = _boost(cpu)
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
        free_pages_reported=_free_pages_reported(root),
        container=_container(root),
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
        celsius=_celsius(),
        hot_slowdowns=_hot_slowdowns(cpu),
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


HYPERVISORS = {
    "KVM": r"kvm|qemu|bochs|ovirt|rhev|openstack|digitalocean|linode|hetzner|vultr",
    "EC2": r"amazon ec2",
    "Google Compute Engine": r"google",
    "Hyper-V": r"microsoft corporation virtual machine|hyperv",
    "VMware": r"vmware",
    "VirtualBox": r"virtualbox|innotek",
    "Xen": r"\bxen\b|hvm domu",
    "Parallels": r"parallels",
    "Apple": r"apple virtualization",
    "bhyve": r"bhyve",
}
"""Only these names are ever shown: what a vendor writes into a machine may say whose it is."""

CONTAINERS = {
    "kubernetes": r"kubepods|kubelet",
    "docker": r"docker",
    "podman": r"podman|libpod",
    "lxc": r"\blxc\b",
    "nspawn": r"systemd-nspawn",
    "containerd": r"containerd|cri-",
}


def _hypervisor(root: Path) -> tuple[bool | None, str | None]:
    """Whether there is one, and which."""
    dmi = [read(root / "sys/class/dmi/id" / name) or "" for name in ("sys_vendor", "product_name")]
    available = read(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    which = _first_named(HYPERVISORS, [read(root / "sys/hypervisor/type"), " ".join(dmi), available])
    flags = match(r"^flags\s*:(.*)$", read(root / "proc/cpuinfo"))
    if flags is not None:  # only x86 has them, and there they are right where the vendor's name is not: EC2 metal
        return (True, which) if "hypervisor" in flags.split() else (False, None)
    metal = ".metal" in dmi[1]
    hypervised = (which is not None and not metal) or there(root / "proc/device-tree/hypervisor")
    return (True, which) if hypervised else (None, None)


def _free_pages_reported(root: Path) -> bool | None:
    """Whether the host takes free memory away: bit 5 of virtio's balloon (Virtual I/O Device 1.2, section 5.5.3)."""
    balloons = (root / "sys/bus/virtio/drivers/virtio_balloon").glob("virtio*/features")
    reported = [bit for path in balloons if (bit := match(r"^[01]{5}([01])", read(path)))]
    return "1" in reported if reported else None


def _container(root: Path) -> str | None:
    """Which kind of container this is; a virtual machine made from a container's image is none."""
    if not there(root / "proc"):
        return None
    mounts = read(root / "proc/self/mountinfo")
    ours = re.findall(r"^\d+ \d+ \S+ (\S+) /etc/(?:hosts|hostname|resolv\.conf) ", mounts or "", flags=re.MULTILINE)
    overlay = re.search(r"^\d+ \d+ \S+ \S+ / .* - overlay ", mounts or "", flags=re.MULTILINE)
    first = match(r"(?:^|\0)(container=[^\0]*)", read(root / "proc/1/environ"))
    groups = read(root / "proc/self/cgroup")
    if which := _first_named(CONTAINERS, [groups, read(root / "run/systemd/container"), first, *ours]):
        return which
    if mounts is None or ours or overlay:
        for trace, which in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if there(root / trace):
                return which
    return "unknown kind" if overlay else "none"


def _first_named(names: Mapping[str, str], traces: Iterable[str | None]) -> str | None:
    """The name whose pattern is in the first trace that has any."""
    found = (name for trace in traces for name, pattern in names.items() if re.search(pattern, (trace or "").lower()))
    return next(found, None)


ARM = """
0x41 ARM: 0xd03 Cortex-A53, 0xd05 Cortex-A55, 0xd07 Cortex-A57, 0xd08 Cortex-A72, 0xd09 Cortex-A73, \
0xd0a Cortex-A75, 0xd0b Cortex-A76, 0xd0c Neoverse-N1, 0xd0d Cortex-A77, 0xd40 Neoverse-V1, 0xd41 Cortex-A78, \
0xd42 Cortex-A78AE, 0xd44 Cortex-X1, 0xd49 Neoverse-N2, 0xd4f Neoverse-V2, 0xd80 Cortex-A520, 0xd81 Cortex-A720, \
0xd84 Neoverse-V3, 0xd8e Neoverse-N3
0x42 Broadcom:
0x43 Cavium: 0x0af ThunderX2
0x46 Fujitsu: 0x001 A64FX
0x48 HiSilicon: 0xd01 TSV110
0x4e NVIDIA: 0x004 Carmel
0x50 APM:
0x51 Qualcomm: 0x001 Oryon X1
0x61 Apple: 0x022 M1 Icestorm, 0x023 M1 Firestorm, 0x024 M1 Pro Icestorm, 0x025 M1 Pro Firestorm, \
0x028 M1 Max Icestorm, 0x029 M1 Max Firestorm, 0x032 M2 Blizzard, 0x033 M2 Avalanche, 0x034 M2 Pro Blizzard, \
0x035 M2 Pro Avalanche, 0x038 M2 Max Blizzard, 0x039 M2 Max Avalanche
0x6d Microsoft: 0xd49 Azure Cobalt 100
0xc0 Ampere: 0xac3 AmpereOne, 0xac4 AmpereOne A
"""
"""Implementers and their common parts: ``arch/arm64/include/asm/cputype.h`` of Linux has these numbers."""


def features(root: Path = Path("/")) -> frozenset[str]:
    """What its instructions can do, by the names of ``/proc/cpuinfo``, such as ``avx512f``."""
    return frozenset((match(r"^(?:flags|Features)\s*: (.+)$", read(root / "proc/cpuinfo")) or "").split())


def _boost(cpu: Path) -> tuple[bool | None, str | None]:
    """Whether the clock may rise above its base, and the command that forbids it."""
    for name, boosting in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1"), ("cpu0/cpufreq/boost", "1")):
        if (value := read(cpu / name)) in ("0", "1"):
            off = "0" if boosting == "1" else "1"
            files = name.replace("cpu0", "cpu*")
            return value == boosting, f"echo {off} |\nsudo tee /sys/devices/system/cpu/{files}"
    return None, None


def _celsius() -> float | None:
    """The hottest sensor of the processor."""
    sensors = psutil.sensors_temperatures()
    found = (sensors[kind] for kind in sensors if re.search("cpu|coretemp|k10temp|zenpower|x86_pkg", kind))
    return max((sensor.current for some in found for sensor in some), default=None)


def _hot_slowdowns(cpu: Path) -> int | None:
    """How often the processor lowered its clock for heat since the machine was started."""
    counts = [read(path) for path in cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count and count.isdecimal()) if counts else None


def cpu_name(root: Path = Path("/")) -> str:
    """The processor's name, and the board's where that has one; all kinds of core where there are several."""
    text = read(root / "proc/cpuinfo")
    if text is None:
        return platform.processor() or platform.machine()
    board = (read(root / "sys/firmware/devicetree/base/model") or "").rstrip("\0")
    named = re.fullmatch(r"(?=.* )[A-Za-z0-9 .,()+/-]{1,60}", board)  # no ``linux,dummy-virt``, as of a virtual machine
    return ", ".join([name_in(text), *([board] if named else [])])


def name_in(cpuinfo: str) -> str:
    """The name that follows from the text of ``/proc/cpuinfo``; the architecture's where nothing does. Pure."""
    words = (
        _of_arm(cpuinfo)
        or match(r"^(?:cpu model|Model Name)\s*: (.+)$", cpuinfo)  # MIPS, LoongArch
        or _of_x86(cpuinfo)
        or match(r"^cpu\s*: ([^,(]+)", cpuinfo)  # POWER
        or _of_riscv(cpuinfo)
        or _of_s390(cpuinfo)
        or platform.machine()
    )
    return words.strip()


def _of_arm(cpuinfo: str) -> str | None:
    """Where there is a model name as well, it is ``ARMv7 Processor rev 4 (v7l)`` for all."""
    makers, variants, parts = (
        [int(number, 16) for number in re.findall(rf"^CPU {what}\s*: 0x([0-9a-f]+)$", cpuinfo, flags=re.MULTILINE)]
        for what in ("implementer", "variant", "part")
    )
    return " + ".join(_core(*kind) for kind in sorted(set(zip(makers, parts, variants, strict=False)))) or None


def _core(maker: int, part: int, variant: int) -> str:
    maker_name, _, parts = (match(rf"^{maker:#04x} (.+)$", ARM) or f"implementer {maker:#04x}:").partition(":")
    return f"{maker_name} {match(rf' {part:#05x} ([^,]+)', parts) or f'part {part:#05x}'} (variant {variant})"


def _of_x86(cpuinfo: str) -> str | None:
    facts = dict(re.findall(r"^([a-z ]+?)\s*: (.+)$", cpuinfo.partition("\n\n")[0], flags=re.MULTILINE))
    if not {"model name", "cpu family"} & facts.keys():
        return None
    name = re.sub(r"\((R|TM)\)|\bCPU\b|@.*|\s+Processor$", "", facts.get("model name", platform.machine())).strip()
    # a virtual machine's name is often no more than the maker's
    numbers = [f"{word} {facts[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in facts]
    return f"{name} ({' '.join(numbers)})" if numbers else name


def _of_riscv(cpuinfo: str) -> str | None:
    kinds = sorted(set(re.findall(r"^uarch\s*: (.+)$", cpuinfo, flags=re.MULTILINE)))
    vendor, architecture = (match(rf"^{what}\s*: (\S+)$", cpuinfo) for what in ("mvendorid", "marchid"))
    numbers = f"{platform.machine()} (vendor {vendor} architecture {architecture})" if vendor and architecture else None
    return " + ".join(kinds) or numbers


def _of_s390(cpuinfo: str) -> str | None:
    vendor, machine = match(r"^vendor_id\s*: (.+)$", cpuinfo), match(r"^processor \d+: .*machine = (\w+)$", cpuinfo)
    return f"{vendor} machine {machine}" if vendor and machine else None
