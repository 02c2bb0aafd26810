"""Results to table rows: flat, sorted, with ratios. Pure; every format is made from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.records import Struct
from bench.stats import median, spread
from impls.contract import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.records import Record, Result


class TableRow(Struct, frozen=True, kw_only=True):
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
    median_s: float | None
    spread: float | None
    """Interquartile range over median."""
    samples: int
    per_sequence_s: float | None
    ratio: float | None
    """Median over the baseline's: above 1 is slower."""
    baseline: str | None
    max_relative_error: float | None
    compile_s: float | None
    first_call_s: float | None
    result: str
    """The folder of the result it comes from, as it was named."""


Group = tuple[str, str, str, str, int]


def group_of(record: Record) -> Group:
    """What has to be alike, besides the run, for times to be compared."""
    return record.workload, record.task, record.device, record.precision, record.threads


def table_rows(results: Sequence[Result]) -> list[TableRow]:
    """Every record as a row: by workload and task in the order of the run, then device, threads, then by time."""
    rows: list[TableRow] = []
    for result in results:
        groups: dict[Group, list[Record]] = {}
        for record in result.records:
            groups.setdefault(group_of(record), []).append(record)
        for records in groups.values():
            base = baseline_of(records, result.run.baseline)
            rows += [_row(record, base, result) for record in records]
    workloads = list(dict.fromkeys(name for result in results for name in result.run.workloads))
    return sorted(
        rows,
        key=lambda row: (
            workloads.index(row.workload),
            row.shape,
            TASKS.index(row.task),
            row.device,
            row.threads,
            row.result,
            row.median_s is None,
            row.median_s or 0.0,
            row.implementation,
        ),
    )


def baseline_of(records: Iterable[Record], name: str) -> Record | None:
    """The record that the others are compared with: the one of that name, else the first valid one."""
    valid = [record for record in records if record.ok]
    return next((record for record in valid if record.implementation == name), valid[0] if valid else None)


def _row(record: Record, base: Record | None, result: Result) -> TableRow:
    middle = median(record.samples_s) if record.ok else None
    return TableRow(
        implementation=record.implementation,
        framework=record.framework,
        tier=record.tier,
        workload=record.workload,
        shape=result.run.workloads[record.workload].shape,
        task=record.task,
        device=record.device,
        precision=record.precision,
        threads=record.threads,
        status=record.status,
        reason=record.reason,
        median_s=middle,
        spread=spread(record.samples_s) if record.ok else None,
        samples=len(record.samples_s),
        per_sequence_s=middle / result.run.workloads[record.workload].sequences if middle else None,
        ratio=middle / median(base.samples_s) if middle and base else None,
        baseline=base.implementation if base else None,
        max_relative_error=record.max_relative_error,
        compile_s=record.compile_s,
        first_call_s=record.first_call_s,
        result=str(result.path),
    )
