"""Two samples of logarithms, one value a block, each from a run of its own: how far apart, and is that so. Pure.

Ratios move from run to run by more than the blocks of either show. How much is seen in the rows that did not change, as
the machine's noise is in the control of a run, and is part of every interval.
"""

from __future__ import annotations

from math import exp, expm1, hypot, inf, log1p, sqrt
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from scipy.optimize import brentq  # type: ignore[import-untyped]

from bench import stats
from bench.rule import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rule import Verdict

    Logarithms: TypeAlias = Sequence[float]
    """Of times or ratios, one a block."""

OF_TIMES = 0.1
"""Standard deviation supposed of what two runs add to the log ratio of the same absolute time, beyond what the blocks
of either show: the machine is not the same machine an hour later."""

OF_RATIOS = 0.04
"""Supposed likewise of ratios to a row of the same run: about twice what two default runs of the same code, an hour
apart, had (``results/README.md``)."""

WORTH = 6
"""What is supposed counts as much as so many cells of unchanged rows that are seen."""

FURTHEST = 3.0
"""How many standard deviations a single cell may count for: one that jumped must not hide what happened to others."""


MIN_BLOCKS = 6
"""No verdict of two runs from fewer blocks in either: each speaks for itself, and two of five may be outliers."""

ONE_LOOK = LEVEL / 3
"""The error of a comparison of two runs: it is made once, when both are done, whatever number of blocks they have."""


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


def between_runs(pairs: Sequence[tuple[Logarithms, Logarithms]], supposed: float, worth: float = WORTH) -> float:
    """What two runs add to the difference of samples, as a standard deviation: from OLD and NEW of unchanged rows.

    It makes the squared differences as large as their variances, on average (Paule and Mandel, J. Res. NBS 87, 1982,
    with the mean known to be nothing, and no cell further than `FURTHEST`). ``supposed`` counts as ``worth`` cells that
    moved so far: few cells say little, and that none of them moved does not mean that none does. Only cells with blocks
    enough for a verdict are asked.
    """
    known = [pair for pair in pairs if min(map(len, pair)) >= MIN_BLOCKS]
    if not known:
        return supposed
    centres = [(_centre(old, 0.0), _centre(new, 0.0)) for old, new in known]
    squares = np.array([(after[0] - before[0]) ** 2 for before, after in centres])
    variances = np.array([before[1] ** 2 + after[1] ** 2 for before, after in centres])

    def excess(added: float) -> float:
        """Of the sum of the standardised squares over what it should be."""
        seen = np.minimum(squares / (variances + added), FURTHEST**2)
        return float(np.sum(seen)) + worth * supposed**2 / added - len(known) - worth

    least = 1e-12  # a deviation of a millionth: samples without any noise have no variance
    return sqrt(brentq(excess, least, 2 * float(np.sum(squares)) + supposed**2)) if excess(least) > 0 else 0.0


def two_samples(old: Logarithms, new: Logarithms, one_block: float, *, between: float = 0.0) -> Change:
    """How far two independent samples of logarithms lie apart, one a block.

    Each has the robust centre of `stats.centre`; their errors add up, and share out their degrees of freedom, as in
    Welch's test. The verdict follows the rule of `bench.rule`, at the level `ONE_LOOK`, and is withheld where the
    shorter sample has fewer than `MIN_BLOCKS`. The noise of a single block is supposed to be ``one_block``.
    ``between``: a standard deviation of the difference that the blocks of one run do not show.
    """
    (middle_old, error_old, freedom_old), (middle_new, error_new, freedom_new) = (
        _centre(values, one_block) for values in (old, new)
    )
    estimate, error = middle_new - middle_old, hypot(error_old, error_new, between)
    parts = (error_old, freedom_old), (error_new, freedom_new)
    share = sum((part / error) ** 4 / freedom for part, freedom in parts) if error else 0.0

    def half(level: float) -> float:
        return float(stats.student(level, 1 / share if share else inf)) * error

    verdict: Verdict | None = None
    if min(len(old), len(new)) >= MIN_BLOCKS:
        strict, threshold = half(ONE_LOOK), log1p(stats.PRACTICAL)
        if abs(estimate) > max(strict, threshold):
            verdict = "FASTER" if estimate < 0 else "SLOWER"
        else:
            verdict = "SAME" if abs(estimate) + strict < threshold else "UNCLEAR"
    return Change(_ratio(estimate), _ratio(estimate - half(0.05)), _ratio(estimate + half(0.05)), verdict)


def seen(pairs: Sequence[tuple[Logarithms, Logarithms]]) -> Moved | None:
    """What was seen, and nothing supposed."""
    known = [pair for pair in pairs if min(map(len, pair)) >= MIN_BLOCKS]
    return Moved(between_runs(known, 0.0, worth=0), len(known)) if known else None


def _centre(values: Logarithms, one_block: float) -> tuple[float, float, float]:
    """Robust centre, standard error and degrees of freedom."""
    if len(values) == 1:
        return values[0], one_block, inf
    at = stats.centre(np.asarray(values, dtype=np.float64))
    return float(at.estimate), float(at.error), float(at.freedom)


def _ratio(logarithm: float) -> float:
    return exp(min(max(logarithm, -700.0), 700.0))  # what is shown stays finite


def smallest(between: float) -> float:
    """The fraction that a ratio has to change by to be told, were there no noise but this deviation between runs."""
    return max(expm1(float(stats.student(ONE_LOOK, inf)) * between), stats.PRACTICAL)
