"""Intervals hold their centre whatever comes, and the truth as often as they say."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.verdicts import holds

from bench.analysis.stats import (
    Outliers,
    control,
    geometric_mean,
    log_ratio_of_block,
    median,
    outliers,
    process_medians,
    steadiness,
    time_interval,
)

times = st.floats(1e-7, 1e4)
blocks_of_times = st.lists(st.lists(times, min_size=1, max_size=6), min_size=1, max_size=8)
log_ratios = st.lists(st.floats(-3, 3), min_size=1, max_size=15)


@settings(max_examples=30, deadline=None)
@given(blocks_of_times)
def test_a_time_lies_in_its_interval(blocks: list[list[float]]) -> None:
    low, high = time_interval(blocks)
    location = median(process_medians(blocks))
    assert 0 < low <= location * (1 + 1e-12)
    assert location * (1 - 1e-12) <= high < math.inf


@settings(max_examples=25, deadline=None)
@given(st.lists(log_ratios, min_size=1, max_size=4))
def test_a_mean_over_workloads_and_a_control_lie_in_their_intervals(cells: list[list[float]]) -> None:
    assert holds(geometric_mean(cells))
    assert holds(control(cells))


def test_turns_are_paired_as_far_as_both_go() -> None:
    assert log_ratio_of_block([2, 4, 6], [1, 2, 3, 100]) == pytest.approx(math.log(2))
    assert log_ratio_of_block([], [1.0]) is None


@pytest.mark.parametrize("blocks", [3, 6, 12])
def test_the_interval_of_a_time_holds_the_truth_95_times_of_100(blocks: int) -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        processes = random.normal(0, 0.1, (blocks, 1))
        low, high = time_interval(list(np.exp(processes + random.normal(0, 0.05, (blocks, 9)))))
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
    trusted = [control(list(random.normal(0, 0.02, (5, 6)))).trusted for _ in range(600)]
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
