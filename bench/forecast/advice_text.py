"""What ``bench advise`` prints: plain text when piped."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from bench import units
from bench.analysis.stats import PRACTICAL
from bench.forecast.model import tied
from bench.here import as_typed
from bench.report.tables import NAME, Part, Tables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import RenderableType

    from bench.forecast.advise import Advice, OfTask
    from bench.forecast.model import Beyond, Expected


def render(advice: Advice) -> Iterator[RenderableType]:
    """For each task the rows with their expected times, who is the fastest, and how sure that is."""
    yield Text(advice.workload.name, style="bold").append(f"  {advice.workload.shape}", style="not bold dim")
    for of_task in advice.tasks:
        yield Text()
        yield _table(of_task)
        yield Text(f" {verdict(of_task.expected)}", style="bold")
        yield Text(f" {how_sure(of_task)}")
    yield Text(f"\n{origin(advice)}")
    for doubt in doubts(advice):
        yield Text(doubt, style="yellow")
    yield Text("to measure it, add --measure, or:")


LEAST_FIRST = ("9 of 10 within", "fastest", "within")
"""What is left out where there is little room, the least important first."""


def _table(of_task: OfTask) -> Tables[Expected]:
    at = of_task.at
    return Tables(
        parts=[Part(None, f"{at.task} {units.place(at.device, at.threads, at.precision)}", of_task.expected)],
        columns=[NAME, "expected", "9 of 10 within", "ratio", "within", "fastest"],
        cells=partial(_cells, of_task.expected[0]),
        least_first=LEAST_FIRST,
        words=[NAME],
    )


def _cells(first: Expected, one: Expected, _columns: Collection[str]) -> dict[str, Text]:
    words = {
        NAME: one.implementation,
        "expected": units.seconds(one.time_s),
        "9 of 10 within": f"{units.seconds(one.low_s)} to {units.seconds(one.high_s)}",
        "ratio": units.ratio(one.ratio),
        "within": units.between(one.ratio_low, one.ratio_high) if one is not first else "",
        "fastest": f"{100 * one.chance:.0f} %" if one.chance else "",
    }
    return {name: Text(word) for name, word in words.items()}


def verdict(expected: Sequence[Expected]) -> str:
    """Who is expected to be the fastest, or between whom that is open, in a sentence."""
    first, names = expected[0], tied(expected)
    others = [one for one in expected if one.implementation not in names]
    if len(names) > 1:
        within = [name for name in names if name != first.implementation]
        are = "is" if len(within) == 1 else "are"
        last = max(expected.index(one) for one in expected if one.implementation in names)
        after = expected[last + 1 :]
        behind = f"; {after[0].implementation} comes after them" if after else ""
        best = f"{first.implementation} is expected to be the fastest"
        return f"{best}, but {_listed(within)} {are} within the error: a tie{behind}."
    if not others:
        return f"{first.implementation} is the only row there is a time of."
    rival = others[0]
    return (
        f"{first.implementation} is expected to be the fastest; {rival.implementation}, the next, takes"
        f" {units.ratio(rival.ratio)} as long {units.between(rival.ratio_low, rival.ratio_high)}."
    )


def how_sure(of_task: OfTask) -> str:
    """How the same fits did on shapes that were held out, and whether this one is like those."""
    found = of_task.score
    seen = (
        f"On {found.shapes} held-out shapes times were off by {units.percent(found.error)} (median), and the fastest"
        f" row, or one within {units.percent(PRACTICAL)} of it, was as expected, or in the tie, on"
        f" {found.right * found.shapes:.0f}."
        if found.shapes
        else "No shape was held out: how far off it is, is known from leaving out one at a time only."
    )
    if not of_task.beyond:
        return f"Inside of what was swept. {seen}"
    outside = "; ".join(map(_outside, of_task.beyond))
    return f"OUTSIDE of what was swept, so the intervals are wider, and still a guess: {outside}. Inside: {seen}"


def _outside(one: Beyond) -> str:
    if one.name == "operations":
        return f"{units.flops(one.value)} in products a call, and no shape had more than {units.flops(one.high)}"
    range_ = f"{one.low:g}" if one.low == one.high else f"{one.low:g} to {one.high:g}"
    return f"{one.name} {one.value:g} (swept: {range_})"


def origin(advice: Advice) -> str:
    """What the expectation rests on."""
    model, path = advice.source.model, advice.source.path
    where = "on this machine" if advice.is_here else f"on ANOTHER machine, {model.run.environment.cpu}"
    return f"from a scaling run of {model.fitted()} shapes {where}, {model.run.started_at[:10]}: {path.name}"


def doubts(advice: Advice) -> Iterator[str]:
    """What else speaks against it."""
    if not advice.is_here:
        yield "times are another machine's, and ratios differ from processor to processor, too"
    if advice.changed:
        yield f"since then, code or versions have changed, and so may have errors: {', '.join(advice.changed)}"
    if advice.is_known:
        yield as_typed(f"this very shape was measured: `python -m bench table` of that run has {advice.workload.name}")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
