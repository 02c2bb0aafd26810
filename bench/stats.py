"""Pure functions on raw samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return float(np.median(samples))


def spread(samples: Sequence[float]) -> float:
    """The interquartile range over the median: half of all samples lie within a band this wide."""
    low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
