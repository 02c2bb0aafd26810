"""Facts of invented machines, the warnings that follow from them, and what is said of this one."""

from __future__ import annotations

import getpass
import math
import platform
import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from support.machines import CPU, DOCKER, H100, LAPTOP, OLD_GROUPS, QUIET_METAL, names, write
from support.processes import ask, bench

from bench.analysis.verdict import detectable
from bench.machine.cpus import Watched, spin
from bench.machine.facts import Facts, facts_for_record, read_facts, timer
from bench.machine.gpu import Gpu
from bench.machine.limits import available_to_a_process, process_limit, too_low
from bench.machine.warnings import NOT_FROM_INSIDE, limiting, warnings_of
from bench.measure.worker_environment import blas_of_workers
from bench.report.machine_text import Accuracy, render

if TYPE_CHECKING:
    from pathlib import Path


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
