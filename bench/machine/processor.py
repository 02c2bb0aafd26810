"""What Linux says of the processors: how many, how fast they may run, how hot and how wanted they are."""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine.files import match, members, number, read
from bench.machine.processors import processors


def allowed(root: Path) -> int | None:
    """How many processors the affinity of this process leaves it."""
    listed = members(match(r"^Cpus_allowed_list:\s*(\S+)", read(root / "proc/self/status")))
    if listed is None:
        return len(processors()) if root == Path("/") else None
    online = members(read(root / "sys/devices/system/cpu/online"))  # the list may name what could be plugged in
    return len(listed & online if online else listed)


def machine_processors(root: Path) -> int | None:
    """How many the machine has."""
    online = members(read(root / "sys/devices/system/cpu/online"))
    listed = re.findall(r"^processor\s*:", read(root / "proc/cpuinfo") or "", flags=re.MULTILINE)
    return len(online) if online else len(listed) or None


def features(root: Path = Path("/")) -> frozenset[str]:
    """What its instructions can do, by the names of ``/proc/cpuinfo``, such as ``avx512f``."""
    return frozenset((match(r"^(?:flags|Features)\s*: (.+)$", read(root / "proc/cpuinfo")) or "").split())


def boost(cpu: Path) -> tuple[bool | None, str | None]:
    """Whether the clock may rise above its base, and the command that forbids it."""
    for name, boosting in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1"), ("cpu0/cpufreq/boost", "1")):
        if (value := read(cpu / name)) in ("0", "1"):
            off = "0" if boosting == "1" else "1"
            files = name.replace("cpu0", "cpu*")
            return value == boosting, f"echo {off} |\nsudo tee /sys/devices/system/cpu/{files}"
    return None, None


def smt(cpu: Path, virtual: bool | None) -> bool | None:
    """Whether two processors are one core; that they are not, a virtual machine cannot know."""
    active = {"0": False, "1": True}.get(read(cpu / "smt/active") or "")
    return None if virtual and not active else active


def load(text: str | None) -> tuple[float | None, int | None]:
    """Of ``/proc/loadavg``: the load over a minute, and the threads that run or could run."""
    average, runnable = match(r"^([\d.]+) ", text), match(r" (\d+)/\d+", text)
    return number(average), int(runnable) if runnable else None


def celsius(root: Path) -> float | None:
    """The hottest sensor of the processor."""
    sensors = [
        *(
            sensor
            for name in (root / "sys/class/hwmon").glob("hwmon*/name")
            if read(name) in ("coretemp", "k10temp", "zenpower", "cpu_thermal")
            for sensor in name.parent.glob("temp*_input")
        ),
        *(
            kind.parent / "temp"
            for kind in (root / "sys/class/thermal").glob("thermal_zone*/type")
            if re.search(r"x86_pkg|cpu", read(kind) or "")
        ),
    ]
    readings = [reading / 1000 for sensor in sensors if (reading := number(read(sensor))) is not None]
    return max(readings, default=None)


def hot_slowdowns(cpu: Path) -> int | None:
    """How often the processor lowered its clock for heat since the machine was started."""
    counts = [read(path) for path in cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count and count.isdecimal()) if counts else None
