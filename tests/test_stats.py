"""Intervals hold their centre whatever comes, verdicts do not depend on names, units or order."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from bench.stats import (
    LEVEL,
    MIN_BLOCKS,
    PRACTICAL,
    Outliers,
    compare,
    control,
    detectable,
    geometric_mean,
    level_of_look,
    log_ratio_of_block,
    median,
    outliers,
    process_medians,
    steadiness,
    time_interval,
    verdicts,
)

if TYPE_CHECKING:
    from bench.stats import Control, Ratio, Summary

times = st.floats(1e-7, 1e4)
blocks_of_times = st.lists(st.lists(times, min_size=1, max_size=6), min_size=1, max_size=8)
log_ratios = st.lists(st.floats(-3, 3), min_size=1, max_size=15)
small_log_ratios = st.lists(st.floats(-0.05, 0.05), min_size=MIN_BLOCKS, max_size=15)
near_one = st.floats(0.97, 1.03)


def holds(interval: Ratio | Summary | Control) -> bool:
    return 0 < interval.low <= interval.estimate <= interval.high < math.inf


@settings(max_examples=30, deadline=None)
@given(blocks_of_times)
def test_a_time_lies_in_its_interval(blocks: list[list[float]]) -> None:
    low, high = time_interval(blocks)
    location = median(process_medians(blocks))
    assert 0 < low <= location * (1 + 1e-12)
    assert location * (1 - 1e-12) <= high < math.inf


@given(log_ratios)
def test_a_ratio_lies_in_its_interval_and_has_no_verdict_below_six_blocks(values: list[float]) -> None:
    ratio = compare(values)
    assert holds(ratio)
    assert ratio.blocks == len(values)
    assert (ratio.verdict is None) == (len(values) < MIN_BLOCKS)
    assert (ratio.mde is None) == (len(values) < 2)
    assert ratio.mde is None or PRACTICAL <= ratio.mde + 1e-12 < math.inf


@settings(max_examples=25, deadline=None)
@given(st.lists(log_ratios, min_size=1, max_size=4))
def test_a_mean_over_workloads_and_a_control_lie_in_their_intervals(cells: list[list[float]]) -> None:
    assert holds(geometric_mean(cells))
    assert holds(control(cells))


@given(st.lists(st.tuples(near_one, near_one), min_size=MIN_BLOCKS, max_size=12), st.floats(0.001, 1000))
def test_scaling_both_arms_changes_nothing(pairs: list[tuple[float, float]], scale: float) -> None:
    plain = compare([float(log_ratio_of_block([ours], [theirs]) or 0) for ours, theirs in pairs])
    scaled = compare([float(log_ratio_of_block([ours * scale], [theirs * scale]) or 0) for ours, theirs in pairs])
    assert scaled.estimate == pytest.approx(plain.estimate, abs=1e-9)
    assert scaled.verdict == plain.verdict


@given(small_log_ratios, st.floats(-0.1, 0.1))
def test_swapping_the_arms_inverts_the_ratio_and_the_verdict(values: list[float], effect: float) -> None:
    ratio = compare([value + effect for value in values])
    swapped = compare([-value - effect for value in values])
    assert swapped.estimate == pytest.approx(1 / ratio.estimate)
    assert (swapped.low, swapped.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))
    assert swapped.verdict == {"FASTER": "SLOWER", "SLOWER": "FASTER"}.get(str(ratio.verdict), ratio.verdict)


@given(small_log_ratios.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
def test_the_order_of_blocks_changes_nothing(orders: tuple[list[float], list[float]]) -> None:
    one, other = map(compare, orders)
    assert one.verdict == other.verdict
    assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high))


@given(times, st.integers(MIN_BLOCKS, 20))
def test_identical_samples_are_the_same(time: float, blocks: int) -> None:
    log_ratio = log_ratio_of_block([time] * 3, [time] * 3)
    assert log_ratio == 0
    ratio = compare([log_ratio] * blocks)
    assert (ratio.estimate, ratio.low, ratio.high, ratio.verdict) == (1, 1, 1, "SAME")


@given(st.floats(-0.5, 0.5))
def test_a_difference_without_noise_is_called_beyond_the_practical_threshold_only(effect: float) -> None:
    assume(abs(abs(effect) - math.log1p(PRACTICAL)) > 1e-9)
    expected = "SAME" if abs(effect) < math.log1p(PRACTICAL) else "SLOWER" if effect > 0 else "FASTER"
    assert compare([effect] * MIN_BLOCKS).verdict == expected


def test_below_one_is_faster() -> None:
    assert compare([-0.1, -0.11, -0.09, -0.1, -0.105, -0.095]).verdict == "FASTER"


def test_an_outlier_costs_certainty_and_hardly_moves_the_centre() -> None:
    calm = [0.001 * step for step in range(-5, 6)]
    clean, hit = compare([*calm, 0.0]), compare([*calm, 0.5])
    assert abs(math.log(hit.estimate)) < 0.002
    assert hit.high - hit.low > clean.high - clean.low


def test_turns_are_paired_as_far_as_both_go() -> None:
    assert log_ratio_of_block([2, 4, 6], [1, 2, 3, 100]) == pytest.approx(math.log(2))
    assert log_ratio_of_block([], [1.0]) is None


def test_what_all_looks_spend_stays_below_the_level() -> None:
    assert 0.99 * LEVEL < sum(map(level_of_look, range(MIN_BLOCKS, 1000))) <= LEVEL


def test_many_comparisons_at_once_are_as_one_by_one() -> None:
    noise = np.random.default_rng(1).normal(0.03, 0.012, (200, 8))
    one_by_one = [compare(list(row)).verdict for row in noise]
    assert set(one_by_one) >= {"SLOWER", "UNCLEAR"}
    assert list(verdicts(noise)) == one_by_one


@pytest.mark.parametrize("blocks", [2, 3, 6, 12])
def test_the_interval_of_a_ratio_holds_the_truth_95_times_of_100(blocks: int) -> None:
    random = np.random.default_rng(2)
    ratios = [compare(list(random.normal(0.05, 0.01, blocks))) for _ in range(400)]
    assert 0.93 <= np.mean([ratio.low <= math.exp(0.05) <= ratio.high for ratio in ratios]) <= 0.99


@pytest.mark.parametrize("blocks", [3, 6, 12])
def test_the_interval_of_a_time_holds_the_truth_95_times_of_100(blocks: int) -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        processes = random.normal(0, 0.1, (blocks, 1))
        low, high = time_interval(list(np.exp(processes + random.normal(0, 0.05, (blocks, 9)))))  # type: ignore[arg-type]
        held += low <= 1 <= high
    assert held >= 0.93 * 200


@pytest.mark.parametrize("blocks", [3, 6, 12])
def test_the_interval_of_a_mean_over_workloads_holds_the_truth_95_times_of_100(blocks: int) -> None:
    random = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        shared = random.normal(0, 0.01, blocks)
        summary = geometric_mean([list(shared + random.normal(0, 0.01, blocks)) for _ in range(4)])
        held += summary.low <= 1 <= summary.high
    assert held >= 0.93 * 100


def test_fewer_blocks_are_less_certain() -> None:
    widths = [math.log(high / low) for low, high in (time_interval([[1.0, 1.1, 1.2]] * n) for n in (2, 6, 20))]
    assert widths == sorted(widths, reverse=True)


def test_a_control_is_trusted_unless_the_baseline_differs_from_itself() -> None:
    random = np.random.default_rng(5)
    cells = [list(random.normal(0, 0.01, blocks)) for blocks in (6, 8, 8, 12)]
    assert control(cells).trusted is True
    assert control([[value + 0.05 for value in cell] for cell in cells]).trusted is False
    assert control([cell[:2] for cell in cells]).trusted is None


def test_blocks_that_few_cells_reached_do_not_decide_a_control() -> None:
    cells = [[0.001, -0.001, 0.0, 0.002]] * 3
    assert control([*cells[:2], [*cells[2], 9.0, 9.0, 9.0]]) == control(cells)


def test_a_sound_control_is_doubted_once_in_200() -> None:
    random = np.random.default_rng(6)
    trusted = [control(list(random.normal(0, 0.02, (5, 6)))).trusted for _ in range(600)]  # type: ignore[arg-type]
    assert np.mean([bool(each) for each in trusted]) >= 0.98


@pytest.mark.parametrize(("growth", "drifts"), [(0.0, False), (0.01, False), (0.1, True), (-0.1, True)])
def test_a_drift_is_seen_where_it_matters(growth: float, drifts: bool) -> None:
    noise = np.random.default_rng(7).normal(0, 0.005, 60)
    steady = steadiness(list(np.exp(noise + np.linspace(0, growth, 60))))
    assert steady.drifting is drifts
    assert steady.change == pytest.approx(math.expm1(growth), abs=0.01)


def test_a_drift_over_very_many_turns_is_seen_in_no_time() -> None:
    turns = np.random.default_rng(9).normal(0, 0.02, 20_000) + np.linspace(0, 0.05, 20_000)
    start = time.perf_counter()
    steady = steadiness(list(np.exp(turns)))
    assert steady.drifting and steady.change == pytest.approx(0.05, abs=0.01)
    assert time.perf_counter() - start < 0.5


def test_few_or_equal_samples_do_not_drift() -> None:
    assert not steadiness([1, 2, 3]).drifting
    assert not steadiness([1.0] * 30).drifting


def test_noise_alone_hardly_ever_drifts() -> None:
    random = np.random.default_rng(8)
    assert sum(steadiness(list(np.exp(random.normal(0, 0.1, 30)))).drifting for _ in range(300)) <= 10


def test_outliers_are_counted_by_the_fences() -> None:
    assert outliers([*range(1, 12)]) == Outliers(0, 0)
    assert outliers([*range(1, 12), 20, 100]) == Outliers(1, 1)
    assert outliers([5.0] * 9) == Outliers(0, 0)


def test_disturbed_turns_are_left_out_of_a_ratio_where_enough_are_left() -> None:
    ours, theirs = [2.0, 2.0, 9.0, 2.0], [1.0, 1.0, 1.0, 8.0]
    assert log_ratio_of_block(ours, theirs, {2, 3}) == pytest.approx(math.log(2))
    all_of_them = log_ratio_of_block(ours, theirs)
    assert log_ratio_of_block(ours, theirs, {1, 2, 3}) == all_of_them  # one turn is too few to rest on
    assert log_ratio_of_block(ours, theirs, {0, 1, 2, 3}) == all_of_them


def test_the_detectable_difference_is_that_of_the_rule() -> None:
    # six blocks of 3 %: t with 5 degrees of freedom at LEVEL / 3, and 0.84 standard errors for four tries in five
    error = 0.03 / math.sqrt(6)
    quantile = student.isf(LEVEL / 3 / 2, 5)
    assert detectable(0.03, 6) == pytest.approx(math.expm1((quantile + 0.84) * error))
    assert detectable(0.0, 6) == pytest.approx(PRACTICAL)  # below it nothing is called
    assert detectable(0.03, 6) > detectable(0.03, 12) > PRACTICAL
