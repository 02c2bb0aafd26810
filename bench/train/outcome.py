"""What trainings and turns say together: time to the target is steps times the time of one, and compiling. Pure.

The time of a step comes from turns. Steps differ from seed to seed, and rows of a seed see the same batches: so rows
are compared seed by seed. A training that has missed its target has no time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench.analysis.cells import ratio_of
from bench.analysis.stats import PRACTICAL, Interval, student, time_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.analysis.analysis import Analysis
    from bench.analysis.verdict import Ratio, Verdict
    from bench.train.checkpoint import History

LEAST_SEEDS = 3
"""Of fewer nothing is claimed."""

STEPS_MARGIN = 0.10
"""Rows need the SAME number of steps where all that the seeds allow lies within this of 1. It is as fine as evaluations
every 200 of some 3,000 steps can tell; MLPerf holds submissions to reference convergence points in such a way."""

MANY = 1e6
"""Degrees of freedom at which Student's distribution is the normal one."""

StepsVerdict = Literal["FEWER", "MORE", "SAME", "UNCLEAR"]


class Over(NamedTuple):
    """A geometric mean over seeds, with its 95 % interval; without one below two seeds.

    ``strict`` is the interval of its verdict: wide enough that all verdicts of a table together err once in 20.
    """

    estimate: float
    interval: Interval | None
    strict: Interval | None
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The time of a step of a row, from its turns."""

    step_s: float
    interval: Interval
    """95 %."""
    ratio: Ratio | None
    """To the first's, turn by turn; None for that itself."""
    peak_bytes: int | None
    """Of a step, beside what the model takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a row; its ratios are to the first's, over the seeds that both have."""

    row: str
    trained: Mapping[int, History]
    """Seed to training."""
    pace: Pace | None
    steps_ratio: Over | None = None
    steps_verdict: StepsVerdict | None = None
    time_ratio: Over | None = None
    time_verdict: Verdict | None = None

    @property
    def steps(self) -> dict[int, int]:
        """Seed to steps, of the trainings that have reached the target."""
        return {seed: one.about.step for seed, one in self.trained.items() if one.about.ending == "reached"}

    @property
    def compile_s(self) -> dict[int, float]:
        """Seed to what compiling took."""
        return {seed: compile_s(one) for seed, one in self.trained.items()}

    @property
    def time_s(self) -> dict[int, float]:
        """Seed to the time to the target; none where the row has taken no turns."""
        return {} if self.pace is None else self.times_at(self.pace.step_s)

    def times_at(self, step_s: float) -> dict[int, float]:
        """Seed to the time to the target, if a step took so long."""
        return {seed: number * step_s + self.compile_s[seed] for seed, number in self.steps.items()}

    @property
    def compile_share(self) -> float | None:
        """How much of the time to the target is compiling."""
        times = self.time_s
        return fmean(self.compile_s[seed] / own for seed, own in times.items()) if times else None

    @property
    def time(self) -> Over | None:
        """The time to the target, seconds: over seeds, with the spread of both factors."""
        if self.pace is None or not self.steps:
            return None
        low, high = self.pace.interval
        beside = log(self.pace.step_s / low), log(high / self.pace.step_s)
        return over_seeds([log(own) for own in self.time_s.values()], beside)


def compile_s(history: History) -> float:
    """What the first steps of all shapes took more than typical steps: compiling, and what else is made once."""
    steady, first = history.step_s[~history.is_first], history.step_s[history.is_first]
    return max(0.0, float(first.sum()) - len(first) * median(steady.tolist())) if len(steady) else 0.0


def over_seeds(logs: Sequence[float], beside: tuple[float, float] = (0.0, 0.0), pairs: int = 1) -> Over:
    """The geometric mean of what has these logarithms, one of each seed, with Student's 95 % interval.

    ``pairs``: how many rows may be held against each other, for the strict one (Bonferroni).

    ``beside``: how far below and above its estimate a factor may be that all of them share. Distances add up as squares
    (MOVER: Zou and Donner, Statistics in Medicine 27(10), 2008).
    """
    middle, number = fmean(logs), len(logs)
    if number < 2:
        return Over(exp(middle), None, None, number)
    found = []
    for level in (0.05, 0.05 / pairs):
        half = float(student(level, number - 1)) * stdev(logs) / sqrt(number)
        wider = float(student(level, MANY) / student(0.05, MANY))
        low, high = (sqrt(half**2 + (wider * own) ** 2) for own in beside)
        found.append(Interval(exp(middle - low), exp(middle + high)))
    return Over(exp(middle), found[0], found[1], number)


def outcomes(trained: Sequence[History], turns: Analysis | None) -> list[Outcome]:
    """What came of each row, in the order of their trainings, against the one that is the first at the target.

    That is, of those with most seeds there; all verdicts hold for whichever it is.
    """
    by_row: dict[str, dict[int, History]] = {}
    for one in trained:
        by_row.setdefault(one.about.row, {})[one.about.seed] = one
    if not by_row:
        return []
    paces = paces_of(turns, None) if turns else {}
    leader = first([Outcome(row=row, trained=own, pace=paces.get(row)) for row, own in by_row.items()])
    paces = paces_of(turns, leader.row) if turns else {}
    alone = [Outcome(row=row, trained=own, pace=paces.get(row)) for row, own in by_row.items()]
    rows = sum(len(own.steps) >= LEAST_SEEDS for own in alone)
    pairs = max(1, rows * (rows - 1) // 2)
    return [own if own.row == leader.row else _against(own, leader, pairs) for own in alone]


def first(found: Sequence[Outcome]) -> Outcome:
    """The one with the shortest time, or the fewest steps, of those that have reached the target with most seeds."""

    def place(one: Outcome) -> tuple[float, ...]:
        return -len(one.steps), one.time.estimate if one.time else math.inf, sum(one.steps.values())

    return min(found, key=place)


def paces_of(turns: Analysis, baseline: str | None) -> dict[str, Pace]:
    """Row to the time of a step; its ratio is to the baseline's."""
    rows = {cell.implementation: one for cell, one in turns.cells.items() if cell.role == "row"}
    found = {}
    for row, one in rows.items():
        if one.median_s is None:
            continue
        batches, memory = len(turns.run.workloads[one.cell.workload].batches), turns.memory.get(one.cell)
        other = rows.get(baseline or "")
        found[row] = Pace(
            step_s=one.median_s / batches,
            interval=Interval(*(end / batches for end in time_interval(one.samples_s))),
            ratio=ratio_of(one, other) if turns.is_trusted and other is not None and other is not one else None,
            peak_bytes=memory.peak_bytes if memory else None,
        )
    return found


def _against(own: Outcome, base: Outcome, pairs: int) -> Outcome:
    both = own.steps.keys() & base.steps.keys()
    if not both:
        return own
    steps, time = over_seeds([log(own.steps[seed] / base.steps[seed]) for seed in both], pairs=pairs), None
    if own.pace and base.pace and (ratio := own.pace.ratio):
        # of a step, the ratio is known better than either time: rows took turns
        times = own.times_at(base.pace.step_s * ratio.estimate)
        beside = log(ratio.estimate / ratio.low), log(ratio.high / ratio.estimate)
        time = over_seeds([log(times[seed] / base.time_s[seed]) for seed in both], beside, pairs)
    return replace(
        own,
        steps_ratio=steps,
        steps_verdict=_steps_verdict(steps),
        time_ratio=time,
        time_verdict=_time_verdict(time) if time else None,
    )


def _steps_verdict(steps: Over) -> StepsVerdict | None:
    if steps.strict is None or steps.seeds < LEAST_SEEDS:
        return None
    low, high = steps.strict
    if low > 1 / (1 + STEPS_MARGIN) and high < 1 + STEPS_MARGIN:
        return "SAME"
    return "FEWER" if high < 1 else "MORE" if low > 1 else "UNCLEAR"


def _time_verdict(time: Over) -> Verdict | None:
    if time.strict is None or time.seeds < LEAST_SEEDS:
        return None
    (low, high), practical = time.strict, 1 + PRACTICAL
    if low > 1 / practical and high < practical:
        return "SAME"
    if high < 1 and time.estimate < 1 / practical:
        return "FASTER"
    return "SLOWER" if low > 1 and time.estimate > practical else "UNCLEAR"
