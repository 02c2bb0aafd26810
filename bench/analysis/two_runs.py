"""Two samples of logarithms, one value a block, each from a run of its own: how far apart, and is that so. Pure.

Ratios move from run to run by more than the blocks of either show. How much is seen in the rows that did not change, as
the machine's noise is in the control of a run, and is part of every interval.
"""

from __future__ import annotations

from math import exp, expm1, hypot, inf, sqrt
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from scipy.optimize import brentq  # type: ignore[import-untyped]

from bench.analysis import stats
from bench.analysis.verdict import FEW_BLOCKS, LEVEL, MIN_BLOCKS, NOTHING_KNOWN, OUTLYING, Located, locate, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.analysis.verdict import Prior, Verdict

OF_TIMES = 0.1
"""Standard deviation supposed of what two runs add to the log ratio of the same absolute time, beyond what the blocks
of either show: the machine is not the same machine an hour later."""

OF_RATIOS = 0.04
"""Supposed likewise of ratios to a row of the same run: about what pairs of default runs of the same code, an hour
apart, had, some less and some more (``results/README.md``)."""

WORTH = 6
"""What is supposed counts as much as so many cells of unchanged rows that are seen."""

FURTHEST = 3.0
"""How many standard deviations a single cell may count for: one that jumped must not hide what happened to others."""

MEDIAN_OF_FEW = 1.35
"""The variance of a median of three is that of a mean times about this."""

ONE_LOOK = LEVEL / 3
"""The error of a comparison of two runs: it is made once, when both are done, whatever number of blocks they have."""


class Sample(NamedTuple):
    """Logarithms of times or ratios, one a block of a run, and what the run says of their variance."""

    logarithms: Sequence[float]
    prior: Prior = NOTHING_KNOWN


class Moved(NamedTuple):
    """How far the ratios of unchanged rows lie apart in two runs, beyond what the blocks of either show."""

    deviation: float
    """Standard deviation of their logarithms."""
    cells: int


class Change(NamedTuple):
    """NEW over OLD, with a 95 % interval for reading; the verdict has a stricter one of its own."""

    ratio: float
    low: float
    high: float
    verdict: Verdict | None


def between_runs(pairs: Sequence[tuple[Sample, Sample]], supposed: float, worth: float = WORTH) -> float:
    """What two runs add to the difference of samples, as a standard deviation: from OLD and NEW of unchanged rows.

    It makes the squared differences as large as their variances, on average (Paule and Mandel, J. Res. NBS 87, 1982,
    with the mean known to be nothing, and no cell further than `FURTHEST`). ``supposed`` counts as ``worth`` cells that
    moved so far: few cells say little, and that none of them moved does not mean that none does. All cells with
    blocks enough for a verdict are asked: those that have few were decided soon, are unlike, and move the most.
    """
    known = _with_verdicts(pairs)
    if not known:
        return supposed
    centres = [[_estimated(sample) for sample in pair] for pair in known]
    squares = np.array([(after[0] - before[0]) ** 2 for before, after in centres])
    variances = np.array([before[1] + after[1] for before, after in centres])

    def excess(added: float) -> float:
        """Of the sum of the standardised squares over what it should be."""
        seen = np.minimum(squares / (variances + added), FURTHEST**2)
        return float(np.sum(seen)) + worth * supposed**2 / added - len(known) - worth

    least = 1e-12  # a deviation of a millionth: samples without any noise have no variance
    return sqrt(brentq(excess, least, 2 * float(np.sum(squares)) + supposed**2)) if excess(least) > 0 else 0.0


def two_samples(old: Sample, new: Sample, one_block: float, *, between: float = 0.0) -> Change:
    """How far two independent samples lie apart.

    Each is located as in `bench.analysis.verdict`, so that two outlying blocks of three or four make no verdict; the
    errors add up, and share out their degrees of freedom, as in Welch's test. The verdict has the level `ONE_LOOK`, and
    is withheld where the shorter sample has fewer than `MIN_BLOCKS`. The noise of a single block is supposed to be
    ``one_block``. ``between``: a standard deviation of the difference that the blocks of one run do not show.
    """
    before, after = (_located(sample, one_block) for sample in (old, new))
    error = hypot(before.error, after.error, between)
    share = sum((float(at.error) / error) ** 4 / float(at.freedom) for at in (before, after)) if error else 0.0
    apart = Located(
        estimate=after.estimate - before.estimate,
        lowest=after.lowest - before.highest,
        highest=after.highest - before.lowest,
        error=np.asarray(error),
        freedom=np.asarray(1 / share if share else inf),
    )
    verdict: Verdict | None = None
    if _with_verdicts([(old, new)]):
        verdict = cast("Verdict", str(said(apart, ONE_LOOK)))
    ratio, low, high = (_ratio(float(one)) for one in (apart.estimate, *apart.interval(0.05)))
    return Change(ratio, low, high, verdict)


def seen(pairs: Sequence[tuple[Sample, Sample]]) -> Moved | None:
    """What was seen, and nothing supposed."""
    known = _with_verdicts(pairs)
    return Moved(between_runs(known, 0.0, worth=0), len(known)) if known else None


def _with_verdicts(pairs: Sequence[tuple[Sample, Sample]]) -> list[tuple[Sample, Sample]]:
    """Those with blocks enough for a verdict."""
    return [pair for pair in pairs if min(len(sample.logarithms) for sample in pair) >= MIN_BLOCKS]


def _located(sample: Sample, one_block: float) -> Located:
    if len(sample.logarithms) == 1:
        only = np.asarray(sample.logarithms[0])
        return Located(only, only, only, np.asarray(one_block), np.asarray(inf))
    return locate(np.asarray(sample.logarithms, dtype=np.float64), sample.prior)


def _estimated(sample: Sample) -> tuple[float, float]:
    """Where a sample lies, and with what variance; that of few blocks is not what guards their interval."""
    at, blocks = _located(sample, 0.0), len(sample.logarithms)
    guarded = (blocks - OUTLYING) * MEDIAN_OF_FEW / blocks if blocks <= FEW_BLOCKS else 1.0
    return float(at.estimate), float(at.error) ** 2 * guarded


def _ratio(logarithm: float) -> float:
    return exp(min(max(logarithm, -700.0), 700.0))  # what is shown stays finite


def smallest(between: float) -> float:
    """The fraction that a ratio has to change by to be told, were there no noise but this deviation between runs."""
    return max(expm1(float(stats.student(ONE_LOOK, inf)) * between), stats.PRACTICAL)
