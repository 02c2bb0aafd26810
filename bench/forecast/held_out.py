"""How well a scaling run's fits do on its held-out shapes: times, intervals, and who is the fastest. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bench.analysis.stats import PRACTICAL
from bench.forecast.model import CONFIDENCE, Expected, Model, TaskAt, forecast, tied
from bench.records.schema import Struct


class Checked(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What was expected of the rows on a held-out shape, and what was measured."""

    workload: str
    expected: list[Expected]
    measured_s: dict[str, float]
    """Row to seconds a call."""

    @property
    def tied(self) -> list[str]:
        """The rows of which one was expected to be the fastest."""
        return tied(self.expected)

    @property
    def fastest(self) -> str:
        """The row that was the fastest."""
        return min(self.measured_s, key=lambda row: self.measured_s[row])

    @property
    def is_right(self) -> bool:
        """Whether one of those expected was the fastest, or within `PRACTICAL` of it."""
        fastest_s = self.measured_s[self.fastest]
        return min(self.measured_s[row] for row in self.tied) <= (1 + PRACTICAL) * fastest_s

    @property
    def regret(self) -> float:
        """By what fraction the row with the shortest expected time was slower than the fastest."""
        return self.measured_s[self.expected[0].implementation] / self.measured_s[self.fastest] - 1

    @property
    def errors(self) -> dict[str, float]:
        """Row to the fraction by which its expected time was off; of the measured, whichever way."""
        return {one.implementation: abs(one.time_s / self.measured_s[one.implementation] - 1) for one in self.expected}

    @property
    def within(self) -> list[bool]:
        """Of each row, whether its time was in its interval."""
        return [one.low_s <= self.measured_s[one.implementation] <= one.high_s for one in self.expected]


class Score(NamedTuple):
    """How well forecasts did, over several shapes."""

    shapes: int
    error: float
    """The median, over shapes and rows, of the fraction by which a time was off."""
    error_90: float
    """What nine of ten were off by at most."""
    covered: float
    """The share of times within their intervals, of which `CONFIDENCE` should be."""
    named: int
    """On how many shapes one row alone was expected to be the fastest."""
    named_right: int
    tied_right: int
    """On how many of the others one of the tied was."""
    mean_tied: float
    """How many rows were tied there, on average."""
    regret: float
    """The median loss of who takes the row with the shortest expected time."""
    worst_regret: float

    @property
    def right(self) -> float:
        """The share of shapes with the right row, or a tie that has it."""
        return (self.named_right + self.tied_right) / self.shapes if self.shapes else math.nan


def check(model: Model, at: TaskAt) -> list[Checked]:
    """Each held-out shape on which all rows have a time, forecast as if nothing were known of it."""
    rows = [fitted.implementation for fitted in model.fits[at]]
    found = []
    for workload, facts in model.run.workloads.items():
        measured = {row: model.times_s[at][row].get(workload) for row in rows}
        known = {row: time_s for row, time_s in measured.items() if time_s is not None}
        if facts.held_out and facts.config is not None and len(known) == len(rows):
            expected = forecast(model, at, facts.config, facts.batches, without=workload)
            found.append(Checked(workload=workload, expected=expected, measured_s=known))
    return found


def score(checked: Sequence[Checked]) -> Score:
    """How well the forecasts of these shapes did."""
    errors = [error for one in checked for error in one.errors.values()]
    named = [one for one in checked if len(one.tied) == 1]
    several = [one for one in checked if len(one.tied) > 1]
    return Score(
        shapes=len(checked),
        error=_quantile(errors, 0.5),
        error_90=_quantile(errors, CONFIDENCE),
        covered=_mean(inside for one in checked for inside in one.within),
        named=len(named),
        named_right=sum(one.is_right for one in named),
        tied_right=sum(one.is_right for one in several),
        mean_tied=_mean(len(one.tied) for one in several),
        regret=_quantile([one.regret for one in checked], 0.5),
        worst_regret=max((one.regret for one in checked), default=math.nan),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else math.nan


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(found)) if (found := list(values)) else math.nan
