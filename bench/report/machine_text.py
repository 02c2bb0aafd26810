"""What ``bench machine`` prints. Fits 80 columns, and is plain text when piped."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from bench import units
from bench.analysis import verdict
from bench.machine.facts import on_off, quota

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.machine.facts import Facts
    from bench.machine.gpu import Gpu
    from bench.machine.warnings import MachineWarning


STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}
ENOUGH_BLOCKS = 6
WIDTH = 79
UNKNOWN = "unknown"


def render(facts: Facts, warnings: Sequence[MachineWarning], accuracy: Accuracy | None) -> Iterator[Text]:
    """The facts, the warnings with their fixes, and how fine a difference can be found here."""
    yield Text("This machine", style="bold")
    for name, value in lines(facts):
        yield from _wrapped(value, first=f"  {name:<11}  ", style="")
    yield Text(f"\nWarnings ({len(warnings)})" if warnings else "\nNo warnings", style="bold")
    for warning in warnings:
        yield from _warning(warning)
    if any("sudo" in (warning.command or "") for warning in warnings):
        yield Text("\nNothing has been changed. What these commands change mostly ends with a restart.", style="dim")
    yield Text("\nHow fine a difference can be found here", style="bold")
    for sentence in _accuracy(accuracy):
        yield from _wrapped(sentence, first="  ", style="")


def _warning(warning: MachineWarning) -> Iterator[Text]:
    yield from _wrapped(f"{warning.severity}: {warning.what}", first="  ", style=STYLES[warning.severity])
    yield from _wrapped(warning.why, first="    ", style="")
    yield from _wrapped(f"fix: {warning.fix}{':' if warning.command else ''}", first="    ", style="")
    for line in (warning.command or "").splitlines():
        yield Text(f"    {line}", style="green")


def _wrapped(text: str, *, first: str, style: str) -> Iterator[Text]:
    """Lines without blanks at their ends, so that they are plain when piped."""
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    ):
        yield Text(line, style=style)


def lines(facts: Facts) -> Iterator[tuple[str, str]]:
    """The facts in words."""
    yield (
        "processors",
        (
            f"{facts.allowed} may be used of {facts.machine_processors or UNKNOWN},"
            f" quota {quota(facts.quota)}, SMT {on_off(facts.smt)}"
        ),
    )
    yield (
        "clock",
        f"governor {facts.governor or UNKNOWN}, driver {facts.driver or UNKNOWN}, boost {on_off(facts.boost)}",
    )
    yield "temperature", _celsius(facts.celsius)
    virtual = {None: UNKNOWN, False: "no", True: facts.hypervisor or "yes, unknown kind"}[facts.virtual]
    yield "virtual", f"{virtual}; container: {facts.container or UNKNOWN}"
    others = UNKNOWN if facts.runnable is None else str(max(0, facts.runnable - 1))
    yield "load", f"{facts.load:g} over a minute; other threads that run now: {others}"
    yield (
        "steal",
        (f"{_percent(facts.steal)} in a busy second, {_percent(facts.steal_since_boot)} of busy time since boot"),
    )
    if facts.lost is not None:
        yield "busy loop", f"lost {_percent(facts.lost)} of a second, {_seconds(facts.longest_gap_s)} at once"
    yield (
        "timer",
        (
            f"steps of {_nanoseconds(facts.timer_step_s)}, {_nanoseconds(facts.timer_call_s)} to read,"
            f" clocksource {facts.clocksource or UNKNOWN}"
        ),
    )
    yield (
        "memory",
        (
            f"{_gibibytes(facts.free_bytes)} free of {_gibibytes(facts.memory_bytes)},"
            f" {_gibibytes(facts.swap_bytes)} of swap in use"
        ),
    )
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
    yield (
        f"Two identical workers taking turns differ by {_fine(math.expm1(accuracy.turns_sd))} from block to block here:"
        f" {_found(accuracy.turns_sd)}, four times out of five."
    )
    rough = " So few blocks tell this only roughly: it may be twice that." if accuracy.blocks < ENOUGH_BLOCKS else ""
    yield f"Measured in {accuracy.seconds:.0f} s over {accuracy.blocks} blocks, {accuracy.contended} contended.{rough}"
    yield (
        f"The same NumPy product took times that spread by {_fine(accuracy.product_spread)} meanwhile: absolute times"
        " are no better than that, ratios are."
    )


def _found(sd: float) -> str:
    few, many = (_fine(verdict.detectable(sd, blocks)) for blocks in (6, 12))
    return f"6 blocks find a difference of {few}, 12 blocks one of {many}"


def _fine(share: float) -> str:
    """Two digits where it is small: ``0.64 %``."""
    return f"{100 * share:.2f} %" if share < 0.00995 else units.percent(share)


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else units.percent(share)


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else "nothing" if value == 0 else units.seconds(value)


def _nanoseconds(value: float) -> str:
    return f"{value * 1e9:,.0f} ns"


def _gibibytes(value: int) -> str:
    return "none" if value == 0 else f"{value / 2**30:.1f} GiB"


def _celsius(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} °C"


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
