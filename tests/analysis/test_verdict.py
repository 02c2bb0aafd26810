"""Verdicts do not depend on names, units or order, two outlying blocks make none, and others tell of noise alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student
from support.verdicts import holds, unguarded

from bench.analysis.stats import PRACTICAL, log_ratio_of_block
from bench.analysis.verdict import (
    FEW_BLOCKS,
    LEVEL,
    MIN_BLOCKS,
    MOST_FREEDOM,
    Prior,
    compare,
    detectable,
    level_of_look,
    priors,
    verdicts,
)

log_ratios = st.lists(st.floats(-3, 3), min_size=1, max_size=15)
small_log_ratios = st.lists(st.floats(-0.05, 0.05), min_size=MIN_BLOCKS, max_size=15)
near_one = st.floats(0.97, 1.03)
priors_known = st.builds(Prior, st.floats(1e-8, 1).map(np.array), st.floats(0, MOST_FREEDOM).map(np.array))
groups_of_variances = st.lists(st.lists(st.floats(1e-6, 1), min_size=2, max_size=5), min_size=1, max_size=4)
TURNED = {"FASTER": "SLOWER", "SLOWER": "FASTER"}


@given(log_ratios, priors_known)
def test_a_ratio_lies_in_its_interval_and_has_no_verdict_below_three_blocks(values: list[float], prior: Prior) -> None:
    ratio = compare(values, prior)
    assert holds(ratio)
    assert ratio.blocks == len(values)
    assert (ratio.verdict is None) == (len(values) < 3)
    assert (ratio.mde is None) == (len(values) < 2)
    assert ratio.mde is None or PRACTICAL <= ratio.mde + 1e-12 < math.inf


@given(st.lists(st.tuples(near_one, near_one), min_size=MIN_BLOCKS, max_size=12), st.floats(0.001, 1000))
def test_scaling_both_arms_changes_nothing(pairs: list[tuple[float, float]], scale: float) -> None:
    plain = compare([float(log_ratio_of_block([ours], [theirs]) or 0) for ours, theirs in pairs])
    scaled = compare([float(log_ratio_of_block([ours * scale], [theirs * scale]) or 0) for ours, theirs in pairs])
    assert scaled.estimate == pytest.approx(plain.estimate, abs=1e-9)
    assert scaled.verdict == plain.verdict


@given(small_log_ratios, st.floats(-0.5, 0.5), priors_known)
def test_swapping_the_arms_inverts_the_ratio_and_the_verdict(values: list[float], effect: float, prior: Prior) -> None:
    ratio = compare([value + effect for value in values], prior)
    swapped = compare([-value - effect for value in values], prior)
    assert swapped.estimate == pytest.approx(1 / ratio.estimate)
    assert (swapped.low, swapped.high) == pytest.approx((1 / ratio.high, 1 / ratio.low))
    assert swapped.verdict == TURNED.get(str(ratio.verdict), ratio.verdict)


@given(small_log_ratios.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))), priors_known)
def test_the_order_of_blocks_changes_nothing(orders: tuple[list[float], list[float]], prior: Prior) -> None:
    one, other = (compare(values, prior) for values in orders)
    assert one.verdict == other.verdict
    assert (one.estimate, one.low, one.high) == pytest.approx((other.estimate, other.low, other.high))


@given(st.floats(1e-7, 1e4), st.integers(MIN_BLOCKS, 20))
def test_identical_samples_are_the_same(time: float, blocks: int) -> None:
    log_ratio = log_ratio_of_block([time] * 3, [time] * 3)
    assert log_ratio == 0
    ratio = compare([log_ratio] * blocks)
    assert (ratio.estimate, ratio.low, ratio.high, ratio.verdict) == (1, 1, 1, "SAME")


@given(st.floats(-0.5, 0.5), st.integers(MIN_BLOCKS, 8))
def test_a_difference_without_noise_is_called_beyond_the_practical_threshold_only(effect: float, blocks: int) -> None:
    assume(abs(abs(effect) - math.log1p(PRACTICAL)) > 1e-9)
    expected = "SAME" if abs(effect) < math.log1p(PRACTICAL) else "SLOWER" if effect > 0 else "FASTER"
    assert compare([effect] * blocks).verdict == expected


def test_below_one_is_faster() -> None:
    assert compare([-0.1, -0.11, -0.09, -0.1, -0.105, -0.095]).verdict == "FASTER"


# Outliers


@given(
    st.integers(MIN_BLOCKS, 8), st.tuples(st.floats(-9, 9), st.floats(-9, 9)), st.permutations(range(8)), priors_known
)
def test_two_blocks_whatever_they_say_make_no_verdict(
    blocks: int, wild: tuple[float, float], order: list[int], prior: Prior
) -> None:
    def said(rest: float) -> str:
        values = [*wild, *[rest] * (blocks - 2)]
        return str(verdicts(np.array([values[place] for place in order if place < blocks]), prior))

    assert said(0.0) not in ("FASTER", "SLOWER")
    assert said(0.05) != "SAME"


@given(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), st.lists(st.floats(-1, 0), min_size=1, max_size=2), priors_known)
def test_the_rest_of_a_few_has_a_say_where_it_lies_on_the_other_side(
    wild: tuple[float, float], rest: list[float], prior: Prior
) -> None:
    assert MIN_BLOCKS <= len(wild) + len(rest) <= FEW_BLOCKS
    assert verdicts(np.array([*wild, *rest]), prior) != "SLOWER"


@pytest.mark.parametrize(("values", "said"), [([0.3, 0.0, 0.31], "SLOWER"), ([0.0, 0.05, 0.001], "SAME")])
def test_a_rule_without_that_guard_is_led_by_two_blocks(values: list[float], said: str) -> None:
    prior = Prior(np.array(1e-6), np.array(5.0))
    assert unguarded(np.array(values), prior) == said
    assert verdicts(np.array(values), prior) == "UNCLEAR"


def test_an_outlier_costs_certainty_and_hardly_moves_the_centre() -> None:
    calm = [0.001 * step for step in range(-5, 6)]
    clean, hit = compare([*calm, 0.0]), compare([*calm, 0.5])
    assert abs(math.log(hit.estimate)) < 0.002
    assert hit.high - hit.low > clean.high - clean.low


# What other comparisons know


def prior_of(*groups: list[float], blocks: int = MIN_BLOCKS) -> Prior:
    """That of a run with these variances, each of so many blocks."""
    variances = np.full((len(groups), max(map(len, groups))), np.nan)
    for row, group in zip(variances, groups, strict=True):
        row[: len(group)] = group
    return priors(variances, np.where(np.isnan(variances), np.nan, blocks - 1))


def test_what_alike_comparisons_know_lets_three_blocks_decide() -> None:
    values = [0.19, 0.21, 0.2]
    of_others = prior_of([1e-4] * 14)
    known = Prior(of_others.variance[0], of_others.freedom[0])
    assert compare(values).verdict == "UNCLEAR"
    assert compare(values, known).verdict == "SLOWER"
    own = compare([0.0, 0.2, 0.4], known)  # who is noisier than the others is not taken for one of them
    assert own.verdict == "UNCLEAR"


@given(log_ratios, st.floats(1e-8, 1))
def test_a_prior_without_freedom_changes_nothing(values: list[float], variance: float) -> None:
    assert compare(values, Prior(np.array(variance), np.array(0.0))) == compare(values)


def test_a_prior_is_worth_as_much_as_comparisons_are_alike() -> None:
    alike, unlike = prior_of([1e-4] * 10), prior_of([1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert alike.freedom == [MOST_FREEDOM]
    assert 0 < unlike.freedom[0] < 0.5
    few_blocks = np.random.default_rng(1).chisquare(2, (8, 14)) / 2  # they scatter as one variance does
    assert priors(few_blocks, np.full((8, 14), 2.0)).freedom.min() > 0.8 * MOST_FREEDOM


def test_a_prior_is_worth_no_more_than_there_are_others() -> None:
    assert list(prior_of([1e-4], [1e-4] * 3, [1e-4] * 14).freedom) == [0, 2, MOST_FREEDOM]


def test_each_group_has_a_level_of_its_own() -> None:
    quiet, noisy = prior_of([1e-6] * 6, [1e-2] * 6).variance
    assert noisy / quiet == pytest.approx(1e4)


@given(groups_of_variances, st.integers(1, 3))
def test_room_for_more_comparisons_changes_no_prior(groups: list[list[float]], room: int) -> None:
    plain, padded = prior_of(*groups), prior_of(*groups, [math.nan] * (5 + room))
    assert list(padded.variance[:-1]) == pytest.approx(list(plain.variance))
    assert list(padded.freedom[:-1]) == pytest.approx(list(plain.freedom))
    assert padded.freedom[-1] == 0


@given(groups_of_variances, st.floats(0.01, 100))
def test_scaling_all_variances_scales_the_prior(groups: list[list[float]], scale: float) -> None:
    plain, scaled = prior_of(*groups), prior_of(*([scale * variance for variance in group] for group in groups))
    assert list(scaled.variance) == pytest.approx(list(scale * plain.variance), rel=1e-5)
    assert list(scaled.freedom) == pytest.approx(list(plain.freedom), rel=1e-5)


# Levels


def test_what_all_looks_spend_stays_below_the_level() -> None:
    assert 0.99 * LEVEL < sum(map(level_of_look, range(MIN_BLOCKS, 1000))) <= LEVEL


@pytest.mark.parametrize("blocks", [3, 4, 8])
def test_many_comparisons_at_once_are_as_one_by_one(blocks: int) -> None:
    random = np.random.default_rng(1)
    noise = random.normal(0.05, 0.012, (400, blocks))
    prior = Prior(random.uniform(1e-6, 3e-4, 400), random.uniform(0, MOST_FREEDOM, 400))
    one_by_one = [compare(list(row), Prior(*own)).verdict for row, *own in zip(noise, *prior, strict=True)]
    assert set(one_by_one) >= {"SLOWER", "UNCLEAR"}
    assert list(verdicts(noise, prior)) == one_by_one


@pytest.mark.parametrize(("blocks", "at_most"), [(2, 1), (3, 1), (4, 1), (5, 0.97), (6, 0.97), (12, 0.97)])
def test_the_interval_of_a_ratio_holds_the_truth_95_times_of_100(blocks: int, at_most: float) -> None:
    random = np.random.default_rng(2)
    ratios = [compare(list(random.normal(0.05, 0.01, blocks))) for _ in range(400)]
    assert 0.93 <= np.mean([ratio.low <= math.exp(0.05) <= ratio.high for ratio in ratios]) <= at_most


def test_the_detectable_difference_is_that_of_the_rule() -> None:
    # six blocks of 3 %: t with 5 degrees of freedom at that look's share, and 0.84 errors for four tries in five
    error = 0.03 / math.sqrt(6)
    quantile = student.isf(LEVEL / 15 / 2, 5)
    assert detectable(0.03, 6) == pytest.approx(math.expm1((quantile + 0.84) * error))
    assert detectable(0.0, 6) == pytest.approx(PRACTICAL)  # below it nothing is called
    assert detectable(0.03, 6) > detectable(0.03, 12) > PRACTICAL
