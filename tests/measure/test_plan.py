"""What the next block is for follows from the records alone, wherever a run was cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pretend import BUDGET, plan, row, run, sit

from bench.analysis.cells import analyse
from bench.measure.plan import BUDGETS, Budget, calls_a_turn, rounds_of
from bench.measure.stopping import checks_unseen, next_block, retakes_of
from bench.records.schema import CONTROL
from bench.workloads.shapes import SEED, WORDS

NAMES = ("base", "fast", "slow", "same", "close")
SPEEDS = {"base": 1.0, "fast": 0.5, "slow": 2.0, "same": 1.0, "close": 1.03}
ROWS = tuple(map(row, NAMES))
PLAN = plan(*ROWS)
GROUPS = 4


WHOLE = run(PLAN, SPEEDS, noise=0.01)


SMALL = plan(*ROWS[:4], budget=replace(BUDGET, max_blocks=8), workloads=[SEED], entries_a_pool=4)
SHORT = run(SMALL, SPEEDS, noise=0.02)


@settings(max_examples=30)
@given(cut=st.integers(0, len(SHORT)))
def test_wherever_a_run_was_cut_each_cell_is_measured_once_a_block(cut: int) -> None:
    resumed = run(SMALL, SPEEDS, noise=0.02, known=SHORT[:cut])
    assert max(record.block for record in SHORT) == 8
    count = Counter((record.block, record.pool, record.cell) for record in resumed)
    assert count.keys() == {(record.block, record.pool, record.cell) for record in SHORT}
    twice = {(block, table, cell.group) for (block, table, cell), times in count.items() if times > 1}
    ends = {(record.block, record.pool, record.cell.group) for record in SHORT[max(0, cut - 1) : cut]}
    assert twice <= ends  # only a group that was cut in the middle is measured again, whole


@settings(max_examples=30)
@given(cut=st.integers(0, len(WHOLE)), seed=st.integers(0, 3))
def test_the_next_block_is_a_function_of_the_records(cut: int, seed: int) -> None:
    own = replace(PLAN, seed=seed)
    due = next_block(own, WHOLE[:cut])
    assert due == next_block(own, list(WHOLE[:cut]))
    other = next_block(replace(PLAN, seed=seed + 1), WHOLE[:cut])
    if due is None or other is None:
        assert due is other
        return
    assert due[0] == other[0]
    assert sorted(map(repr, due[1])) == sorted(map(repr, other[1]))  # the seed draws the order alone


def test_a_retake_that_a_run_was_ended_before_is_due_and_no_more_of_them_than_there_may_be() -> None:
    block, planned_groups = next_block(PLAN, [])
    first = [record for one in planned_groups for record in sit(one, block, SPEEDS, contended=True)]
    again = next_block(PLAN, first)
    assert again is not None and again[0] == block
    assert len(again[1]) == retakes_of(GROUPS) == 1
    assert again[1][0].members == next(one for one in planned_groups if one.group == again[1][0].group).members
    second = sit(again[1][0], block, SPEEDS, attempt=1, contended=True)
    following = next_block(PLAN, [*first, *second])
    assert following is not None and following[0] == block + 1


def test_the_smallest_number_of_blocks_has_everything() -> None:
    for block in range(1, BUDGET.min_blocks + 1):
        of_block = [record for record in WHOLE if record.block == block]
        assert len(of_block) == GROUPS * (len(NAMES) + 1)
        assert {record.cell.implementation for record in of_block} == {*NAMES, CONTROL}


def test_the_order_is_random_and_keeps_a_workloads_tasks_together() -> None:
    orders = set()
    for block in range(1, 7):
        groups = list(dict.fromkeys((one.cell.workload, one.cell.task) for one in WHOLE if one.block == block))
        assert len(groups) == GROUPS
        workloads = [workload for workload, _ in groups]
        assert workloads in ([SEED.name] * 2 + [WORDS.name] * 2, [WORDS.name] * 2 + [SEED.name] * 2)
        orders.add(tuple(groups))
    assert len(orders) > 1


def test_later_blocks_have_the_undecided_and_the_baseline() -> None:
    quiet = run(PLAN, SPEEDS | {"close": 1.02}, noise=0.002)
    judged = analyse(quiet, "base")
    blocks = max(record.block for record in quiet)
    assert blocks > BUDGET.min_blocks
    for block in range(BUDGET.min_blocks + 1, blocks + 1):
        of_block = [record for record in quiet if record.block == block]
        assert of_block
        for group in {record.cell.group for record in of_block}:
            there = {record.cell.implementation for record in of_block if record.cell.group == group}
            assert {"base", CONTROL} < there
            assert not {"fast", "slow"} & there  # decided long ago
    for cell, one in judged.items():
        if cell.implementation in ("fast", "slow"):
            assert len(one.blocks) == BUDGET.min_blocks
            assert (
                one.ratio is not None and one.ratio.verdict == {"fast": "FASTER", "slow": "SLOWER"}[cell.implementation]
            )


def test_a_run_goes_on_for_as_many_blocks_as_it_takes() -> None:
    rough = run(plan(*ROWS[:2], budget=replace(BUDGET, max_blocks=15)), {"base": 1.0, "fast": 0.98}, noise=0.05)
    assert max(record.block for record in rough) == 15  # the difference is what is practical: it is never decided


def test_a_run_stops_when_all_is_decided() -> None:
    clear = run(plan(*ROWS[:3]), SPEEDS, noise=0.001)
    assert max(record.block for record in clear) == BUDGET.min_blocks
    assert next_block(plan(*ROWS[:3]), clear) is None


def test_a_cell_that_fails_is_not_asked_again() -> None:
    fails = {("slow", 2), ("close", 1)}
    records = run(PLAN, SPEEDS, fails=fails)
    for name, block in fails:
        of_row = [record for record in records if record.cell.implementation == name]
        assert max(record.block for record in of_row) == block
        assert sum(not record.ok for record in of_row) == GROUPS
    assert max(record.block for record in records) >= BUDGET.min_blocks


def test_who_has_nobody_left_to_be_compared_with_does_not_go_on() -> None:
    pair, alone = plan(*ROWS[:2]), plan(ROWS[0])
    left = run(pair, SPEEDS, fails={(ROWS[1].name, 2)})
    assert max(record.block for record in left) == 2 and next_block(pair, left) is None
    assert max(record.block for record in run(alone, SPEEDS)) == BUDGET.min_blocks  # asked for alone


def test_a_run_in_which_all_fail_ends() -> None:
    records = run(PLAN, SPEEDS, fails={(name, 1) for name in (*NAMES, CONTROL)})
    assert len(records) == GROUPS * (len(NAMES) + 1)
    assert next_block(PLAN, records) is None


def test_a_baseline_that_fails_late_is_stood_in_for() -> None:
    records = run(PLAN, SPEEDS, noise=0.02, fails={("base", 3), (CONTROL, 3)})
    judged = analyse(records, "base")
    assert {one.baseline for one in judged.values()} == {"fast"}
    assert all(one.ratio is not None for cell, one in judged.items() if cell.implementation not in ("base", CONTROL))


def test_what_cannot_run_is_settled_before_the_first_block() -> None:
    rows = (*ROWS[:2], row("absent", frameworks=("no_such_framework",)), row("shy", unsupported={"forward": "shy"}))
    shy = plan(*rows)
    assert {(one.cell.implementation, one.cell.task, one.status) for one in shy.skipped} == {
        ("absent", "forward", "unavailable"),
        ("absent", "train_step", "unavailable"),
        ("shy", "forward", "unsupported"),
    }
    due = next_block(shy, shy.skipped)
    assert due is not None
    assert {cell.task for planned in due[1] for entry, cell in planned.members if entry.name == "shy"} == {"train_step"}
    assert not {entry.name for planned in due[1] for entry, _ in planned.members} & {"absent"}
    nobody = plan(row("absent", frameworks=("no_such_framework",)))
    assert nobody.pools == () and next_block(nobody, nobody.skipped) is None


@given(count=st.integers(1, 9), most=st.none() | st.integers(1, 12), threads=st.sampled_from([[1], [1, 2]]))
def test_each_table_has_the_baseline_and_its_control(count: int, most: int | None, threads: list[int]) -> None:
    rows = [row(f"row{number}") for number in range(count)]
    pools = plan(*rows, threads=threads, entries_a_pool=most).pools
    assert [pool.number for pool in pools] == list(range(len(pools)))
    for pool in pools:
        names = [entry.name for entry in pool.entries]
        assert names[0] == "row0" and names[-1] == CONTROL
        assert pool.entries[-1].row is pool.entries[0].row
        assert {cell.implementation for cell in pool.entries[-1].cells} == {CONTROL}
        assert most is None or len(names) <= max(3, most)
        assert {entry.threads for entry in pool.entries} == {pool.threads}
    for number in threads:
        entered = Counter(entry.name for pool in pools if pool.threads == number for entry in pool.entries)
        assert entered.keys() == {f"row{number}" for number in range(count)} | {CONTROL}
        assert {entered[f"row{number}"] for number in range(1, count)} <= {1}


def test_smaller_pools_are_decided_like_one() -> None:
    small = plan(*ROWS, entries_a_pool=4)
    assert len(small.pools) == 2
    records = run(small, SPEEDS, noise=0.002)
    judged = analyse(records, "base")
    for cell, one in judged.items():
        assert one.ratio is not None
        assert one.ratio.blocks >= BUDGET.min_blocks
        assert abs(one.ratio.estimate / SPEEDS.get(cell.implementation, 1.0) - 1) < 0.03
    assert len({record.pool for record in records}) == 2


BUDGETS_ = st.builds(
    lambda timed, turn, turns: replace(BUDGETS["default"], timed_s=timed, turn_s=turn, min_turns=turns),
    st.floats(0.01, 10),
    st.floats(0.001, 0.4),
    st.integers(1, 20),
)


@given(call_s=st.lists(st.floats(1e-6, 100), max_size=9), budget=BUDGETS_)
def test_turns_fill_the_time_and_no_more(call_s: list[float], budget: Budget) -> None:
    rounds = rounds_of(call_s, budget)
    assert rounds >= budget.min_turns
    assert rounds <= max(budget.min_turns, budget.timed_s / budget.turn_s + 1)
    round_s = sum(one * calls_a_turn(one, budget) for one in call_s)
    if rounds > budget.min_turns:
        assert rounds * round_s <= budget.timed_s * len(call_s) * 1.001
    if call_s:
        assert (rounds + 1) * round_s > budget.timed_s * len(call_s) * 0.999, "one more would have had room"
    for one in call_s:
        calls = calls_a_turn(one, budget)
        assert calls >= 1
        assert calls * one >= budget.turn_s * 0.999
        assert calls == 1 or (calls - 1) * one <= budget.turn_s


@pytest.mark.parametrize(("timed_s", "turn_s", "turns"), [(1.2, 0.4, 3), (1.2, 0.1, 12), (0.3, 0.1, 3)])
def test_a_whole_number_of_turns_is_not_one_less(timed_s: float, turn_s: float, turns: int) -> None:
    budget = replace(BUDGETS["default"], timed_s=timed_s, turn_s=turn_s, min_turns=1)
    assert [rounds_of([turn_s] * rows, budget) for rows in range(1, 10)] == [turns] * 9


@pytest.mark.parametrize("preset", ["default", "full"])
def test_an_unseen_input_is_met_in_the_first_block_and_in_one_drawn_after_the_first_verdicts(preset: str) -> None:
    own = plan(*ROWS, budget=BUDGETS[preset], seed=7)
    due = next_block(own, [])
    assert due is not None
    when = [[block for block in range(1, 30) if checks_unseen(own, planned, block)] for planned in due[1]]
    assert {tuple(blocks) for blocks in when} == {(1, 4), (1, 5), (1, 6)}
    many = [plan(*ROWS, budget=BUDGETS[preset], seed=seed) for seed in range(40)]
    assert 4 < sum(checks_unseen(one, due[1][0], 4) for one in many) < 24, "drawn by the run's seed"
    of_five = plan(*ROWS, budget=replace(BUDGETS[preset], max_blocks=5))
    assert all(checks_unseen(of_five, planned, 5) for planned in due[1])


def test_a_group_that_was_cut_short_is_measured_again_under_another_number() -> None:
    due = next_block(PLAN, [])
    assert due is not None
    half = sit(due[1][0], 1, SPEEDS)[:2]
    again = next_block(PLAN, half)
    assert again is not None and again[0] == 1
    assert {planned.group for planned in again[1]} == {planned.group for planned in due[1]}
    assert len(next(planned for planned in again[1] if planned.group == due[1][0].group).members) == len(NAMES) + 1


def test_a_block_may_be_due_again_after_it_was_cut_and_completed() -> None:
    """So that it has two lines about the machine, of two parts: no result may be refused for that."""
    wide = plan(*ROWS[:2], tasks=("encode", "forward", "gradients", "train_step"))
    due = next_block(wide, [])
    assert due is not None and retakes_of(len(due[1])) == 2
    first = [record for one in due[1][:3] for record in sit(one, 1, SPEEDS)]
    rest = next_block(wide, first)
    assert rest is not None and len(rest[1]) == 5 and retakes_of(5) == 1
    records = first + [record for one in rest[1] for record in sit(one, 1, SPEEDS, contended=True)]
    records += sit(rest[1][0], 1, SPEEDS, attempt=1)
    again = next_block(wide, records)
    assert again is not None and again[0] == 1


def test_each_seat_has_files_of_its_own() -> None:
    rows = (row("torch/mine"), row("torch-mine"), row("torch--mine"))
    entries = [entry for table in plan(*rows).pools for entry in table.entries]
    assert len({entry.label for entry in entries}) == len(entries) == 4
