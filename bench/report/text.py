"""The table on a terminal, in 80 columns, and readable when piped."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.cost import COUNTS, costs, rivals, winner
from bench.environment import machine_name
from bench.judge import control, group_of, judge
from bench.records import BOUND
from bench.report import units
from bench.report.sentence import sentence
from bench.report.words import COLOURS, about_control, about_end, about_versions, letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from bench.records import Result
    from bench.report.rows import TableRow


def render(rows: Sequence[TableRow], results: Sequence[Result]) -> Iterator[RenderableType]:
    """What is to be doubted, a table for each group, what has no time and why, how to read it all, and a sentence."""
    letters = _letters(results)
    for result in results:
        if doubt := about_control(control(judge(result.records, result.run.baseline).values()), doubts_only=True):
            yield Text(f"{_name(result, letters)}{doubt}", style="bold red")
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        yield Text(f"\n{workload}", style="bold").append(f"  {shape}", style="not bold dim")
        groups = groupby(of_workload, key=lambda row: (row.task, units.place(row.device, row.threads, row.precision)))
        for (task, place), of_group in groups:
            yield Padding(_table(f"{task} {place}", list(of_group), letters), (0, 0, 0, 1))
    yield from _reasons(rows)
    yield from _costs(results, letters)
    yield from _captions(rows)
    yield from _about(results, letters)
    yield from endings(results)


def endings(results: Sequence[Result]) -> Iterator[RenderableType]:
    """What a person would say of each result: the last line, or lines of several."""
    letters = _letters(results)
    for result in results:
        here = result.run.environment
        where = "this machine" if here.machine == machine_name() else here.cpu
        said = sentence(judge(result.records, result.run.baseline).values(), result.run, where)
        yield Text(f"\n{_name(result, letters)}{said}", style="bold")


def _letters(results: Sequence[Result]) -> dict[str, str]:
    return {str(result.path): letter_of(number) for number, result in enumerate(results)}


def _table(title: str, rows: list[TableRow], letters: Mapping[str, str]) -> Table:
    several = len(letters) > 1
    held = not several and any(row.bound_share is not None for row in rows)  # there is no room for both columns
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", justify="right", min_width=2)
    table.add_column(Text(title, style="bold not dim"), overflow="fold", min_width=16)  # a long name takes two lines
    table.add_column("tier", no_wrap=True, min_width=9)
    for name, width in (("median", 7), ("±", 4), ("ratio", 6), ("95 %", 12)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("verdict", no_wrap=True, min_width=7)
    if held:
        table.add_column("bound", justify="right", no_wrap=True, min_width=5)
    if several:
        table.add_column("run", no_wrap=True)
    for row in rows:
        last = [letters[row.result]] if several else []
        if held:
            last = ["" if row.bound_share is None else units.percent(row.bound_share)]
        if row.median_s is None:
            status = Text(row.status.replace("_", " "), style="yellow")
            table.add_row("", row.implementation, row.tier, *[""] * 3, status, "", *last)
            continue
        is_base = row.implementation == row.baseline
        verdict = "baseline" if is_base else "" if row.tier == BOUND else row.verdict or "–"
        table.add_row(
            row.rank or "",
            row.implementation + "*" * bool(row.flags),
            row.tier,
            units.seconds(row.median_s),
            units.percent(_half_width(row)),
            units.ratio(row.ratio),
            "" if is_base else units.between(row.ratio_low, row.ratio_high),
            Text(verdict, style=COLOURS.get(verdict, "")),
            *last,
            style="bold" if is_base else "dim" if row.tier == BOUND else None,
        )
    return table


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


def _costs(results: Sequence[Result], letters: Mapping[str, str]) -> Iterator[RenderableType]:
    """Who is done first with how many calls, import and compiling included."""
    for result in results:
        judged = judge(result.records, result.run.baseline).values()
        groups = costs(judged)
        if not any(len(group) > 1 for group in groups.values()):
            continue
        yield Text(f"\n{_name(result, letters)}Done first, import and compiling included", style="bold")
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        for name in ("calls", *(f"{count:,}" for count in COUNTS)):
            table.add_column(name, overflow="fold")
        for group, members in groups.items():
            by_name = {one.cell.implementation: one for one in judged if group_of(one.cell) == group}
            first = [(winner(members, count), rivals(members, by_name, count)) for count in COUNTS]
            table.add_row(
                f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}",
                *(best.implementation + f", or {len(others)} more" * bool(others) for best, others in first),
            )
        yield Padding(table, (0, 0, 0, 1))
        yield Text(" or 2 more: the intervals allow that one of so many others is done sooner", style="dim")


def _captions(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    baselines = dict.fromkeys(row.baseline for row in rows if row.baseline)
    if baselines:
        yield Text(
            f"\nmedian: of the process medians; ±: its 95 % interval. ratio: to {' or '.join(baselines)}, paired turn"
            " by turn, above 1 is slower. verdict: at a stricter level, fit for looking after every block; SAME: all"
            " that the blocks allow lies within 2 %; –: fewer than six blocks. 2=: no verdict tells those at one place"
            " from its first.",
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


def _about(results: Sequence[Result], letters: Mapping[str, str]) -> Iterator[RenderableType]:
    for result in results:
        check = about_control(control(judge(result.records, result.run.baseline).values()))
        for words in (about_versions(result.run), check, about_end(result)):
            if words:
                yield Text(f"{_name(result, letters)}{words}", style="dim" if result.whole else "yellow")
        if len(results) > 1:
            yield Text(f"run {letters[str(result.path)]}: {result.path}", style="dim")


def _name(result: Result, letters: Mapping[str, str]) -> str:
    return f"run {letters[str(result.path)]}: " if len(letters) > 1 else ""
