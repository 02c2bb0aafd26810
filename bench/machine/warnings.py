"""What is wrong with the machine, why that costs accuracy, and what fixes it. Pure: follows from facts alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench import units
from bench.machine.facts import SWAP_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.machine.facts import Facts

Severity = Literal["high", "medium", "low"]

QUIET_LOAD = 1 / 4  # of the processors that may be used
MUCH_STEAL = 0.01
MUCH_LOST = 0.05
LITTLE_BYTES = 4 << 30  # a pool has some eight workers, of half a GiB each
COARSE_S = 1e-6
BUSY_GPU = 0.05

NOT_FROM_INSIDE = "cannot be fixed from inside: rent a quieter machine, and rely on ratios"


@dataclass(frozen=True, slots=True)
class MachineWarning:
    """What costs accuracy here."""

    name: str
    what: str
    why: str
    """How it costs accuracy."""
    fix: str
    severity: Severity
    command: str | None = None
    """What a person can run; a line that ends in ``|`` goes on in the next one."""


def warnings_of(facts: Facts) -> list[MachineWarning]:
    """What costs accuracy, the worst first."""
    found = [*_clock_warnings(facts), *_sharing_warnings(facts), *_memory_warnings(facts), *_gpu_warnings(facts)]
    return sorted(found, key=lambda warning: ("high", "medium", "low").index(warning.severity))


def limiting(facts: Facts, threads: Sequence[int]) -> Iterator[str]:
    """Of what a run with these numbers of threads may have too little, and what that means for it: a line each."""
    quota, most = facts.quota or math.inf, max(threads)
    for warning in warnings_of(facts):
        said = f"{warning.what}. {warning.why}"
        if warning.name == "quota" and quota < most:
            said += (
                f" It is less than {most} thread{'s' * (most != 1)} can use: calls of tens of milliseconds are stopped"
                f" each time and look up to {most / quota:.1f} times as slow, short ones hardly ever are. Do not trust"
                " ratios of long calls to short ones."
            )
        if warning.name in ("quota", "memory"):
            yield said


def _clock_warnings(facts: Facts) -> Iterator[MachineWarning]:
    if facts.governor not in (None, "performance"):
        yield MachineWarning(
            "governor",
            f"the frequency governor is {facts.governor}, not performance",
            "The clock follows the load: it is low after a row has slept and rises in its turn, a little differently"
            " each time.",
            "keep the clock up",
            "high",
            "echo performance |\nsudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    if facts.boost:
        yield MachineWarning(
            "boost",
            "boost (turbo) is on",
            "How far the clock rises depends on heat and on what the other cores do, so absolute times drift over"
            " minutes. Ratios drift much less.",
            "forbid it",
            "medium",
            facts.boost_switch,
        )
    if facts.hot_slowdowns:
        yield MachineWarning(
            "heat",
            f"the processor lowered its clock for heat {facts.hot_slowdowns} times since it was started",
            "Where that happens in a run, what is measured late looks slow.",
            "cool the machine better, let it rest between runs, and forbid boost",
            "low",
        )
    step, call = facts.timer_step_s, facts.timer_call_s
    if max(step, call) > COARSE_S:
        yield MachineWarning(
            "timer",
            f"the timer is coarse: steps of {step * 1e9:,.0f} ns, {call * 1e9:,.0f} ns to read it"
            f" (clocksource {facts.clocksource or 'unknown'})",
            "Short calls are timed no better than that.",
            "use the processor's own counter" if "tsc" in facts.clocksources else NOT_FROM_INSIDE,
            "medium",
            "echo tsc |\nsudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
            if "tsc" in facts.clocksources and facts.clocksource != "tsc"
            else None,
        )


def _sharing_warnings(facts: Facts) -> Iterator[MachineWarning]:
    limit = min(facts.allowed, facts.quota or math.inf)
    if facts.smt:
        yield MachineWarning(
            "smt",
            "SMT (hyper-threading) is on",
            "Two processors are one core: whatever runs on the one slows what is measured on the other.",
            "switch the second ones off",
            "medium",
            "echo off |\nsudo tee /sys/devices/system/cpu/smt/control",
        )
    if facts.quota is not None and facts.quota < facts.allowed:
        whole = math.floor(facts.quota)
        yield MachineWarning(
            "quota",
            f"the control group grants {facts.quota:g} processors of the {facts.allowed} that may be used",
            "When the quota is used up, the kernel stops all threads until the next period, mostly a tenth of a second:"
            " times jump.",
            (f"use no more than --threads {whole}, and give" if whole else "give")
            + " the container whole processors: --cpuset-cpus instead of --cpus where docker starts it",
            "medium" if whole else "high",
        )
    if facts.load > limit * QUIET_LOAD:
        of = facts.machine_processors or 0
        yield MachineWarning(
            "load",
            f"the load is {facts.load:.2f}"
            + (f" on the machine's {of} processors, of which {limit:g} are ours" if of > limit else ""),
            "Other programs take the processors, and fill the caches, in some turns and not in others.",
            "end them; this shows who they are",
            "high" if facts.load > limit else "medium",
            "ps -eo pid,pcpu,etime,comm --sort=-pcpu | head",
        )
    steal, ever = facts.steal or 0.0, facts.steal_since_boot or 0.0
    if max(steal, ever) > MUCH_STEAL:
        now = "" if facts.steal is None else f"{units.percent(steal)} in the last second, "
        yield MachineWarning(
            "steal",
            f"the hypervisor gives our time to others: {now}{units.percent(ever)} since boot",
            "A turn in which the processor is taken away takes longer, whatever is measured in it.",
            NOT_FROM_INSIDE,
            "high" if steal > MUCH_STEAL else "low",
        )
    if facts.lost is not None and facts.lost > MUCH_LOST:
        yield MachineWarning(
            "lost",
            f"a busy loop lost {units.percent(facts.lost)} of a second, {units.seconds(facts.longest_gap_s)} at once",
            "Something else has the processor, seen from here or not.",
            "end other programs; where there are none, this " + NOT_FROM_INSIDE,
            "high",
        )
    if facts.virtual:
        yield MachineWarning(
            "virtual",
            f"a virtual machine ({facts.hypervisor or 'hypervisor of an unknown kind'})",
            "Neighbours share the caches, the memory and perhaps the cores; governor, boost and SMT are the host's and"
            " cannot be seen.",
            NOT_FROM_INSIDE,
            "medium",
        )


def _memory_warnings(facts: Facts) -> Iterator[MachineWarning]:
    if facts.free_pages_reported:
        yield MachineWarning(
            "free_pages",
            "memory that is free here goes back to the host (the balloon reports free pages)",
            "A call that takes large memory again may wait for the host to find it, page by page: some calls take twice"
            " as long as others, in programs that give memory back.",
            "keep memory in the program, as the tuned rows do: GLIBC_TUNABLES in impls/settings.py",
            "medium",
        )
    if facts.swap_bytes > SWAP_BYTES:
        yield MachineWarning(
            "swap",
            f"{facts.swap_bytes / 2**30:.1f} GiB of swap are in use",
            "A worker that was swapped out waits for the disk in its turn.",
            "end what needs the memory, then bring it all back",
            "medium",
            "sudo swapoff -a && sudo swapon -a",
        )
    if facts.free_bytes < LITTLE_BYTES:
        yield MachineWarning(
            "memory",
            f"only {facts.free_bytes / 2**30:.1f} GiB of memory are free",
            "All rows of a table are alive at once, each with its framework; too little makes small tables, or swaps.",
            "end what needs it, or measure fewer rows together: --impl",
            "medium",
        )


def _gpu_warnings(facts: Facts) -> Iterator[MachineWarning]:
    gpus = facts.gpus or ()
    others = sorted({pid for gpu in gpus for pid in gpu.pids or ()})
    busy = [gpu.name for gpu in gpus if (gpu.busy or 0.0) > BUSY_GPU]
    if others or busy:
        who = f"processes {', '.join(map(str, others))}" if others else "someone that cannot be seen from here"
        yield MachineWarning(
            "gpu_shared",
            f"the GPU is in use by {who}",
            "Kernels of others run in between, and take clock and memory bandwidth.",
            "end them, or wait; this shows who they are" if others else NOT_FROM_INSIDE,
            "high",
            "nvidia-smi --query-compute-apps=pid,used_memory --format=csv" if others else None,
        )
    for index, gpu in enumerate(gpus):
        if gpu.throttles:
            clock = "" if gpu.clock_mhz is None else f" to {gpu.clock_mhz:.0f} MHz"
            yield MachineWarning(
                "gpu_throttled",
                f"{gpu.name} lowers its clock{clock}: {', '.join(gpu.throttles)}",
                "What is measured later looks slower.",
                "cool it or wait; on a machine of your own, hold it below what it can always keep, and take that back"
                " with --reset-gpu-clocks",
                "high",
                f"sudo nvidia-smi --id={index} --lock-gpu-clocks={0.9 * gpu.clock_mhz:.0f}" if gpu.clock_mhz else None,
            )
