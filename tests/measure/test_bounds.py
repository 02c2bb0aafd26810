"""Bounds are planned with the rows that are held against them, and ask for no block of their own."""

from __future__ import annotations

from support.pretend import BUDGET, plan, row, run, sit

from bench.analysis.cells import analyse
from bench.measure.plan import BUDGETS, PRESETS, make_plan
from bench.measure.stopping import expected_s, next_block
from bench.records.schema import CONTROL
from bench.workloads.shapes import SEED, choose
from impls import find_bounds, find_rows

BASE, OTHER = row("base"), row("other", frameworks=("msgspec",))
LIMIT = row("limit", tier="bound")
OF_OTHER = row("of_other", tier="bound", frameworks=("msgspec",))


def test_bounds_are_entered_once_and_with_the_rows_that_are_held_against_them() -> None:
    stranger = row("stranger", tier="bound", frameworks=("psutil",))
    pools = plan(BASE, OTHER, bounds=[LIMIT, OF_OTHER, stranger]).pools
    assert [[entry.name for entry in pool.entries] for pool in pools] == [
        ["base", "other", "limit", "of_other", CONTROL]
    ]
    shy = row("shy", frameworks=("msgspec",), unsupported={"train_step": "it is shy"})
    (pool,) = plan(BASE, shy, bounds=[OF_OTHER]).pools
    assert {cell.task for entry in pool.entries if entry.name == "of_other" for cell in entry.cells} == {"forward"}
    pair = row("pair", frameworks=("msgspec", "numpy"), multiplies_with="numpy")
    assert [entry.name for entry in plan(pair, bounds=[OF_OTHER, LIMIT]).pools[0].entries] == [
        "pair",
        "limit",
        CONTROL,
    ]


def test_bounds_are_in_the_smallest_number_of_blocks_and_ask_for_no_more() -> None:
    own = plan(BASE, OTHER, bounds=[LIMIT], workloads=[SEED])
    clear = run(own, {"base": 1.0, "other": 2.0, "limit": 0.99}, noise=0.02)  # the bound itself would be UNCLEAR
    assert max(one.block for one in clear) == BUDGET.min_blocks
    open_ = run(own, {"base": 1.0, "other": 0.98, "limit": 0.5}, noise=0.05)
    assert max(one.block for one in open_) > BUDGET.min_blocks
    assert {one.block for one in open_ if one.cell.implementation == "limit"} == set(range(1, BUDGET.min_blocks + 1))
    assert {one.baseline for one in analyse(open_, "base").values()} == {"base"}


def test_the_default_run_has_time_for_its_blocks_with_all_bounds_in_them() -> None:
    workloads = choose([], "default", "cpu")
    optional = ("keras", "onnxruntime")  # they are in a run where they are named
    own = make_plan(
        rows=[row for row in find_rows().values() if row.framework not in optional],
        bounds=list(find_bounds().values()),
        workloads=workloads,
        tasks=PRESETS["default"],
        device="cpu",
        threads=[1],
        budget=BUDGETS["default"],
        baseline="torch/module",
        seed=1,
    )
    needed_s = expected_s(own, {one.name: one for one in workloads}, 2).blocks_s(own.budget.min_blocks)
    assert needed_s < BUDGETS["default"].total_s  # or each such run would begin with a warning


def test_a_bound_whose_rows_have_all_failed_is_not_entered_any_longer() -> None:
    own = plan(BASE, row("third"), OTHER, bounds=[LIMIT, OF_OTHER], workloads=[SEED])
    records = run(own, {"other": 2.0, "third": 3.0}, fails={("other", 2)})
    assert {one.block for one in records if one.cell.implementation == "of_other"} == {1, 2}
    assert {one.block for one in records if one.cell.implementation == "limit"} == set(range(1, BUDGET.min_blocks + 1))


def test_a_bound_that_fails_is_not_asked_again() -> None:
    own = plan(BASE, OTHER, bounds=[LIMIT], workloads=[SEED])
    records = run(own, {"other": 2.0}, fails={("limit", 1)})
    assert sum(one.cell.implementation == "limit" for one in records) == 2  # a record for each task
    assert max(one.block for one in records) == BUDGET.min_blocks


def test_with_bounds_alone_every_block_is_due_until_all_are_there() -> None:
    from bench.measure.peak import BLOCKS, Asked, plan_of

    asked = Asked(
        bounds=(LIMIT, OF_OTHER),
        workloads=(SEED,),
        tasks=("forward", "train_step"),
        device="cpu",
        threads=(1, 2),
        precisions=("float32",),
    )
    own, records = plan_of(asked), []
    while (due := next_block(own, records)) is not None:
        records += [one for planned in due[1] for one in sit(planned, due[0], {})]
    assert {(one.block, one.cell.implementation, one.cell.task, one.cell.threads) for one in records} == {
        (block, name, task, threads)
        for block in range(1, BLOCKS + 1)
        for name in ("limit", "of_other")
        for task in asked.tasks
        for threads in (1, 2)
    }
    assert len({one.cell for one in records}) * BLOCKS == len(records)
