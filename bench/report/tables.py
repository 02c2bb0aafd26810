"""Tables on a terminal that leave columns out, and say which, where there is no room: nothing in them is cut."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from bench.report.rows import CellRow

    OfCell = TypeVar("OfCell", bound=CellRow)

NAME = "row"
"""The column that says what a line is about. Its head is the title of the table."""

Row = TypeVar("Row")

Cells = Callable[[Row, Collection[str]], Mapping[str, Text]]
"""What stands in each column of a row, where these are shown; what is not there is empty."""


class Part(NamedTuple, Generic[Row]):
    """The rows of one table."""

    above: Text | None
    """What stands over it and those that follow."""
    title: str
    rows: Sequence[Row]


def parts_of(rows: Sequence[OfCell]) -> list[Part[OfCell]]:
    """A table for each group, beneath the name and the sizes of its workload."""
    parts: list[Part[OfCell]] = []
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        above: Text | None = Text(f"\n{workload}", style="bold").append(f"  {shape}", style="not bold dim")
        for title, of_group in groupby(of_workload, key=lambda row: f"{row.task} {row.place}"):
            parts.append(Part(above, title, list(of_group)))
            above = None
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables(Generic[Row]):
    """One table or several, all with the same columns of the same width."""

    parts: Sequence[Part[Row]]
    columns: Sequence[str]
    """`NAME` is one of them."""
    cells: Cells[Row]
    least_first: Sequence[str]
    """What is left out where there is no room for all, the least important first. The others never are."""
    words: Collection[str]
    """The columns that are not numbers."""
    heads: Mapping[str, str] = field(default_factory=dict)
    """The heads of columns that have another than their name."""
    every: str = ""
    """A command that shows every column."""
    indent: int = 1

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The tables; where not even the least has room, a row's name stands on a line of its own."""
        room = options.max_width - self.indent
        kept = self._fitting(self.columns, room)
        if _needed(self._widths(kept)) > room:
            kept = self._fitting([column for column in self.columns if column != NAME], room - 1)
        widths = self._widths(kept)
        for part in self.parts:
            if part.above is not None:
                yield part.above
            heads = {column: Text(self.heads.get(column, column), style="dim") for column in self.columns}
            yield from self._lines(heads | {NAME: Text(part.title, style="bold")}, widths)
            for row in part.rows:
                yield from self._lines(self.cells(row, kept), widths)
        if left_out := [column for column in self.columns if column not in (*kept, NAME)]:
            needed = self.indent + _needed(self._widths(self.columns))
            every = f", and {self.every} has it all" if self.every else ""
            yield Text(f"\nno room for {', '.join(left_out)}: a terminal {needed} wide has it{every}", style="dim")

    def _fitting(self, columns: Sequence[str], room: int) -> Sequence[str]:
        """The columns without those that there is no room for."""
        kept = columns
        for least in self.least_first:
            if _needed(self._widths(kept)) <= room:
                break
            kept = [column for column in kept if column != least]
        return kept

    def _widths(self, columns: Sequence[str]) -> dict[str, int]:
        """How wide each column is, with what it has in any of the tables."""
        widths = {column: len(self.heads.get(column, column)) for column in columns}
        if NAME in widths:
            widths[NAME] = max((len(part.title) for part in self.parts), default=0)
        for part in self.parts:
            for row in part.rows:
                for column, cell in self.cells(row, columns).items():
                    if column in widths:
                        widths[column] = max(widths[column], cell.cell_len)
        return widths

    def _lines(self, cells: Mapping[str, Text], widths: Mapping[str, int]) -> Iterator[RenderableType]:
        """A line of a table, or two."""
        indent = self.indent
        if NAME not in widths:
            yield Padding(cells[NAME], (0, 0, 0, indent))
            indent += 1
        line = Text(" " * indent)
        for column, width in widths.items():
            cell = cells.get(column, Text()).copy()
            cell.align("left" if column in self.words else "right", width)
            line.append_text(cell).append(" ")
        line.rstrip()
        yield line


def _needed(widths: Mapping[str, int]) -> int:
    """How wide the columns are side by side."""
    return sum(widths.values()) + len(widths) - 1
