"""The part of README that is made of a result."""

from __future__ import annotations

from math import log
from statistics import fmean
from typing import TYPE_CHECKING

from bench.records.schema import BOUND
from bench.report import markdown
from bench.report.featured import TASKS_OF_README, is_readmes
from bench.report.rows import table_rows
from bench.report.sentence import WORDS, sentence
from bench.report.words import about_control
from bench.units import duration, ratio, seconds
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.analysis import Analysis
    from bench.publish.kinds import Repository
    from bench.records.schema import Cell
    from bench.report.rows import TableRow

START, END = "<!-- results: made by `python -m bench publish`, not by hand -->", "<!-- end of results -->"


def with_table(repository: Repository, analysis: Analysis, error_rate: str) -> str:
    """The README with the result's sentence, table and picture between its marks.

    Raises:
        InvalidInput: the README has no marks.
    """
    result, run, here = analysis.result, analysis.result.run, analysis.result.run.environment

    def is_shown(cell: Cell) -> bool:
        return is_readmes(cell) and cell.task in TASKS_OF_README

    shown = [one for cell, one in analysis.cells.items() if is_shown(cell)]
    compared = [one for one in shown if one.is_compared]
    full = (result.path / markdown.TABLE_FILE).relative_to(repository.root)
    home = (repository.machines / here.machine).relative_to(repository.root)
    frameworks = dict.fromkeys(one.cell.framework for one in shown)
    versions = ", ".join(f"{name} {here.versions[name]}" for name in frameworks if name in here.versions)
    parts = (
        sentence(analysis, f"{here.cpu} with one thread", is_shown),
        f"Ratio to `{run.baseline}` (below 1 is faster); its own line shows the median time of a call. **Bold**: first"
        " in its column, or not distinguishable from the first.",
        table([row for row in table_rows([analysis]) if is_readmes(row)]),
        f"![Ratio to {run.baseline} of each row, with intervals]({home}/ratio.svg)",
        f"{sum(one.is_decided for one in compared)} of {len(compared)} ratios are decided after"
        f" {duration(result.elapsed_s)}; {about_control(analysis.control)}. [All numbers]({full}); {here.cores} cores,"
        f" Python {here.python}, {versions}, {run.started_at[:10]}. {error_rate}",
    )
    return with_part(repository, START, END, *parts)


def with_part(repository: Repository, start: str, end: str, *parts: str) -> str:
    """The README with these paragraphs between its marks.

    Raises:
        InvalidInput: it has no such marks.
    """
    readme = repository.readme.read_text(encoding="utf-8")
    before, begins, rest = readme.partition(start)
    _, ends, after = rest.partition(end)
    if not begins or not ends:
        raise InvalidInput(f"{repository.readme.name}: has no place for the results, between {start!r} and {end!r}")
    return "\n\n".join((before + start, *parts, end + after))


def table(rows: Sequence[TableRow]) -> str:
    """A line for each row, the fastest on average first, and a column for each task and workload: ratio and verdict.

    The baseline's line has its times. Bold: the first place of each column; no verdict distinguishes those who share
    it. Below: what has no time, and why.
    """
    rows = [row for task in TASKS_OF_README for row in rows if row.task == task and row.tier != BOUND]
    columns = list(dict.fromkeys((row.task, row.workload) for row in rows))
    cells = {(row.implementation, row.task, row.workload): row for row in rows}
    tiers = {row.implementation: row.tier for row in rows if row.median_s is not None}
    lines = [
        [f"`{name}`", tiers[name], *(_cell(cells.get((name, *column))) for column in columns)]
        for name in sorted(tiers, key=lambda name: _place([row for row in rows if row.implementation == name]))
    ]
    header = ["row", "tier", *(f"{WORDS[task]}: {workload}" for task, workload in columns)]
    reasons = {row.implementation: (row.task, row.reason) for row in rows if row.median_s is None}
    words = "; ".join(
        f"`{name}`{f' {WORDS[task]}' * (name in tiers)} – {reason}" for name, (task, reason) in reasons.items()
    )
    return (markdown.table(header, lines, left=2) + (f"\nNot timed: {words}." if words else "")).rstrip("\n")


def _cell(row: TableRow | None) -> str:
    if row is None:
        return ""
    if row.median_s is None:
        return row.status
    is_baseline = row.implementation == row.baseline
    words = seconds(row.median_s) if is_baseline else " ".join(filter(None, (ratio(row.ratio), row.verdict)))
    return f"**{words}**" if row.rank in ("1", "1=") else words


def _place(rows: Sequence[TableRow]) -> tuple[int, float]:
    """Where the line of a row stands: by its mean log ratio, below those that have a ratio in more columns."""
    logs = [log(row.ratio) for row in rows if row.ratio]
    return -len(logs), fmean(logs) if logs else 0.0
