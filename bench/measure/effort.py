"""How many turns a group has after its first block: as many as its noise asks for. Pure.

A block's ratio is noisy for two reasons: each turn differs, and so does each process. More turns help against the one,
more blocks against the other. What is cheapest follows from how large either is and what it costs (Kalibera and Jones,
*Rigorous benchmarking in reasonable time*, ISMM 2013, section 7): ``sqrt(cost of a process / cost of a turn × variance
of a turn / variance of a process)`` turns a process.
"""

from __future__ import annotations

from math import ceil, floor, sqrt
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.cells import log_ratios
from bench.records.schema import CONTROL, Effort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure.presets import Budget
    from bench.records.schema import Group, Record

PROCESS_SD = 0.02
"""Standard deviation that fresh processes give to a log ratio, as published runs of real rows have it: of groups whose
turns explain little of what blocks differ by, the middle one (`tests/measure/test_effort.py` works it out again)."""

WORTH = 4
"""That counts as much as so many groups' controls: one block shows each but once."""

LEAST_SD = 0.005
"""Less is not believed of processes, whatever the controls of one block say."""

MEDIAN_FACTOR = 1.57
"""The variance of a median is that of a mean times about this (π/2), where what it is taken of is Gaussian."""

LONGEST = 3.0
"""A group's turns in a block may take so many times as long as a row is timed in a block by its preset."""


def turn_variance(records: Sequence[Record], baseline: str) -> float | None:
    """What one turn adds to the variance of a log ratio to the baseline, in the middle of a group's rows.

    ``records``: a group's, of one block. None where no row has two turns beside the baseline.
    """
    base = next((one for one in records if one.cell.implementation == baseline and one.samples_s), None)
    if base is None:
        return None
    variances = []
    for one in records:
        turns = min(len(one.samples_s), len(base.samples_s))
        free = [turn for turn in range(turns) if turn not in {*one.disturbed, *base.disturbed}]
        if one is not base and len(free) >= 2:
            logs = np.log(np.take(one.samples_s, free)) - np.log(np.take(base.samples_s, free))
            # few values mostly have a variance below the true one: that of the middle one of many such is known
            variances.append(float(np.var(logs, ddof=1)) / (1 - 2 / (9 * (len(free) - 1))) ** 3)
    return MEDIAN_FACTOR * median(variances) if variances else None


def process_variance(controls: Sequence[tuple[float, float]]) -> float:
    """What fresh processes add to the variance of a log ratio.

    ``controls``: of each group, the log ratio of the baseline to itself, and what its turns explain of the variance.
    """
    seen = [max(0.0, ratio**2 - explained) for ratio, explained in controls]
    return max(LEAST_SD**2, (WORTH * PROCESS_SD**2 + sum(seen)) / (WORTH + len(seen)))


def turns_of(turn_var: float, process_var: float, *, round_s: float, around_s: float, least: int, most: int) -> int:
    """How many turns a process should have, within limits."""
    best = sqrt(around_s / round_s * turn_var / process_var)
    return max(least, min(most, ceil(best)))


def efforts(
    records: Sequence[Record],
    seconds: Mapping[tuple[int, Group], tuple[float, float]],
    baselines: Mapping[Group, str],
    budget: Budget,
    block: int = 1,
) -> list[Effort]:
    """The turns of each group in each pool in later blocks.

    ``records``: what counts of this block. ``seconds``: of each pool and group, those of its turns and those of
    all around them that later blocks have too. ``baselines``: of each group.
    """
    found = {}
    for key in seconds:
        pool, group = key
        own = [one for one in records if one.ok and one.pool == pool and one.cell.group == group]
        variance = turn_variance(own, baselines[group]) if group in baselines else None
        if variance is not None:
            found[key] = own, variance, min(len(one.samples_s) for one in own)
    controls = []
    for (_, group), (own, variance, turns) in found.items():
        sides = [[one for one in own if one.cell.implementation == name] for name in (CONTROL, baselines[group])]
        controls += [(ratio, variance / turns) for ratio in log_ratios(*sides).values()]
    process = process_variance(controls)
    made = []
    for (pool, group), (own, variance, turns) in found.items():
        turns_s, around_s = seconds[pool, group]
        round_s = turns_s / max(len(one.samples_s) for one in own)
        longest_s = LONGEST * budget.timed_s * len(own)
        most = max(budget.min_turns, min(ceil(budget.timed_s / budget.turn_s), floor(longest_s / round_s)))
        wanted = turns_of(variance, process, round_s=round_s, around_s=around_s, least=budget.min_turns, most=most)
        made.append(
            Effort(
                **group._asdict(),
                pool=pool,
                block=block,
                turns=wanted,
                before=turns,
                turn_sd=sqrt(variance),
                process_sd=sqrt(process),
                round_s=round_s,
                around_s=around_s,
            )
        )
    return made
