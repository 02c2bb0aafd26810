"""How each group stands while a run goes on: a line a group, so that it fits on a screen."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.judge import group_of
from bench.records import competes
from bench.report import units
from bench.report.rows import ranks_of
from bench.report.words import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.judge import Group, Judged


def standing(judged: Iterable[Judged]) -> Table:
    """The fastest row of each group, `1=` if others share its place; time, ratio, verdict, and how many are decided."""
    judged = list(judged)
    ranks = ranks_of(judged)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("group", "fastest so far"):
        table.add_column(name, overflow="fold")
    for name, width in (("median", 7), ("ratio", 19), ("verdict", 8), ("decided", 7)):
        table.add_column(name, no_wrap=True, justify="left" if name == "verdict" else "right", min_width=width)
    groups: dict[Group, list[Judged]] = defaultdict(list)
    for one in judged:
        if competes(one.cell):
            groups[group_of(one.cell)].append(one)
    for group, members in groups.items():
        timed = [one for one in members if one.ratio is not None]
        if not timed:
            continue
        best = min(timed, key=lambda one: one.ratio.estimate if one.ratio else 0.0)
        others = [one for one in timed if one.is_compared]
        done = sum(one.is_decided for one in others)
        verdict = best.ratio.verdict or "–" if best.is_compared and best.ratio else "baseline"
        table.add_row(
            f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}",
            "1= " * (ranks.get(best.cell) == "1=") + f"{best.cell.implementation} ({best.cell.tier})",
            units.seconds(best.median_s),
            units.interval(best.ratio),
            Text(verdict, style=COLOURS.get(verdict, "")),
            f"{done} of {len(others)}",
        )
    return table


def tally(judged: Iterable[Judged]) -> str:
    """How many cells have which verdict, in words."""
    counts: Counter[str] = Counter(
        one.ratio.verdict or "no verdict yet" for one in judged if one.ratio is not None and one.is_compared
    )
    order = ("FASTER", "SLOWER", "SAME", "UNCLEAR", "no verdict yet")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no cell to compare"
