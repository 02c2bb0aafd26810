"""Facts about this machine that may explain a time: ``python -m bench machine``, and in every published result.

They are read from where Linux has them, under a root that tests replace; what is not there is ``None``. Nothing here
changes a setting. What is wrong with them is in ``bench/faults.py``.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import nvidia_smi
from bench.report import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Smi = Callable[[str], str | None]
    """Answers a query, such as ``--query-gpu=name``, with CSV lines; ``None`` where there is no answer."""

SWAP_BYTES = 64 << 20
"""Less swap in use are pages from long ago, which nobody misses."""

GAP_S = 100e-6
"""A loop that does nothing but read the clock takes a thousandth of that a turn."""

THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
"""Bits of NVML's reasons for a lower clock that change while a program runs; being idle and set clocks are none."""

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
    nvidia_driver: str | None = None
    gpus: tuple[Gpu, ...] | None = None
    """``None`` where ``nvidia-smi`` is not there, gives no answer or was not asked."""
    gpu_processes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well two identical workers agree here: what a short round table of them measured."""

    turns_sd: float
    """Standard deviation, over blocks, of the log ratio of two identical workers that took turns."""
    blocks: int
    contended: int
    """In how many of the blocks the processors were taken away."""
    product_spread: float
    """Relative spread of the times of a fixed NumPy product over the whole measurement."""
    seconds: float
    """How long it took."""


def examine() -> Facts:
    """Everything, in about a second."""
    return read_facts(during=spin, smi=nvidia_smi.query)


def read_facts(root: Path = Path("/"), *, during: Callable[[], Watched] | None = None, smi: Smi | None = None) -> Facts:
    """What Linux says of the machine; fast, unless ``during`` keeps a processor busy or ``smi`` asks the driver.

    Without ``during`` there is no steal in a window and nothing lost; without ``smi`` there are no GPUs.
    """
    cpu = root / "sys/devices/system/cpu"
    before = _read(root / "proc/stat")
    watched = during() if during else None
    after = _read(root / "proc/stat")
    virtual, hypervisor = _hypervisor(root)
    step, call = timer()
    boost, boost_switch = _boost(cpu)
    load, runnable = _load(_read(root / "proc/loadavg"))
    memory = _meminfo(_read(root / "proc/meminfo"))
    clock = root / "sys/devices/system/clocksource/clocksource0"
    driver = _read(root / "proc/driver/nvidia/version") or ""
    return Facts(
        allowed=_allowed(root),
        quota=_quota(root),
        machine_processors=_machine_processors(root),
        governor=_words(cpu.glob("cpu[0-9]*/cpufreq/scaling_governor")),
        driver=_words(cpu.glob("cpu[0-9]*/cpufreq/scaling_driver")),
        boost=boost,
        boost_switch=boost_switch,
        smt=_smt(cpu, virtual),
        virtual=virtual,
        hypervisor=hypervisor,
        container=_container(root),
        load=load,
        runnable=runnable,
        steal=steal_share(before, after) if during else None,
        steal_since_boot=steal_share("cpu 0 0 0 0 0 0 0 0", after),
        lost=watched.lost if watched else None,
        longest_gap_s=watched.longest_gap_s if watched else None,
        timer_step_s=step,
        timer_call_s=call,
        clocksource=_words([clock / "current_clocksource"]),
        clocksources=tuple((_read(clock / "available_clocksource") or "").split()),
        memory_bytes=memory.get("MemTotal"),
        free_bytes=free_bytes(root),
        swap_bytes=memory["SwapTotal"] - memory["SwapFree"] if {"SwapTotal", "SwapFree"} <= memory.keys() else None,
        aslr={"0": "off", "1": "partial", "2": "full"}.get(_read(root / "proc/sys/kernel/randomize_va_space") or ""),
        huge_pages=_match(r"\[(always|madvise|never)\]", _read(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        celsius=_celsius(root),
        hot_slowdowns=_hot_slowdowns(cpu),
        kernel=_match(r"^(\d+\.\d+)", _read(root / "proc/sys/kernel/osrelease")),
        nvidia_driver=_match(r"Kernel Module.*?\b(\d{3,}\.[\d.]+)", driver),
        gpus=read_gpus(smi) if smi else None,
        gpu_processes=_gpu_processes(smi) if smi else None,
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


# What is measured


class Watched(NamedTuple):
    """What a loop that wants one whole processor saw of it."""

    lost: float
    longest_gap_s: float


def spin(seconds: float = 1.0) -> Watched:
    """Keep one processor busy: a machine that sleeps has nothing stolen from it."""
    clock = time.perf_counter
    start = last = clock()
    lost = longest = 0.0
    while last - start < seconds:
        now = clock()
        gap = now - last
        last = now
        if gap > GAP_S:
            lost += gap
            longest = max(longest, gap)
    return Watched(lost / (last - start), longest)


def timer(batches: int = 5, readings: int = 500) -> tuple[float, float]:
    """The smallest step of the clock that samples are read from, and what reading it takes at best: seconds."""
    clock = time.perf_counter_ns
    read = [[clock() for _ in range(readings)] for _ in range(batches)]
    steps = [later - earlier for times in read for earlier, later in pairwise(times) if later > earlier]
    call = min((times[-1] - times[0]) / (readings - 1) for times in read)
    return min(steps, default=0) / 1e9, call / 1e9


def steal_share(before: str | None, after: str | None) -> float | None:
    """Between two readings of ``/proc/stat``: stolen time as a share of the time that programs wanted."""
    earlier, later = (_match(r"^cpu +([\d ]+)", text) for text in (before, after))
    if earlier is None or later is None:
        return None
    spent = [int(end) - int(start) for start, end in zip(earlier.split()[:8], later.split()[:8], strict=False)]
    if len(spent) < 8:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = spent
    wanted = user + nice + system + irq + softirq + steal
    return steal / wanted if wanted > 0 else None


# What is read


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # it may not be looked at, or cannot be a path
        return False


def _match(pattern: str, text: str | None) -> str | None:
    found = re.search(pattern, text or "", flags=re.MULTILINE)
    return found[1] if found else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _words(paths: Iterable[Path]) -> str | None:
    """The different words that the files hold; one that is no plain word is ``other``."""
    words = {_read(path) for path in paths} - {None, ""}
    plain = {word if re.fullmatch(r"[a-z0-9_-]{1,32}", word or "") else "other" for word in words}
    return ", ".join(sorted(filter(None, plain))) or None


def _members(text: str | None) -> set[int] | None:
    """Of a list such as ``0-3,8``."""
    if text is None or not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        return None
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return {member for end in ends for member in range(end[0], end[-1] + 1)}


def _allowed(root: Path) -> int | None:
    allowed = _members(_match(r"^Cpus_allowed_list:\s*(\S+)", _read(root / "proc/self/status")))
    if allowed is None:
        from bench.processors import processors

        return len(processors()) if root == Path("/") else None
    online = _members(_read(root / "sys/devices/system/cpu/online"))  # the list may name what could be plugged in
    return len(allowed & online if online else allowed)


def _machine_processors(root: Path) -> int | None:
    online = _members(_read(root / "sys/devices/system/cpu/online"))
    listed = re.findall(r"^processor\s*:", _read(root / "proc/cpuinfo") or "", flags=re.MULTILINE)
    return len(online) if online else len(listed) or None


def _control_groups(root: Path, controller: str) -> list[Path]:
    """The folders that limit this process, its own and all above it, in either version of control groups.

    In a container the path may be the host's while the folders are the container's: those that do not exist are left
    out, and the topmost always counts.
    """
    mounted = root / "sys/fs/cgroup"
    folders: dict[Path, None] = {}
    for line in (_read(root / "proc/self/cgroup") or f"0::/\n1:{controller}:/").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            bases = [mounted, mounted / "unified"]
        elif controller in controllers.split(","):
            bases = [mounted / controllers, mounted / controller]
        else:
            continue
        names = [name for name in path.split("/") if name]
        depths = range(0 if ".." in names else len(names), -1, -1)
        folders |= {base.joinpath(*names[:depth]): None for base in bases for depth in depths}
    return [folder for folder in folders if _there(folder)]


def _quota(root: Path) -> float | None:
    folders = _control_groups(root, "cpu")
    limits = [math.inf] if folders else []
    for folder in folders:
        share, period = [*(_read(folder / "cpu.max") or "").split(), "", ""][:2]
        if not share:
            share, period = (_read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
        of, per = _number(share), _number(period)
        if of and per and of > 0 and per > 0:
            limits.append(of / per)
    return min(limits, default=None)


def _meminfo(text: str | None) -> dict[str, int]:
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text or "", flags=re.MULTILINE)}


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can be had without swapping, within every control group's limit; files in memory count as free."""
    available = _meminfo(_read(root / "proc/meminfo")).get("MemAvailable")
    free = [] if available is None else [available]
    for folder in _control_groups(root, "memory"):
        limit = _number(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes"))
        used = _number(_read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes"))
        if limit is None or used is None:
            continue
        stat = _read(folder / "memory.stat")
        cache = _match(r"^total_inactive_file (\d+)", stat) or _match(r"^inactive_file (\d+)", stat) or "0"
        free.append(int(limit - used) + int(cache))
    return max(0, min(free)) if free else None


def _boost(cpu: Path) -> tuple[bool | None, str | None]:
    """Whether the clock may rise above its base, and the command that forbids it."""
    for name, boosting in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1"), ("cpu0/cpufreq/boost", "1")):
        if (value := _read(cpu / name)) in ("0", "1"):
            off = "0" if boosting == "1" else "1"
            files = name.replace("cpu0", "cpu*")
            return value == boosting, f"echo {off} |\nsudo tee /sys/devices/system/cpu/{files}"
    return None, None


def _smt(cpu: Path, virtual: bool | None) -> bool | None:
    """Whether two processors are one core; that they are not is nothing that a virtual machine could know."""
    active = {"0": False, "1": True}.get(_read(cpu / "smt/active") or "")
    return None if virtual and not active else active


def _hypervisor(root: Path) -> tuple[bool | None, str | None]:
    """Whether there is one, and which."""
    dmi = [_read(root / "sys/class/dmi/id" / name) or "" for name in ("sys_vendor", "product_name")]
    available = _read(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    traces = [_read(root / "sys/hypervisor/type"), " ".join(dmi), available]
    which = next((name for trace in traces if (name := _name_in(HYPERVISORS, trace))), None)
    flags = _match(r"^flags\s*:(.*)$", _read(root / "proc/cpuinfo"))
    if flags is not None:  # only x86 has them, and there they are right where the vendor's name is not: EC2 metal
        return (True, which) if "hypervisor" in flags.split() else (False, None)
    metal = ".metal" in dmi[1]
    hypervised = (which is not None and not metal) or _there(root / "proc/device-tree/hypervisor")
    return (True, which) if hypervised else (None, None)


def _name_in(names: Mapping[str, str], text: str | None) -> str | None:
    return next((name for name, pattern in names.items() if re.search(pattern, (text or "").lower())), None)


def _container(root: Path) -> str | None:
    """Which kind of container this is; a virtual machine made from a container's image is none."""
    if not _there(root / "proc"):
        return None
    mounts = _read(root / "proc/self/mountinfo")
    ours = re.findall(r"^\d+ \d+ \S+ (\S+) /etc/(?:hosts|hostname|resolv\.conf) ", mounts or "", flags=re.MULTILINE)
    overlay = re.search(r"^\d+ \d+ \S+ \S+ / .* - overlay ", mounts or "", flags=re.MULTILINE)
    first = (_read(root / "proc/1/environ") or "").split("\0")
    traces = [
        _read(root / "proc/self/cgroup"),
        _read(root / "run/systemd/container"),
        *(variable for variable in first if variable.startswith("container=")),
        *ours,
    ]
    if which := next((name for trace in traces if (name := _name_in(CONTAINERS, trace))), None):
        return which
    if mounts is None or ours or overlay:
        for trace, which in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if _there(root / trace):
                return which
    return "unknown kind" if overlay else "none"


def _load(text: str | None) -> tuple[float | None, int | None]:
    load, runnable = _match(r"^([\d.]+) ", text), _match(r" (\d+)/\d+", text)
    return _number(load), int(runnable) if runnable else None


def _celsius(root: Path) -> float | None:
    sensors = [
        *(
            sensor
            for name in (root / "sys/class/hwmon").glob("hwmon*/name")
            if _read(name) in ("coretemp", "k10temp", "zenpower", "cpu_thermal")
            for sensor in name.parent.glob("temp*_input")
        ),
        *(
            kind.parent / "temp"
            for kind in (root / "sys/class/thermal").glob("thermal_zone*/type")
            if re.search(r"x86_pkg|cpu", _read(kind) or "")
        ),
    ]
    readings = [number / 1000 for sensor in sensors if (number := _number(_read(sensor))) is not None]
    return max(readings, default=None)


def _hot_slowdowns(cpu: Path) -> int | None:
    counts = [_read(path) for path in cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count and count.isdecimal()) if counts else None


# What the NVIDIA driver says


def read_gpus(smi: Smi) -> tuple[Gpu, ...] | None:
    """The NVIDIA devices."""
    fields = "name,clocks.sm,clocks.max.sm,clocks_{}_reasons.active,temperature.gpu,utilization.gpu"
    answer = smi("--query-gpu=" + fields.format("event"))
    if answer is None:  # drivers before 535 know the older name only
        answer = smi("--query-gpu=" + fields.format("throttle"))
    if answer is None:
        return None
    return tuple(_gpu([part.strip() for part in line.rsplit(",", 5)]) for line in answer.splitlines() if line.strip())


def _gpu(parts: list[str]) -> Gpu:
    name, clock, most, reasons, celsius, busy = [*parts, *[""] * 6][:6]
    bits = int(reasons, 16) if re.fullmatch(r"0x[0-9a-fA-F]+", reasons) else None
    share = _number(busy)
    return Gpu(
        name=name,
        clock_mhz=_number(clock),
        max_clock_mhz=_number(most),
        throttles=None if bits is None else tuple(word for bit, word in THROTTLES.items() if bits & bit),
        celsius=_number(celsius),
        busy=None if share is None else share / 100,
    )


def _gpu_processes(smi: Smi) -> tuple[int, ...] | None:
    answer = smi("--query-compute-apps=pid")
    return None if answer is None else tuple(int(line) for line in answer.splitlines() if line.strip().isdecimal())
