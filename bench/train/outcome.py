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

from bench.analysis.cells import interval_of, ratio_of
from bench.analysis.stats import PRACTICAL, Interval, student, time_interval
from bench.analysis.verdict import LEVEL, MIN_BLOCKS, level_of_look
from bench.records.versions import failures_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.analysis.analysis import Analysis
    from bench.analysis.cells import CellAnalysis
    from bench.analysis.verdict import Ratio, Verdict
    from bench.train.checkpoint import History

LEAST_SEEDS = 3
"""Of fewer nothing is claimed."""

STEPS_MARGIN = 0.10
"""Rows need the SAME number of steps where all that the seeds allow lies within this of 1. It is as fine as evaluations
every 200 of some 3,000 steps can tell; MLPerf holds submissions to reference convergence points in such a way."""

ERROR = 0.05
"""How often a table may have a wrong verdict, if all its rows are alike."""

StepsVerdict = Literal["FEWER", "MORE", "SAME", "UNCLEAR"]


class Beside(NamedTuple):
    """How far below and above its estimate a factor may be that all seeds share, as logs: at 95 %, and strictly."""

    usual: tuple[float, float] = (0.0, 0.0)
    strict: tuple[float, float] = (0.0, 0.0)


NOTHING_BESIDE = Beside()


class Over(NamedTuple):
    """A geometric mean over seeds, with its 95 % interval; without one below two seeds.

    ``strict`` is the interval of its verdict: wide enough that all verdicts of a table together err as often as ERROR.
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
    strict: tuple[float, float] | None
    """How far below and above the ratio may be, as logs, at the level of verdicts; None: it has none."""
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
    def missed(self) -> bool:
        """Whether a training of it has not reached the target: a verdict on the others would be about lucky seeds."""
        return any(one.about.ending == "missed" for one in self.trained.values())

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
        beside = Beside((log(self.pace.step_s / low), log(high / self.pace.step_s)))
        return over_seeds([log(own) for own in self.time_s.values()], beside)


def compile_s(history: History) -> float:
    """What the first steps of all shapes took more than typical steps: compiling, and what else is made once."""
    steady, first = history.step_s[~history.is_first], history.step_s[history.is_first]
    return max(0.0, float(first.sum()) - len(first) * median(steady.tolist())) if len(steady) else 0.0


def over_seeds(logs: Sequence[float], beside: Beside = NOTHING_BESIDE, *, pairs: int = 1, grid: float = 0.0) -> Over:
    """The geometric mean of what has these logarithms, one of each seed, with Student's 95 % interval.

    ``pairs``: how many pairs of rows may be held against each other, for the strict one (Bonferroni). ``grid``: the
    standard deviation that evaluating now and then gives to a logarithm: seeds never spread less. Distances of seeds
    and of what is ``beside`` add up as squares (MOVER: Zou and Donner, Statistics in Medicine 27(10), 2008).
    """
    middle, number = fmean(logs), len(logs)
    if number < 2:
        return Over(exp(middle), None, None, number)
    spread = max(stdev(logs), grid)

    def interval(level: float, ends: tuple[float, float]) -> Interval:
        half = float(student(level, number - 1)) * spread / sqrt(number)
        low, high = (sqrt(half**2 + own**2) for own in ends)
        return Interval(exp(middle - low), exp(middle + high))

    usual, strict = interval(0.05, beside.usual), interval(ERROR / pairs, beside.strict)
    return Over(exp(middle), usual, strict, number)


def outcomes(trained: Sequence[History], turns: Analysis | None, every: int) -> list[Outcome]:
    """What came of each row, in the order of their trainings, against the one that is the first at the target.

    All verdicts hold for whichever it is. ``every``: steps from one evaluation to the next.
    """
    by_row: dict[str, dict[int, History]] = {}
    for one in trained:
        by_row.setdefault(one.about.row, {})[one.about.seed] = one
    if not by_row:
        return []
    alone = [Outcome(row=row, trained=own, pace=None) for row, own in by_row.items()]
    rows = sum(len(own.steps) >= LEAST_SEEDS for own in alone)
    pairs = max(1, rows * (rows - 1) // 2)
    if turns is not None and is_enough(turns):
        alone = _paced(alone, turns, None, pairs)
        alone = _paced(alone, turns, first(alone).row, pairs)
    leader = first(alone)
    return [own if own is leader else _against(own, leader, pairs, every) for own in alone]


def is_enough(turns: Analysis) -> bool:
    """Whether turns allow verdicts: there are blocks enough, no row failed, and the baseline equals itself."""
    blocks = max((record.block for record in turns.result.records), default=0)
    return turns.result.whole and blocks >= MIN_BLOCKS and turns.is_trusted and not failures_of(turns.result.records)


def first(found: Sequence[Outcome]) -> Outcome:
    """The one with the shortest time, over the seeds that all have of whom something may be claimed.

    Where nobody has taken turns, it is the one with the fewest steps; where nothing may be claimed of anybody, it is
    looked for among those that have reached the target most often.
    """
    sure = [one for one in found if len(one.steps) >= LEAST_SEEDS and not one.missed]
    most = max(len(one.steps) for one in found)
    among = sure or [one for one in found if len(one.steps) == most]
    among = [one for one in among if one.pace] or among  # seconds are not compared with steps
    seeds = set.intersection(*(set(one.steps) for one in among))

    def place(one: Outcome) -> float:
        sizes: Mapping[int, float] = one.time_s if one.pace else one.steps
        return fmean(log(sizes[seed]) for seed in seeds) if seeds else math.inf

    return min(among, key=place)


def _paced(found: Sequence[Outcome], turns: Analysis, baseline: str | None, pairs: int) -> list[Outcome]:
    """With the time of a step of each, whose ratio is to the baseline's; without one of whom no verdict may be said."""
    rows = {cell.implementation: one for cell, one in turns.cells.items() if cell.role == "row"}
    base = rows.get(baseline or "")
    return [replace(own, pace=_pace(rows.get(own.row), base, turns, pairs)) for own in found]


def _pace(one: CellAnalysis | None, base: CellAnalysis | None, turns: Analysis, pairs: int) -> Pace | None:
    if one is None or one.median_s is None or one.is_refused:
        return None
    batches, memory = len(turns.run.workloads[one.cell.workload].batches), turns.memory.get(one.cell)
    ratio = ratio_of(one, base) if base is not None and base is not one else None
    strict = None
    if ratio is not None and base is not None and ratio.verdict is not None:
        # all looks of a run together err at the level of one (`verdict.level_of_look`)
        low, high = interval_of(one, base, ERROR / pairs * level_of_look(ratio.blocks) / LEVEL)
        strict = max(0.0, log(ratio.estimate) - low), max(0.0, high - log(ratio.estimate))
    return Pace(
        step_s=one.median_s / batches,
        interval=Interval(*(end / batches for end in time_interval(one.samples_s))),
        ratio=ratio,
        strict=strict,
        peak_bytes=memory.peak_bytes if memory else None,
    )


def _against(own: Outcome, base: Outcome, pairs: int, every: int) -> Outcome:
    both = own.steps.keys() & base.steps.keys()
    if not both:
        return own
    grid = sqrt(fmean((every / one.steps[seed]) ** 2 / 12 for one in (own, base) for seed in both) * 2)
    steps = over_seeds([log(own.steps[seed] / base.steps[seed]) for seed in both], pairs=pairs, grid=grid)
    time, verdict = None, None
    if own.pace and base.pace and (ratio := own.pace.ratio):
        # of a step, the ratio is known better than either time: rows took turns
        times = own.times_at(base.pace.step_s * ratio.estimate)
        usual = log(ratio.estimate / ratio.low), log(ratio.high / ratio.estimate)
        logs = [log(times[seed] / base.time_s[seed]) for seed in both]
        time = over_seeds(logs, Beside(usual, own.pace.strict or usual), pairs=pairs, grid=grid)
        verdict = _time_verdict(time) if own.pace.strict and not (own.missed or base.missed) else None
    is_sure = not (own.missed or base.missed)
    return replace(
        own,
        steps_ratio=steps,
        steps_verdict=_steps_verdict(steps) if is_sure else None,
        time_ratio=time,
        time_verdict=verdict,
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
