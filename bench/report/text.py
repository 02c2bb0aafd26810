"""The table on a terminal, as wide as that is, and readable when piped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.break_even import COUNTS, Cost, rivals, winner
from bench.here import as_typed, command, shown
from bench.machine.describe import machine_name
from bench.records.schema import BOUND, Group
from bench.report.sentence import sentence
from bench.report.tables import NAME, Part, Tables
from bench.report.words import COLOURS, about_control, about_end, about_versions, hints, letter_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from bench.report.rows import TableRow


def render(rows: Sequence[TableRow], analyses: Sequence[Analysis]) -> Iterator[RenderableType]:
    """What is to be doubted, a table for each group, what has no time and why, how to read it all, and a sentence."""
    letters = _letters(analyses)
    for analysis in analyses:
        if doubt := about_control(analysis.control, doubts_only=True):
            yield Text(f"{_name(analysis, letters)}{as_typed(doubt)}", style="bold red")
    if rows:
        yield _tables(rows, analyses, letters)
    yield from _reasons(rows)
    yield from _costs(analyses, letters)
    yield from _captions(rows)
    yield from _about(analyses, letters)
    yield from endings(analyses)


def endings(analyses: Sequence[Analysis]) -> Iterator[RenderableType]:
    """What a person would say of each result: the last line, or lines of several."""
    letters = _letters(analyses)
    for analysis in analyses:
        here = analysis.run.environment
        where = "this machine" if here.machine == machine_name() else here.cpu
        said = sentence(analysis.cells.values(), analysis.run, where)
        yield Text(f"\n{_name(analysis, letters)}{as_typed(said)}", style="bold")


def _letters(analyses: Sequence[Analysis]) -> dict[str, str]:
    return {str(analysis.result.path): letter_of(number) for number, analysis in enumerate(analyses)}


COLUMNS = ("place", NAME, "tier", "median", "±", "ratio", "95 %", "verdict")

LEAST_FIRST = ("tier", "±", "bound", "95 %", "place", "median")
"""What is left out where there is little room, the least important first."""


def _tables(rows: Sequence[TableRow], analyses: Sequence[Analysis], letters: Mapping[str, str]) -> Tables[TableRow]:
    parts: list[Part[TableRow]] = []
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        above: Text | None = Text(f"\n{workload}", style="bold").append(f"  {shape}", style="not bold dim")
        for title, of_group in groupby(of_workload, key=_title):
            parts.append(Part(above, title, list(of_group)))
            above = None
    held = any(row.bound_share is not None for row in rows)
    last = ["run"] if len(letters) > 1 else ["bound"] if held else []  # there is no room for both columns
    paths = [shown(one.result.path) for one in analyses] if len(analyses) == 1 else ["RESULT", "..."]
    return Tables(
        parts=parts,
        columns=[*COLUMNS, *last],
        cells=partial(_cells, letters),
        least_first=LEAST_FIRST,
        words=(NAME, "tier", "verdict", "run"),
        heads={"place": ""},
        every=f"`{command('table', *paths, '--format', 'markdown')}`",
    )


def _title(row: TableRow) -> str:
    return f"{row.task} {units.place(row.device, row.threads, row.precision)}"


def _cells(letters: Mapping[str, str], row: TableRow, columns: Collection[str]) -> dict[str, Text]:
    """What stands in the columns, where only these are shown."""
    bound = "" if row.bound_share is None else units.percent(row.bound_share)
    words = {NAME: row.implementation, "tier": row.tier, "bound": bound, "run": letters.get(row.result, "")}
    if row.median_s is None:
        status = Text(row.status.replace("_", " "), style="yellow")
        return {name: Text(word) for name, word in words.items()} | {"95 %" if "95 %" in columns else "verdict": status}
    is_base, is_bound = row.implementation == row.baseline, row.tier == BOUND
    style = "bold" if is_base else "dim" if is_bound else ""
    words |= {
        "place": row.rank or "",
        NAME: row.implementation + "*" * bool(row.flags),
        "median": units.seconds(row.median_s),
        "±": units.percent(_half_width(row)),
        "ratio": units.ratio(row.ratio),
        "95 %": "" if is_base else units.between(row.ratio_low, row.ratio_high),
    }
    of_bound = "" if "tier" in columns else row.tier
    verdict = "baseline" if is_base else of_bound if is_bound else row.verdict or "–"
    cells = {name: Text(word, style=style) for name, word in words.items()}
    return cells | {"verdict": Text(verdict, style=COLOURS.get(verdict, style))}


def _half_width(row: TableRow) -> float | None:
    if row.median_s is None or row.ci_low_s is None or row.ci_high_s is None:
        return None
    return max(row.ci_high_s - row.median_s, row.median_s - row.ci_low_s) / row.median_s


def _reasons(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault((row.implementation, row.status, row.reason), []).append(row.task)
    if reasons:
        yield Text("\nWithout a time", style="bold")
    for (implementation, status, reason), tasks in reasons.items():
        yield Text(f" {implementation} {', '.join(dict.fromkeys(tasks))}: {status}: {reason}")
    noticed: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.flags:
            noticed.setdefault((row.implementation, row.flags), []).append(f"{row.workload} {row.task}")
    if noticed:
        yield Text("\n* Noticed while measuring", style="bold")
    for (implementation, flags), where in noticed.items():
        yield Text(f" {implementation} {flags}: {', '.join(dict.fromkeys(where))}")
    for hint in hints(flags for _, flags in noticed):
        yield Text(f" {hint}", style="dim")


def _costs(analyses: Sequence[Analysis], letters: Mapping[str, str]) -> Iterator[RenderableType]:
    """Who is done first with how many calls, import and compiling included."""
    for analysis in analyses:
        groups: dict[Group, list[Cost]] = {}
        for cell, cost in analysis.costs.items():
            groups.setdefault(cell.group, []).append(cost)
        if not any(len(group) > 1 for group in groups.values()):
            continue
        yield Text(f"\n{_name(analysis, letters)}Done first, import and compiling included", style="bold")
        lines = []
        for group, members in groups.items():
            first = [(winner(members, count), rivals(members, analysis.cells, count)) for count in COUNTS]
            lines.append(
                [
                    f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}",
                    *(best.cell.implementation + f", or {len(others)} more" * bool(others) for best, others in first),
                ]
            )
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
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        for name, column, least in zip(header, columns, widths, strict=True):
            width = min(max(map(cell_len, column)), least + spare)
            spare -= width - least
            table.add_column(name, width=width)
        for line in self.lines:
            table.add_row(*map(Text, line))
        yield Padding(table, (0, 0, 0, 1))


def _captions(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    baselines = dict.fromkeys(row.baseline for row in rows if row.baseline)
    if baselines:
        yield Text(
            f"\nmedian: of the process medians; ±: its 95 % interval. ratio: to {' or '.join(baselines)}, paired turn"
            " by turn, above 1 is slower. verdict: at a stricter level, fit for looking after every block; SAME: all"
            " that the blocks allow lies within 2 %; –: fewer than three blocks (or refused). 2=: no verdict tells"
            " those at one place from its first.",
            style="dim",
        )
    if any(row.bound_share is not None for row in rows):
        yield Text(
            "bound: the share of its time that a row's framework takes for the model's products alone; the lines of the"
            " tier bound have their times. At 100 % only faster products would help.",
            style="dim",
        )
    if len(baselines) > 1:
        yield Text("Where the baseline has no time, the first row that has one stands in for it.", style="dim")


def _about(analyses: Sequence[Analysis], letters: Mapping[str, str]) -> Iterator[RenderableType]:
    for analysis in analyses:
        result = analysis.result
        for words in (about_versions(result.run), about_control(analysis.control), about_end(result)):
            if words:
                yield Text(f"{_name(analysis, letters)}{as_typed(words)}", style="dim" if result.whole else "yellow")
        if len(analyses) > 1:
            yield Text(f"run {letters[str(result.path)]}: {result.path}", style="dim")


def _name(analysis: Analysis, letters: Mapping[str, str]) -> str:
    return f"run {letters[str(analysis.result.path)]}: " if len(letters) > 1 else ""
