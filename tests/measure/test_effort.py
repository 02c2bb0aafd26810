"""As many turns as noise and costs ask for, within limits; and what of a group they follow from."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pretend import plan, row, sit
from support.publishing import published

from bench.analysis.cells import analyse
from bench.here import ROOT
from bench.measure.plan import BUDGETS
from bench.measure.stopping import (
    LEAST_SD,
    LONGEST,
    PROCESS_SD,
    efforts,
    next_block,
    process_variance,
    turn_variance,
    turns_of,
)
from bench.records.schema import Record

if TYPE_CHECKING:
    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Group

ROWS = [row(name) for name in ("base", "fast", "slow", "close")]
PLAN = plan(*ROWS)
BUDGET = BUDGETS["default"]
variances, seconds = st.floats(1e-6, 1.0), st.floats(0.001, 100.0)


def of_first_block(noise: float, *, round_s: float = 0.1, around_s: float = 3.0) -> list:
    due = next_block(PLAN, [])
    assert due is not None
    records = [one for planned in due[1] for one in sit(planned, 1, {}, noise=noise)]
    spent = {(0, planned.group): (9 * round_s, around_s) for planned in due[1]}
    return efforts(records, spent, dict.fromkeys((group for _, group in spent), "base"), BUDGET)


@given(turn=variances, process=variances, round_s=seconds, around_s=seconds)
def test_no_other_number_of_turns_is_cheaper(turn: float, process: float, round_s: float, around_s: float) -> None:
    """The variance of a block times its cost is least there: so many blocks of so much are needed for one precision."""
    best = turns_of(turn, process, round_s=round_s, around_s=around_s, least=1, most=10**9)

    def cost(turns: int) -> float:
        return (process + turn / turns) * (around_s + turns * round_s)

    others = {max(1, best + step) for step in (-1, 1, -best // 2, best)}
    neighbours = min(cost(best), cost(max(1, best - 1)))  # the best may lie between two numbers
    assert all(neighbours <= cost(other) * (1 + 1e-9) for other in others)


@given(turn=variances, process=variances, round_s=seconds, around_s=seconds)
def test_there_are_limits(turn: float, process: float, round_s: float, around_s: float) -> None:
    assert 3 <= turns_of(turn, process, round_s=round_s, around_s=around_s, least=3, most=9) <= 9


def test_what_a_turn_adds_is_found_from_few_turns_of_many_rows() -> None:
    rng = np.random.default_rng(1)
    (planned, *_) = (next_block(plan(*[row(f"row{number}") for number in range(30)]), []) or (0, ()))[1]
    for sd, turns in product((0.01, 0.1), (3, 60)):
        found = []
        for _ in range(15):  # all are held against one baseline, whose turns may be alike by chance
            records = [
                msgspec.structs.replace(one, samples_s=np.exp(rng.normal(0, sd / sqrt(2), turns)).tolist())
                for one in sit(planned, 1, {})
            ]
            found.append(turn_variance(records, "row0"))
        assert np.mean(found) == pytest.approx(1.57 * sd**2, rel=0.3)
    assert turn_variance(records, "nobody") is None
    assert turn_variance([msgspec.structs.replace(one, samples_s=[1.0]) for one in records], "row0") is None


@pytest.mark.thorough
def test_what_is_believed_of_processes_is_what_published_runs_have() -> None:
    """Where turns explain less than half of what blocks scatter by, the rest is the processes'."""
    scatter = []
    for result in (one for one in published(ROOT) if one.run.preset == "default"):
        rows: dict[Group, list[CellAnalysis]] = defaultdict(list)
        for cell, one in analyse(result.records, result.run.baseline).items():
            if one.is_compared and len(one.log_ratios) >= 5:
                rows[cell.group].append(one)
        for group, judged in rows.items():
            own = [one for one in result.records if one.ok and one.block == 2 and one.cell.group == group]
            turn = turn_variance(own, str(judged[0].baseline))
            logs = [np.array([*one.log_ratios.values()]) for one in judged]
            block = float(np.median([(1.4826 * np.median(np.abs(one - np.median(one)))) ** 2 for one in logs]))
            explained = (turn or block) / np.median([len(one.samples_s) for one in own])
            if explained < block / 2:
                scatter.append(sqrt(block - explained))
    assert len(scatter) > 20
    assert np.quantile(scatter, 0.25) < PROCESS_SD < np.quantile(scatter, 0.75)
    assert np.median(scatter) == pytest.approx(PROCESS_SD, rel=0.2)


def test_controls_move_what_is_believed_of_processes_and_chance_does_not() -> None:
    assert process_variance([]) == pytest.approx(PROCESS_SD**2)
    assert process_variance([(0.1, 0.0)] * 8) > process_variance([(0.05, 0.0)] * 8) > PROCESS_SD**2
    assert LEAST_SD**2 <= process_variance([(0.0, 0.0)] * 8) < PROCESS_SD**2
    assert process_variance([(0.1, 0.02)]) == process_variance([(0.0, 0.0)]), "its turns explain it"


def test_noisy_turns_are_more_and_dear_ones_fewer() -> None:
    quiet, noisy = of_first_block(0.003), of_first_block(0.1)
    dear = of_first_block(0.1, round_s=20.0)
    assert len(quiet) == len(noisy) == len(PLAN.pools[0].entries[0].cells)
    for one, other, costly in zip(quiet, noisy, dear, strict=True):
        assert one.before == 9
        assert one.turns <= other.turns and costly.turns <= other.turns
        assert one.turn_sd < other.turn_sd
        assert costly.turns == BUDGET.min_turns or costly.turns * 20.0 <= LONGEST * BUDGET.timed_s * (len(ROWS) + 1)
        assert BUDGET.min_turns <= one.turns <= BUDGET.timed_s / BUDGET.turn_s


def test_a_group_without_a_time_has_no_turns_to_choose() -> None:
    due = next_block(PLAN, [])
    assert due is not None
    fails = {(entry.name, 1) for entry in PLAN.pools[0].entries}
    failed: list[Record] = [one for planned in due[1] for one in sit(planned, 1, {}, fails=fails)]
    spent = {(0, one.cell.group): (1.0, 1.0) for one in failed}
    assert efforts(failed, spent, {}, BUDGET) == []
