"""The stopped procedure, as a whole, is wrong in at most 1 % of comparisons, and finds what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.method.simulate import NOISES, clopper_pearson, contaminated, error_rate, normal, replay, stopped
from bench.stats import MIN_BLOCKS, PRACTICAL, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.method.simulate import Floats


@pytest.mark.parametrize("name", NOISES)
def test_identical_rows_are_told_apart_in_at_most_one_of_a_hundred(name: str) -> None:
    assert error_rate(NOISES[name], comparisons=4000).wrong <= 0.01


@pytest.mark.parametrize("name", ["normal 0.1", "drifting 0.1"])
def test_the_worst_noise_stays_below_one_percent_with_certainty(name: str) -> None:
    assert error_rate(NOISES[name], comparisons=40_000, seed=1).wrong_bounds.high <= 0.01


def naive(log_ratios: Floats) -> NDArray[np.str_]:
    """What nearly everyone does: an interval of 95 % after each block."""
    blocks = log_ratios.shape[-1]
    mean, half = log_ratios.mean(-1), scipy_stats.t.isf(0.025, blocks - 1) * scipy_stats.sem(log_ratios, axis=-1)
    differs = (np.abs(mean) > half) & (np.abs(mean) > np.log1p(PRACTICAL))
    return np.where(differs, np.where(mean < 0, "FASTER", "SLOWER"), "UNCLEAR")


def test_this_simulation_catches_a_naive_rule() -> None:
    assert error_rate(NOISES["normal 0.05"], rule=naive).wrong_bounds.low > 0.05


@pytest.mark.parametrize("sd", [0.007, 0.01])
@pytest.mark.parametrize(("effect", "share"), [(0.05, 0.99), (-0.05, 0.99), (0.03, 0.95), (-0.03, 0.95)])
def test_twelve_blocks_find_what_they_should(sd: float, effect: float, share: float) -> None:
    rates = error_rate(normal(sd), effect, most_blocks=12)
    assert rates.found >= share
    assert rates.wrong == 0


def test_twelve_blocks_with_outliers_find_most() -> None:
    rates = error_rate(contaminated(0.007), 0.05, most_blocks=12)
    assert rates.found >= 0.93
    assert rates.wrong <= 0.001


def test_quiet_identical_rows_are_the_same_within_twelve_blocks() -> None:
    rates = error_rate(normal(0.007), most_blocks=12)
    assert rates.same >= 0.9
    assert rates.mean_blocks < 10


def test_a_comparison_stops_at_the_first_verdict_of_the_report() -> None:
    log_ratios = np.random.default_rng(2).normal(0.03, 0.02, (60, 14))
    for row, said, blocks in zip(log_ratios, *stopped(log_ratios), strict=True):
        looks = [compare(list(row[:look])).verdict for look in range(MIN_BLOCKS, blocks + 1)]
        assert looks[-1] == said
        assert set(looks[:-1]) <= {"UNCLEAR"}
        assert said != "UNCLEAR" or blocks == 14


def test_rates_add_up_and_are_seeded() -> None:
    rates = error_rate(normal(0.01), 0.02, most_blocks=10)
    assert rates.wrong + rates.found + rates.same + rates.unclear == pytest.approx(1)
    assert rates == error_rate(normal(0.01), 0.02, most_blocks=10)
    assert rates.found_bounds.low <= rates.found <= rates.found_bounds.high


def test_recorded_noise_is_replayed() -> None:
    pool = list(np.random.default_rng(3).normal(0.002, 0.008, 40))
    assert replay(pool, most_blocks=12).wrong <= 0.01
    assert replay(pool, 0.05, most_blocks=12).found >= 0.99


def test_bounds_of_a_share() -> None:
    assert clopper_pearson(0, 300).high == pytest.approx(0.0122, abs=1e-4)
    assert clopper_pearson(0, 100).high == pytest.approx(0.0362, abs=1e-4)
