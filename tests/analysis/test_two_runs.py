"""Two runs of the same thing are hardly ever told apart, and what two runs add is seen in what did not change."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.analysis.stats import ONE_BLOCK_RATIO
from bench.analysis.two_runs import OF_RATIOS, Sample, between_runs, two_samples
from bench.analysis.verdict import MIN_BLOCKS, NOTHING_KNOWN, Prior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.two_runs import Change


def apart(old: Sequence[float], new: Sequence[float], prior: Prior = NOTHING_KNOWN, between: float = 0.0) -> Change:
    return two_samples(Sample(old, prior), Sample(new, prior), ONE_BLOCK_RATIO, between=between)


def test_two_samples_of_nothing_but_noise_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    found = [apart(rng.normal(0, 0.05, 6), rng.normal(0, 0.05, 9)) for _ in range(1000)]
    assert sum(one.verdict in ("FASTER", "SLOWER") for one in found) <= 5
    assert sum(one.low <= 1 <= one.high for one in found) >= 910


def test_a_difference_of_two_samples_has_a_direction() -> None:
    one, other = [0.001 * number for number in range(8)], [log(1.3) + 0.001 * number for number in range(8)]
    forth, back = apart(one, other), apart(other, one)
    assert (forth.verdict, back.verdict) == ("SLOWER", "FASTER")
    assert forth.ratio == pytest.approx(1.3) and back.ratio == pytest.approx(1 / 1.3)
    assert forth.low == pytest.approx(1 / back.high)
    assert apart([0.0] * 6, [0.0] * 6) == (1.0, 1.0, 1.0, "SAME")


@pytest.mark.parametrize(("old", "new"), [(2, 12), (12, 2), (3, 12), (3, 3), (4, 3), (6, 6)])
def test_a_verdict_takes_three_blocks_of_either_run(old: int, new: int) -> None:
    one, other = [0.001 * number for number in range(old)], [log(3) + 0.001 * number for number in range(new)]
    assert apart(one, other).verdict == (None if min(old, new) < 3 else "SLOWER")


KNOWN = Prior(np.array(0.02**2), np.array(5.0))
"""What a run says of a variance, if its comparisons are alike."""


def test_what_the_runs_know_of_their_noise_decides_where_three_blocks_alone_cannot() -> None:
    rng = np.random.default_rng(5)
    alone, helped = (
        [apart(rng.normal(0, 0.02, 3), rng.normal(log(1.3), 0.02, 4), prior).verdict for _ in range(100)]
        for prior in (NOTHING_KNOWN, KNOWN)
    )
    assert helped.count("SLOWER") >= 95 > 60 > alone.count("SLOWER")


@pytest.mark.parametrize("blocks", [3, 4])
def test_no_two_outlying_blocks_of_a_run_make_a_verdict(blocks: int) -> None:
    whole, off = [0.001 * number for number in range(8)], [0.0, 0.001, 0.002, 0.003][: blocks - 2]
    for old, new in ((whole, [*off, 0.5, 0.5]), ([*off, -0.5, -0.5], whole)):
        assert apart(old, new, KNOWN).verdict == "UNCLEAR"


def test_more_blocks_do_not_make_a_change_harder_to_find() -> None:
    few, many = (apart([0.0, 0.001] * (n // 2), [0.14, 0.141] * (n // 2), between=0.04) for n in (6, 40))
    assert few.verdict == many.verdict == "SLOWER"


def pairs(
    rng: np.random.Generator, deviation: float, number: int, blocks: tuple[int, int] = (8, 12)
) -> list[tuple[Sample, Sample]]:
    """OLD and NEW of unchanged rows, some noisier than others, which moved in between."""
    made = []
    for spread in rng.uniform(0.002, 0.03, number):
        prior = Prior(np.array(spread**2), np.array(5.0)) if min(blocks) < 5 else NOTHING_KNOWN
        middles = 0.0, rng.normal(0, deviation)
        made.append(
            tuple(
                Sample(rng.normal(at, spread, many).tolist(), prior) for at, many in zip(middles, blocks, strict=True)
            )
        )
    return made


@pytest.mark.parametrize("blocks", [(8, 12), (3, 4)])
@pytest.mark.parametrize("deviation", [0.0, 0.01, 0.1])
def test_the_movement_is_what_the_samples_themselves_do_not_explain(deviation: float, blocks: tuple[int, int]) -> None:
    known = pairs(np.random.default_rng(2), deviation, 400, blocks)
    assert between_runs(known, 0.0, worth=0) == pytest.approx(deviation, rel=0.15, abs=0.004)
    assert between_runs(known, OF_RATIOS) == pytest.approx(deviation, rel=0.15, abs=0.01)
    few = [(old._replace(logarithms=old.logarithms[: MIN_BLOCKS - 1]), new) for old, new in known]
    assert between_runs(few, OF_RATIOS) == between_runs([], OF_RATIOS) == OF_RATIOS
    assert between_runs([(Sample([0.0] * 8), Sample([0.0] * 8))] * 10, 0.0, worth=0) == 0


@pytest.mark.parametrize("blocks", [(8, 12), (3, 4)])
@pytest.mark.parametrize(("moved", "number"), [(0.0, 6), (0.02, 6), (0.02, 50), (0.04, 1), (0.04, 6), (0.04, 50)])
def test_an_unchanged_time_gets_a_false_verdict_in_at_most_one_of_a_hundred(
    moved: float, number: int, blocks: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(400):
        between = between_runs(pairs(rng, moved, number, blocks), OF_RATIOS)
        ((old, new),) = pairs(rng, moved, 1, blocks)
        wrong += two_samples(old, new, ONE_BLOCK_RATIO, between=between).verdict in ("FASTER", "SLOWER")
    assert wrong <= 4


@pytest.mark.parametrize("blocks", [(3, 3), (4, 3), (4, 9)])
@pytest.mark.parametrize("outlying", [0.0, 1 / 12])
def test_few_blocks_err_no_more_often(blocks: tuple[int, int], outlying: float) -> None:
    rng = np.random.default_rng(6)

    def noise(number: int) -> list[float]:
        off = rng.uniform(0.1, 0.5, number) * (rng.random(number) < outlying)
        return (rng.normal(0, 0.02, number) + off).tolist()

    found = [apart(*map(noise, blocks), KNOWN).verdict for _ in range(2000)]
    assert sum(one in ("FASTER", "SLOWER") for one in found) <= 20
