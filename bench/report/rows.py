"""Results to table rows: flat, sorted, with ratios and verdicts. Pure; every format is made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.analysis.break_even import compile_s
from bench.analysis.cells import CellAnalysis
from bench.records.schema import BOUND, Struct
from bench.records.versions import by_number
from impls.contract import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records.schema import Record


class TableRow(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One line of the table: what ``--format json`` gives."""

    implementation: str
    framework: str
    tier: str
    workload: str
    shape: str
    """The workload's sizes; they may differ between presets."""
    task: Task
    device: str
    precision: str
    threads: int
    status: str
    reason: str | None
    rank: str | None
    """Place in its group; ``2=`` where several share it: no verdict tells them from its first."""
    median_s: float | None
    """Median of the process medians."""
    ci_low_s: float | None
    """95 % interval of the median."""
    ci_high_s: float | None
    per_sequence_s: float | None
    ratio: float | None
    """To the baseline, paired by block: above 1 is slower."""
    ratio_low: float | None
    """95 % interval of the ratio."""
    ratio_high: float | None
    verdict: str | None
    """FASTER, SLOWER, SAME or UNCLEAR than the baseline; None below three blocks."""
    detectable: float | None
    """The smallest difference that so many blocks of this noise find four times in five."""
    baseline: str | None
    blocks: int
    samples: int
    disturbed: int
    """Samples in whose turn somebody else had the processor: they count in the median, and not in the ratio."""
    outliers: int
    """Samples outside the outer fences of their process; they count like the others."""
    max_relative_error: float | None
    import_s: float | None
    build_s: float | None
    compile_s: float | None
    """In block 1, without a compilation cache."""
    compiled: str | None
    """What was compiled, where that is not the whole of a task."""
    first_call_s: float | None
    """In block 1."""
    peak_bytes: int | None
    pays_after: float | None
    """Calls after which it is done sooner than the baseline, fixed costs included; None if never."""
    flags: str
    """What was noticed, joined by spaces: ``records.Flag``, and drifting."""
    flops: int | None
    """Floating-point operations of a call's products; None where the result does not say of what sizes they are."""
    elementwise_flops: int | None
    """About how many others a call has; in no rate."""
    flops_per_s: float | None
    """``flops`` over the median."""
    machine_flops_per_s: float | None
    """The machine's bound: the rate of the best square product of any framework, median of the blocks."""
    machine_share: float | None
    """The rate over the machine's bound, paired by block."""
    bound: str | None
    """The bound that the row is held against: the products alone, in the framework that makes them."""
    bound_share: float | None
    """Time of the bound over time of the row, paired turn by turn: 1 is nothing but products."""
    bound_share_low: float | None
    """95 % interval of it."""
    bound_share_high: float | None
    result: str
    """The folder of the result it comes from, as it was named."""


def table_rows(analyses: Sequence[Analysis]) -> list[TableRow]:
    """Every cell as a row: by workload and task in the order of the run, device, threads, then by time; bounds last."""
    rows = [
        _row(one, analysis) for analysis in analyses for one in analysis.cells.values() if one.cell.role != "control"
    ]
    workloads = list(dict.fromkeys(name for analysis in analyses for name in analysis.run.workloads))
    return sorted(
        rows,
        key=lambda row: (
            workloads.index(row.workload),
            row.shape,
            TASKS.index(row.task),
            row.device,
            row.threads,
            row.precision,
            row.result,
            row.tier == BOUND,
            row.median_s is None,
            row.ratio or 0.0,
            row.median_s or 0.0,
            by_number(row.implementation),
        ),
    )


def flags_of(one: CellAnalysis) -> list[str]:
    """What was noticed in any of the blocks that count, and whether the cell drifts within its processes."""
    noticed = {flag for record in one.blocks for flag in record.flags}
    drifting = [stats.steadiness(samples).drifting for samples in one.samples_s]
    return sorted(noticed) + ["drifting"] * (2 * sum(drifting) > len(drifting))


def _row(one: CellAnalysis, analysis: Analysis) -> TableRow:
    cell, ratio, middle = one.cell, one.ratio, one.median_s
    workload, limits = analysis.run.workloads[cell.workload], analysis.limits[cell]
    interval = stats.time_interval(one.samples_s) if one.blocks else None
    first, share, memory = _first(one), limits.bound_share, analysis.memory.get(cell)
    has_verdict = cell.role == "row" and cell.implementation != one.baseline
    cost = analysis.costs.get(cell)
    base = next((analysis.costs.get(other.cell) for other in analysis.groups[cell.group] if other.is_baseline), None)
    return TableRow(
        implementation=cell.implementation,
        framework=cell.framework,
        tier=cell.tier,
        workload=cell.workload,
        shape=workload.shape,
        task=cell.task,
        device=cell.device,
        precision=cell.precision,
        threads=cell.threads,
        status=one.failure.status if one.failure else "ok",
        reason=one.failure.reason if one.failure else None,
        rank=analysis.ranks.get(cell),
        median_s=middle,
        ci_low_s=interval.low if interval else None,
        ci_high_s=interval.high if interval else None,
        per_sequence_s=middle / workload.sequences if middle else None,
        ratio=ratio.estimate if ratio else None,
        ratio_low=ratio.low if ratio else None,
        ratio_high=ratio.high if ratio else None,
        verdict=ratio.verdict if ratio and has_verdict else None,
        detectable=ratio.mde if ratio and has_verdict else None,
        baseline=one.baseline,
        blocks=len({record.block for record in one.blocks}),
        samples=sum(map(len, one.samples_s)),
        disturbed=sum(len(record.disturbed) for record in one.blocks),
        outliers=sum(stats.outliers(samples).severe for samples in one.samples_s),
        max_relative_error=max((record.max_relative_error or 0.0 for record in one.blocks), default=None),
        import_s=_median(record.import_s for record in one.blocks),
        build_s=_median(record.build_s for record in one.blocks),
        compile_s=compile_s(one),
        compiled=first.compiled if first else None,
        first_call_s=first.first_call_s if first else None,
        peak_bytes=memory.peak_bytes if memory else None,
        pays_after=cost.breaks_even(base) if cost and base and cost is not base else None,
        flags=" ".join(flags_of(one)),
        flops=limits.flops,
        elementwise_flops=limits.elementwise_flops,
        flops_per_s=limits.flops_per_s,
        machine_flops_per_s=limits.machine_flops_per_s,
        machine_share=limits.machine_share,
        bound=limits.bound,
        bound_share=share.estimate if share else None,
        bound_share_low=share.low if share else None,
        bound_share_high=share.high if share else None,
        result=str(analysis.result.path),
    )


def _first(one: CellAnalysis) -> Record | None:
    return next((record for record in (*one.set_aside, *one.blocks) if record.block == 1), None)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stats.median(known) if known else None
