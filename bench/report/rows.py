"""Results to table rows: flat, sorted, with ratios and verdicts. Pure; every format is made of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bench import units
from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.analysis.break_even import compile_s
from bench.analysis.cells import CellAnalysis
from bench.records.schema import BOUND, Struct
from bench.records.versions import by_number
from bench.workloads.flops import tokens
from impls.tasks import ALL_TASKS, AnyTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.analysis.verdict import Ratio


class CellRow(Struct, frozen=True, kw_only=True):
    """A cell, flat: what a line of every table begins with."""

    implementation: str
    framework: str
    tier: str
    workload: str
    shape: str
    """The workload's sizes; they may differ between presets."""
    task: AnyTask
    device: str
    precision: str
    threads: int
    status: str
    reason: str | None

    @property
    def place(self) -> str:
        """Where it ran: ``cpu×1``."""
        return units.place(self.device, self.threads, self.precision)


class TableRow(CellRow, frozen=True, kw_only=True):
    """One line of the table: what ``--format json`` gives."""

    rank: str | None
    """Place in its group; ``2=`` where several share it: no verdict distinguishes them from its first."""
    median_s: float | None
    """Median of the process medians."""
    ci_low_s: float | None
    """95 % interval of the median."""
    ci_high_s: float | None
    per_sequence_s: float | None
    tokens_per_s: float | None
    """Source and target tokens of a call over the median; None where the result does not say how many they are."""
    ratio: float | None
    """To the baseline, paired by block: above 1 is slower."""
    ratio_low: float | None
    """95 % interval of the ratio."""
    ratio_high: float | None
    verdict: str | None
    """FASTER, SLOWER, SAME or UNCLEAR than the baseline; None below three blocks."""
    detectable: float | None
    """The minimum detectable effect: what so many blocks of this noise show four times in five."""
    baseline: str | None
    blocks: int
    samples: int
    disturbed: int
    """Samples whose turn was preempted: they count in the median, and not in the ratio."""
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
    """What was noticed in any of the blocks that count, joined by spaces; and drifting within processes."""
    flops: int | None
    """Floating-point operations of a call's products; None where the result does not say of what sizes they are."""
    elementwise_flops: int | None
    """About how many others a call has; in no rate."""
    flops_per_s: float | None
    """``flops`` over the median."""
    machine_flops_per_s: float | None
    """The machine's matmul bound: the rate of the best square product of any framework, median of the blocks."""
    machine_share: float | None
    """The rate over the machine's matmul bound, paired by block."""
    bound: str | None
    """The row's matmul bound: the products alone, in the framework that makes them."""
    bound_share: float | None
    """Time of the matmul bound over time of the row, paired turn by turn: 1 is nothing but products."""
    bound_share_low: float | None
    """95 % interval of it."""
    bound_share_high: float | None
    result: str
    """The folder of the result it comes from, as it was named."""


def table_rows(analyses: Sequence[Analysis]) -> list[TableRow]:
    """Every cell as a row: by workload and task as the run has them, device, threads, then time; matmul bounds last."""
    cells = [(one, analysis) for analysis in analyses for one in analysis.cells.values()]
    workloads = list(dict.fromkeys(name for analysis in analyses for name in analysis.run.workloads))

    def place(row: TableRow) -> tuple[object, ...]:
        where = (
            workloads.index(row.workload),
            row.shape,
            ALL_TASKS.index(row.task),
            row.device,
            row.threads,
            row.precision,
        )
        time = row.tier == BOUND, row.median_s is None, row.ratio or 0.0, row.median_s or 0.0
        return *where, row.result, *time, by_number(row.implementation)

    return sorted((_row(one, analysis) for one, analysis in cells if one.cell.role != "control"), key=place)


def _row(one: CellAnalysis, analysis: Analysis) -> TableRow:
    cell, blocks, middle = one.cell, one.blocks, one.median_s
    workload, limits, memory = analysis.run.workloads[cell.workload], analysis.limits[cell], analysis.memory.get(cell)
    first = next((record for record in (*one.set_aside, *blocks) if record.block == 1), None)
    interval = stats.time_interval(one.samples_s) if blocks else None
    compared = one.ratio if one.is_compared else None
    cost = analysis.costs.get(cell)
    base = next((analysis.costs.get(other.cell) for other in analysis.groups[cell.group] if other.is_baseline), None)
    drifting = [stats.steadiness(samples).drifting for samples in one.samples_s]
    flags: list[str] = sorted({flag for record in blocks for flag in record.flags})
    if 2 * sum(drifting) > len(drifting):
        flags.append("drifting")
    return TableRow(
        **msgspec.structs.asdict(cell),
        shape=workload.shape,
        status=one.failure.status if one.failure else "ok",
        reason=one.failure.reason if one.failure else None,
        rank=analysis.ranks.get(cell),
        median_s=middle,
        ci_low_s=interval.low if interval else None,
        ci_high_s=interval.high if interval else None,
        per_sequence_s=middle / workload.sequences if middle else None,
        tokens_per_s=tokens(workload.batches, cell.task) / middle if middle and workload.batches else None,
        **_with_interval("ratio", one.ratio),
        verdict=compared.verdict if compared else None,
        detectable=compared.mde if compared else None,
        baseline=one.baseline,
        blocks=len({record.block for record in blocks}),
        samples=sum(map(len, one.samples_s)),
        disturbed=sum(len(record.preempted) for record in blocks),
        outliers=sum(stats.outliers(samples).severe for samples in one.samples_s),
        max_relative_error=max((record.max_relative_error or 0.0 for record in blocks), default=None),
        import_s=_median(record.import_s for record in blocks),
        build_s=_median(record.build_s for record in blocks),
        compile_s=compile_s(one),
        compiled=first.compiled if first else None,
        first_call_s=first.first_call_s if first else None,
        peak_bytes=memory.peak_bytes if memory else None,
        pays_after=cost.breaks_even(base) if cost and base and cost is not base else None,
        flags=" ".join(flags),
        flops=limits.flops,
        elementwise_flops=limits.elementwise_flops,
        flops_per_s=limits.flops_per_s,
        machine_flops_per_s=limits.machine_flops_per_s,
        machine_share=limits.machine_share,
        bound=limits.bound,
        **_with_interval("bound_share", limits.bound_share),
        result=str(analysis.result.path),
    )


def _with_interval(name: str, ratio: Ratio | None) -> dict[str, Any]:
    """An estimate and its interval as fields."""
    low, high = (ratio.low, ratio.high) if ratio else (None, None)
    return {name: ratio.estimate if ratio else None, f"{name}_low": low, f"{name}_high": high}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stats.median(known) if known else None
