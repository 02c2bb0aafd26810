"""Real rows held against themselves: disjoint pairs, slow-downs that are really planted, and bounds that are honest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from support.calibrated import HEAD, batch
from support.pretend import row, sit
from support.processes import bench, numpy_row, one_line

from bench.calibration import calibrate, report
from bench.calibration.calibration import Batch, bound, false_ones, outcomes_of, pairs_of
from bench.calibration.workers import (
    PAIRS_A_ROW,
    PLANTED_IN_ROWS,
    TWINS_BUDGET,
    Pair,
    plan_of,
    processor_of,
    twin_entries,
    twins_of,
    undecided_pairs,
    works,
    write_longer,
)
from bench.workloads.shapes import SEED, WORDS
from impls import build_row, read_row
from impls.contract import InvalidInput, initial_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measure.plan import Plan

ROWS = [row("one"), row("two")]
LONGER = {(own.name, percent): row(f"{own.name}-{percent}") for own in ROWS for percent in PLANTED_IN_ROWS}


def plan() -> Plan:
    return plan_of(twin_entries(ROWS, LONGER, [SEED, WORDS], ("forward", "train_step")), 1, TWINS_BUDGET)


def test_no_two_pairs_of_twins_share_a_worker_and_each_slow_down_has_a_plain_one() -> None:
    pairs = twins_of(ROWS)
    plain = [name for one in pairs if not one.percent for name in (one.ours, one.theirs)]
    assert len(plain) == len(set(plain)) == 2 * PAIRS_A_ROW * len(ROWS)
    for own in ROWS:
        planted = [one for one in pairs if one.row == own.name and one.percent]
        assert [pair.percent for pair in planted] == list(PLANTED_IN_ROWS)
        assert {pair.theirs for pair in planted} <= set(plain) and len({pair.theirs for pair in planted}) == len(
            PLANTED_IN_ROWS
        )


def test_all_are_in_one_pool_in_every_group() -> None:
    (table,) = plan().pools
    assert {entry.name for entry in table.entries} == {
        name for one in twins_of(ROWS) for name in (one.ours, one.theirs)
    }
    for entry in table.entries:
        assert {cell.implementation for cell in entry.cells} == {entry.name}
        assert len(entry.cells) == 4
        assert (entry.row.name in {own.name for own in ROWS}) == ("+" not in entry.name)


def test_pairs_go_on_group_by_group_until_they_have_a_verdict() -> None:
    own = plan()
    due = undecided_pairs(twins_of(ROWS))
    speeds = {
        name: 1.0 + 0.3 * (own_row.name in {"one-10"}) for name, own_row in ((one.name, one) for one in LONGER.values())
    }
    records = []
    while (following := due(own, records)) is not None and following[0] <= 4:
        block, planned_groups = following
        for planned in planned_groups:
            records += sit(planned, block, speeds, noise=0.0005)
    of_block = {block: {one.cell.implementation for one in records if one.block == block} for block in (1, 3, 4)}
    assert of_block[1] == of_block[3] == {entry.name for entry in own.pools[0].entries}
    assert not of_block[4] & {"one+10"}, "it has its verdict"


def test_a_longer_row_takes_so_much_more_of_the_processor_and_gives_the_same(tmp_path: Path) -> None:
    plain = read_row(numpy_row(tmp_path, "plain"))
    longer = write_longer(tmp_path, plain, 50)
    assert (longer.tier, longer.frameworks, longer.compiles) == (plain.tier, plain.frameworks, plain.compiles)
    parameters = initial_parameters(SEED.config, 0)
    models = [build_row(own)(SEED.config, parameters, "cpu") for own in (plain, longer)]
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((steps, 2, 10)).astype(np.float32) for steps in (10, 9))

    def taken(model) -> float:
        start = time.process_time()
        model.forward(x, y)
        return time.process_time() - start

    shares = sorted(taken(models[1]) / taken(models[0]) for _ in range(101))
    assert 1.35 < shares[50] < 1.7
    assert np.array_equal(models[0].forward(x, y), models[1].forward(x, y))
    assert models[1].parameters().keys() == parameters.keys()


def test_what_was_planted_is_what_the_processor_saw() -> None:
    (planned, *_) = (undecided_pairs(twins_of(ROWS))(plan(), []) or (0, ()))[1]
    records = [
        msgspec.structs.replace(one, block=block, cpu_per_wall=0.9 if one.cell.implementation == "one~1" else 1.0)
        for block in (1, 2)
        for one in sit(planned, block, {})
    ]
    taken = processor_of(Pair("one~1", "one~2"), records)
    assert len(taken.ours_s) == len(taken.theirs_s) == 2
    own = next(one for one in records if one.cell.implementation == "one~1")
    assert taken.ours_s[0] == pytest.approx(0.9 * np.mean(own.samples_s))


def test_false_verdicts_are_counted_over_groups_and_bounded_over_tables() -> None:
    quiet = [batch(number) for number in range(10)]
    assert [pairs_of(one) for one in quiet] == [2] * 10
    assert not false_ones(outcomes_of(quiet))
    assert "40 comparisons of real rows with themselves (20 disjoint pairs in 10 tables), 0 got" in (
        words := report.in_words(quiet)
    )
    assert "at most 13.9 % (95 %, each pair taken for one try)" in words  # 1 - 0.05^(1/20)
    assert "taken for tries, it would be at most 26 %" in table_of(quiet)  # 1 - 0.05^(1/10)
    bounds = [bound([batch(one, false=one < hits) for one in range(10)]) for hits in (0, 1, 2, 10)]
    assert bounds == sorted(bounds) and bounds[2] > 0.28, "an error makes nothing surer"
    wrong = [batch(number, false=number in (2, 5)) for number in range(10)]
    assert len(false_ones(outcomes_of(wrong))) == 2
    assert f"2 got a false FASTER or SLOWER: at most {100 * bounds[2]:.1f} %" in report.in_words(wrong)


def table_of(batches: list[Batch]) -> str:
    return report.markdown(msgspec.structs.replace(HEAD, rows=["torch/module"]), batches)


def test_who_has_no_time_is_left_out_there_and_named() -> None:
    (planned, *_) = (undecided_pairs(twins_of(ROWS))(plan(), []) or (0, ()))[1]
    records = [one for block in (1, 2, 3) for one in sit(planned, block, {}, noise=0.01)]
    lost = [
        msgspec.structs.replace(one, status="invalid", samples_s=[])
        if (one.cell.implementation, one.block) == ("one~1", 3)
        else one
        for one in records
    ]
    assert works(Pair("one~3", "one~4"), lost) and not works(Pair("one~2", "one~1"), lost)
    due = undecided_pairs([Pair("one~1", "one~2"), Pair("one~3", "one~4")])(plan(), lost)
    assert due is not None
    assert {entry.name for one in due[1] if one.group == planned.group for entry, _ in one.members} == {
        "one~3",
        "one~4",
    }
    named = msgspec.structs.replace(batch(0), failed=["torch/module~1 is invalid (late) at seed forward"])
    assert "No comparison, for it has no time: torch/module~1 is invalid (late) at seed forward." in table_of([named])
    one_less = msgspec.structs.replace(named, comparisons=named.comparisons[1:])
    assert pairs_of(one_less) == 2


def test_the_table_says_what_was_planted_and_when_it_was_found() -> None:
    batches = [batch(number) for number in range(3)]
    text = table_of(batches)
    line = next(line for line in text.splitlines() if line.startswith("| 5 % | all |"))
    assert "| 6 | 5.0 % [5.0, 5.0] | 5.0 % [4.8, 5.1] | 100 % | 0 | 0 | 0.0 % |" in line
    assert "| aimed at | 3 (5 min) | 4 (7 min) | 5 (8 min) | 6 (10 min) |" in text
    assert "of 5 % it finds 100 % (seed forward: 100 %, seed train_step: 100 %)" in text
    assert "group `seed forward`" in text and "row `torch/module`" in text


def test_more_rows_than_memory_has_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "entries_that_fit", lambda *_: 11)
    with pytest.raises(InvalidInput, match="--rows: 12 workers share one pool, and memory has room for 11"):
        calibrate.calibrate(pairs=1, budget_s=1.0, out=tmp_path / "out", command="", rows=ROWS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "no/such"], "unknown row 'no/such'"),
        (["--rows", "thinc/native"], "--rows thinc/native: .*gradients"),
        (["--pairs", "0"], "--pairs 0: must be at least 1"),
    ],
)
def test_what_cannot_be_its_own_twin_is_refused_in_a_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    refused = bench("calibrate", *arguments, "--out", str(tmp_path / "out"))
    assert refused.returncode == 2
    one_line(refused, words)
    assert not (tmp_path / "out").exists()
