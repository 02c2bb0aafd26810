"""Facts of invented machines, the warnings that follow from them, and what is said of this one."""

from __future__ import annotations

import getpass
import math
import platform
import resource
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest
from rich.console import Console
from support.processes import ask, bench

from bench.analysis.verdict import detectable
from bench.machine import describe
from bench.machine.cpus import Watched, spin, steal_share
from bench.machine.facts import Facts, cpu_name, facts_for_record, name_in, read_facts, timer
from bench.machine.gpu import Gpu
from bench.machine.limits import available_to_a_process, process_limit, too_low
from bench.machine.warnings import NOT_FROM_INSIDE, limiting, warnings_of
from bench.measure.worker_environment import blas_of_workers
from bench.report.machine_text import Accuracy, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Files = Mapping[str, str | None]
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


@pytest.fixture(autouse=True)
def psutil_says(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    """What ``psutil`` says of every invented machine; tests change it."""
    said: dict[str, object] = {
        "cpu_count": 8,
        "cpu_times": (1000, 0, 200, 90000, 10, 0, 5, 0, 0, 0),
        "virtual_memory": SimpleNamespace(total=32 << 30, available=24 << 30),
        "swap_memory": SimpleNamespace(used=0),
        "sensors_temperatures": {
            "k10temp": [SimpleNamespace(current=50.0), SimpleNamespace(current=51.25)],
            "nvme": [SimpleNamespace(current=70.0)],
        },
    }
    for name in said:
        monkeypatch.setattr(psutil, name, lambda name=name: said[name])
    monkeypatch.setattr("bench.machine.facts.processors", lambda: [*range(8)])
    monkeypatch.setattr("bench.machine.facts.load_average", lambda: 0.21)
    return said


def write(root: Path, *layers: Files) -> Path:
    for path, text in {path: text for files in layers for path, text in files.items()}.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def quiet(tmp_path: Path) -> Facts:
    """A machine that nothing disturbs."""
    facts = read_facts(write(tmp_path, QUIET_METAL), during=lambda: Watched(0.001, 2e-4), gpus=(H100,))
    return replace(facts, timer_step_s=30e-9, timer_call_s=45e-9)


def names(facts: Facts) -> set[str]:
    return {warning.name for warning in warnings_of(facts)}


def test_a_quiet_machine(quiet: Facts) -> None:
    assert quiet == Facts(
        allowed=8,
        quota=math.inf,
        machine_processors=8,
        governor="performance",
        driver="intel_pstate",
        boost=False,
        boost_switch=quiet.boost_switch,
        smt=False,
        virtual=False,
        container="none",
        load=0.21,
        runnable=1,
        steal_since_boot=0.0,
        lost=0.001,
        longest_gap_s=2e-4,
        timer_step_s=30e-9,
        timer_call_s=45e-9,
        clocksource="tsc",
        clocksources=("tsc", "hpet", "acpi_pm"),
        memory_bytes=32 << 30,
        free_bytes=24 << 30,
        swap_bytes=0,
        aslr="full",
        huge_pages="madvise",
        celsius=51.25,
        hot_slowdowns=0,
        kernel="6.8",
        gpus=(H100,),
    )
    assert warnings_of(quiet) == []


def test_a_laptop(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, QUIET_METAL, LAPTOP))
    assert (facts.governor, facts.boost, facts.smt, facts.virtual) == ("powersave", True, True, False)
    assert {"governor", "boost", "smt"} <= names(facts)
    commands = {warning.name: warning.command for warning in warnings_of(facts)}
    assert commands["boost"] == "echo 1 |\nsudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"


def test_the_other_switch_of_boost(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, {f"{CPU}/cpufreq/boost": "1\n"}))
    assert facts.boost
    assert facts.boost_switch == "echo 0 |\nsudo tee /sys/devices/system/cpu/cpufreq/boost"
    assert read_facts(write(tmp_path, {f"{CPU}/cpufreq/boost": "0\n"})).boost is False


def test_a_container_of_one_processor_and_a_half(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, QUIET_METAL, DOCKER))
    assert (facts.allowed, facts.quota, facts.container) == (8, 1.5, "docker")
    assert facts.free_bytes == 6 << 30, "files that could be dropped are free"
    assert {"quota"} <= names(facts)
    [warning] = [warning for warning in warnings_of(facts) if warning.name == "quota"]
    assert "1.5 processors of the 8" in warning.what and "--threads 1," in warning.fix


def test_what_limits_a_run_is_said_with_what_it_means(tmp_path: Path, quiet: Facts) -> None:
    assert list(limiting(quiet, [1, 8])) == []
    docker = read_facts(write(tmp_path, QUIET_METAL, DOCKER))
    assert facts_for_record(docker)["quota"] == "1.5"
    [enough] = limiting(docker, [1])
    assert enough.startswith("the control group grants 1.5 processors of the 8 that may be used. When")
    assert "trust" not in enough
    [short] = limiting(docker, [1, 3])
    assert short.startswith(enough)
    assert (
        "less than 3 threads can use: calls of tens of milliseconds are stopped each time and look up to 2.0" in short
    )
    [half] = limiting(replace(quiet, quota=0.5), [1])
    assert "less than 1 thread can use" in half and "\n" not in half
    [memory] = limiting(replace(quiet, free_bytes=3 << 30, governor="powersave", boost=True), [1])
    assert memory.startswith("only 3.0 GiB of memory are free. ")


@pytest.mark.parametrize(
    ("files", "space", "words"),
    [
        (1024, resource.RLIM_INFINITY, None),
        (32, 1073741824, None),
        (31, resource.RLIM_INFINITY, "a process may have 31 files open here (ulimit -n), and 32 are needed"),
        (1024, 536870912, "a process may have 0.5 GiB of address space here (ulimit -v), and 1 GiB are needed"),
    ],
)
def test_limits_that_nothing_can_be_done_under(
    files: int, space: int, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft = {resource.RLIMIT_NOFILE: files, resource.RLIMIT_AS: space, resource.RLIMIT_DATA: 4096}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft.get(kind, resource.RLIM_INFINITY), 2**33))
    assert too_low() == words
    assert process_limit(resource.RLIMIT_CPU) is None
    assert process_limit(resource.RLIMIT_DATA) == 4096 == available_to_a_process()


def test_control_groups_of_the_first_version_all_the_way_up(tmp_path: Path) -> None:
    facts = read_facts(write(tmp_path, QUIET_METAL, OLD_GROUPS))
    assert facts.quota == 2, "the parent's is the smaller one"
    assert facts.free_bytes == 1 << 30
    assert {"quota", "memory"} <= names(facts)


def test_a_path_of_the_host_in_a_container(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/docker/0f3c\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    facts = read_facts(write(tmp_path, QUIET_METAL, files))
    assert (facts.quota, facts.container) == (0.5, "docker")
    [warning] = [warning for warning in warnings_of(facts) if warning.name == "quota"]
    assert warning.severity == "high" and "--threads" not in warning.fix


def test_a_virtual_machine_that_is_stolen_from(tmp_path: Path, psutil_says: dict[str, object]) -> None:
    psutil_says["cpu_times"] = STOLEN
    facts = read_facts(write(tmp_path, QUIET_METAL, VIRTUAL))
    assert (facts.virtual, facts.hypervisor) == (True, "KVM")
    assert (facts.governor, facts.boost, facts.smt) == (None, None, None), "they are the host's"
    assert facts.steal is None and facts.steal_since_boot == 0.1
    assert {"virtual", "steal"} <= names(facts)
    assert all(NOT_FROM_INSIDE in warning.fix for warning in warnings_of(facts) if warning.name in ("virtual", "steal"))


@pytest.mark.parametrize(("features", "reported"), [("011001" + "0" * 58, True), ("0" * 64, False)])
def test_a_balloon_may_report_free_pages(tmp_path: Path, features: str, reported: bool) -> None:
    balloon = {"sys/bus/virtio/drivers/virtio_balloon/virtio3/features": features + "\n"}
    assert read_facts(write(tmp_path, VIRTUAL, balloon)).free_pages_reported is reported
    assert read_facts(write(tmp_path / "none", VIRTUAL)).free_pages_reported is None


def test_steal_is_read_before_and_after(tmp_path: Path, psutil_says: dict[str, object]) -> None:
    psutil_says["cpu_times"] = STOLEN

    def during() -> Watched:
        psutil_says["cpu_times"] = (8090, 0, 1000, 50100, 0, 0, 0, 1010, 0, 0)
        return Watched(0.1, 0.02)

    facts = read_facts(write(tmp_path, VIRTUAL), during=during)
    assert facts.steal == pytest.approx(0.1)
    assert (facts.lost, facts.longest_gap_s) == (0.1, 0.02)
    assert [warning.severity for warning in warnings_of(facts) if warning.name == "steal"] == ["high"]


def test_steal_is_a_share_of_what_was_wanted() -> None:
    assert steal_share([50, 0, 40, 9000, 900, 5, 4, 1, 30, 0]) == 0.01
    assert steal_share([0, 0, 0, 100, 0, 0, 0, 0]) is None, "nothing was wanted"


@pytest.mark.parametrize(
    ("files", "which"),
    [
        ({"sys/hypervisor/type": "xen\n"}, "Xen"),
        ({f"{CLOCK}/available_clocksource": "tsc kvm-clock acpi_pm"}, "KVM"),
        ({f"{CLOCK}/available_clocksource": "hyperv_clocksource_tsc_page acpi_pm"}, "Hyper-V"),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "c7i.large"}, "EC2"),
        ({"sys/class/dmi/id/sys_vendor": "Roe's own"}, None),
    ],
)
def test_hypervisors(tmp_path: Path, files: Files, which: str | None) -> None:
    flags = {"proc/cpuinfo": "flags : fpu hypervisor"}
    facts = read_facts(write(tmp_path, flags, files))
    assert (facts.virtual, facts.hypervisor) == (True, which)
    assert "virtual" in names(facts)


def test_metal_that_is_rented_is_metal(tmp_path: Path) -> None:
    rented = {"sys/class/dmi/id/sys_vendor": "Amazon EC2", "sys/class/dmi/id/product_name": "c7g.metal"}
    assert read_facts(write(tmp_path, rented, {"proc/cpuinfo": "flags : fpu"})).virtual is False
    assert read_facts(write(tmp_path, rented, {"proc/cpuinfo": "Features : fp asimd"})).virtual is None
    other = write(tmp_path, {"sys/class/dmi/id/product_name": "c7g.large", "proc/cpuinfo": "Features : fp asimd"})
    assert read_facts(other).virtual is True


@pytest.mark.parametrize(
    ("files", "which"),
    [
        ({"proc/self/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope"}, "kubernetes"),
        ({"proc/1/environ": "PATH=/docker\0container=lxc\0"}, "lxc"),
        ({"proc/1/environ": "PATH=/docker\0"}, "none"),
        ({"run/systemd/container": "systemd-nspawn"}, "nspawn"),
        ({"run/.containerenv": "", "proc/self/mountinfo": "6 5 0:6 / / rw - overlay overlay rw\n"}, "podman"),
        ({"proc/self/mountinfo": "6 5 0:6 / / rw - overlay overlay rw\n"}, "unknown kind"),
        ({"proc/self/mountinfo": "6 5 0:6 / /var/lib/docker/overlay2/1 rw - overlay overlay rw\n"}, "none"),
        ({".dockerenv": "", "proc/self/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n"}, "none"),
        ({".dockerenv": ""}, "docker"),
    ],
)
def test_containers(tmp_path: Path, files: Files, which: str) -> None:
    (tmp_path / "proc").mkdir()
    assert read_facts(write(tmp_path, files)).container == which


CHANGES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "governor": ({"governor": "performance, schedutil"}, {"governor": None}),
    "boost": ({"boost": True}, {"boost": None}),
    "smt": ({"smt": True}, {"smt": None}),
    "quota": ({"quota": 7.5}, {"quota": 8.0}),
    "load": ({"load": 2.1}, {"load": 2.0}),
    "steal": ({"steal": 0.011}, {"steal": 0.01}),
    "lost": ({"lost": 0.06}, {"lost": 0.05}),
    "virtual": ({"virtual": True}, {"virtual": None}),
    "free_pages": ({"free_pages_reported": True}, {"free_pages_reported": False}),
    "swap": ({"swap_bytes": 1 << 30}, {"swap_bytes": 1 << 20}),
    "memory": ({"free_bytes": 3 << 30}, {"free_bytes": 4 << 30}),
    "timer": ({"timer_step_s": 4e-3, "clocksource": "jiffies"}, {"timer_step_s": 1e-6}),
    "heat": ({"hot_slowdowns": 3}, {"hot_slowdowns": None}),
    "gpu_shared": (
        {"gpus": (Gpu(name="H100", pids=frozenset({4711})),)},
        {"gpus": (Gpu(name="H100", pids=frozenset()),)},
    ),
    "gpu_throttled": (
        {"gpus": (Gpu(name="H100", clock_mhz=1200, throttles=("power cap",)),)},
        {"gpus": (Gpu(name="H100", clock_mhz=1200),)},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_warning_by_itself(quiet: Facts, name: str) -> None:
    wrong, right = CHANGES[name]
    [warning] = warnings_of(replace(quiet, **wrong))
    assert warning.name == name
    assert all([warning.what, warning.why, warning.fix])
    assert warnings_of(replace(quiet, **right)) == []


def test_a_busy_gpu_whose_processes_cannot_be_seen(quiet: Facts) -> None:
    [warning] = warnings_of(replace(quiet, gpus=(Gpu(name="H100", busy=0.4),)))
    assert warning.name == "gpu_shared" and warning.fix == NOT_FROM_INSIDE


def test_slow_reading_of_the_timer_is_coarse_too(quiet: Facts) -> None:
    [warning] = warnings_of(replace(quiet, timer_call_s=2e-6, clocksource="hpet"))
    assert warning.command and warning.command.startswith("echo tsc |")
    [warning] = warnings_of(replace(quiet, timer_call_s=2e-6, clocksource="hpet", clocksources=("hpet", "acpi_pm")))
    assert warning.command is None and warning.fix == NOT_FROM_INSIDE


def test_the_quota_counts_for_the_load_as_well(quiet: Facts) -> None:
    assert names(replace(quiet, quota=1.5, load=0.5)) == {"quota", "load"}
    assert names(replace(quiet, quota=1.5, load=0.3)) == {"quota"}


def test_the_worst_comes_first(quiet: Facts) -> None:
    several = replace(quiet, hot_slowdowns=1, boost=True, governor="powersave")
    assert [warning.severity for warning in warnings_of(several)] == ["high", "medium", "low"]


def test_nothing_to_read(tmp_path: Path) -> None:
    facts = read_facts(tmp_path, during=lambda: Watched(0.0, 0.0))
    assert facts == Facts(
        allowed=8,
        machine_processors=8,
        load=0.21,
        memory_bytes=32 << 30,
        free_bytes=24 << 30,
        swap_bytes=0,
        celsius=51.25,
        steal_since_boot=0.0,
        timer_step_s=facts.timer_step_s,
        timer_call_s=facts.timer_call_s,
        lost=0.0,
        longest_gap_s=0.0,
    )
    assert names(facts) <= {"timer"}
    known = ("timer", "swap", "steal_since_boot")
    assert {value for name, value in facts_for_record(facts).items() if name not in known} == {"unknown", "none"}


def test_where_no_sensor_and_no_count_is(tmp_path: Path, psutil_says: dict[str, object]) -> None:
    psutil_says |= {"sensors_temperatures": {}, "cpu_times": (0,) * 10, "cpu_count": None}
    facts = read_facts(tmp_path)
    assert (facts.celsius, facts.steal_since_boot, facts.machine_processors) == (None, None, None)


@pytest.mark.parametrize(
    "rubbish", ["", "\n", "x", "max", "nan inf", "-1", "0-", "1:2", "9" * 500, "é\0\x1b[31m:::", "cpu  x"]
)
def test_rubbish_everywhere(tmp_path: Path, rubbish: str) -> None:
    everything = {path: rubbish for files in (QUIET_METAL, DOCKER, OLD_GROUPS) for path in files}
    if rubbish:
        everything["proc/self/cgroup"] = f"0::/{rubbish}"
    facts = read_facts(write(tmp_path, everything))
    record = facts_for_record(facts)
    assert all(value.isprintable() for value in record.values())
    assert list(render(facts, warnings_of(facts), None))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build  (me@host)", "570.86.10"),
    ],
)
def test_the_driver(tmp_path: Path, text: str, version: str) -> None:
    assert read_facts(write(tmp_path, {"proc/driver/nvidia/version": text})).nvidia_driver == version


def test_the_record_says_nothing_of_the_owner(tmp_path: Path) -> None:
    named = {
        f"{CPU}/cpu0/cpufreq/scaling_driver": "driver of Jane Roe\n",
        f"{CPU}/cpu7/cpufreq/scaling_driver": "/home/jane/driver\n",
        "sys/class/dmi/id/sys_vendor": "Acme QEMU\n",
        "proc/cpuinfo": "flags : hypervisor",
    }
    record = facts_for_record(read_facts(write(tmp_path, QUIET_METAL, DOCKER, named)))
    assert record == {
        "governor": "performance",
        "driver": "other",
        "boost": "off",
        "smt": "unknown",
        "hypervisor": "KVM",
        "container": "docker",
        "quota": "1.5",
        "clocksource": "tsc",
        "timer": record["timer"],
        "aslr": "full",
        "huge_pages": "madvise",
        "swap": "unused",
        "steal_since_boot": "0.0 %",
        "kernel": "6.8",
        "nvidia_driver": "none",
    }


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # nothing is invented here
    record = facts_for_record(read_facts())
    started = time.perf_counter()
    assert facts_for_record(read_facts()).keys() == record.keys()
    assert time.perf_counter() - started < 1  # 0.02 s where nobody else is at work
    text = " ".join(record.values()).lower()
    owner = {platform.node(), getpass.getuser()} - {"", "root"}
    assert not [word for word in owner if word.lower() in text.split()]
    assert all(len(value) < 60 and "/" not in value for value in record.values())


def test_the_real_timer_and_the_real_loop() -> None:
    step, call = timer()
    assert 0 < step < 0.1 and 0 < call < 0.1
    started = time.perf_counter()
    watched = spin(0.05)
    assert time.perf_counter() - started >= 0.05
    assert watched.longest_gap_s >= 0 and 0 <= watched.lost <= 1


def printed(facts: Facts, accuracy: Accuracy | None = None) -> str:
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        console.print(*render(facts, warnings_of(facts), accuracy), sep="\n")
    return capture.get()


def test_accuracy_in_words(quiet: Facts) -> None:
    text = " ".join(printed(quiet, Accuracy(0.006, 8, 1, 0.14, 41.0)).split())
    assert "two identical workers taking turns differ by 0.60 % from block to block here" in text.lower()
    few, many = (100 * detectable(0.006, blocks) for blocks in (6, 12))
    assert many < few
    assert f"6 blocks find a difference of {few:.1f} %, 12 blocks one of {many:.1f} %" in text
    assert "in 41 s over 8 blocks, 1 contended" in text and "roughly" not in text
    assert "spread by 14 %" in text
    assert "roughly" in printed(quiet, Accuracy(0.006, 3, 0, 0.14, 12.0))
    assert "too few" in printed(quiet, Accuracy(math.nan, 1, 0, 0.14, 12.0))
    assert "Not measured" in printed(quiet)


def test_it_fits_80_columns_and_commands_stay_whole(quiet: Facts) -> None:
    everything: dict[str, object] = {}
    for wrong, _ in CHANGES.values():
        everything |= wrong
    facts = replace(quiet, **everything, boost_switch="echo 1 |\nsudo tee /x", clocksources=("tsc",))
    text = printed(facts, Accuracy(0.006, 8, 1, 0.14, 41.0))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line != line.rstrip()]
    for warning in warnings_of(facts):
        for line in (warning.command or "").splitlines():
            assert f"    {line}" in lines
    assert "No warnings" in printed(quiet)


def test_the_command_says_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("bench.cli.machine.measure_accuracy", lambda: Accuracy(0.006, 8, 1, 0.14, 41.0))
    done = ask("machine")
    assert done.returncode == 0 and done.stdout.startswith("This machine\n  processors ")
    assert "differ by 0.60 % from block to block here" in " ".join(done.stdout.split())
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.thorough
def test_the_command() -> None:
    done = bench("machine", env={"OPENBLAS_CORETYPE": "Prescott"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This machine\n  processors ")
    assert f"\n  numpy        {blas_of_workers()}\n" in done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stdout and max(map(len, done.stdout.splitlines())) <= 80
    assert "python -m bench machine" in bench("machine", "--help").stdout


def x86(name: str, family: int, model: int) -> str:
    return (
        f"processor\t: 0\nvendor_id\t: AnyMaker\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\n"
        "stepping\t: 1\ncpu MHz\t\t: 2600.000\nflags\t\t: fpu vme\n\nprocessor\t: 1\nmodel name\t: Another\n"
    )


def arm(*cores: tuple[int, int, int], name: str = "") -> str:
    """Implementer, part and variant of each processor."""
    return "".join(
        f"processor\t: {number}\n{name}BogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: {maker:#04x}\n"
        f"CPU architecture: 8\nCPU variant\t: {variant:#x}\nCPU part\t: {part:#05x}\nCPU revision\t: 1\n\n"
        for number, (maker, part, variant) in enumerate(cores)
    )


POWER = """processor\t: 0
cpu\t\t: POWER9 (architected), altivec supported
clock\t\t: 3800.000000MHz
revision\t: 2.2 (pvr 004e 1202)

timebase\t: 512000000
platform\t: pSeries
model\t\t: IBM,9009-22A
"""
MAINFRAME = """vendor_id       : IBM/S390
# processors    : 2
bogomips per cpu: 21881.00
features\t: esan3 zarch stfle msa ldisp eimm dfp
cache0          : level=1 type=Data scope=Private size=128K line_size=256 associativity=8
processor 0: version = FF,  identification = 233EF7,  machine = 3906
processor 1: version = FF,  identification = 233EF7,  machine = 3906
"""
RISCV = (
    "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\nuarch\t\t: sifive,u74-mc\nmvendorid\t: 0x489\n"
)
LOONG = (
    "system type\t\t: generic\n\nprocessor\t\t: 0\nCPU Family\t\t: Loongson-64bit\nModel Name\t\t: Loongson-3A5000\n"
)

NAMES = [
    # published results have these: they must not change
    (x86("AMD EPYC", 26, 2), "AMD EPYC (family 26 model 2)"),
    (x86("AMD EPYC Processor", 25, 1), "AMD EPYC (family 25 model 1)"),
    (x86("AMD EPYC 7763 64-Core Processor", 25, 1), "AMD EPYC 7763 64-Core (family 25 model 1)"),
    (x86("Intel(R) Core(TM) i7-10750H CPU @ 2.60GHz", 6, 165), "Intel Core i7-10750H (family 6 model 165)"),
    (x86("Intel(R) Xeon(R) Processor", 6, 167), "Intel Xeon (family 6 model 167)"),
    ("processor\t: 0\ncpu family\t: 6\nmodel\t\t: 167\n", f"{platform.machine()} (family 6 model 167)"),
    ("processor\t: 0\nflags\t\t: fpu\n", platform.machine()),
    (arm((0x41, 0xD0C, 3)), "ARM Neoverse-N1 (variant 3)"),
    (arm((0x41, 0xD40, 1), (0x41, 0xD40, 1)), "ARM Neoverse-V1 (variant 1)"),
    (arm((0x41, 0xD4F, 0)), "ARM Neoverse-V2 (variant 0)"),
    (arm((0xC0, 0xAC3, 0)), "Ampere AmpereOne (variant 0)"),
    (arm((0x41, 0xD99, 2)), "ARM part 0xd99 (variant 2)"),
    (arm((0x77, 0x001, 0)), "implementer 0x77 part 0x001 (variant 0)"),
    (arm((0x41, 0xD03, 0), name="model name\t: ARMv7 Processor rev 4 (v7l)\n"), "ARM Cortex-A53 (variant 0)"),
    (arm((0x61, 0x023, 1), (0x61, 0x022, 1)), "Apple M1 Icestorm (variant 1) + Apple M1 Firestorm (variant 1)"),
    (POWER, "POWER9"),
    (MAINFRAME, "IBM/S390 machine 3906"),
    (RISCV, "sifive,u74-mc"),
    (
        "processor\t: 0\nmvendorid\t: 0x710\nmarchid\t\t: 0x8000000058000001\n",
        f"{platform.machine()} (vendor 0x710 architecture 0x8000000058000001)",
    ),
    (LOONG, "Loongson-3A5000"),
    ("", platform.machine()),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_processors_of_every_architecture_have_a_name(text: str, name: str, tmp_path: Path) -> None:
    assert cpu_name(write(tmp_path, {"proc/cpuinfo": text})) == name


def test_several_kinds_of_core_have_one_name_whichever_comes_first() -> None:
    little, big = (0x41, 0xD05, 1), (0x41, 0xD0B, 4)
    names = {name_in(arm(*cores)) for cores in ([little, big], [big, little], [big, big, little, little, big])}
    assert names == {"ARM Cortex-A55 (variant 1) + ARM Cortex-A76 (variant 4)"}


@pytest.mark.parametrize(
    ("board", "added"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", ", Raspberry Pi 4 Model B Rev 1.4"),
        ("linux,dummy-virt\0", ""),
        ("A board \x1b[2J\0", ""),
        (None, ""),
    ],
)
def test_a_boards_name_stands_behind_its_processors(board: str | None, added: str, tmp_path: Path) -> None:
    files = {"proc/cpuinfo": arm((0x41, 0xD08, 0)), "sys/firmware/devicetree/base/model": board}
    assert cpu_name(write(tmp_path, files)) == f"ARM Cortex-A72 (variant 0){added}"


def test_a_machines_name_is_that_of_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "cpu_name", lambda: "ARM Neoverse-N1 (variant 3)")
    monkeypatch.setattr(describe, "processors", lambda: [0, 1, 2, 3])
    assert describe.machine_name() == "arm-neoverse-n1-variant-3-4-cores"
