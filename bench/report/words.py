"""What is said of a run as a whole, and what it is called, the same in every format."""

from __future__ import annotations

import shlex
from string import ascii_uppercase
from typing import TYPE_CHECKING

from bench import units
from bench.analysis.stats import PRACTICAL
from bench.here import shown
from bench.records.versions import packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.analysis.stats import Control
    from bench.records.schema import Group, Result, Run

HINTS = {
    "restless": "background CPU use between its turns, where no clock ran: no verdict",
    "extra_processors": "took processors that its cell does not have: no verdict",
    "oversubscribed": "has more threads than processors, which wait for each other: give it fewer",
}
"""What a reader should know of a flag at once; ``docs/definitions.md`` has them all."""

COLOURS = {"FASTER": "green", "SLOWER": "red", "UNCLEAR": "yellow"}
"""Verdict to colour, where there are colours: the word says it all."""

SMOKE = "smoke shows that all works: it is one block, and gives no verdict"

GOES_ON = "`python -m bench run --resume RESULT` goes on"
"""Says no folder: tables and pages leave the disk that they were made on."""


def with_folder(text: str, result: Result) -> str:
    """The text, its commands with the folder of the result."""
    return text.replace("RESULT", shlex.quote(shown(result.path)))


def label_of(group: Group) -> str:
    """``g2p train_step cpu×1``."""
    return f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}"


def counted(number: int, what: str) -> str:
    """``1 block``, ``2 blocks``."""
    return f"{number} {what}{'s' * (number != 1)}"


def hints(flags: Iterable[str]) -> list[str]:
    """What a reader should know of what was noticed; ``flags``: those of one row each, with spaces between."""
    noticed = {flag for one in flags for flag in one.split()}
    return [f"{flag}: {hint}" for flag, hint in HINTS.items() if flag in noticed]


def letter_of(number: int) -> str:
    """What stands for a result where there is no room for its name: ``A``, …, ``Z``, ``AA``, …"""
    more, last = divmod(number, len(ascii_uppercase))
    return (letter_of(more - 1) if more else "") + ascii_uppercase[last]


def about_control(control: Control | None, *, doubts_only: bool = False) -> str:
    """How the baseline did against itself, or, if asked, only where that makes the run doubtful."""
    if control is None:
        return ""
    band = f"{control.estimate:.4f} [{control.low:.4f}, {control.high:.4f}]"
    if control.trusted is False:
        return (
            f"NOT TO BE TRUSTED: the baseline, entered twice, differs from itself: {band} at 99.5 %, which excludes 1."
            " Something hits one worker and not the other: see `python -m bench machine`, and measure again."
        )
    if doubts_only:
        return ""
    if control.trusted is None:
        return "A/A control: too few blocks to compare the baseline with itself"
    is_noisy = max(control.high - 1, 1 - control.low) > PRACTICAL
    fine = ": no fault, but too noisy to see a small one" if is_noisy else ", as it should be"
    return f"A/A control: the baseline against itself is {band} at 99.5 %{fine}"


def about_versions(run: Run) -> str:
    """What the rows of each version ran with, as far as that differs; nothing of a run that has no versions."""
    words = [
        f"{version} with " + (", ".join(f"{name} {number}" for name, number in own.items()) or "none of what differs")
        for version, own in packages_of(run).items()
    ]
    return f"rows of {'; of '.join(words)}" if words else ""


def about_end(result: Result) -> str:
    """How many blocks it has, why there are no more, and when its verdicts came, where any came and it is known."""
    parts = [f"{number} after {units.duration(elapsed_s)}" for elapsed_s, number in result.decided_after.items()]
    return f"{_blocks(result)}; verdicts: {', '.join(parts)}" if parts else _blocks(result)


def _blocks(result: Result) -> str:
    many = counted(max((record.block for record in result.records), default=0), "block")
    half = "; its last line is half-written and left out" if result.half_written else ""
    if result.run.preset == "smoke" and result.whole:
        return SMOKE
    if result.cut_short or not result.ends:
        return f"{many}; not whole: it was cut short, {GOES_ON}{half}"
    end = result.ends[-1]
    of = "last continuation's " if len(result.ends) > 1 else ""
    return {
        "decided": f"{many}; all that can be decided is",
        "blocks": f"{many}, as planned",
        "budget": f"{many}; the {of}budget of {units.duration(end.budget_s or result.run.plan.budget_s)} is spent",
        "interrupted": f"{many}; not whole: it was interrupted, {GOES_ON}{half}",
        "disk": f"{many}; not whole: the disk was full, {GOES_ON}{half}",
        "error": f"{many}; not whole: the system refused something, {GOES_ON}{half}",
    }[end.why]
