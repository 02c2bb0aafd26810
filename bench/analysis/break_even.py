"""What it costs to get a number of calls done, starting from nothing: import, build, compile, and the calls. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.cells import ratio_of
from bench.analysis.stats import median

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Cell

COUNTS = (1, 1_000, 1_000_000)
"""For one answer, for a trial, for a training run."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A cell's fixed cost and its cost a call, in seconds."""

    cell: Cell
    fixed_s: float
    """Import, build and compile, in a process that has none of it."""
    call_s: float

    def of(self, calls: int) -> float:
        """Seconds until so many calls are done."""
        return self.fixed_s + calls * self.call_s

    def breaks_even(self, other: Cost) -> float | None:
        """The number of calls after which this is done sooner than the other; 0 if from the first, None if never."""
        if self.call_s >= other.call_s:
            return 0.0 if self.fixed_s < other.fixed_s and self.call_s == other.call_s else None
        return max(0.0, (self.fixed_s - other.fixed_s) / (other.call_s - self.call_s))


def cost_of(one: CellAnalysis) -> Cost | None:
    """The cost of a cell that has a time.

    Imports and builds are the medians over the blocks; compiling is that of the first block, which no cache helps.
    """
    middle = one.median_s
    if middle is None:
        return None
    imports = [record.import_s for record in one.blocks if record.import_s is not None]
    builds = [record.build_s for record in one.blocks if record.build_s is not None]
    fixed = (median(imports) if imports else 0.0) + (median(builds) if builds else 0.0)
    return Cost(one.cell, fixed + (compile_s(one) or 0.0), middle)


def compile_s(one: CellAnalysis) -> float | None:
    """What the first call takes longer than the second, nothing cached; None for a row that does not compile.

    Of several attempts and pools in block 1 only the first finds nothing cached: the longest is its.
    """
    first = [record.compile_s for record in (*one.set_aside, *one.blocks) if record.block == 1]
    return max((seconds for seconds in first if seconds is not None), default=None)


def costs(cells: Iterable[CellAnalysis]) -> dict[Cell, Cost]:
    """The cost of every row that has a time and is not refused."""
    found = {one.cell: cost_of(one) for one in cells if one.cell.role == "row" and not one.is_refused}
    return {cell: cost for cell, cost in found.items() if cost is not None}


def winner(group: Iterable[Cost], calls: int) -> Cost:
    """Who is done first with so many calls."""
    return min(group, key=lambda cost: cost.of(calls))


def rivals(group: Iterable[Cost], cells: Mapping[Cell, CellAnalysis], calls: int) -> list[Cost]:
    """Who may be done before the winner, for all that is known: if its calls are as short as their interval allows.

    The interval is that of the ratio to the winner, paired by block. Fixed costs are taken as they were measured.
    """
    best, *others = sorted(group, key=lambda cost: cost.of(calls))

    def may_be_first(cost: Cost) -> bool:
        ratio = ratio_of(cells[cost.cell], cells[best.cell])
        shortest_s = min(cost.call_s, ratio.low * best.call_s) if ratio else cost.call_s
        return cost.fixed_s + calls * shortest_s <= best.of(calls)

    return list(filter(may_be_first, others))
