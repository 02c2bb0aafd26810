"""Two runs of the same thing are hardly ever told apart, and what two runs add is seen in what did not change."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from bench.stats import ONE_BLOCK_RATIO
from bench.two_runs import MIN_BLOCKS, OF_RATIOS, between_runs, two_samples


def test_two_samples_of_nothing_but_noise_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    found = [two_samples(rng.normal(0, 0.05, 6), rng.normal(0, 0.05, 9), ONE_BLOCK_RATIO) for _ in range(1000)]
    assert sum(one.verdict in ("FASTER", "SLOWER") for one in found) <= 5
    assert sum(one.low <= 1 <= one.high for one in found) >= 910


def test_a_difference_of_two_samples_has_a_direction() -> None:
    one, other = [0.001 * number for number in range(8)], [log(1.3) + 0.001 * number for number in range(8)]
    forth, back = two_samples(one, other, ONE_BLOCK_RATIO), two_samples(other, one, ONE_BLOCK_RATIO)
    assert (forth.verdict, back.verdict) == ("SLOWER", "FASTER")
    assert forth.ratio == pytest.approx(1.3) and back.ratio == pytest.approx(1 / 1.3)
    assert forth.low == pytest.approx(1 / back.high)
    assert two_samples([0.0] * 6, [0.0] * 6, ONE_BLOCK_RATIO) == (1.0, 1.0, 1.0, "SAME")


@pytest.mark.parametrize(("old", "new"), [(5, 12), (12, 5), (6, 12), (6, 6)])
def test_a_verdict_takes_six_blocks_of_either_run(old: int, new: int) -> None:
    one, other = [0.001 * number for number in range(old)], [log(3) + 0.001 * number for number in range(new)]
    assert two_samples(one, other, ONE_BLOCK_RATIO).verdict == (None if min(old, new) < 6 else "SLOWER")


def test_more_blocks_do_not_make_a_change_harder_to_find() -> None:
    few, many = (two_samples([0.0, 0.001] * (n // 2), [0.14, 0.141] * (n // 2), 0.1, between=0.04) for n in (6, 40))
    assert few.verdict == many.verdict == "SLOWER"


def pairs(rng: np.random.Generator, deviation: float, number: int) -> list[tuple[list[float], list[float]]]:
    """OLD and NEW of unchanged rows, some noisier than others, which moved in between."""
    spreads = rng.uniform(0.002, 0.03, number)
    return [
        (rng.normal(0, spread, 8).tolist(), rng.normal(rng.normal(0, deviation), spread, 12).tolist())
        for spread in spreads
    ]


@pytest.mark.parametrize("deviation", [0.0, 0.01, 0.1])
def test_the_movement_is_what_the_samples_themselves_do_not_explain(deviation: float) -> None:
    known = pairs(np.random.default_rng(2), deviation, 400)
    assert between_runs(known, 0.0, worth=0) == pytest.approx(deviation, rel=0.15, abs=0.004)
    assert between_runs(known, OF_RATIOS) == pytest.approx(deviation, rel=0.15, abs=0.01)
    few = [(old[: MIN_BLOCKS - 1], new) for old, new in known]
    assert between_runs(few, OF_RATIOS) == between_runs([], OF_RATIOS) == OF_RATIOS
    assert between_runs([([0.0] * 8, [0.0] * 8)] * 10, 0.0, worth=0) == 0


@pytest.mark.parametrize(("moved", "number"), [(0.0, 6), (0.02, 6), (0.02, 50), (0.04, 1), (0.04, 6), (0.04, 50)])
def test_an_unchanged_time_gets_a_false_verdict_in_at_most_one_of_a_hundred(moved: float, number: int) -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        between = between_runs(pairs(rng, moved, number), OF_RATIOS)
        ((old, new),) = pairs(rng, moved, 1)
        wrong += two_samples(old, new, ONE_BLOCK_RATIO, between=between).verdict in ("FASTER", "SLOWER")
    assert wrong <= 4
