"""Which records count, how they pair, and what may be said."""

from __future__ import annotations

from math import exp, isclose, log

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pretend import plan, row, run
from support.recorded import record

from bench.analysis.cells import (
    analyse,
    control,
    log_ratios,
    neighbours,
    paired,
    priors,
    ranks_of,
    ratio_of,
    undecided,
)
from bench.analysis.verdict import MIN_BLOCKS, MOST_FREEDOM, NOTHING_KNOWN, compare
from bench.records.schema import CONTROL, Record
from bench.workloads.shapes import SEED


def ours(**fields: object) -> Record:
    return record("jax/scan", **fields)


def theirs(**fields: object) -> Record:
    return record("torch/module", **fields)


def named(records: list[Record], baseline: str = "torch/module") -> dict[str, object]:
    """What is judged of each row, of one group."""
    return {cell.implementation: one for cell, one in analyse(records, baseline).items()}


def test_ratios_are_paired_turn_by_turn_then_by_block() -> None:
    pairs = [
        ours(block=1, samples_s=[2.0, 40.0, 6.0]),
        theirs(block=1, samples_s=[1.0, 20.0, 3.0]),  # each turn twice, whatever the turn
        ours(block=2, samples_s=[3.0]),
        theirs(block=2, samples_s=[1.0]),
        ours(block=3),  # the baseline has no block 3
        theirs(block=4),
    ]
    one = named(pairs)["jax/scan"]
    assert one.log_ratios == {1: pytest.approx(log(2)), 2: pytest.approx(log(3))}
    assert len(one.blocks) == 3


@pytest.mark.parametrize("what", ["pool", "attempt", "block"])
def test_who_sat_apart_is_not_paired(what: str) -> None:
    values = {"block": 1, "pool": 0, "attempt": 0} | {what: 2}
    assert log_ratios([ours(**values)], [theirs()]) == {}
    assert log_ratios([ours(**values)], [theirs(**values)]) == {values["block"]: 0.0}


@pytest.mark.parametrize("what", ["workload", "task", "device", "precision", "threads"])
def test_what_is_not_alike_is_not_compared(what: str) -> None:
    other = {"workload": "g2p", "task": "encode", "device": "gpu", "precision": "tf32", "threads": 2}[what]
    judged = analyse([ours(samples_s=[1.0]), theirs(samples_s=[1.0]), theirs(**{what: other, "samples_s": [9.0]})], "x")
    assert len({cell.group for cell in judged}) == 2
    assert [one.ratio.estimate for one in judged.values() if one.ratio] == [1.0, 1.0, 1.0]


def test_of_two_attempts_the_later_counts_and_the_other_is_set_aside() -> None:
    first = [ours(samples_s=[9.0], flags=["contended"]), theirs(samples_s=[1.0], flags=["contended"])]
    again = [ours(samples_s=[2.0], attempt=1), theirs(samples_s=[1.0], attempt=1)]
    for records in (first + again, again + first):
        judged = named(records)
        one = judged["jax/scan"]
        assert one.blocks == (again[0],) and one.set_aside == (first[0],)
        assert one.log_ratios == {1: pytest.approx(log(2))}


def test_the_baseline_of_several_tables_is_paired_at_each() -> None:
    records = [
        *(theirs(pool=0, samples_s=[1.0]), ours(pool=0, samples_s=[2.0]), record(CONTROL, pool=0, samples_s=[1.1])),
        *(theirs(pool=1, samples_s=[10.0]), record("thinc/layers", pool=1, samples_s=[30.0])),
        record(CONTROL, pool=1, samples_s=[10.0]),
    ]
    judged = named(records)
    found = {name: one.ratio.estimate for name, one in judged.items()}
    assert found == pytest.approx(
        {"torch/module": 1.0, "jax/scan": 2.0, "thinc/layers": 3.0, CONTROL: exp((log(1.1) + log(1.0)) / 2)}
    )


def test_what_fails_once_has_no_time() -> None:
    bad = ours(block=2, status="invalid", reason="h_n is off", samples_s=[])
    one = named([ours(), theirs(), bad, theirs(block=2)])["jax/scan"]
    assert one.failure == bad
    assert one.blocks == () and one.ratio is None and one.median_s is None


def test_where_the_baseline_has_no_time_the_first_that_has_one_stands_in() -> None:
    records = [theirs(status="error", samples_s=[]), ours(samples_s=[2.0]), record("thinc/layers", samples_s=[6.0])]
    judged = named(records)
    assert {one.baseline for one in judged.values()} == {"jax/scan"}
    assert judged["thinc/layers"].ratio.estimate == pytest.approx(3.0)
    assert judged["torch/module"].ratio is None


def test_the_control_never_stands_in() -> None:
    judged = named([record(CONTROL), theirs(status="error", samples_s=[])])
    assert {one.baseline for one in judged.values()} == {None}


NAMES = ("base", "fast", "slow", "same")
SPEEDS = {"base": 1.0, "fast": 0.8, "slow": 1.5, "same": 1.0}
PLAN = plan(*map(row, NAMES), workloads=[SEED], tasks=["forward"])


def test_neighbours_are_each_row_and_the_next_slower() -> None:
    judged = analyse(run(PLAN, SPEEDS, noise=0.001), "base")
    pairs = [(one.cell.implementation, two.cell.implementation) for one, two, _ in neighbours(judged.values())]
    assert pairs[0][0] == "fast" and pairs[-1][1] == "slow"
    assert {name for pair in pairs[1:2] for name in pair} == {"base", "same"}
    ratios = [ratio.estimate for *_, ratio in neighbours(judged.values()) if ratio]
    assert ratios == pytest.approx([1.25, 1.0, 1.5], abs=0.02)
    assert undecided(judged.values()) == {}
    ranks = {cell.implementation: rank for cell, rank in ranks_of(judged.values()).items()}
    assert ranks == {"fast": "1", "base": "2=", "same": "2=", "slow": "4"}


def test_neighbours_that_never_sat_together_are_compared_through_the_baseline() -> None:
    small = plan(*map(row, NAMES), workloads=[SEED], tasks=["forward"], entries_a_pool=3)
    judged = analyse(run(small, SPEEDS, noise=0.001), "base")
    first, *_, last = neighbours(judged.values())
    assert first[0].cell.implementation == "fast" and last[1].cell.implementation == "slow"
    assert first[2] is not None and first[2].estimate == pytest.approx(1.25, abs=0.02)
    assert first[2].blocks >= small.budget.min_blocks


@pytest.mark.parametrize(
    ("noise", "blocks", "open_rows"),
    [(0.001, 2, {"base", "fast", "slow", "same"}), (0.001, 3, set()), (0.2, 6, {"base", "fast", "same"})],
)
def test_undecided_is_what_has_no_verdict(noise: float, blocks: int, open_rows: set[str]) -> None:
    records = [one for one in run(PLAN, SPEEDS, noise=noise) if one.block <= blocks]
    found = undecided(analyse(records, "base").values())
    assert open_rows <= {name for names in found.values() for name in names}
    assert bool(found) is bool(open_rows)
    assert CONTROL not in {name for names in found.values() for name in names}


def test_what_the_run_knows_of_noise_is_lent_to_each_comparison_of_a_group() -> None:
    """Three blocks of a row do not decide by themselves, and do beside others that are as noisy."""
    speeds = {"base": 1.0, "slow": 1.25, "fast": 0.8} | {f"like{number}": 1.0 for number in range(6)}
    records = [one for one in run(plan(*map(row, speeds), tasks=["forward"]), speeds, noise=0.005) if one.block <= 3]
    judged = analyse(records, "base")
    known = priors(judged.values())
    assert known.keys() == {cell.group for cell in judged} and len(known) == 2
    assert all(0.7 * MOST_FREEDOM < prior.freedom <= MOST_FREEDOM for prior in known.values())
    assert all(one.prior == known[cell.group] for cell, one in judged.items())
    differs = [cell for cell in judged if cell.implementation in ("slow", "fast")]
    assert {judged[cell].is_decided for cell in differs} == {True}
    by_themselves = [
        analyse([one for one in records if one.cell == cell or one.cell.implementation == "base"], "base")[cell]
        for cell in differs
    ]
    assert all(one.log_ratios == judged[one.cell].log_ratios and not one.prior.freedom for one in by_themselves)
    assert sum(one.is_decided for one in by_themselves) < len(differs) == 4


def test_the_ratio_of_two_rows_knows_what_their_ratios_to_the_baseline_know() -> None:
    judged = named([one for one in run(PLAN, SPEEDS, noise=0.002) if one.block <= 3], "base")
    slow, fast = judged["slow"], judged["fast"]
    ratios = list(paired(slow, fast).values())
    assert ratio_of(slow, fast) == compare(ratios, slow.prior) != compare(ratios)


def test_who_has_too_few_blocks_for_a_verdict_tells_nothing_of_noise() -> None:
    records = [one for one in run(PLAN, SPEEDS) if one.block <= MIN_BLOCKS]
    few = [one for one in records if one.cell.implementation != "slow" or one.block < MIN_BLOCKS]
    without = [one for one in records if one.cell.implementation != "slow"]
    (of_whole,), (of_few,), (of_without,) = (
        priors(analyse(lines, "base").values()).values() for lines in (records, few, without)
    )
    assert of_few == of_without != of_whole
    nobody = analyse([one for one in records if one.block < MIN_BLOCKS], "base").values()
    assert priors(nobody) == {} and all(one.prior is NOTHING_KNOWN for one in nobody)


@settings(max_examples=40)  # each is a whole run
@given(
    speeds=st.lists(st.floats(0.1, 10), min_size=4, max_size=4) | st.lists(st.floats(0.8, 1.3), min_size=4, max_size=4),
    noise=st.sampled_from([1e-4, 0.05, 0.1, 0.2]),
)
def test_ranks_are_in_the_order_of_the_ratios(speeds: list[float], noise: float) -> None:
    records = [one for one in run(PLAN, dict(zip(NAMES, speeds, strict=True)), noise=noise) if one.block <= 6]
    judged = analyse(records, "base")
    ranks = {cell: int(rank.rstrip("=")) for cell, rank in ranks_of(judged.values()).items()}
    assert ranks.keys() == {cell for cell in judged if cell.implementation != CONTROL}
    ordered = sorted(ranks, key=lambda cell: judged[cell].ratio.estimate if judged[cell].ratio else 0.0)
    places = [ranks[cell] for cell in ordered]
    assert places[0] == 1 and places == sorted(places)
    for place, cell in enumerate(ordered, 1):
        assert ranks[cell] <= place
    for place, cell in enumerate(ordered, 1):
        first = ordered[ranks[cell] - 1]
        told = ratio_of(judged[cell], judged[first])
        assert told is not None and (first is cell or told.verdict != "SLOWER")
        if ranks[cell] == place > 1:  # begins a place: is told from the first of the one before
            told = ratio_of(judged[cell], judged[ordered[places[place - 2] - 1]])
            assert told is not None and told.verdict == "SLOWER"


def test_the_control_is_pooled_over_all_cells() -> None:
    records = run(plan(*map(row, NAMES)), SPEEDS, noise=0.002)
    sound = control(analyse(records, "base").values())
    assert sound is not None and sound.trusted and isclose(sound.estimate, 1.0, abs_tol=0.01)
    biased = [
        msgspec.structs.replace(one, samples_s=[1.05 * sample for sample in one.samples_s])
        if one.cell.implementation == CONTROL
        else one
        for one in records
    ]
    doubtful = control(analyse(biased, "base").values())
    assert doubtful is not None and doubtful.trusted is False
    assert control(analyse([one for one in records if one.cell.implementation != CONTROL], "base").values()) is None


@given(data=st.data())
def test_the_order_of_the_lines_changes_nothing(data: st.DataObject) -> None:
    records = [one for one in run(PLAN, SPEEDS) if one.block <= 6]
    shuffled = data.draw(st.permutations(records))
    judged, again = analyse(records, "base"), analyse(shuffled, "base")
    assert {cell: one.ratio for cell, one in judged.items()} == {cell: again[cell].ratio for cell in judged}
    assert {one.cell for one in records} == judged.keys() == again.keys()


def test_the_control_of_a_baseline_without_a_time_says_nothing() -> None:
    records = [record("torch/module", block=1, status="crashed", reason="gone", samples_s=[])]
    records += [record("jax/scan", block=block, samples_s=[2.0] * 3) for block in range(1, 7)]
    records += [record(CONTROL, block=block, samples_s=[1.0] * 3) for block in range(1, 7)]
    judged = analyse(records, "torch/module")
    assert {one.baseline for one in judged.values()} == {"jax/scan"}
    assert control(judged.values()) is None  # it doubles a row that it cannot be held against


def test_ratios_rest_on_turns_that_were_not_preempted() -> None:
    ours = [record("jax/scan", samples_s=[2.0, 2.0, 8.0], preempted=[2])]
    theirs = [record(samples_s=[1.0, 4.0, 1.0], preempted=[1])]
    assert log_ratios(
        [record("jax/scan", samples_s=[2.0, 2.0, 8.0], preempted=[2])], [record(samples_s=[1.0] * 3)]
    ) == {1: pytest.approx(log(2))}
    assert log_ratios(ours, theirs) == {1: pytest.approx(log(2))}  # one turn is left: all three count
