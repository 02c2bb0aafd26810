"""A rule of verdicts that is worse than the one in use, and what every interval keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from bench.analysis.stats import PRACTICAL
from bench.analysis.verdict import level_of_look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.analysis.stats import Control, Summary
    from bench.analysis.verdict import Floats, Prior, Ratio


def unguarded(log_ratios: Floats, prior: Prior) -> NDArray[np.str_]:
    """A rule that bears one outlier of three, by their median, and believes the noise that others have."""
    blocks, middle, threshold = log_ratios.shape[-1], np.median(log_ratios, axis=-1), np.log1p(PRACTICAL)
    level = level_of_look(blocks)
    half = student.isf(level / 2, prior.freedom + blocks - 1) * np.sqrt(prior.variance / blocks)
    differs = np.abs(middle) > np.maximum(half, threshold)
    said = np.where(differs, np.where(middle < 0, "FASTER", "SLOWER"), "UNCLEAR")
    return np.where(np.abs(middle) + half < threshold, "SAME", said)


def holds(interval: Ratio | Summary | Control) -> bool:
    return 0 < interval.low <= interval.estimate <= interval.high < math.inf
