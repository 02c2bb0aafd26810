"""From a scaling run to the times of a shape that was not measured, and how sure they are. Pure.

Costs are fitted to the shapes of the run that are not held out (`bench.forecast.features`). How far off they are is
seen on shapes that a fit has not seen: those held out, and each fitted one that lies among the others, by a fit to
these. Rows are off together, for the same reasons. So a forecast lets all rows be off by as much as they were on one
such shape, shape by shape: how often a row then comes out first is its chance to be the fastest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from bench.analysis.analysis import Analysis
from bench.analysis.means import TaskAt, task_at
from bench.analysis.stats import PRACTICAL
from bench.forecast.features import Coefficients, cost_s, features, fit, leave_one_out, off_by
from bench.records.schema import Run, Struct
from bench.workloads.flops import BatchSizes
from bench.workloads.sweeps import sizes
from impls.contract import InvalidInput, Seq2seqConfig

LEAST_SHAPES = 12
"""With fewer shapes there is no fit: it has nine coefficients."""

LEAST_SEEN = 5
"""With fewer shapes of which it is known how far all rows are off, nothing can be said of how sure a forecast is."""

CONFIDENCE = 0.9
"""Of intervals, and of a tie: rows are tied whose chances to be the fastest add up to this."""


Times = dict[TaskAt, dict[str, dict[str, float]]]
"""Task to row to workload to seconds a call."""


class Fitted(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What a row's calls cost, and how far off that is."""

    implementation: str
    coefficients: Coefficients = msgspec.field(name="prices")
    off: dict[str, float]
    """Workload to the log of its time over its cost; of one that is fitted, its cost by a fit to all the others.

    One that no other reaches in some size is not there: the others would have to extrapolate to it.
    """


@dataclass(frozen=True, slots=True)
class Model:
    """A scaling run, and what is fitted to it."""

    path: Path
    """The folder of the run."""
    run: Run
    times_s: Times
    fits: dict[TaskAt, list[Fitted]]

    def timed(self, at: TaskAt) -> list[str]:
        """The workloads on which every row that has a fit has a time: not all, where the run was cut short."""
        own = [self.times_s[at][row.implementation] for row in self.fits[at]]
        return [name for name in self.run.workloads if all(name in of_row for of_row in own)]

    def fitted(self) -> int:
        """To how many shapes costs were fitted, at any task."""
        names = {name for at in self.fits for name in self.timed(at)}
        return sum(not self.run.workloads[name].held_out for name in names)


class Expected(Struct, frozen=True, omit_defaults=False):
    """What is expected of a row. The intervals hold nine of ten."""

    implementation: str
    time_s: float
    low_s: float
    high_s: float
    ratio: float
    """To the row with the shortest expected time; above 1 is slower."""
    ratio_low: float
    ratio_high: float
    chance: float
    """To be the fastest of all."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """A size of a shape that lies outside of those that were measured."""

    name: str
    value: float
    low: float
    high: float

    @property
    def doublings(self) -> float:
        """How often the nearest measured value has to be doubled, or halved."""
        return math.log2(self.value / self.high if self.value > self.high else self.low / self.value)


def times_of(analysis: Analysis) -> Times:
    """The times that costs are fitted to: the baseline's median, times the row's ratio to it.

    Ratios are paired turn by turn. So where the machine was slow for a block, all rows of a shape are off alike.
    """
    medians = {(cell.group, cell.implementation): one.median_s for cell, one in analysis.cells.items()}
    found: Times = defaultdict(lambda: defaultdict(dict))
    for cell, one in analysis.cells.items():
        base_s = medians.get((cell.group, one.baseline or ""))
        if one.ratio is not None and base_s is not None and cell.role == "row":
            at = task_at(cell)
            found[at][cell.implementation][cell.workload] = base_s * one.ratio.estimate
    return found


def model_of(analysis: Analysis) -> Model:
    """The fits to a scaling run: of each row and task that has a time on enough shapes.

    Raises:
        InvalidInput: there is none, or the run does not say what sizes a shape has.
    """
    run, times_s = analysis.run, times_of(analysis)
    fits: dict[TaskAt, list[Fitted]] = {}
    for at, of_rows in times_s.items():
        for row, of_row in of_rows.items():
            fitted = [name for name in of_row if not run.workloads[name].held_out]
            if len(fitted) >= LEAST_SHAPES:
                fits.setdefault(at, []).append(_fitted(run, at, row, of_row, fitted))
    fits = {at: rows for at, rows in fits.items() if len(_seen_by_all(rows)) >= LEAST_SEEN}
    if not fits:
        raise InvalidInput(f"{analysis.result.path}: has no row with times of {LEAST_SHAPES} shapes to fit a cost to")
    return Model(analysis.result.path, run, times_s, fits)


def _seen_by_all(rows: Sequence[Fitted]) -> list[str]:
    """The workloads of which it is known how far every row is off."""
    return [name for name in rows[0].off if all(name in row.off for row in rows)]


def _fitted(run: Run, at: TaskAt, row: str, times_s: dict[str, float], fitted: Sequence[str]) -> Fitted:
    shapes = {name: features(*shape_of(run, name), at.task) for name in times_s}
    own, own_s = [shapes[name] for name in fitted], [times_s[name] for name in fitted]
    coefficients = fit(own, own_s)
    off = {name: off_by(coefficients, shapes[name], times_s[name]) for name in times_s if name not in fitted}
    among = between(run, fitted)
    off |= {name: leave_one_out(own, own_s, fitted.index(name)) for name in fitted if name in among}
    return Fitted(implementation=row, coefficients=coefficients, off=off)


def between(run: Run, workloads: Sequence[str]) -> set[str]:
    """Those that have no size beyond what the others have."""
    own = {name: sizes(*shape_of(run, name)) for name in workloads}
    outermost = set()
    for size in next(iter(own.values())):
        values = sorted((of_shape[size], name) for name, of_shape in own.items())
        for (value, name), (next_one, _) in ((values[0], values[1]), (values[-1], values[-2])):
            if value != next_one:
                outermost.add(name)
    return own.keys() - outermost


def shape_of(run: Run, workload: str) -> tuple[Seq2seqConfig, tuple[BatchSizes, ...]]:
    """The configuration and batches of a workload of the run.

    Raises:
        InvalidInput: the run does not say.
    """
    facts = run.workloads[workload]
    if facts.config is None:
        raise InvalidInput(f"{workload}: the run does not say what sizes it has")
    return facts.config, facts.batches


def forecast(
    model: Model, at: TaskAt, config: Seq2seqConfig, batches: Sequence[BatchSizes], *, without: str | None = None
) -> list[Expected]:
    """What is expected of every row, the shortest expected time first.

    ``without``: a workload that is to be forecast as if nothing were known of it. Outside of what was measured all
    rows may be off further: once more as far for each doubling.
    """
    fits, of = model.fits[at], features(config, batches, at.task)
    wide = 1 + sum(one.doublings for one in beyond(model, at, config, batches))
    shapes = [name for name in _seen_by_all(fits) if name != without]
    costs = np.log([cost_s(row.coefficients, of) for row in fits])
    off = wide * np.array([[row.off[name] for name in shapes] for row in fits])
    best = int(np.argmin(costs))
    first = np.argmin(costs[:, None] + off, axis=0)
    expected = []
    for index, row in enumerate(fits):
        time_s = _range(costs[index], off[index])
        ratio = _range(costs[index] - costs[best], off[index] - off[best])
        expected.append(Expected(row.implementation, *time_s, *ratio, chance=float(np.mean(first == index))))
    return sorted(expected, key=lambda one: one.time_s)


def _range(log: float, off: np.ndarray) -> tuple[float, float, float]:
    """What has this log, and between what nine of ten lie; of a few shapes, all."""
    low, high = np.quantile(off, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="median_unbiased")
    middle = float(np.exp(log))
    return middle, middle * float(np.exp(min(low, 0.0))), middle * float(np.exp(max(high, 0.0)))


def tied(expected: Sequence[Expected]) -> list[str]:
    """The rows of which one is the fastest, as far as is known: the shortest expected time first.

    They are the fewest whose chances add up to `CONFIDENCE`, with the one of the shortest expected time among them.
    """
    first, *others = expected
    chosen, sure = {first.implementation}, first.chance
    for one in sorted(others, key=lambda one: -one.chance):
        if sure >= CONFIDENCE or not one.chance:
            break
        chosen.add(one.implementation)
        sure += one.chance
    return [one.implementation for one in expected if one.implementation in chosen]


def beyond(model: Model, at: TaskAt, config: Seq2seqConfig, batches: Sequence[BatchSizes]) -> list[Beyond]:
    """The sizes in which a shape lies outside of what was measured; or, if in none, its arithmetic in all."""
    shapes = [shape_of(model.run, name) for name in model.timed(at)]
    known, found = [sizes(*shape) for shape in shapes], []
    for name, value in sizes(config, batches).items():
        low, high = min(own[name] for own in known), max(own[name] for own in known)
        if not low <= value <= high:
            found.append(Beyond(name, value, low, high))
    flops = sum(features(config, batches, at.task).flops)
    most = max(sum(features(*shape, at.task).flops) for shape in shapes)
    return found or [Beyond("operations", flops, 0.0, most)] * (flops > most)


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


def check(model: Model, at: TaskAt) -> list[Checked]:
    """Each held-out shape on which all rows have a time, forecast as if nothing were known of it."""
    found = []
    for name in model.timed(at):
        if model.run.workloads[name].held_out:
            expected = forecast(model, at, *shape_of(model.run, name), without=name)
            measured_s = {row.implementation: model.times_s[at][row.implementation][name] for row in model.fits[at]}
            found.append(Checked(workload=name, expected=expected, measured_s=measured_s))
    return found
