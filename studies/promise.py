"""How soon default runs had decided, beside what such a run is to keep on a fresh shared machine of two processors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.stats import median
from bench.measure.plan import BUDGETS
from bench.records.schema import Result
from bench.report.featured import answers_readme
from bench.report.markdown import table

FIRST_S, SHARES = 480.0, {0.60: 720.0, 0.75: 1200.0}
"""When there are to be verdicts, and when so large a share of the ratios is to have one."""

FIRST_BLOCK_S, OUTSIDE_S = 200.0, 55.0
"""How long the first block is to take, and each later one with all cells outside its turns."""

HEADING = """
## How soon the default run decides

What a default run is to keep on a fresh shared machine of two processors, and what the published ones did: minutes
since the run was started. A ratio that is refused counts as undecided. The error rate comes first: a goal of time is
missed rather than bought with it. **Bold** is missed.
"""


def section(published: Sequence[Result]) -> str:
    """Of each default run that has the times of its verdicts, the latest first; nothing if there is none."""
    lines = [_line(result) for result in reversed(published) if _is_default(result) and result.said]
    if not lines:
        return ""
    shares = [f"{100 * share:.0f} % decided ({units.duration(goal)})" for share, goal in SHARES.items()]
    header = ["run", f"first verdicts ({units.duration(FIRST_S)})", *shares, f"first block ({FIRST_BLOCK_S:.0f} s)"]
    return f"{HEADING}\n{table([*header, f'a later block outside its turns ({OUTSIDE_S:.0f} s)'], lines)}"


def _is_default(result: Result) -> bool:
    return answers_readme(result) and result.run.plan.budget_s == BUDGETS["default"].total_s


def _line(result: Result) -> list[str]:
    first = result.blocks[0]
    later = [one for one in result.blocks if 1 < one.block <= result.run.plan.min_blocks and not one.cold]
    outside_s = median([one.elapsed_s - one.phases_s.get("turns", 0.0) for one in later]) if later else None
    return [
        f"`{result.path.name}`",
        _within(until_s(result), FIRST_S, _minutes),
        *(_within(until_s(result, share), goal, _minutes) for share, goal in SHARES.items()),
        _within(first.elapsed_s, FIRST_BLOCK_S, _seconds),
        _within(outside_s, OUTSIDE_S, _seconds),
    ]


def until_s(result: Result, share: float = 0.0) -> float | None:
    """Seconds from the start until any ratio, or so large a share of them, was decided; None where none ever was."""
    ratios = sum(one.is_compared for one in Analysis(result).cells.values())
    return next((at_s for at_s, number in result.decided_after.items() if number and number >= share * ratios), None)


def _within(seconds: float | None, goal_s: float, words: Callable[[float], str]) -> str:
    if seconds is None:
        return "**never**"
    return words(seconds) if seconds <= goal_s else f"**{words(seconds)}**"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s"
