"""Bounds stand beside the rows in every table, and compete with none of them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from rich.console import Console
from support.pretend import plan, row, run
from support.publishing import the_one_before
from support.recorded import BLOCK, END, RUN, record, write

from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse, control, undecided
from bench.analysis.compare import compare
from bench.analysis.roofline import machine_bounds, rooflines_of
from bench.publish import readme
from bench.records.schema import CONTROL, CodeFacts, Record
from bench.records.store import read_result
from bench.report import export, markdown, text
from bench.report.export import to_pytest_benchmark
from bench.report.progress import live_summary, tally
from bench.report.rows import table_rows
from bench.workloads.flops import BatchSizes, product_flops
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Line, Result
    from impls.contract import Device

FLOPS = product_flops(SEED.config, [BatchSizes(10, 9, 2)], "forward")
TABLE = [["torch/module", "jax/scan", "torch/products", CONTROL]]
BOUNDED = msgspec.structs.replace(
    RUN,
    workloads={
        name: msgspec.structs.replace(facts, config=SEED.config, batches=(BatchSizes(10, 9, 2),))
        for name, facts in RUN.workloads.items()
    },
    bounds={"torch/module": "torch/products"},
    plan=msgspec.structs.replace(RUN.plan, pools=TABLE),
    rows=RUN.rows | {"torch/products": CodeFacts(code="products", versions={})},
)


def lines_of(blocks: int = 8, speeds: dict[str, float] | None = None) -> list[Line]:
    """Blocks in which the machine is now fast, now half as fast; the bound is there in the first three."""
    rng = np.random.default_rng(1)
    lines: list[Line] = []
    times = {"torch/module": 1.0, CONTROL: 1.0, "jax/scan": 2.0, "torch/products": 0.8} | (speeds or {})
    for block in range(1, blocks + 1):
        slow = 1.0 + block % 2
        for name, seconds in times.items():
            samples = (1e-3 * slow * seconds * rng.lognormal(0, 0.001, 9)).tolist()
            if name != "torch/products":
                lines.append(record(name, block=block, samples_s=samples))
            elif block <= 6:
                squares = [0.012 * slow, 0.010 * slow, 0.011 * slow]
                bound = {"tier": "bound", "square_size": 100, "squares_s": squares}
                lines.append(record(name, block=block, samples_s=samples, **bound))
        lines.append(msgspec.structs.replace(BLOCK, block=block))
    return [*lines, END]


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return read_result(write(tmp_path / "bounded", *lines_of(), run=BOUNDED))


def shown(*results: Result) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False).print(
        *text.render(table_rows([*map(Analysis, results)]), [*map(Analysis, results)]), sep="\n"
    )
    return stream.getvalue()


def test_shares_are_paired_so_that_a_machine_that_drifts_moves_none(result: Result) -> None:
    judged = analyse(result.records, "torch/module")
    found = {cell.implementation: limits for cell, limits in rooflines_of(judged, result.run).items()}
    module, scan, bound = (found[name] for name in ("torch/module", "jax/scan", "torch/products"))
    assert module.flops == FLOPS and module.elementwise_flops
    assert module.bound == "torch/products" and module.bound_share is not None
    assert module.bound_share.estimate == pytest.approx(0.8, rel=0.01)
    assert module.bound_share.low < 0.8 < module.bound_share.high < 0.82
    assert module.bound_share.blocks == 6
    fast = 2 * 100**3 / 0.010
    assert machine_bounds(judged.values()) == {
        ("cpu", 1, "float32"): {block: pytest.approx(fast / (1 + block % 2)) for block in range(1, 7)}
    }
    assert module.machine_flops_per_s == pytest.approx(0.75 * fast)
    assert module.machine_share == pytest.approx(FLOPS / 1e-3 / fast, rel=0.01)
    assert bound.machine_share == pytest.approx(FLOPS / 0.8e-3 / fast, rel=0.01)
    assert (bound.bound, bound.bound_share) == (None, None)
    assert (scan.bound, scan.bound_share) == (None, None) and scan.machine_share is not None


def test_a_bound_is_never_ranked_compared_or_baseline(result: Result) -> None:
    judged = analyse(result.records, "torch/module")
    by_name = {cell.implementation: one for cell, one in judged.items()}
    assert not by_name["torch/products"].is_compared and not by_name["torch/products"].is_decided
    assert not [names for names in undecided(judged.values()).values() if "torch/products" in names]
    assert tally(judged.values()) == "1 SLOWER"
    stream = io.StringIO()
    Console(file=stream, width=80).print(live_summary(judged.values()))
    assert "torch/products" not in stream.getvalue() and "1 of 1" in stream.getvalue()
    found = {one.implementation: one for one in table_rows([Analysis(result)])}
    bound = found["torch/products"]
    assert (bound.rank, bound.verdict, bound.detectable, bound.pays_after) == (None, None, None, None)
    assert found["torch/module"].rank == "1" and found["jax/scan"].rank == "2"
    few = [one for one in result.records if one.cell.implementation in ("torch/products", CONTROL)]
    alone = analyse(few, "torch/module")
    assert {one.baseline for one in alone.values()} == {None}
    assert control(alone.values()) is None


def test_tables_show_the_rate_and_both_shares(result: Result) -> None:
    words = shown(result)
    assert max(map(len, words.splitlines())) <= 80 and "…" not in words
    module, scan, bound = [line.split() for line in words.splitlines() if "/" in line and " ms" in line]
    assert module[-3:] == ["baseline", "80", "%"]
    assert scan[-1] == "SLOWER" and bound[:2] == ["torch/products", "bound"]  # below the rows
    assert "the share of its time that a row's framework takes for the model's products alone" in " ".join(
        words.split()
    )
    full = markdown.full(table_rows([Analysis(result)]), [Analysis(result)])
    assert "| rate | of the machine | of the products | 95 % |" in full
    assert "the machine's matmul bound, the best square product of any framework: cpu×1 150 MFLOP/s" in full
    assert "forward: 1.32 MFLOP in products a call, and about 51.7 kFLOP in elementwise operations" in full
    assert "| 80 % | 80 to 80 % |" in full
    on_readme = readme.table(table_rows([Analysis(result)]))
    assert "jax/scan" in on_readme and "products" not in on_readme
    rows_of_json = {one["implementation"]: one for one in json.loads(export.to_json(table_rows([Analysis(result)])))}
    module = rows_of_json["torch/module"]
    assert module["bound_share"] == pytest.approx(0.8, rel=0.01) and module["flops"] == FLOPS
    assert rows_of_json["torch/products"]["tier"] == "bound"
    names = {one["params"]["implementation"] for one in json.loads(to_pytest_benchmark(Analysis(result)))["benchmarks"]}
    assert names == {"torch/module", "jax/scan"}


def test_what_has_no_bounds_is_shown_as_it_was(tmp_path: Path) -> None:
    lines = [line for line in lines_of() if not (isinstance(line, Record) and line.cell.tier == "bound")]
    old = read_result(write(tmp_path, *lines))
    assert "bound" not in shown(old)
    full = markdown.full(table_rows([Analysis(old)]), [Analysis(old)])
    assert "of the products" not in full and "FLOP" not in full
    (module,) = [one for one in table_rows([Analysis(old)]) if one.implementation == "torch/module"]
    assert (module.flops, module.flops_per_s, module.machine_share, module.bound, module.bound_share) == (None,) * 5


def test_results_with_and_without_bounds_are_shown_together_and_compared(result: Result, tmp_path: Path) -> None:
    lines = [line for line in lines_of(blocks=6) if not (isinstance(line, Record) and line.cell.tier == "bound")]
    plain = msgspec.structs.replace(
        RUN, plan=msgspec.structs.replace(RUN.plan, pools=[["torch/module", "jax/scan", CONTROL]])
    )
    old = read_result(write(tmp_path / "old", *lines, run=plain))
    words = shown(old, result)
    assert max(map(len, words.splitlines())) <= 80 and "…" not in words
    cells = compare(Analysis(old), Analysis(result)).cells
    assert {one.cell.implementation for one in cells} == {"torch/module", "jax/scan"}
    before = Analysis(old)
    assert the_one_before([before], Analysis(result)) is before  # the same rows compete


def test_runs_on_two_gpus_beside_the_same_processor_are_not_compared(tmp_path: Path) -> None:
    def of(gpu: str, device: Device) -> Analysis:
        environment = msgspec.structs.replace(RUN.environment, gpus=[gpu])
        run = msgspec.structs.replace(
            RUN, environment=environment, plan=msgspec.structs.replace(RUN.plan, device=device)
        )
        return Analysis(read_result(write(tmp_path / device / gpu, *lines_of(blocks=6), run=run)))

    small, large = of("NVIDIA L4", "gpu"), of("NVIDIA H100", "gpu")
    assert the_one_before([small], large) is None and the_one_before([large, small], large) is large
    old = of("NVIDIA L4", "cpu")
    assert the_one_before([old], of("NVIDIA H100", "cpu")) is old  # which neither uses


def test_a_bound_that_fails_leaves_the_rows_theirs(tmp_path: Path) -> None:
    lines = [line for line in lines_of(blocks=6) if not (isinstance(line, Record) and line.cell.tier == "bound")]
    lines.append(record("torch/products", tier="bound", status="invalid", reason="it is off", samples_s=[]))
    found = read_result(write(tmp_path, *lines, run=BOUNDED))
    rows = {one.implementation: one for one in table_rows([Analysis(found)])}
    assert rows["torch/module"].bound_share is None and rows["torch/module"].rank == "1"
    assert "torch/products forward: invalid: it is off" in shown(found)
    assert "| – | – | – |" in markdown.full(table_rows([Analysis(found)]), [Analysis(found)])


BASE, OTHER = row("base"), row("other", frameworks=("msgspec",))
OF_OTHER = row("of_other", tier="bound", frameworks=("msgspec",))


def test_where_a_bound_is_in_another_pool_its_share_is_found_through_the_baseline() -> None:
    own = plan(BASE, OTHER, row("third"), bounds=[OF_OTHER], entries_a_pool=4, workloads=[SEED], tasks=("forward",))
    assert [[entry.name for entry in pool.entries] for pool in own.pools] == [
        ["base", "other", "third", CONTROL],
        ["base", "of_other", CONTROL],
    ]
    judged = analyse(run(own, {"other": 2.0, "of_other": 1.5}, noise=0.001), "base")
    bounded = msgspec.structs.replace(BOUNDED, bounds={"other": "of_other"})
    (share,) = [
        one.bound_share for cell, one in rooflines_of(judged, bounded).items() if cell.implementation == "other"
    ]
    assert share is not None and share.estimate == pytest.approx(0.75, rel=0.02)
