"""The rule of verdicts: what may be said of a comparison that has one log ratio a block. Pure.

**Variance.** Three blocks say little of their own scatter, but all comparisons of a run together say what scatter is to
be expected. So each variance is moderated: its own, and that of its group as far as the run's comparisons are alike
(`priors`; Smyth, Stat. Appl. Genet. Mol. Biol. 3(1), 2004: empirical Bayes).

**Interval.** After each block a t interval is drawn. Of three or four blocks it covers those of all subsets that lack
two: what two outlying blocks can make is never called. Of more it lies round one step of Huber's M-estimator: ratios
far from the median are pulled in, none is dropped. Its error is a share of `LEVEL`, which shrinks so fast with the
number of blocks that all looks together, however many there are, spend no more than `LEVEL`.

**Verdict.** A difference is called where the interval excludes "equal" and its estimate lies beyond `PRACTICAL`; "the
same" where the whole interval lies within. `bench.calibration.simulate` measures what the rule does to whole
tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import perm
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import digamma, polygamma  # type: ignore[import-untyped]

from bench.analysis.stats import NORMAL_95, ONE_BLOCK_RATIO, PRACTICAL, as_ratio, centre, student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

Verdict: TypeAlias = Literal["FASTER", "SLOWER", "SAME", "UNCLEAR"]

MIN_BLOCKS = 3
"""No verdict from fewer: without two outlying blocks, nothing is left of two."""

OUTLYING = 2
"""So many blocks of `FEW_BLOCKS` may be outliers, and nothing is called that they made: one process in twelve was seen
off by a tenth to a half, and the baseline's is in all ratios of its group."""

FEW_BLOCKS = 4
"""Of more blocks, Huber's estimator bears so many outliers."""

LEVEL = 0.004
"""The nominal error of a comparison over all its looks: chosen so that at most 1 % of comparisons get a false verdict
in each kind of table in `studies.kinds`. ``results/method/rule.md`` has the rates."""

MOST_FREEDOM = 5
"""What other comparisons say of a variance counts for at most so many degrees of freedom, however alike they are: they
share their baseline, and the next one may be the exception."""

LEAST_VARIANCE = 1e-12
"""Log ratios are not known better than to a millionth: clocks tick."""

_POWER_80 = 0.84
_FREEDOMS = np.geomspace(0.02, MOST_FREEDOM, 200)
_TRIGAMMAS = polygamma(1, _FREEDOMS / 2)


class Prior(NamedTuple):
    """The variance to be expected of a block's log ratio, and for how many degrees of freedom that counts."""

    variance: Floats
    freedom: Floats


class Located(NamedTuple):
    """Where log ratios lie: an estimate, and how low and how high it may be as far as outlying blocks go.

    From `lowest` and `highest` a t interval goes on, with this standard error and so many degrees of freedom.
    """

    estimate: Floats
    lowest: Floats
    highest: Floats
    error: Floats
    freedom: Floats

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """From low to high, with error `level`."""
        half = student(level, self.freedom) * self.error
        return self.lowest - half, self.highest + half


NOTHING_KNOWN = Prior(np.array(1.0), np.array(0.0))
"""Where there is nothing to learn a variance from but the comparison itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ours over theirs; below 1 is faster. `low` to `high` is a 95 % interval, for reading: a wider one
    of three and four blocks, of which two may be outliers.

    `mde` is the fraction that this many blocks of this noise would find in four of five tries (None below two blocks).
    `verdict` has a stricter interval of its own, and is None below `MIN_BLOCKS`.
    """

    estimate: float
    low: float
    high: float
    blocks: int
    mde: float | None
    verdict: Verdict | None


def priors(variances: Floats, freedom: Floats) -> Prior:
    """What the comparisons of a run say of the variance of each group's, ``(…, groups)``.

    ``variances`` and their degrees of ``freedom``: ``(…, groups, comparisons)``, NaN where a group has fewer.

    Smyth's moments of the logs: each group has a level of its own; how far its members scatter round it, beyond what
    their own few blocks explain, says how much a level is worth, for all groups together. In a group of few it is worth
    no more degrees of freedom than there are others in it.
    """
    known = np.isfinite(variances)
    count = known.sum(axis=-1)
    own = np.where(known, freedom, 2.0)
    logs = np.log(np.maximum(np.where(known, variances, 1.0), LEAST_VARIANCE)) - digamma(own / 2) + np.log(own / 2)
    level = (logs * known).sum(axis=-1) / np.maximum(count, 1)
    scatter = (known * (logs - level[..., None]) ** 2).sum(axis=(-1, -2)) / _at_least_1((count - 1).clip(0).sum(-1))
    explained = (known * polygamma(1, own / 2)).sum(axis=(-1, -2)) / _at_least_1(count.sum(-1))
    alike = np.interp(scatter - explained, _TRIGAMMAS[::-1], _FREEDOMS[::-1])  # trigamma falls
    worth = np.minimum(alike[..., None], (count - 1).clip(0))
    half = np.where(worth > 0, worth, 1.0) / 2
    return Prior(np.exp(level + digamma(half) - np.log(half)), worth)


def _at_least_1(count: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.maximum(count, 1)


def level_of_look(blocks: int) -> float:
    """The error that the look after n blocks may spend: `LEVEL` × 2/(n(n-1)), below `MIN_BLOCKS` that of the first.

    Over all n ≥ 3 it adds up to `LEVEL`: a bound for any number of looks, so nothing is planned of how many there are.
    The first has a third of it: what is kept for looks that never come finds nothing.
    """
    return LEVEL * (MIN_BLOCKS - 1) / perm(max(blocks, MIN_BLOCKS), 2)


def locate(log_ratios: Floats, prior: Prior = NOTHING_KNOWN) -> Located:
    """Where each row of log ratios lies: its blocks along the last axis, at least two.

    Of up to `FEW_BLOCKS` the estimate is the median, and it may be anything from the mean of the lowest to that of the
    highest, `OUTLYING` blocks left out; the error is that of a mean of so many. Of more all are Huber's.
    """
    blocks = log_ratios.shape[-1]
    if blocks <= FEW_BLOCKS:
        left = max(1, blocks - OUTLYING)
        in_order = np.sort(log_ratios, axis=-1)
        variance, own = in_order.var(axis=-1, ddof=1), np.full(log_ratios.shape[:-1], blocks - 1)
        lowest, highest = in_order[..., :left].mean(axis=-1), in_order[..., -left:].mean(axis=-1)
        estimate = np.median(in_order, axis=-1)
    else:
        left, at = blocks, centre(log_ratios)
        variance, own = at.error**2 * blocks, at.freedom
        lowest = highest = estimate = at.estimate
    freedom = prior.freedom + own
    error = np.sqrt((prior.freedom * prior.variance + own * variance) / freedom / left)
    return Located(estimate, lowest, highest, error, freedom)


def verdicts(log_ratios: Floats, prior: Prior = NOTHING_KNOWN) -> NDArray[np.str_]:
    """The verdict for each row of log ratios, its blocks along the last axis (at least `MIN_BLOCKS`)."""
    return said(locate(log_ratios, prior), level_of_look(log_ratios.shape[-1]))


def said(at: Located, level: float) -> NDArray[np.str_]:
    """The verdict on what lies there, with error `level`."""
    (low, high), threshold = at.interval(level), np.log1p(PRACTICAL)
    choices = [
        (high < 0) & (at.estimate < -threshold),
        (low > 0) & (at.estimate > threshold),
        (low > -threshold) & (high < threshold),
    ]
    return np.select(choices, ["FASTER", "SLOWER", "SAME"], default="UNCLEAR")


def compare(log_ratios: Sequence[float], prior: Prior = NOTHING_KNOWN) -> Ratio:
    """What the log ratios of the blocks say of a row against its baseline.

    One block gets an interval from the noise of `ONE_BLOCK_RATIO`. The minimum detectable effect is
    that of Kalibera and Jones at the rule's own level, never below `PRACTICAL`: an estimate must get past both.
    """
    return compare_each([log_ratios], prior)[0]


def compare_each(log_ratios: Sequence[Sequence[float]], prior: Prior) -> list[Ratio]:
    """What `compare` says of several comparisons that have as many blocks each: one call of NumPy for all is faster."""
    values = np.asarray(log_ratios, dtype=np.float64)
    blocks = values.shape[-1]
    if blocks == 1:
        half = NORMAL_95 * ONE_BLOCK_RATIO
        return [
            Ratio(
                estimate=as_ratio(log),
                low=as_ratio(log - half),
                high=as_ratio(log + half),
                blocks=1,
                mde=None,
                verdict=None,
            )
            for log in values[:, 0].tolist()
        ]
    at, level = locate(values, prior), level_of_look(blocks)
    (low, high), (least, most) = at.interval(0.05), at.interval(level)
    found = said(at, level).tolist() if blocks >= MIN_BLOCKS else [None] * len(values)
    numbers = zip(*(one.tolist() for one in (at.estimate, low, high, (most - least) / 2, at.error)), found, strict=True)
    return [
        Ratio(
            estimate=as_ratio(estimate),
            low=as_ratio(low),
            high=as_ratio(high),
            blocks=blocks,
            mde=_detectable(reach, error),
            verdict=verdict,
        )
        for estimate, low, high, reach, error, verdict in numbers
    ]


def detectable(sd: float, blocks: int) -> float:
    """The fraction that so many blocks find in four of five tries, if their log ratios spread by ``sd``."""
    error = sd / np.sqrt(blocks)
    return _detectable(float(student(level_of_look(blocks), blocks - 1)) * error, error)


def _detectable(reach: float, error: float) -> float:
    return as_ratio(max(reach, float(np.log1p(PRACTICAL))) + _POWER_80 * error) - 1
