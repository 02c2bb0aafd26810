"""How each group stands while a run goes on: a line a group, so that it fits on a screen."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from bench import units
from bench.analysis.cells import ranks_of
from bench.report.tables import NAME, Part, Tables
from bench.report.words import COLOURS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Cell, Group


LEAST_FIRST = ("tier", "median", "decided")
"""What is left out where there is little room, the least important first."""


def live_summary(judged: Iterable[CellAnalysis]) -> Tables[list[CellAnalysis]]:
    """The fastest row of each group, `1=` if others share its place; time, ratio, verdict, and how many are decided."""
    judged = list(judged)
    groups: dict[Group, list[CellAnalysis]] = defaultdict(list)
    for one in judged:
        if one.cell.role == "row" and one.ratio is not None and not one.is_refused:
            groups[one.cell.group].append(one)
    return Tables(
        parts=[Part(None, "group", list(groups.values()))],
        columns=[NAME, "fastest so far", "tier", "median", "ratio", "verdict", "decided"],
        cells=partial(_cells, ranks_of(judged)),
        least_first=LEAST_FIRST,
        words=(NAME, "fastest so far", "tier", "verdict"),
        indent=0,
    )


def _cells(ranks: Mapping[Cell, str], timed: Sequence[CellAnalysis], _columns: Collection[str]) -> dict[str, Text]:
    group = (timed[0].cell).group
    best = min(timed, key=lambda one: one.ratio.estimate if one.ratio else 0.0)
    others = [one for one in timed if one.is_compared]
    verdict = best.ratio.verdict or "–" if best.is_compared and best.ratio else "baseline"
    words = {
        NAME: f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}",
        "fastest so far": "1= " * (ranks.get(best.cell) == "1=") + best.cell.implementation,
        "tier": best.cell.tier,
        "median": units.seconds(best.median_s),
        "ratio": units.interval(best.ratio),
        "decided": f"{sum(one.is_decided for one in others)} of {len(others)}",
    }
    cells = {name: Text(word) for name, word in words.items()}
    return cells | {"verdict": Text(verdict, style=COLOURS.get(verdict, ""))}


def tally(judged: Iterable[CellAnalysis]) -> str:
    """How many cells have which verdict, in words."""
    counts: Counter[str] = Counter(
        one.ratio.verdict or "no verdict yet" for one in judged if one.ratio is not None and one.is_compared
    )
    order = ("FASTER", "SLOWER", "SAME", "UNCLEAR", "no verdict yet")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no cell to compare"
