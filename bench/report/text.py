"""Tables on a terminal, as wide as that is, and readable when piped: nothing in them is cut."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.break_even import COUNTS, rivals, winner
from bench.here import as_typed, command, shown
from bench.machine.describe import machine_name
from bench.records.schema import BOUND
from bench.report.sentence import sentence
from bench.report.words import (
    COLOURS,
    about_control,
    about_end,
    about_versions,
    hints,
    label_of,
    letter_of,
    with_folder,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

    from bench.report.rows import CellRow, TableRow

    OfCell = TypeVar("OfCell", bound=CellRow)

Row = TypeVar("Row")

NAME = "row"
"""The column that says what a line is about. Its head is the title of the table."""


class Part(NamedTuple, Generic[Row]):
    """The rows of one table."""

    above: Text | None
    """What stands over it and those that follow."""
    title: str
    rows: Sequence[Row]


def heading(name: str, more: str) -> Text:
    """What stands over tables: a name, and beside it what has less weight."""
    return Text(f"\n{name}", style="bold").append(f"  {more}", style="not bold dim")


def plus_minus(middle: float, low: float, high: float) -> str:
    """How far an interval reaches from its middle, at most: ``5.1 %``."""
    return units.percent(max(high - middle, middle - low) / middle)


def plain_table(gap: int = 2) -> Table:
    """A table without lines, its columns so far apart."""
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")


def in_cells(words: Mapping[str, str], style: str = "") -> dict[str, Text]:
    """What stands in each column of a row; a verdict in its colour."""
    colour = COLOURS.get(words.get("verdict", ""), style)
    return {name: Text(word, style=colour if name == "verdict" else style) for name, word in words.items()}


def parts_of(rows: Sequence[OfCell]) -> list[Part[OfCell]]:
    """A table for each group, beneath the name and the sizes of its workload."""
    parts: list[Part[OfCell]] = []
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        above: Text | None = heading(workload, shape)
        for title, of_group in groupby(of_workload, key=lambda row: f"{row.task} {row.place}"):
            parts.append(Part(above, title, list(of_group)))
            above = None
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables(Generic[Row]):
    """One table or several, with the same columns of the same width.

    Where there is no room for all columns, some are left out, and it is said which.
    """

    parts: Sequence[Part[Row]]
    columns: Sequence[str]
    """`NAME` is one of them."""
    cells: Callable[[Row, Collection[str]], Mapping[str, Text]]
    """What stands in each column of a row, where these are shown; what is not there is empty."""
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
        widths = self._fitting(self.columns, room)
        if _needed(widths) > room:
            widths = self._fitting([column for column in self.columns if column != NAME], room - 1)
        heads = {column: Text(self.heads.get(column, column), style="dim") for column in self.columns}
        for part in self.parts:
            if part.above is not None:
                yield part.above
            yield from self._lines(heads | {NAME: Text(part.title, style="bold")}, widths)
            for row in part.rows:
                yield from self._lines(self.cells(row, widths.keys()), widths)
        if left_out := [column for column in self.columns if column not in (*widths, NAME)]:
            needed = self.indent + _needed(self._widths(self.columns))
            every = f", and {self.every} has it all" if self.every else ""
            yield Text(f"\nno room for {', '.join(left_out)}: a terminal {needed} wide has it{every}", style="dim")

    def _fitting(self, columns: Sequence[str], room: int) -> dict[str, int]:
        """How wide each column is, without those that there is no room for."""
        widths = self._widths(columns)
        for least in self.least_first:
            if _needed(widths) > room:
                widths = self._widths([column for column in widths if column != least])
        return widths

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


def render(rows: Sequence[TableRow], analyses: Sequence[Analysis]) -> Iterator[RenderableType]:
    """What is to be doubted, a table for each group, what has no time and why, how to read it all, and a sentence."""
    for name, analysis in _named(analyses):
        if doubt := about_control(analysis.control, doubts_only=True):
            yield Text(name + as_typed(doubt), style="bold red")
    with_bound = len(analyses) == 1 and any(row.bound_share is not None for row in rows)
    if rows:
        yield _tables(rows, analyses, with_bound)
    yield from _reasons(rows)
    for name, analysis in _named(analyses):
        yield from _costs(name, analysis)
    for caption in _captions(rows, with_bound):
        yield Text(caption, style="dim")
    for name, analysis in _named(analyses):
        yield from _about(name, analysis)
    yield from endings(analyses)


def endings(analyses: Sequence[Analysis]) -> Iterator[RenderableType]:
    """What a person would say of each result: the last line, or lines of several."""
    for name, analysis in _named(analyses):
        here = analysis.run.environment
        where = "this machine" if here.machine == machine_name() else here.cpu
        yield Text(f"\n{name}{as_typed(with_folder(sentence(analysis, where), analysis.result))}", style="bold")


def _named(analyses: Sequence[Analysis]) -> Iterator[tuple[str, Analysis]]:
    """Each result, and what stands before what is said of it: nothing where it is the only one."""
    for number, analysis in enumerate(analyses):
        yield f"run {letter_of(number)}: " if len(analyses) > 1 else "", analysis


COLUMNS = ("place", NAME, "tier", "median", "±", "ratio", "95 %", "verdict")

LEAST_FIRST = ("tier", "±", "bound", "95 %", "place", "median")
"""What is left out where there is little room, the least important first."""


def _tables(rows: Sequence[TableRow], analyses: Sequence[Analysis], with_bound: bool) -> Tables[TableRow]:
    several = len(analyses) > 1
    last = ["run"] if several else ["bound"] if with_bound else []  # there is no room for both columns
    paths = ["RESULT", "..."] if several else [shown(analyses[0].result.path)]
    letters = {str(one.result.path): letter_of(number) for number, one in enumerate(analyses)}
    return Tables(
        parts=parts_of(rows),
        columns=[*COLUMNS, *last],
        cells=partial(_cells, letters),
        least_first=LEAST_FIRST,
        words=(NAME, "tier", "verdict", "run"),
        heads={"place": ""},
        every=f"`{command('table', *paths, '--format', 'markdown')}`",
    )


def _cells(letters: Mapping[str, str], row: TableRow, columns: Collection[str]) -> dict[str, Text]:
    """What stands in the columns, where only these are shown."""
    bound = "" if row.bound_share is None else units.percent(row.bound_share)
    words = {NAME: row.implementation, "tier": row.tier, "bound": bound, "run": letters.get(row.result, "")}
    if row.median_s is None:
        status = Text(row.status.replace("_", " "), style="yellow")
        return in_cells(words) | {"95 %" if "95 %" in columns else "verdict": status}
    is_base, is_bound = row.implementation == row.baseline, row.tier == BOUND
    low_s, high_s = row.ci_low_s or row.median_s, row.ci_high_s or row.median_s
    of_bound = "" if "tier" in columns else row.tier
    words |= {
        "place": row.rank or "",
        NAME: row.implementation + "*" * bool(row.flags),
        "median": units.seconds(row.median_s),
        "±": plus_minus(row.median_s, low_s, high_s),
        "ratio": units.ratio(row.ratio),
        "95 %": "" if is_base else units.between(row.ratio_low, row.ratio_high),
        "verdict": "baseline" if is_base else of_bound if is_bound else row.verdict or "–",
    }
    return in_cells(words, "bold" if is_base else "dim" if is_bound else "")


def _reasons(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    """What has no time, and what was noticed, each once with where."""
    failed: dict[tuple[str, str], list[str]] = {}
    noticed: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            failed.setdefault((row.implementation, f": {row.status}: {row.reason}"), []).append(row.task)
        if row.flags:
            noticed.setdefault((f"{row.implementation} {row.flags}:", ""), []).append(f"{row.workload} {row.task}")
    for title, said in (("Without a time", failed), ("* Noticed while measuring", noticed)):
        if said:
            yield Text(f"\n{title}", style="bold")
        for (before, after), where in said.items():
            yield Text(f" {before} {', '.join(dict.fromkeys(where))}{after}")
    for hint in hints(row.flags for row in rows):
        yield Text(f" {hint}", style="dim")


def _costs(name: str, analysis: Analysis) -> Iterator[RenderableType]:
    """Who is done first with how many calls, import and compiling included."""
    groups = {
        group: [analysis.costs[one.cell] for one in members if one.cell in analysis.costs]
        for group, members in analysis.groups.items()
    }
    if all(len(members) < 2 for members in groups.values()):
        return
    yield Text(f"\n{name}Done first, import and compiling included", style="bold")
    lines = []
    for group, members in groups.items():
        if members:
            first = [(winner(members, count), rivals(members, analysis.cells, count)) for count in COUNTS]
            words = (best.cell.implementation + f", or {len(others)} more" * bool(others) for best, others in first)
            lines.append([label_of(group), *words])
    yield Firsts(lines)
    yield Text(" or 2 more: the intervals allow that one of so many others is done sooner", style="dim")


@dataclass(frozen=True, slots=True)
class Firsts:
    """Of each group, who is done first with how many calls: a table, or sentences where its words have no room."""

    lines: Sequence[Sequence[str]]
    """The group, and a row for each of `COUNTS`."""

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Words stay whole in either."""
        header = ["calls", *(f"{count:,}" for count in COUNTS)]
        columns = list(zip(header, *self.lines, strict=True))
        widths = [max(cell_len(word) for cell in column for word in cell.split()) for column in columns]
        spare = options.max_width - 1 - sum(widths) - len(widths)
        if spare < 0:
            for group, *names in self.lines:
                said = "; ".join(f"{count} {name}" for count, name in zip(header[1:], names, strict=True))
                yield Padding(Text(f"{group}, calls: {said}"), (0, 0, 0, 1))
            return
        table = plain_table(gap=1)
        for name, column, least in zip(header, columns, widths, strict=True):
            width = min(max(map(cell_len, column)), least + spare)
            spare -= width - least
            table.add_column(name, width=width)
        for line in self.lines:
            table.add_row(*map(Text, line))
        yield Padding(table, (0, 0, 0, 1))


def _captions(rows: Sequence[TableRow], with_bound: bool) -> Iterator[str]:
    """How to read the numbers, as far as these tables have them."""
    baselines = dict.fromkeys(row.baseline for row in rows if row.baseline)
    if baselines:
        yield (
            f"\nmedian: of the process medians; ±: its 95 % interval. ratio: to {' or '.join(baselines)}, paired turn"
            " by turn, above 1 is slower. verdict: at a stricter level, fit for looking after every block; SAME: all"
            " that the blocks allow lies within 2 %; –: fewer than three blocks (or refused). 2=: not distinguishable"
            " from the first at that place."
        )
    if with_bound:
        yield (
            "bound: the share of its time that a row's framework takes for the model's products alone, its matmul"
            " bound; the lines of the tier bound have their times. At 100 % only faster products would help."
        )
    if len(baselines) > 1:
        yield "Where the baseline has no time, the first row that has one stands in for it."


def _about(name: str, analysis: Analysis) -> Iterator[RenderableType]:
    result, here = analysis.result, analysis.run.environment
    for words in (about_versions(result.run), about_control(analysis.control), about_end(result)):
        if words:
            yield Text(f"{name}{as_typed(with_folder(words, result))}", style="dim" if result.whole else "yellow")
    yield Text(f"{name}{', '.join([here.cpu, f'{here.cores} cores', *here.gpus])}", style="dim")
    if name:
        yield Text(f"{name}{result.path}", style="dim")
