"""What a person would say of a run, in one sentence. Pure; it claims no more than the verdicts do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import TYPE_CHECKING

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import in_order
from bench.analysis.means import means, task_at
from bench.analysis.stats import PRACTICAL
from bench.analysis.verdict import MIN_BLOCKS
from bench.report.words import GOES_ON
from bench.workloads.sweeps import SCALING
from impls.tasks import ALL_TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.analysis.means import TaskAt
    from bench.analysis.stats import Summary
    from bench.analysis.verdict import Ratio
    from bench.records.schema import Cell, Run

WORDS = {
    "encode": "encoding",
    "forward": "inference",
    "gradients": "gradients",
    "train_step": "training",
    "decode_greedy": "decoding",
    "learn_step": "learning",
}
"""Task to what people call it."""

MOST = 4
"""Of more rows that share a place, the rest are counted; of more tasks and places, no ratio is named."""


def sentence(analysis: Analysis, where: str, of: Callable[[Cell], bool] = lambda _: True) -> str:
    """Who is the fastest at what and how sure that is, or why nothing may be said, of these cells.

    ``where``: ``this machine``.
    """
    said = _said(analysis, [one for cell, one in analysis.cells.items() if of(cell)])
    return " ".join(f"On {where}{said}.".split())  # whatever a name has in it, it stays a line


def _said(analysis: Analysis, cells: Collection[CellAnalysis]) -> str:
    run, ranks = analysis.run, analysis.ranks
    if not analysis.is_trusted:
        way = "see `python -m bench machine`, and measure again"
        return f" nothing may be said, for the baseline differs from itself: {way}"
    groups = [members for members in in_order(cells) if len(members) > 1]
    if not groups:
        return " no two rows have a time at the same task, so that there is nothing to compare"
    if run.preset == SCALING:
        return f", {_of_shapes(groups, run)}"
    ranked = [members for members in groups if members[0].cell in ranks]
    if not ranked:
        if refused := sorted({one.cell.implementation for one in cells if one.is_refused}):
            return f" there is no verdict: {' and '.join(refused)} did what no row may (what was noticed says what)"
        way = "`python -m bench run` without --preset smoke has more" if run.preset == "smoke" else GOES_ON
        return f" nothing is decided yet, for there is no verdict below {MIN_BLOCKS} blocks: {way}"
    said = _of_one(ranked[0], ranks) if len(ranked) == 1 else _of_several(ranked, ranks)
    left = len(groups) - len(ranked)
    more = f"; {left} other comparison{'s have' if left > 1 else ' has'} no verdict yet" if left else ""
    return f", {said}{more}"


@dataclass(frozen=True, slots=True)
class Claim:
    """How a row does against the baseline: what verdicts allow to be said of it."""

    verdict: str | None
    baseline: str
    ratio: Ratio | Summary
    at: str = ""
    """For what, where that is not said before."""
    parts: Counter[str | None] | None = None
    """The verdicts that it is an average of, where it is one."""

    def words(self, *, short: bool = False) -> str:
        """The predicate; ``short``: the baseline has just been named."""
        average = "on average " if self.parts else ""
        to = "" if short else f" as {self.baseline}"
        ratio = self.ratio
        match self.verdict:
            case "FASTER":
                band = units.between(1 / ratio.high, 1 / ratio.low)
                return f"is {average}{units.bare(1 / ratio.estimate)} times as fast{to}{self.at} {band}"
            case "SLOWER":
                band = units.between(ratio.low, ratio.high)
                return f"{average}takes {units.bare(ratio.estimate)} times as long{to}{self.at} {band}"
            case "SAME":
                return f"is as fast as {self.baseline}{self.at}, to within {units.percent(PRACTICAL)}"
            case "UNCLEAR":
                return f"is not distinguishable from {self.baseline}{self.at}"
            case "MIXED" if self.parts:
                faster, slower = self.parts["FASTER"] or "none", self.parts["SLOWER"] or "none"
                of = f"{faster} of {self.parts.total()} workloads and slower with {slower}"
                return f"is faster than {self.baseline}{self.at} with {of}"
        return f"has no verdict against {self.baseline}{self.at} yet"


def _of_one(members: Sequence[CellAnalysis], ranks: Mapping[Cell, str]) -> str:
    """Of a single group: who has the first place, then the best of the other frameworks, or else the slowest."""
    firsts = _firsts(members, ranks)
    first, names = firsts[0], [one.cell.implementation for one in firsts]
    faster = next((one for one in firsts if _verdict(one) == "FASTER"), None)
    is_named = True  # whether the baseline has been, as what others are held against
    if len(firsts) == 1 and faster:
        lead = f"{names[0]} {_claim(faster).words()}"
    elif len(firsts) == 1:
        lead = f"{names[0]} has the first place" + (f", but {_claim(first).words()}" if first.is_compared else "")
    elif faster:
        lead = f"{_listed(names)} share the first place, and {faster.cell.implementation} {_claim(faster).words()}"
    else:
        them = "them" if len(firsts) == 2 else f"the others from {names[0]}"
        lead, is_named = f"{_listed(names)} share the first place, for no verdict distinguishes {them}", False
    rest = [
        f"{one.cell.implementation} {_claim(one).words(short=is_named or bool(number))}"
        for number, one in enumerate(_others(members, firsts))
    ]
    at = task_at(members[0].cell.group)
    return f"for {members[0].cell.workload} {_at(at)}, {'; '.join([lead, *rest])}"


def _others(members: Sequence[CellAnalysis], firsts: Sequence[CellAnalysis]) -> list[CellAnalysis]:
    """The best row of each framework that has neither the first place nor the baseline; if there is none, the last."""
    known = {one.cell.framework for one in members if one in firsts or not one.is_compared}
    best: dict[str, CellAnalysis] = {}
    for one in sorted(members, key=lambda one: one.cell.tier == "wrapper"):  # whose kernels are another framework's
        if one.cell.framework not in known and _verdict(one):
            best.setdefault(one.cell.framework, one)
    if best:
        return sorted(best.values(), key=members.index)[:2]
    return [members[-1]] if members[-1] not in firsts and _verdict(members[-1]) == "SLOWER" else []


def _of_several(groups: Sequence[Sequence[CellAnalysis]], ranks: Mapping[Cell, str]) -> str:
    """Of several groups: who has the first place how often, and by how much on average."""
    places = Counter(one.cell.implementation for members in groups for one in _firsts(members, ranks))
    (_, most), *_ = places.most_common(1)
    leaders = [name for name, count in places.items() if count == most]
    has = "each have or share" if len(leaders) > 1 else "has or shares"
    next_ones = [f"{name} in {count}" for name, count in places.most_common() if name not in leaders][:2]
    lead = f"{_listed(leaders)} {has} the first place in {most} of {len(groups)} comparisons"
    if next_ones:
        lead += f", {' and '.join(next_ones)}"
    cells = [one for members in groups for one in members]
    subject = _subject(leaders, places, cells)
    claims = _claims(subject, cells) if subject else []
    if claims and len(claims) <= MOST:
        same = len({claim.baseline for claim in claims}) == 1
        words = [claim.words(short=same and bool(number)) for number, claim in enumerate(claims)]
        lead += f"; {subject} {_listed(words)}"
    return f"{_head(groups)}, {lead}"


def _subject(leaders: Sequence[str], places: Counter[str], cells: Sequence[CellAnalysis]) -> str | None:
    """The row whose ratios are named: of the leaders the fastest on average; the baseline's are all 1, so the next."""
    logs: dict[str, list[float]] = {}
    for one in cells:
        if one.is_compared and one.ratio:
            logs.setdefault(one.cell.implementation, []).append(log(one.ratio.estimate))
    names = logs.keys() - {one.baseline for one in cells}  # of a row that is the baseline anywhere, no more is said
    return min(names, key=lambda name: (name not in leaders, -places[name], fmean(logs[name])), default=None)


def _claims(name: str, cells: Sequence[CellAnalysis]) -> list[Claim]:
    """What may be said of a row at each task and place."""
    points: dict[TaskAt, list[CellAnalysis]] = {}
    for one in cells:
        if one.cell.implementation == name:
            points.setdefault(task_at(one.cell.group), []).append(one)
    averages = means(cells)
    claims = []
    for at, ours in sorted(points.items(), key=_in_order_of_tasks):
        mean = averages.get(at, {}).get(name)
        if len(ours) == 1:
            claims.append(_claim(ours[0], f" for {_at(at)}"))
        elif mean is not None:
            parts = Counter(map(_verdict, ours))
            claims.append(Claim(_of_mean(mean, parts), ours[0].baseline or "", mean, f" for {_at(at)}", parts))
    return claims


def _in_order_of_tasks(point: tuple[TaskAt, object]) -> tuple[object, ...]:
    at, _ = point
    return ALL_TASKS.index(at.task), at.device, at.threads, at.precision


def _of_mean(mean: Summary, verdicts: Collection[str | None]) -> str:
    """What may be said of a mean, which has no verdict of its own: what the verdicts of its parts bear out."""
    if "FASTER" in verdicts and "SLOWER" in verdicts:
        return "MIXED"
    if "FASTER" in verdicts and mean.high < 1 and mean.estimate < 1 / (1 + PRACTICAL):
        return "FASTER"
    if "SLOWER" in verdicts and mean.low > 1 and mean.estimate > 1 + PRACTICAL:
        return "SLOWER"
    if "FASTER" in verdicts or "SLOWER" in verdicts:
        return "MIXED"  # the mean does not tell, its parts do
    return "SAME" if {*verdicts} == {"SAME"} else "UNCLEAR"


def _of_shapes(groups: Sequence[Sequence[CellAnalysis]], run: Run) -> str:
    """Of a scaling run, which has no verdicts: who came out first how often."""
    held_out = [members for members in groups if run.workloads[members[0].cell.workload].held_out]
    first: dict[TaskAt, Counter[str]] = {}
    for members in held_out or groups:
        at = task_at(members[0].cell.group)
        first.setdefault(at, Counter())[members[0].cell.implementation] += 1
    shapes = "held-out shapes" if held_out else "shapes"
    parts = []
    for at, names in sorted(first.items(), key=_in_order_of_tasks):
        (name, count), *_ = names.most_common(1)
        parts.append(f"{name} came out first in {_at(at)} at {count} of {names.total()} {shapes}")
    return (
        f"{_listed(parts[:MOST])}, which no verdict bears out: `python -m bench advise` says what to expect of"
        " a shape, and how sure that is"
    )


def _firsts(members: Sequence[CellAnalysis], ranks: Mapping[Cell, str]) -> list[CellAnalysis]:
    return [one for one in members if ranks.get(one.cell, "").rstrip("=") == "1"]


def _verdict(one: CellAnalysis) -> str | None:
    return one.ratio.verdict if one.is_compared and one.ratio else None


def _claim(one: CellAnalysis, at: str = "") -> Claim:
    assert one.ratio is not None
    return Claim(_verdict(one), one.baseline or "", one.ratio, at)


def _head(groups: Sequence[Sequence[CellAnalysis]]) -> str:
    """What the groups have in common."""
    workloads = {members[0].cell.workload for members in groups}
    tasks = {members[0].cell.task for members in groups}
    if len(workloads) == 1:
        return f"for {workloads.pop()}"
    return f"over {len(workloads)} workloads" + (f" of {WORDS[tasks.pop()]}" if len(tasks) == 1 else "")


def _at(at: TaskAt) -> str:
    """``training``, and where that is not one thread of the CPU."""
    threads = f" on {at.threads} threads" if at.device == "cpu" and at.threads > 1 else ""
    device = "" if at.device == "cpu" else f" on the {at.device.upper()}"
    return WORDS[at.task] + threads + device + (f" in {at.precision}" if at.precision != "float32" else "")


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``; of more than so many the rest are counted."""
    if len(words) > MOST:
        words = [*words[: MOST - 1], f"{len(words) - MOST + 1} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
