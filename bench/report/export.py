"""Tables for programs: JSON, CSV, and a result as pytest-benchmark saves its own."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.analysis import Analysis
from bench.report.rows import TableRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Run
    from bench.report.rows import CellRow


def to_json(rows: Sequence[CellRow]) -> str:
    """A list of flat objects."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n"


def to_csv(rows: Sequence[TableRow]) -> str:
    """A line a row, the names of the fields on top."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TableRow.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(row) for row in rows)
    return text.getvalue()


def rounded(value: Any, digits: int) -> Any:
    """The value, its floats in any depth at so many digits: the last ones differ from processor to processor."""
    match value:
        case float():
            return float(f"{value:.{digits}g}")
        case dict():
            return {key: rounded(own, digits) for key, own in value.items()}
        case list() | tuple():
            return [rounded(own, digits) for own in value]
    return value


def to_pytest_benchmark(analysis: Analysis) -> bytes:
    """What ``pytest-benchmark compare`` opens: a benchmark for each cell of a row that has a time, with all samples.

    pytest-benchmark knows no blocks and pairs nothing: what it says of two cells is coarser than a verdict of ours.
    Two looks at one result give the same bytes.
    """
    run = analysis.run
    here = run.environment
    saved = {
        "machine_info": {
            "node": here.machine,
            "machine": here.os.rpartition(" ")[2],
            "system": here.os.partition(" ")[0],
            "python_version": here.python,
            "cpu": {"brand_raw": here.cpu, "count": here.cores},
        },
        "commit_info": {"id": here.git_commit or "unversioned", "dirty": here.git_dirty},
        "benchmarks": [
            _benchmark(one, run) for one in analysis.cells.values() if one.blocks and one.cell.role == "row"
        ],
        "datetime": run.started_at,
        "version": here.versions.get("pytest-benchmark", "unknown"),
    }
    return msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n"


def _benchmark(one: CellAnalysis, run: Run) -> dict[str, Any]:
    from pytest_benchmark.stats import Stats  # of all formats, this one alone needs it

    cell, fields, of_row = one.cell, msgspec.structs.asdict(one.cell), ("framework", "tier")
    precision = "" if cell.precision == "float32" else f"-{cell.precision}"
    name = f"{cell.implementation}-{cell.workload}-{cell.task}-{cell.device}{cell.threads}{precision}"
    samples = [sample for block in one.samples_s for sample in block]
    stats = Stats()  # type: ignore[no-untyped-call]
    for sample in samples:
        stats.update(sample)  # type: ignore[no-untyped-call]
    numbers: dict[str, Any] = stats.as_dict()  # type: ignore[no-untyped-call]
    return {
        "group": f"{cell.workload}-{cell.task}",
        "name": f"test_cell[{name}]",
        "fullname": f"bench::test_cell[{name}]",
        "params": {name: value for name, value in fields.items() if name not in of_row},
        "param": name,
        "extra_info": {
            **{name: fields[name] for name in of_row},
            "shape": run.workloads[cell.workload].shape,
            "samples_of_block": [len(block) for block in one.samples_s],
            "median_of_block_medians_s": one.median_s,
            "baseline": one.baseline,
            # as many digits as every processor agrees on: the last of a logarithm depends on its vector instructions
            "ratio_to_baseline": rounded(one.ratio.estimate, 9) if one.ratio else None,
            "verdict": one.ratio.verdict if one.ratio else None,
            "max_relative_error": max((block.max_relative_error or 0.0 for block in one.blocks), default=None),
        },
        "options": {"timer": "perf_counter"},
        "stats": numbers | {"data": samples, "iterations": one.blocks[0].calls or 1},
    }
