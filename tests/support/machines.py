"""Machines that are made of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from bench.machine.facts import Facts
from bench.machine.gpu import Gpu
from bench.machine.warnings import warnings_of

Files: TypeAlias = Mapping[str, str | None]
"""Path under the root to content; ``None`` takes a file away."""


CPU = "sys/devices/system/cpu"


CLOCK = "sys/devices/system/clocksource/clocksource0"


QUIET_METAL: Files = {
    "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
    "proc/self/mountinfo": "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n",
    "proc/cpuinfo": "".join(f"processor\t: {i}\nflags\t\t: fpu vme sse2 avx2 fma\n\n" for i in range(8)),
    "proc/loadavg": "0.21 0.18 0.16 1/412 9321\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "proc/sys/kernel/osrelease": "6.8.0-45-acme-build\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 1\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "20XWCTO1WW of Jane Roe\n",
    f"{CPU}/smt/active": "0\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu7/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "0\n",
    f"{CPU}/intel_pstate/no_turbo": "1\n",
    f"{CLOCK}/current_clocksource": "tsc\n",
    f"{CLOCK}/available_clocksource": "tsc hpet acpi_pm \n",
}


LAPTOP: Files = {
    f"{CPU}/smt/active": "1\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu7/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
}


DOCKER: Files = {
    ".dockerenv": "",
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": (
        "612 500 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/a\n"
        "620 612 259:2 /var/lib/docker/containers/0f3c/hosts /etc/hosts rw,relatime - ext4 /dev/nvme0n1p2 rw\n"
    ),
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": "8589934592\n",
    "sys/fs/cgroup/memory.current": "6442450944\n",
    "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 4294967296\n",
}


OLD_GROUPS: Files = {
    "proc/self/cgroup": "5:memory:/batch/job7\n3:cpu,cpuacct:/batch/job7\n1:name=systemd:/\n0::/\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_quota_us": "200000\n",
    "sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/batch/job7/cpu.cfs_quota_us": "600000\n",
    "sys/fs/cgroup/cpu,cpuacct/batch/job7/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/batch/job7/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/memory/batch/job7/memory.usage_in_bytes": "1073741824\n",
    "sys/fs/cgroup/memory/batch/memory.limit_in_bytes": "4294967296\n",
    "sys/fs/cgroup/memory/batch/memory.usage_in_bytes": "3221225472\n",
}


VIRTUAL: Files = {
    "proc/cpuinfo": "processor\t: 0\nflags\t: fpu sse2 hypervisor avx2\n\nprocessor\t: 1\nflags\t: fpu hypervisor\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": None,
    f"{CPU}/cpu7/cpufreq/scaling_governor": None,
    f"{CPU}/cpu0/cpufreq/scaling_driver": None,
    f"{CPU}/intel_pstate/no_turbo": None,
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
}


H100 = Gpu(name="NVIDIA H100 80GB HBM3", clock_mhz=1980, max_clock_mhz=1980, throttles=(), celsius=31, busy=0)


STOLEN = (8000, 0, 1000, 50000, 0, 0, 0, 1000, 0, 0)
"""Ticks since boot: user, nice, system, idle, iowait, irq, softirq, steal, and two for guests."""


def write(root: Path, *layers: Files) -> Path:
    for path, text in {path: text for files in layers for path, text in files.items()}.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    return root


def names(facts: Facts) -> set[str]:
    return {warning.name for warning in warnings_of(facts)}
