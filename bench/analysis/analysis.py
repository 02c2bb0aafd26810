"""One analysed run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.analysis import stats
from bench.analysis.break_even import costs
from bench.analysis.cells import analyse, control, ranks_of
from bench.analysis.means import means
from bench.analysis.roofline import rooflines_of

if TYPE_CHECKING:
    from bench.analysis.break_even import Cost
    from bench.analysis.cells import CellAnalysis
    from bench.analysis.means import TaskAt
    from bench.analysis.roofline import Roofline
    from bench.records.schema import Cell, Group, Memory, Result, Run


@dataclass(frozen=True)
class Analysis:
    """All that follows from a run's records: tables, pages and sentences are made of it, and of nothing else.

    Each part is worked out once, when it is first asked for.
    """

    result: Result

    @property
    def run(self) -> Run:
        """What was asked, when, of what machine."""
        return self.result.run

    @cached_property
    def cells(self) -> dict[Cell, CellAnalysis]:
        """Every cell that was recorded, against the baseline of its group."""
        return analyse(self.result.records, self.run.baseline)

    @cached_property
    def groups(self) -> dict[Group, list[CellAnalysis]]:
        """The cells of each group."""
        found: dict[Group, list[CellAnalysis]] = {}
        for cell, one in self.cells.items():
            found.setdefault(cell.group, []).append(one)
        return found

    @cached_property
    def control(self) -> stats.Control | None:
        """The baseline against itself; None where it was not entered twice."""
        return control(self.cells.values())

    @property
    def is_trusted(self) -> bool:
        """Whether verdicts may be believed: the baseline does not differ from itself, as far as that is known."""
        return self.control is None or self.control.trusted is not False

    @cached_property
    def ranks(self) -> dict[Cell, str]:
        """Each row's place in its group."""
        return ranks_of(self.cells.values())

    @cached_property
    def costs(self) -> dict[Cell, Cost]:
        """What it costs to get calls done, starting from nothing."""
        return costs(self.cells.values())

    @cached_property
    def limits(self) -> dict[Cell, Roofline]:
        """What limits each cell: its operations, and its shares of the bounds."""
        return rooflines_of(self.cells, self.run)

    @cached_property
    def means(self) -> dict[TaskAt, dict[str, stats.Summary]]:
        """Each row's mean ratio over the workloads, where it has all."""
        return means(self.cells.values())

    @cached_property
    def memory(self) -> dict[Cell, Memory]:
        """The peak memory of each cell that was looked at."""
        return {one.cell: one for one in self.result.memory}

    @cached_property
    def decided(self) -> int:
        """How many of the comparisons have a verdict other than UNCLEAR."""
        return sum(one.is_decided for one in self.cells.values())
