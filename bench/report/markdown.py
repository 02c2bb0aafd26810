"""The table as Markdown: in full for a result's folder, in short for the README."""

from __future__ import annotations

from itertools import groupby
from statistics import geometric_mean
from typing import TYPE_CHECKING

from bench.report import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records import Environment, Result
    from bench.report.rows import TableRow


INDISTINCT = 0.20
"""Rows measured one after the other cannot be told apart by less than this: on a virtual machine with neighbours, the
ratio of two identical processes so measured had a standard deviation of 17 %."""

HEADER = ["tier", "device", "median", "spread", "ratio", "per sequence", "compile", "first call", "error"]


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns to the left, the others to the right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(map(_escape, cells)) + " |" for cells in (header, rule, *lines)) + "\n"


def full(rows: Sequence[TableRow], results: Sequence[Result]) -> str:
    """Every row, a table for each workload and task, with the environment."""
    parts = [
        f"{environment_line(result.run.environment)}  \n`{result.run.command}`, {result.run.started_at}\n"
        for result in results
    ]
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        source = next(result.run.workloads[workload].source for result in results if workload in result.run.workloads)
        parts.append(f"## {workload}\n\n{shape}. Source: {source}.\n")
        for task, of_task in groupby(of_workload, key=lambda row: row.task):
            columns = HEADER + ["result"] * (len(results) > 1)
            lines = [_line(row) + [row.result] * (len(results) > 1) for row in of_task]
            parts.append(table([task, *columns], lines, left=3))
    return "\n".join(parts)


def short(rows: Sequence[TableRow], task: str) -> str:
    """One task: a line for each implementation, a column for each workload, median and ratio; the fastest are bold."""
    rows = [row for row in rows if row.task == task]
    workloads = list(dict.fromkeys(row.workload for row in rows))
    order = sorted(dict.fromkeys((row.implementation, row.tier) for row in rows), key=lambda pair: _rank(rows, pair[0]))
    fastest = {row.workload: row.median_s for row in reversed(rows) if row.median_s}
    lines = []
    for implementation, tier in order:
        found = {row.workload: row for row in rows if row.implementation == implementation}
        cells = [_short_cell(found.get(workload), fastest.get(workload, 0.0)) for workload in workloads]
        lines.append([f"`{implementation}`", tier, *cells])
    return table([f"**{task}**", "tier", *workloads], lines, left=2)


def environment_line(environment: Environment) -> str:
    """The machine and its software, in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions.items())
    commit = f", commit {environment.git_commit[:12]}" if environment.git_commit else ""
    gpus = f", {', '.join(environment.gpus)}" if environment.gpus else ""
    return (
        f"{environment.cpu}, {environment.cores} cores{gpus}, {environment.memory_bytes / 2**30:.0f} GiB, "
        f"{environment.os}, Python {environment.python}, {versions}{commit}"
    )


def _line(row: TableRow) -> list[str]:
    device = units.place(row.device, row.threads)
    if row.median_s is None:
        return [f"`{row.implementation}`", row.tier, device, f"{row.status}: {row.reason}", *[""] * 6]
    return [
        f"`{row.implementation}`",
        row.tier,
        device,
        units.seconds(row.median_s),
        units.percent(row.spread),
        units.ratio(row.ratio),
        units.seconds(row.per_sequence_s),
        units.seconds(row.compile_s),
        units.seconds(row.first_call_s),
        units.error(row.max_relative_error),
    ]


def _short_cell(row: TableRow | None, fastest_s: float) -> str:
    if row is None:
        return ""
    if row.median_s is None:
        return row.status
    words = f"{units.seconds(row.median_s)} ({units.ratio(row.ratio)})"
    return f"**{words}**" if row.median_s <= (1 + INDISTINCT) * fastest_s else words


def _rank(rows: Iterable[TableRow], implementation: str) -> tuple[bool, float]:
    ratios = [row.ratio for row in rows if row.implementation == implementation and row.ratio]
    return not ratios, geometric_mean(ratios) if ratios else 0.0


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
