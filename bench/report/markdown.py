"""The table as Markdown, for a result's folder."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

from bench import units
from bench.analysis.analysis import Analysis
from bench.records.versions import packages_of
from bench.report.sentence import sentence
from bench.report.words import about_control, about_end, about_versions, hints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from bench.records.schema import Environment
    from bench.report.rows import TableRow


TABLE_FILE = "table.md"
"""The full table, in the folder of its result."""

Column = tuple[str, Callable[["TableRow"], str]]
"""Its head, and what it says of a row that has a time."""

COLUMNS: tuple[Column, ...] = (
    ("rank", lambda row: row.rank or ""),
    ("tier", lambda row: row.tier),
    ("where", lambda row: row.place),
    ("median", lambda row: units.seconds(row.median_s)),
    ("95 %", lambda row: f"{units.seconds(row.ci_low_s)} to {units.seconds(row.ci_high_s)}"),
    ("ratio", lambda row: units.ratio(row.ratio)),
    ("95 %", lambda row: units.between(row.ratio_low, row.ratio_high)),
    ("verdict", lambda row: row.verdict or ("baseline" if row.implementation == row.baseline else "–")),
    ("MDE (minimum detectable effect)", lambda row: units.percent(row.detectable)),
    ("per sequence", lambda row: units.seconds(row.per_sequence_s)),
    ("tokens/s", lambda row: units.tokens(row.tokens_per_s)),
    ("import", lambda row: units.seconds(row.import_s)),
    ("compile", lambda row: units.seconds(row.compile_s)),
    ("first call", lambda row: units.seconds(row.first_call_s)),
    ("peak memory", lambda row: units.size(row.peak_bytes)),
    ("break-even (calls)", lambda row: units.calls(row.pays_after)),
    ("blocks", lambda row: f"{row.blocks}"),
    ("samples", lambda row: f"{row.samples}, {row.outliers} far out" if row.outliers else f"{row.samples}"),
    ("error", lambda row: units.error(row.max_relative_error)),
    ("noticed", lambda row: row.flags),
)

LIMITS: tuple[Column, ...] = (
    ("rate", lambda row: units.rate(row.flops_per_s)),
    ("of the machine", lambda row: units.percent(row.machine_share)),
    ("of the products", lambda row: units.percent(row.bound_share)),
    ("95 %", lambda row: units.percents(row.bound_share_low, row.bound_share_high)),
)
"""Where a result has matmul bounds: the rate, its share of the machine's, and the products' share of the time."""

RESULT: Column = ("result", lambda row: row.result)
"""Where there are several."""


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns to the left, the others to the right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(map(_escape, cells)) + " |" for cells in (header, rule, *lines)) + "\n"


def full(rows: Sequence[TableRow], analyses: Sequence[Analysis]) -> str:
    """Every row, a table for each workload and task, with the environment, a sentence, the means and the costs."""
    parts: list[str] = []
    for analysis in analyses:
        parts += _about(analysis, [row for row in rows if row.result == str(analysis.result.path)])
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        source = next(one.run.workloads[workload].source for one in analyses if workload in one.run.workloads)
        parts.append(f"## {workload}\n\n{shape}. Source: {source}.\n")
        for task, of_task in groupby(of_workload, key=lambda row: row.task):
            parts += _of_task(task, list(of_task), [RESULT] if len(analyses) > 1 else [])
    parts += [f"{hint}.\n" for hint in hints(row.flags for row in rows)]
    return "\n".join(parts)


def environment_line(environment: Environment, without: Collection[str] = ()) -> str:
    """The machine and its software, but for these packages, in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions.items() if name not in without)
    gpus = f", {', '.join(environment.gpus)}" if environment.gpus else ""
    return (
        f"{environment.cpu}, {environment.cores} cores{gpus}, {environment.memory_bytes / 2**30:.0f} GiB, "
        f"{environment.os}, Python {environment.python}, {versions}, {commit_in_words(environment)}"
    )


def commit_in_words(environment: Environment) -> str:
    """``commit 1234abcd5678``, or that there is none."""
    return f"commit {environment.git_commit[:12]}" if environment.git_commit else "no commit"


def _about(analysis: Analysis, rows: Sequence[TableRow]) -> Iterator[str]:
    """A result as a whole, and each row's geometric mean over the workloads, for each task, where one has any."""
    result, run = analysis.result, analysis.run
    if doubt := about_control(analysis.control, doubts_only=True):
        yield f"**{doubt}**\n"
    bounds = {row.place: units.rate(row.machine_flops_per_s) for row in rows if row.machine_flops_per_s is not None}
    best = "; ".join(f"{place} {rate}" for place, rate in bounds.items())
    lines = [
        environment_line(run.environment, {name for own in packages_of(run).values() for name in own}),
        about_versions(run),
        "; ".join(f"{name} {value}" for name, value in run.environment.facts.items()),
        f"the machine's matmul bound, the best square product of any framework: {best}" if best else "",
        f"`{run.command}`, {run.started_at}, order drawn by seed {run.plan.seed}",
        f"{about_end(result)}; {about_control(analysis.control)}",
    ]
    yield "  \n".join(filter(None, lines)) + "\n"
    yield f"{sentence(analysis, run.environment.cpu)}\n"
    means = [
        [f"`{name}`", at.task, at.place, units.ratio(mean.estimate), units.between(mean.low, mean.high)]
        for at, of_place in analysis.means.items()
        for name, mean in of_place.items()
    ]
    if means:
        yield table(["over all workloads", "task", "where", "geometric mean of the ratios", "95 %"], means, left=3)


def _of_task(task: str, rows: Sequence[TableRow], last: Sequence[Column]) -> Iterator[str]:
    """The table of a workload and task, what a call of it has to compute, and what was compiled in part."""
    columns = [*COLUMNS, *last]
    if any(row.bound is not None for row in rows):
        columns = [*COLUMNS, *LIMITS, *last]
        products, others = units.flops(rows[0].flops), units.flops(rows[0].elementwise_flops)
        elementwise = f"about {others} in elementwise operations, which no rate counts"
        yield f"{task}: {products} in products a call, and {elementwise}.\n"
    lines = []
    for row in rows:
        cells = [cell(row) for _, cell in columns]
        if row.median_s is None:
            untimed = ["", row.tier, row.place, f"{row.status}: {row.reason}"]
            cells[: len(COLUMNS)] = [*untimed, *[""] * (len(COLUMNS) - len(untimed))]
        lines.append([f"`{row.implementation}`", *cells])
    yield table([task, *(head for head, _ in columns)], lines, left=4)
    for row in rows:
        if row.compiled and row.compile_s:
            yield f"`{row.implementation}` {row.place} compiled {row.compiled} in {units.seconds(row.compile_s)}.\n"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
