"""Time to the target: both factors, their spread, and how often verdicts are wrong."""

from __future__ import annotations

from functools import cache
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trained import history, turns

from bench.report.trainings import claims, sentence
from bench.train.outcome import STEPS_MARGIN, Beside, first, outcomes, over_seeds

if TYPE_CHECKING:
    from bench.train.checkpoint import History
    from bench.train.outcome import Outcome


def by_row(found: list[Outcome]) -> dict[str, Outcome]:
    return {one.row: one for one in found}


def trained(steps: dict[str, list[int]], compile_s: float = 0.0) -> list[History]:
    return [
        history(row, seed, own, compile_s=compile_s) for row, each in steps.items() for seed, own in enumerate(each)
    ]


def test_time_is_steps_times_the_time_of_a_step_and_compiling() -> None:
    found = by_row(
        outcomes(
            [*trained({"a/one": [3000, 2000, 2500]}), *trained({"b/two": [3000, 2200, 2500]}, compile_s=60.0)],
            turns({"a/one": 0.1, "b/two": 0.05}),
            1,
        )
    )
    assert found["a/one"].time_s == pytest.approx({0: 300, 1: 200, 2: 250}, rel=1e-3)
    assert found["b/two"].time_s == pytest.approx({0: 210, 1: 170, 2: 185}, rel=1e-3)
    assert found["b/two"].compile_share == pytest.approx(np.mean([60 / 210, 60 / 170, 60 / 185]), rel=1e-2)
    assert first([*found.values()]).row == "b/two" and found["b/two"].time_ratio is None
    ratio = found["a/one"].time_ratio
    assert ratio is not None and ratio.seeds == 3
    logs = [log(300 / 210), log(200 / 170), log(250 / 185)]
    assert ratio.estimate == pytest.approx(exp(np.mean(logs)), rel=1e-2)


def test_a_training_that_missed_its_target_has_no_time() -> None:
    missed = [history("a/one", seed, 4000, ending="missed") for seed in range(3)]
    found = by_row(outcomes([*missed, *trained({"b/two": [3000] * 3})], turns({"a/one": 0.01, "b/two": 0.1}), 1))
    assert found["a/one"].time is None and found["a/one"].steps == {} and found["a/one"].time_ratio is None
    assert first([*found.values()]).row == "b/two"


def test_without_turns_there_are_steps_and_no_times() -> None:
    found = by_row(outcomes(trained({"a/one": [2000] * 3, "b/two": [3000] * 3}), None, 1))
    assert found["a/one"].time is None and found["b/two"].steps_verdict == "MORE"


def test_fewer_than_three_seeds_claim_nothing() -> None:
    for seeds in (1, 2):
        found = by_row(
            outcomes(
                trained({"a/one": [1000] * seeds, "b/two": [3000] * seeds}), turns({"a/one": 0.1, "b/two": 0.1}), 1
            )
        )
        assert found["b/two"].steps_verdict is None and found["b/two"].time_verdict is None
        assert found["b/two"].time_ratio is not None


def test_one_that_has_fewer_seeds_is_not_the_first() -> None:
    found = outcomes(trained({"a/one": [1000], "b/two": [3000, 3100, 3200]}), turns({"a/one": 0.1, "b/two": 0.1}), 1)
    assert first(found).row == "b/two"
    assert by_row(found)["a/one"].time_verdict is None


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.floats(0, 1), st.floats(0, 1))
def test_an_interval_grows_with_what_is_beside(logs: list[float], below: float, above: float) -> None:
    alone, both = over_seeds(logs), over_seeds(logs, Beside((below, above), (below, above)), pairs=3)
    assert alone.interval and alone.strict and both.interval and both.strict
    assert both.interval.low <= alone.interval.low * (1 + 1e-9)
    assert both.interval.high >= alone.interval.high * (1 - 1e-9)
    assert both.strict.low <= both.interval.low and both.strict.high >= both.interval.high
    assert both.interval.low <= both.estimate * exp(-below) * (1 + 1e-9)


def test_an_interval_has_the_truth_in_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        found = over_seeds(rng.normal(0.3, 0.1, 3).tolist()).interval
        held += found is not None and found.low < exp(0.3) < found.high
    assert 0.935 < held / 2000 < 0.965


def simulated(rows: int, ratio: float, spread: float, rng: np.random.Generator) -> dict[str, list[int]]:
    """Steps of rows with three seeds, as evaluations every 200 see them; those of the last are in this ratio."""
    seeds = rng.normal(0, 0.1, 3)  # what a seed does to all rows
    return {
        f"a/{row}": (200 * np.ceil(14 * own * np.exp(seeds + rng.normal(0, spread, 3)))).astype(int).tolist()
        for row, own in enumerate([1.0] * (rows - 1) + [ratio])
    }


@cache
def verdicts(ratio: float, spread: float = 0.05, rows: int = 3, tables: int = 1000) -> list[list[str | None]]:
    rng = np.random.default_rng(1)
    every = (simulated(rows, ratio, spread, rng) for _ in range(tables))
    return [[one.steps_verdict for one in outcomes(trained(steps), None, 200)] for steps in every]


@pytest.mark.parametrize("rows", [3, 8])
@pytest.mark.parametrize("spread", [0.03, 0.05])
def test_of_rows_that_are_alike_at_most_one_table_in_twenty_says_otherwise(rows: int, spread: float) -> None:
    found = verdicts(1.0, spread, rows, 600)
    wrong = sum(any(own in ("FEWER", "MORE") for own in table) for table in found)
    assert wrong / len(found) < 0.05


@pytest.mark.parametrize("blocks", [3, 6, 10])
def test_nor_do_their_times(blocks: int) -> None:
    rng, rows, wrong, tables = np.random.default_rng(2), [f"a/{row}" for row in range(8)], 0, 60
    for number in range(tables):
        taken = turns(dict.fromkeys(rows, 0.1), blocks=blocks, noise=0.02, seed=number)
        found = outcomes(trained(simulated(8, 1.0, 0.03, rng)), taken, 200)
        wrong += any(one.time_verdict in ("FASTER", "SLOWER") for one in found)
    assert wrong / tables < 0.05 + 2 * (0.05 * 0.95 / tables) ** 0.5


def test_a_real_difference_is_seldom_called_none_and_a_large_one_is_seen() -> None:
    found = verdicts(1 + 2 * STEPS_MARGIN)
    assert sum(table[2] == "SAME" for table in found) / len(found) < 0.05
    found = verdicts(2.0)
    assert sum(table[2] == "MORE" for table in found) / len(found) > 0.9


def test_a_row_that_missed_its_target_once_has_no_verdict_and_is_not_the_first() -> None:
    lucky = [history("a/one", seed, 1000) for seed in range(3)] + [history("a/one", 3, 4000, ending="missed")]
    found = outcomes([*lucky, *trained({"b/two": [3000, 3100, 3200]})], turns({"a/one": 0.1, "b/two": 0.1}), 200)
    assert first(found).row == "b/two"
    assert by_row(found)["a/one"].time_verdict is None and by_row(found)["a/one"].steps_verdict is None
    assert "b/two is the first" in sentence(found, 0.1, "it") and "(" not in sentence(found, 0.1, "it").split(";")[-1]


def test_the_first_is_looked_for_over_the_seeds_that_all_have() -> None:
    steps = {"a/one": [3000, 3000, 3000, 100, 100], "b/two": [2000, 2010, 2020]}
    found = outcomes(trained(steps), turns({"a/one": 0.1, "b/two": 0.1}), 1)
    assert first(found).row == "b/two" and by_row(found)["a/one"].time_verdict == "SLOWER"


def test_turns_that_allow_no_verdict_give_none() -> None:
    steps = {"a/one": [3000, 3100, 3200], "b/two": [2000, 2100, 2200]}
    paces = {"a/one": 0.2, "b/two": 0.1}
    for taken in (turns(paces, blocks=2), turns(paces, control=1.5), turns(paces, flags=["extra_processors"])):
        found = outcomes(trained(steps), taken, 200)
        assert all(one.time_verdict is None for one in found)
        assert not claims(found) or first(found).pace is not None
    refused = outcomes(trained(steps), turns(paces, flags=["extra_processors"]), 200)
    assert by_row(refused)["b/two"].pace is None, "who took more than others may has no time"
