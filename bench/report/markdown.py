"""The table as Markdown, for a result's folder."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bench import units
from bench.analysis.analysis import Analysis
from bench.records.versions import packages_of
from bench.report.sentence import sentence
from bench.report.words import about_control, about_end, about_versions, hints

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from bench.records.schema import Environment
    from bench.report.rows import TableRow


TABLE_FILE = "table.md"
"""The full table, in the folder of its result."""

HEADER = [
    *("rank", "tier", "where", "median", "95 %", "ratio", "95 %", "verdict", "detects", "per sequence"),
    *("import", "compile", "first call", "peak memory", "pays after", "blocks", "samples", "error", "noticed"),
]


LIMITS = ["rate", "of the machine", "of the products", "95 %"]
"""Where a result has bounds: the rate, its share of the machine's, and what share of the time is the products'."""


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns to the left, the others to the right."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "\n".join("| " + " | ".join(map(_escape, cells)) + " |" for cells in (header, rule, *lines)) + "\n"


def full(rows: Sequence[TableRow], analyses: Sequence[Analysis]) -> str:
    """Every row, a table for each workload and task, with the environment, a sentence, the means and the costs."""
    parts = []
    for analysis in analyses:
        result, run = analysis.result, analysis.run
        if doubt := about_control(analysis.control, doubts_only=True):
            parts.append(f"**{doubt}**\n")
        facts = "; ".join(f"{name} {value}" for name, value in run.environment.facts.items())
        lines = [
            environment_line(run.environment, {name for own in packages_of(run).values() for name in own}),
            *filter(None, [about_versions(run), facts]),
            *_machine_bounds([row for row in rows if row.result == str(result.path)]),
            f"`{run.command}`, {run.started_at}, order drawn by seed {run.plan.seed}",
            f"{about_end(result)}; {about_control(analysis.control)}",
        ]
        parts.append("  \n".join(lines) + "\n")
        parts.append(f"{sentence(analysis.cells.values(), run, run.environment.cpu)}\n")
        parts += _means(analysis)
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        source = next(one.run.workloads[workload].source for one in analyses if workload in one.run.workloads)
        parts.append(f"## {workload}\n\n{shape}. Source: {source}.\n")
        for task, rows_of_task in groupby(of_workload, key=lambda row: row.task):
            of_task = list(rows_of_task)
            held = any(row.bound is not None for row in of_task)
            if held:
                parts.append(_operations(of_task[0]))
            columns = HEADER + LIMITS * held + ["result"] * (len(analyses) > 1)
            lines_of_task = [
                _line(row) + (_limits(row) if held else []) + [row.result] * (len(analyses) > 1) for row in of_task
            ]
            parts.append(table([task, *columns], lines_of_task, left=4))
            parts += [
                f"`{row.implementation}` {units.place(row.device, row.threads, row.precision)} compiled {row.compiled}"
                f" in {units.seconds(row.compile_s)}.\n"
                for row in of_task
                if row.compiled and row.compile_s
            ]
    parts += [f"{hint}.\n" for hint in hints(row.flags for row in rows)]
    return "\n".join(parts)


def _means(analysis: Analysis) -> list[str]:
    """Each row's geometric mean over the workloads, for each task: where all have one baseline."""
    lines = [
        [
            f"`{name}`",
            at.task,
            units.place(at.device, at.threads, at.precision),
            units.ratio(mean.estimate),
            units.between(mean.low, mean.high),
        ]
        for at, of_place in analysis.means.items()
        for name, mean in of_place.items()
    ]
    header = ["over all workloads", "task", "where", "geometric mean of the ratios", "95 %"]
    return [table(header, lines, left=3)] if lines else []


def environment_line(environment: Environment, without: Collection[str] = ()) -> str:
    """The machine and its software, but for these packages, in a line."""
    versions = ", ".join(f"{name} {number}" for name, number in environment.versions.items() if name not in without)
    commit = f"commit {environment.git_commit[:12]}" if environment.git_commit else "no commit"
    gpus = f", {', '.join(environment.gpus)}" if environment.gpus else ""
    return (
        f"{environment.cpu}, {environment.cores} cores{gpus}, {environment.memory_bytes / 2**30:.0f} GiB, "
        f"{environment.os}, Python {environment.python}, {versions}, {commit}"
    )


def _line(row: TableRow) -> list[str]:
    where = units.place(row.device, row.threads, row.precision)
    if row.median_s is None:
        return [f"`{row.implementation}`", "", row.tier, where, f"{row.status}: {row.reason}", *[""] * 15]
    return [
        f"`{row.implementation}`",
        row.rank or "",
        row.tier,
        where,
        units.seconds(row.median_s),
        f"{units.seconds(row.ci_low_s)} to {units.seconds(row.ci_high_s)}",
        units.ratio(row.ratio),
        units.between(row.ratio_low, row.ratio_high),
        row.verdict or ("baseline" if row.implementation == row.baseline else "–"),
        units.percent(row.detectable),
        units.seconds(row.per_sequence_s),
        units.seconds(row.import_s),
        units.seconds(row.compile_s),
        units.seconds(row.first_call_s),
        units.size(row.peak_bytes),
        units.calls(row.pays_after),
        f"{row.blocks}",
        f"{row.samples}, {row.outliers} far out" if row.outliers else f"{row.samples}",
        units.error(row.max_relative_error),
        row.flags,
    ]


def _limits(row: TableRow) -> list[str]:
    return [
        units.rate(row.flops_per_s),
        units.percent(row.machine_share),
        units.percent(row.bound_share),
        units.percents(row.bound_share_low, row.bound_share_high),
    ]


def _operations(row: TableRow) -> str:
    """What a call of the task has to compute."""
    return (
        f"{row.task}: {units.flops(row.flops)} in products a call, and about {units.flops(row.elementwise_flops)} in"
        " elementwise operations, which no rate counts.\n"
    )


def _machine_bounds(rows: Sequence[TableRow]) -> list[str]:
    """The rate of the best square product, where it was measured."""
    found = {
        units.place(row.device, row.threads, row.precision): row.machine_flops_per_s
        for row in rows
        if row.machine_flops_per_s is not None
    }
    words = "; ".join(f"{place} {units.rate(rate)}" for place, rate in found.items())
    return [f"the machine's bound, the best square product of any framework: {words}"] if found else []


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
