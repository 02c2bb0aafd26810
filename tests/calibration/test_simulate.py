"""The stopped procedure, as a whole, is wrong in at most 1 % of a table's comparisons, and finds what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.verdicts import unguarded

from bench.analysis.stats import PRACTICAL
from bench.analysis.verdict import FEW_BLOCKS, MIN_BLOCKS, Prior, compare, priors
from bench.calibration.simulate import clopper_pearson, error_rate, recorded, said_in_groups, stopped
from studies.kinds import EFFECTS, KINDS, OUTLYING, made, normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.calibration.simulate import Floats


@pytest.mark.parametrize("name", KINDS)
def test_at_most_one_verdict_of_a_hundred_is_false(name: str) -> None:
    rates = error_rate(KINDS[name], effects=EFFECTS, seed=1)
    assert max(rates.false, rates.wrong) <= 0.01


@pytest.mark.parametrize("sd", ["3", "10"])
def test_the_worst_tables_stay_below_one_percent_with_certainty(sd: str) -> None:
    rates = error_rate(
        KINDS[f"one row and the control, drifting, {sd} %"], effects=EFFECTS, comparisons=100_000, seed=1
    )
    assert max(rates.false_bounds.high, rates.wrong_bounds.high) <= 0.01


def naive(log_ratios: Floats, _prior: Prior) -> NDArray[np.str_]:
    """What nearly everyone does: an interval of 95 % after each block."""
    blocks = log_ratios.shape[-1]
    mean, half = log_ratios.mean(-1), scipy_stats.t.isf(0.025, blocks - 1) * scipy_stats.sem(log_ratios, axis=-1)
    differs = (np.abs(mean) > half) & (np.abs(mean) > np.log1p(PRACTICAL))
    return np.where(differs, np.where(mean < 0, "FASTER", "SLOWER"), "UNCLEAR")


def test_this_simulation_catches_a_naive_rule() -> None:
    assert error_rate(KINDS["Gaussian, 3 %"], effects=EFFECTS, comparisons=4000, rule=naive).false_bounds.low > 0.05


def test_this_simulation_catches_a_rule_that_two_outlying_blocks_lead() -> None:
    few = {"comparisons": 10_000, "most_blocks": FEW_BLOCKS, "seed": 1}
    assert error_rate(KINDS["outliers, 0.6 %"], effects=EFFECTS, rule=unguarded, **few).false_bounds.low > 0.01
    assert error_rate(KINDS["outliers, 0.6 %"], effects=EFFECTS, **few).false == 0


def hasty(log_ratios: Floats, _prior: Prior) -> NDArray[np.str_]:
    """Whatever the noise: the sign of the mean, and never anything but the same below 5 %."""
    mean = log_ratios.mean(axis=-1)
    return np.where(np.abs(mean) < 0.05, "SAME", np.where(mean < 0, "FASTER", "SLOWER"))


def test_what_is_called_the_same_and_is_not_is_wrong() -> None:
    quiet = made(normal, [0.001], alike=np.inf)
    beyond, within, identical = (
        error_rate(quiet, comparisons=700, rule=hasty, effects=[effect]) for effect in (0.03, 0.01, 0.0)
    )
    assert (beyond.wrong, within.wrong, identical.wrong) == (1, 0, 0)
    assert (identical.false, identical.same) == (0, 1)
    assert error_rate(quiet, comparisons=700, rule=lambda ratios, _: hasty(-ratios, _), effects=[0.1]).wrong == 1


@pytest.mark.parametrize(
    ("sd", "effect", "blocks", "share"),
    [
        *((0.007, effect, 3, 0.98) for effect in (0.1, -0.1, 0.3)),
        *((0.007, effect, 12, 0.99) for effect in (0.03, -0.03, 0.05)),
        *((sd, 1.0, 3, least) for sd, least in ((0.04, 0.99), (0.07, 0.9))),
        *((sd, 0.3, 6, 0.95) for sd in (0.04, 0.07)),
    ],
)
def test_so_many_blocks_find_what_they_should(sd: float, effect: float, blocks: int, share: float) -> None:
    rates = error_rate(made(normal, [sd] * 8), comparisons=4000, most_blocks=12, effects=[effect])
    assert rates.found[blocks] >= share
    assert list(rates.found.values()) == sorted(rates.found.values())
    assert rates.wrong == 0


def test_twelve_blocks_with_outliers_find_most() -> None:
    tables = made(normal, [0.02] * 8, outlying=OUTLYING)
    rates = error_rate(tables, comparisons=4000, most_blocks=12, effects=[0.3])
    assert rates.found[12] >= 0.99
    assert rates.wrong <= 0.001


def test_quiet_identical_rows_are_the_same_within_twelve_blocks() -> None:
    rates = error_rate(made(normal, [0.007] * 8), comparisons=4000, most_blocks=12, effects=[0.0])
    assert rates.same >= 0.9
    assert rates.mean_blocks < 8


def by_hand(groups: list[list[list[float]]]) -> list[list[tuple[str, int]]]:
    """Look after look, comparison by comparison: the verdict and the number of blocks where each stops."""
    said = [[("UNCLEAR", min(len(one), MIN_BLOCKS - 1)) for one in group] for group in groups]
    for look in range(MIN_BLOCKS, max(len(one) for group in groups for one in group) + 1):
        going = [
            (g, row)
            for g, group in enumerate(groups)
            for row, one in enumerate(group)
            if said[g][row][0] == "UNCLEAR" and len(one) >= look
        ]
        for g, row in going:
            said[g][row] = "UNCLEAR", look
        variances, freedom = np.full((2, len(groups), max(map(len, groups))), np.nan)
        for g, group in enumerate(groups):
            for row, one in enumerate(group):
                if (blocks := said[g][row][1]) >= MIN_BLOCKS:
                    variances[g, row], freedom[g, row] = np.var(one[:blocks], ddof=1), blocks - 1
        known = priors(variances, freedom)
        for g, row in going:
            prior = Prior(known.variance[g], known.freedom[g])
            said[g][row] = str(compare(groups[g][row][:look], prior).verdict), look
    return said


def test_comparisons_stop_at_the_first_verdict_of_the_report() -> None:
    random, found = np.random.default_rng(4), []
    for _ in range(25):
        shape = random.integers(1, 5), random.integers(1, 8)
        lengths, effects = random.integers(0, 12, shape), random.choice([0, 0.05, -0.1, 0.3], shape)
        table = random.normal(effects[..., None], random.choice([0.003, 0.02], (*shape, 1)), (*shape, 12))
        table[np.arange(12) >= lengths[..., None]] = np.nan
        expected = by_hand([[one[np.isfinite(one)].tolist() for one in group] for group in table])
        said, blocks = (each[0].tolist() for each in stopped(table[None]))
        assert [list(zip(*group, strict=True)) for group in zip(said, blocks, strict=True)] == expected
        found += [word for group in said for word in group]
    assert {*found} == {"FASTER", "SLOWER", "SAME", "UNCLEAR"}


def test_what_was_said_of_ragged_series() -> None:
    assert said_in_groups([[]]) == [[]]
    assert said_in_groups([[[], [0.1], [0.0] * 2, [0.0] * 3, [0.5] * 7]]) == [
        [("UNCLEAR", 0), ("UNCLEAR", 1), ("UNCLEAR", 2), ("SAME", 3), ("SLOWER", 3)]
    ]


def test_tables_do_not_know_of_each_other() -> None:
    tables = KINDS["Gaussian, unlike groups"](np.random.default_rng(5), 3, 8) + 0.05
    together = stopped(tables)
    apart = [stopped(table[None]) for table in tables]
    for one, other in zip(together, zip(*apart, strict=True), strict=True):
        assert (one == np.concatenate(other)).all()


def test_rates_are_seeded_and_lie_in_their_bounds() -> None:
    tables = KINDS["one row and the control, drifting, 10 %"]
    rates, again, other = (
        error_rate(tables, effects=EFFECTS, comparisons=4000, most_blocks=10, seed=seed) for seed in (0, 0, 1)
    )
    assert rates == again != other
    for share, bounds in ((rates.false, rates.false_bounds), (rates.wrong, rates.wrong_bounds)):
        assert bounds.low <= share <= bounds.high


def test_rows_share_a_baseline_and_groups_do_not() -> None:
    tables = made(normal, [0.01, 0.05], rows=3, alike=np.inf)(np.random.default_rng(6), 2000, 2)
    assert tables.shape == (2000, 2, 3, 2)
    assert tables.std(axis=(0, 2, 3)) == pytest.approx([0.01, 0.05], rel=0.05)
    related = np.corrcoef(tables[..., 0].reshape(2000, 6).T)
    assert related[0, 1] == pytest.approx(0.5, abs=0.06)
    assert related[0, 3] == pytest.approx(0.0, abs=0.06)


def test_recorded_groups_keep_their_standard_deviation_and_what_their_rows_share() -> None:
    random = np.random.default_rng(3)
    groups = [
        sd * (random.normal(size=(rows, 12)) + random.normal(size=12)) / np.sqrt(2) + np.arange(rows)[:, None]
        for sd, rows in ((0.01, 6), (0.1, 4))
    ]
    drawn = recorded(groups)(np.random.default_rng(4), 500, 8)
    assert drawn.shape == (500, 2, 6, 8)
    own = [np.sqrt(np.mean(group.var(axis=1, ddof=1))) for group in groups]
    assert drawn.std(axis=(0, 2, 3)) == pytest.approx(own, rel=0.1)
    assert drawn.mean(axis=(0, 2, 3)) == pytest.approx([0, 0], abs=0.005)
    assert np.corrcoef(drawn[:, 0, :2].swapaxes(0, 1).reshape(2, -1))[0, 1] > 0.25


def test_recorded_noise_is_replayed_even_where_there_was_none() -> None:
    noise = np.random.default_rng(3).normal(0.002, 0.008, (10, 6))
    assert error_rate(recorded([noise]), comparisons=4000, most_blocks=12, effects=[0.0]).false <= 0.01
    assert error_rate(recorded([noise]), comparisons=4000, most_blocks=12, effects=[0.05]).found[12] >= 0.99
    assert error_rate(recorded([noise, np.ones((2, 6))]), comparisons=4000, most_blocks=6, effects=[0.05]).wrong == 0
    assert error_rate(recorded([np.ones((2, 6))]), comparisons=100, most_blocks=3, effects=[0.05]).found[3] == 1


def test_bounds_of_a_share() -> None:
    assert clopper_pearson(0, 300).high == pytest.approx(0.0122, abs=1e-4)
    assert clopper_pearson(0, 100).high == pytest.approx(0.0362, abs=1e-4)
