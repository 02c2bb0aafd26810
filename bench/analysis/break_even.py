"""What it costs to get a number of calls done, starting from nothing: import, build, compile, and the calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.analysis import ratio_of
from bench.analysis.stats import median

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.analysis.analysis import Judged
    from bench.records.schema import Group

COUNTS = (1, 1_000, 1_000_000)
"""For one answer, for a trial, for a training run."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A cell's fixed cost and its cost a call, in seconds."""

    implementation: str
    fixed_s: float
    """Import, build and compile, in a process that has none of it."""
    call_s: float

    def of(self, calls: int) -> float:
        """Seconds until so many calls are done."""
        return self.fixed_s + calls * self.call_s

    def pays_after(self, other: Cost) -> float | None:
        """The number of calls after which this is done sooner than the other; 0 if from the first, None if never."""
        if self.call_s >= other.call_s:
            return 0.0 if self.fixed_s < other.fixed_s and self.call_s == other.call_s else None
        return max(0.0, (self.fixed_s - other.fixed_s) / (other.call_s - self.call_s))


def cost_of(one: Judged) -> Cost | None:
    """The cost of a cell that has a time.

    Imports and builds are the medians over the blocks; compiling is that of the first block, which no cache helps.
    """
    middle = one.median_s
    if middle is None:
        return None
    imports = [record.import_s for record in one.blocks if record.import_s is not None]
    builds = [record.build_s for record in one.blocks if record.build_s is not None]
    fixed = (median(imports) if imports else 0.0) + (median(builds) if builds else 0.0)
    return Cost(one.cell.implementation, fixed + (compile_s(one) or 0.0), middle)


def compile_s(one: Judged) -> float | None:
    """What the first call takes longer than the second, nothing cached; None for a row that does not compile.

    Of several attempts and tables in block 1 only the first finds nothing cached: the longest is its.
    """
    first = [record.compile_s for record in (*one.set_aside, *one.blocks) if record.block == 1]
    return max((seconds for seconds in first if seconds is not None), default=None)


def costs(judged: Iterable[Judged]) -> dict[Group, list[Cost]]:
    """The costs of every group's rows."""
    groups: dict[Group, list[Cost]] = {}
    for one in judged:
        cost = cost_of(one)
        if cost is not None and one.cell.role == "row" and not one.is_refused:
            groups.setdefault(one.cell.group, []).append(cost)
    return groups


def winner(group: Iterable[Cost], calls: int) -> Cost:
    """Who is done first with so many calls."""
    return min(group, key=lambda cost: cost.of(calls))


def rivals(group: Iterable[Cost], judged: Mapping[str, Judged], calls: int) -> list[Cost]:
    """Who may be done before the winner, for all that is known: if its calls are as short as their interval allows.

    ``judged``: the group's rows by name. The interval is that of the ratio to the winner, paired by block. Fixed costs
    are taken as they were measured.
    """
    best, *others = sorted(group, key=lambda cost: cost.of(calls))

    def may_be_first(cost: Cost) -> bool:
        ratio = ratio_of(judged[cost.implementation], judged[best.implementation])
        shortest_s = min(cost.call_s, ratio.low * best.call_s) if ratio else cost.call_s
        return cost.fixed_s + calls * shortest_s <= best.of(calls)

    return list(filter(may_be_first, others))
