"""The table in the terminal. Fits 80 columns, and is plain text when piped."""

from __future__ import annotations

from itertools import groupby
from string import ascii_uppercase
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench.report import units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from bench.records import Result
    from bench.report.rows import TableRow


def render(rows: Sequence[TableRow], results: Sequence[Result]) -> Iterator[RenderableType]:
    """A table for each workload and task, the reasons of what has no time, and how to read it all."""
    letters = dict(zip((str(result.path) for result in results), ascii_uppercase, strict=False))
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        yield Text(f"\n{workload}", style="bold").append(f"  {shape}", style="not bold dim")
        for task, of_task in groupby(of_workload, key=lambda row: row.task):
            yield Padding(_table(task, list(of_task), letters), (0, 0, 0, 1))
    yield from _reasons(rows)
    yield from _captions(rows)
    yield from _about(results, letters)


def _table(task: str, rows: list[TableRow], letters: Mapping[str, str]) -> Table:
    several = len(letters) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 1 if several else 2, 0, 0), header_style="dim")
    table.add_column(Text(task, style="bold not dim"), no_wrap=True, min_width=15)
    table.add_column("tier", no_wrap=True, min_width=9)
    table.add_column("device", no_wrap=True)
    for name in ("median", "spread", "ratio", "compile", "error"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    if several:
        table.add_column("run", no_wrap=True)
    for row in rows:
        device = units.place(row.device, row.threads)
        run = [letters.get(row.result, "?")] if several else []
        if row.median_s is None:
            status = Text(row.status.replace("_", " "), style="yellow")
            table.add_row(row.implementation, row.tier, device, status, *[""] * 4, *run)
            continue
        table.add_row(
            row.implementation,
            row.tier,
            device,
            units.seconds(row.median_s),
            units.percent(row.spread),
            units.ratio(row.ratio),
            units.seconds(row.compile_s),
            units.error(row.max_relative_error),
            *run,
            style="bold" if row.implementation == row.baseline else None,
        )
    return table


def _reasons(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault((row.implementation, row.status, row.reason), []).append(row.task)
    if reasons:
        yield Text("\nWithout a time", style="bold")
    for (implementation, status, reason), tasks in reasons.items():
        yield Text(f" {implementation} {', '.join(dict.fromkeys(tasks))}: {status}: {reason}")


def _captions(rows: Sequence[TableRow]) -> Iterator[RenderableType]:
    baselines = dict.fromkeys(row.baseline for row in rows if row.baseline)
    if baselines:
        yield Text(
            f"\nmedian: of all samples. spread: interquartile range over median. ratio: to {' or '.join(baselines)},"
            " above 1 is slower. compile: first call less second. error: worst relative error against the float64"
            " oracle.",
            style="dim",
        )
    if len(baselines) > 1:
        yield Text("Where the baseline has no time, the first row that has one stands in for it.", style="dim")


def _about(results: Sequence[Result], letters: Mapping[str, str]) -> Iterator[RenderableType]:
    if any(result.run.preset == "smoke" for result in results):
        yield Text("smoke runs several rows at once: it shows that all works, and its times are rough.", style="dim")
    for result in results:
        name = f"run {letters.get(str(result.path), '?')}: {result.path}"
        missing = result.run.cells - len(result.records)
        if missing > 0:
            half = "; its last record is half-written and left out" if result.half_written else ""
            yield Text(f"{name} is not whole: {missing} of {result.run.cells} cells are missing{half}", style="yellow")
        elif len(results) > 1:
            yield Text(name, style="dim")
