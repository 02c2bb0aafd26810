"""A rate that no machine has: who shows one is refused, and gets no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from support.crosschecks import NOTEBOOK
from support.pretend import BUDGET, run
from support.pretend import plan as pretended
from support.pretend import row as pretended_row

from bench.analysis.cells import analyse, in_order, ratio_of, undecided
from bench.analysis.verdict import Ratio
from bench.measure.interleave import IMPOSSIBLE, possible
from bench.measure.messages import ProblemFile
from bench.records.schema import CONTROL, Cell, Flag, Record
from bench.workloads.flops import BatchSizes, product_flops

PROBLEM = ProblemFile(NOTEBOOK, "", (BatchSizes(10, 9, 2),))


FLOPS = product_flops(NOTEBOOK, PROBLEM.batches, "forward")


PEAK = 1e11


def timed(name: str, rate: float, tier: str = "loop", squares_s: Sequence[float] = ()) -> Record:
    cell = Cell(
        implementation=name, framework="numpy", tier=tier, workload="seed", task="forward", device="cpu", threads=1
    )
    size = 1024 if squares_s else None
    return Record(
        cell=cell, block=1, status="ok", samples_s=[FLOPS / rate] * 3, square_size=size, squares_s=[*squares_s]
    )


def test_what_is_faster_than_the_machine_has_no_time() -> None:
    bound = timed("numpy/products", PEAK, "bound", [2 * 1024**3 / PEAK, 3 * 2 * 1024**3 / PEAK])
    records = [timed("can", IMPOSSIBLE * PEAK * 0.99), timed("cannot", 27 * PEAK), bound]
    found = possible(records, {"seed": PROBLEM})
    assert found[0] is records[0] and found[2] is bound
    assert (found[1].status, found[1].samples_s, found[1].block) == ("invalid", [], 1)
    assert "2700 GFLOP/s, 27.0 times what products reach here (100 GFLOP/s)" in (found[1].reason or "")
    assert possible(records[:2], {}) == records[:2]  # nobody knows what the machine can do


@pytest.mark.parametrize("flag", ["restless", "extra_processors"])
def test_who_is_refused_gets_no_verdict_and_nobody_gets_one_against_it(flag: Flag) -> None:
    rows = [pretended_row(name) for name in ("base", "honest", "flagged")]
    speeds = {"base": 1.0, "honest": 2.0, "flagged": 0.1}
    plan = pretended(*rows, budget=replace(BUDGET, max_blocks=8))
    records = [
        msgspec.structs.replace(record, flags=[flag] * (record.cell.implementation == "flagged" and record.block == 3))
        for record in run(plan, speeds)
    ]
    judged = analyse(records, "base")
    for cell, one in judged.items():
        if cell.implementation in ("base", CONTROL):
            continue
        assert one.ratio is not None and one.blocks
        assert one.ratio.verdict == (None if cell.implementation == "flagged" else "SLOWER")
        assert one.is_refused == (cell.implementation == "flagged")
    of_seed = {
        cell.implementation: one for cell, one in judged.items() if (cell.workload, cell.task) == ("seed", "forward")
    }
    between = ratio_of(of_seed["honest"], of_seed["flagged"])
    assert isinstance(between, Ratio) and between.verdict is None
    assert not any("flagged" in names for names in undecided(judged.values()).values())


def test_a_baseline_that_is_refused_costs_no_budget_and_is_said() -> None:
    rows = [pretended_row(name) for name in ("base", "honest", "slow")]
    plan = pretended(*rows, budget=replace(BUDGET, min_blocks=6, max_blocks=8))
    records = [
        msgspec.structs.replace(one, flags=["restless"] * (one.cell.implementation == "base" and one.block == 3))
        for one in run(plan, {"base": 1.0, "honest": 2.0, "slow": 3.0})
    ]
    judged = analyse(records, "base")
    assert not any(one.is_decided for one in judged.values())
    assert undecided(judged.values()) == {}
    assert all(one.cell.implementation != "base" for members in in_order(judged.values()) for one in members)
