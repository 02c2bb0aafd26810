"""What ``bench machine`` and ``bench peak`` print. Fits 80 columns, and is plain text when piped."""

from __future__ import annotations

import math
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from bench import units
from bench.analysis import stats, verdict
from bench.analysis.roofline import machine_bounds, machine_share, place_of, square_rates
from bench.machine.facts import on_off, quota
from bench.report.text import heading, plain_table, plus_minus
from bench.workloads.flops import elementwise_flops, product_flops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from bench.analysis.cells import CellAnalysis
    from bench.analysis.roofline import Place
    from bench.machine.facts import Facts
    from bench.machine.gpu import Gpu
    from bench.machine.warnings import MachineWarning
    from bench.measure.peak import Peak
    from bench.records.schema import Record

STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}
ENOUGH_BLOCKS = 6
WIDTH = 79
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well two identical workers agree here: what a short interleaved block of them measured."""

    turns_sd: float
    """Standard deviation, over blocks, of the log ratio of two identical workers that took turns."""
    blocks: int
    contended: int
    """In how many of the blocks the processors were taken away."""
    product_spread: float
    """Relative spread of the times of a fixed NumPy product over the whole measurement."""
    seconds: float
    """How long it took."""


def render(facts: Facts, warnings: Sequence[MachineWarning], accuracy: Accuracy | None) -> Iterator[Text]:
    """The facts, the warnings with their fixes, and how fine a difference can be found here."""
    yield Text("This machine", style="bold")
    for name, value in _facts(facts):
        yield from _wrapped(value, first=f"  {name:<11}  ")
    yield Text(f"\nWarnings ({len(warnings)})" if warnings else "\nNo warnings", style="bold")
    for warning in warnings:
        yield from _wrapped(f"{warning.severity}: {warning.what}", style=STYLES[warning.severity])
        yield from _wrapped(warning.why, first="    ")
        yield from _wrapped(f"fix: {warning.fix}{':' if warning.command else ''}", first="    ")
        for line in (warning.command or "").splitlines():
            yield Text(f"    {line}", style="green")
    if any("sudo" in (warning.command or "") for warning in warnings):
        yield Text("\nNothing has been changed. What these commands change mostly ends with a restart.", style="dim")
    yield Text("\nHow fine a difference can be found here", style="bold")
    for sentence in _accuracy(accuracy):
        yield from _wrapped(sentence)


def _wrapped(text: str, *, first: str = "  ", style: str = "") -> Iterator[Text]:
    """Lines without blanks at their ends, so that they are plain when piped."""
    later = " " * len(first)
    for line in textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False):
        yield Text(line, style=style)


def _facts(facts: Facts) -> Iterator[tuple[str, str]]:
    """The facts in words."""
    many, limit = facts.machine_processors or UNKNOWN, quota(facts.quota)
    yield "processors", f"{facts.allowed} may be used of {many}, quota {limit}, SMT {on_off(facts.smt)}"
    governor, driver = facts.governor or UNKNOWN, facts.driver or UNKNOWN
    yield "clock", f"governor {governor}, driver {driver}, boost {on_off(facts.boost)}"
    yield "temperature", _celsius(facts.celsius)
    virtual = {None: UNKNOWN, False: "no", True: facts.hypervisor or "yes, unknown kind"}[facts.virtual]
    yield "virtual", f"{virtual}; container: {facts.container or UNKNOWN}"
    others = UNKNOWN if facts.runnable is None else str(max(0, facts.runnable - 1))
    yield "load", f"{facts.load:g} over a minute; other threads that run now: {others}"
    since_boot = _percent(facts.steal_since_boot)
    yield "steal", f"{_percent(facts.steal)} in a busy second, {since_boot} of busy time since boot"
    if facts.lost is not None:
        gap = units.seconds(facts.longest_gap_s) if facts.longest_gap_s else "nothing"
        yield "busy loop", f"lost {_percent(facts.lost)} of a second, {gap} at once"
    step, call = (f"{value * 1e9:,.0f} ns" for value in (facts.timer_step_s, facts.timer_call_s))
    yield "timer", f"steps of {step}, {call} to read, clocksource {facts.clocksource or UNKNOWN}"
    free, every, swap = map(_gibibytes, (facts.free_bytes, facts.memory_bytes, facts.swap_bytes))
    yield "memory", f"{free} free of {every}, {swap} of swap in use"
    yield "addresses", f"randomised: {facts.aslr or UNKNOWN}; huge pages: {facts.huge_pages or UNKNOWN}"
    yield "numpy", facts.blas or UNKNOWN
    if facts.gpus is None:
        yield "gpu", "nvidia-smi is not there, or does not answer"
    elif not facts.gpus:
        yield "gpu", "nvidia-smi lists none"
    for gpu in facts.gpus or ():
        yield "gpu", _gpu(gpu)
    if seen := [gpu.pids for gpu in facts.gpus or () if gpu.pids is not None]:
        yield "", f"processes on it that can be seen from here: {len(frozenset().union(*seen))}"


def _gpu(gpu: Gpu) -> str:
    clock = "clock unknown"
    if gpu.clock_mhz is not None:
        clock = f"{gpu.clock_mhz:.0f} MHz" + (f" of {gpu.max_clock_mhz:.0f}" if gpu.max_clock_mhz else "")
    held = UNKNOWN if gpu.throttles is None else ", ".join(gpu.throttles) or "nothing"
    return f"{gpu.name}: {clock}, held back by {held}, busy {_percent(gpu.busy)}, {_celsius(gpu.celsius)}"


def _accuracy(accuracy: Accuracy | None) -> Iterator[str]:
    if accuracy is None:
        yield "Not measured."
        return
    if accuracy.blocks < 2 or not math.isfinite(accuracy.turns_sd):
        yield f"Could not be told: {accuracy.blocks} blocks of two identical workers are too few."
        return
    few, many = (_fine(verdict.detectable(accuracy.turns_sd, blocks)) for blocks in (6, 12))
    yield (
        f"Two identical workers taking turns differ by {_fine(math.expm1(accuracy.turns_sd))} from block to block here:"
        f" 6 blocks find a difference of {few}, 12 blocks one of {many}, four times out of five."
    )
    rough = " So few blocks tell this only roughly: it may be twice that." if accuracy.blocks < ENOUGH_BLOCKS else ""
    yield f"Measured in {accuracy.seconds:.0f} s over {accuracy.blocks} blocks, {accuracy.contended} contended.{rough}"
    yield (
        f"The same NumPy product took times that spread by {_fine(accuracy.product_spread)} meanwhile: absolute times"
        " are no better than that, ratios are."
    )


def _fine(share: float) -> str:
    """Two digits where it is small: ``0.64 %``."""
    return f"{100 * share:.2f} %" if share < 0.00995 else units.percent(share)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else units.percent(share)


def _gibibytes(value: int) -> str:
    return "none" if value == 0 else f"{value / 2**30:.1f} GiB"


def _celsius(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} °C"


def render_peak(peak: Peak) -> Iterator[RenderableType]:
    """The machine's matmul bound, then each framework's for every workload and task; and what has no time, and why."""
    machine = machine_bounds(peak.cells.values())
    by_place: dict[Place, list[CellAnalysis]] = defaultdict(list)
    for cell, one in peak.cells.items():
        by_place[place_of(cell)].append(one)
    for place, members in by_place.items():
        yield from _square(place, members)
        for workload in peak.asked.workloads:
            problem = peak.problems[workload.name]
            yield heading(workload.name, workload.shape)
            for task in peak.asked.tasks:
                flops = product_flops(problem.config, problem.batches, task)
                others = units.flops(elementwise_flops(problem.config, problem.batches, task))
                of_task = [one for one in members if (one.cell.workload, one.cell.task) == (workload.name, task)]
                yield Padding(_of_task(task, flops, of_task, machine.get(place, {})), (0, 0, 0, 1))
                yield Text(f" {units.flops(flops)} in products, about {others} elementwise", style="dim")
    if peak.failures:
        yield Text("\nWithout a time", style="bold")
    for why in dict.fromkeys(f"{one.cell}: {one.status}: {one.reason}" for one in peak.failures):
        yield Text(f" {why}")
    yield Text(
        "\nrate: operations of the products over the median time; ±: its 95 % interval. machine: share of the machine's"
        " matmul bound, the best square product of any framework. A model's products, made alone, are its framework's:"
        " no row that multiplies with it has less to do.",
        style="dim",
    )


def _square(place: Place, members: Sequence[CellAnalysis]) -> Iterator[RenderableType]:
    """Each framework's best square product, fastest first: the median of the blocks."""
    by_name: dict[str, list[Record]] = defaultdict(list)
    for one in members:
        by_name[one.cell.implementation] += one.blocks
    medians = {
        name: stats.median(list(rates.values())) for name, own in by_name.items() if (rates := square_rates(own))
    }
    if not medians:
        return
    sizes = {record.square_size for one in members for record in one.blocks if record.square_size is not None}
    title = f"square product, {' or '.join(map(str, sorted(sizes)))} rows and columns"
    yield heading(units.place(*place), title)
    table = _table("", "rate")
    for name in sorted(medians, key=lambda name: -medians[name]):
        table.add_row(name, units.rate(medians[name]))
    yield Padding(table, (0, 0, 0, 1))


def _of_task(task: str, flops: int, members: Sequence[CellAnalysis], machine: Mapping[int, float]) -> Table:
    """The matmul bounds at a workload and task, fastest first."""
    table = _table(task, "time", "±", "rate", "machine")
    for one in sorted(members, key=lambda one: one.median_s or float("inf")):
        seconds = one.median_s
        if seconds is None:
            table.add_row(one.cell.implementation, one.failure.status if one.failure else "")
            continue
        interval = stats.time_interval(one.samples_s)
        table.add_row(
            one.cell.implementation,
            units.seconds(seconds),
            plus_minus(seconds, interval.low, interval.high),
            units.rate(flops / seconds),
            units.percent(machine_share(flops, one, machine)),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = plain_table()
    table.add_column(Text(title, style="bold not dim"), overflow="fold", min_width=16)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    return table
