"""Pure functions on raw samples: times, ratios of times, and how sure they are. The rule of verdicts builds on them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

PRACTICAL = 0.02
"""A difference below this fraction is of no interest, whatever its certainty: code layout alone makes as much."""

HUBER = 1.5
"""How many robust standard deviations from the median a ratio may lie before it is pulled in; Huber's own choice."""

ONE_BLOCK_RATIO = 0.12
"""Standard deviation supposed of a single log ratio: that of calls so long that a block has three turns of them."""

ONE_BLOCK_TIME = 0.12
"""Standard deviation supposed of the log time of a single process: the robust one seen from process to process."""

LEAST_TURNS = 2
"""A block's ratio rests on turns that were not preempted alone where there are at least this many."""

_POINTS = 100
_RESAMPLES = 1000
_MEDIANS_OF_A_BLOCK = 200
NORMAL_95 = 1.96


class Interval(NamedTuple):
    """From `low` to `high`, in the unit of what it is drawn round."""

    low: float
    high: float


class Outliers(NamedTuple):
    """How many samples lie beyond Tukey's fences: 1.5 to 3 interquartile ranges from the quartiles, and further."""

    mild: int
    severe: int


class Steadiness(NamedTuple):
    """`change`: the fraction by which samples grow from first to last turn; `drifting` if that matters and is sure."""

    drifting: bool
    change: float


class Centre(NamedTuple):
    """Robust centre of log ratios, its standard error, and the degrees of freedom of a t interval. A row each."""

    estimate: Floats
    error: Floats
    freedom: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The geometric mean of ratios over workloads, with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The baseline against itself: ratio, its 99.5 % interval, and whether that holds 1 (None below three blocks)."""

    estimate: float
    low: float
    high: float
    trusted: bool | None


def median(samples: Sequence[float]) -> float:
    """The middle sample."""
    return float(statistics.median(samples))  # of a few numbers in a tenth of NumPy's time


def outliers(samples: Sequence[float]) -> Outliers:
    """Count what lies beyond Tukey's fences. Counted, never dropped."""
    values = np.asarray(samples, dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75])
    beyond = np.maximum(low - values, values - high)
    severe = int(np.count_nonzero(beyond > 3 * (high - low)))
    return Outliers(int(np.count_nonzero(beyond > 1.5 * (high - low))) - severe, severe)


def steadiness(samples: Sequence[float]) -> Steadiness:
    """Whether times, in the order of their turns, drift: Theil and Sen's slope of log time over the turns.

    Drifting is a slope whose 99 % interval excludes 0 and that adds up to more than `PRACTICAL` over all turns.
    Fewer than six samples never drift. Many are taken together, as `_POINTS` medians: each is compared with each.
    """
    if len(samples) < 6:
        return Steadiness(False, 0.0)
    from scipy.stats import theilslopes  # type: ignore[import-untyped]  # 0.7 s to import

    points = [np.median(part) for part in np.array_split(np.log(samples), min(len(samples), _POINTS))]
    slope, _, low, high = theilslopes(points, alpha=0.99)
    change = float(slope) * (len(points) - 1)
    sure = bool(low > 0 or high < 0)
    return Steadiness(sure and bool(abs(change) > np.log1p(PRACTICAL)), as_ratio(change) - 1)


def process_medians(blocks: Sequence[Sequence[float]]) -> list[float]:
    """The median of each block, that is, of each process. The location of a cell is the median of these."""
    return [median(block) for block in blocks]


def time_interval(blocks: Sequence[Sequence[float]]) -> Interval:
    """95 % interval of the median of process medians, in the samples' unit, by hierarchical bootstrap.

    Blocks are resampled, and samples within each (seeded). Resampling a few blocks shows too little of their noise, so
    its reach is widened by Student's t over the normal, and by √(n/(n-1)): 9 times for two blocks, 1.4 for six. One
    block says nothing of processes: there, the noise of `ONE_BLOCK_TIME` is added.
    """
    random = np.random.default_rng(0)
    drawn = np.empty((len(blocks), _MEDIANS_OF_A_BLOCK))
    for medians, block in zip(drawn, blocks, strict=True):
        logs = np.log(block)
        medians[:] = np.median(logs[random.integers(len(logs), size=(_MEDIANS_OF_A_BLOCK, len(logs)))], axis=1)
    shape = (_RESAMPLES, len(blocks))
    resampled = drawn[random.integers(len(blocks), size=shape), random.integers(_MEDIANS_OF_A_BLOCK, size=shape)]
    location = float(np.log(median(process_medians(blocks))))
    low, high = _widened(np.median(resampled, axis=1), location, len(blocks), ONE_BLOCK_TIME)
    return Interval(as_ratio(low), as_ratio(high))


def log_ratio_of_block(ours: Sequence[float], theirs: Sequence[float], preempted: Collection[int] = ()) -> float | None:
    """Median of log(ours/theirs) over the turns that both have; None if there is none.

    Turns in which either was `preempted` count only where fewer than `LEAST_TURNS` are left without them: who had the
    processor is known, and has nothing to do with who is faster.
    """
    turns = min(len(ours), len(theirs))
    own, other = np.log((ours[:turns], theirs[:turns]))  # at once: a call of NumPy costs more than what it does here
    logs = (own - other).tolist()
    free = [log for turn, log in enumerate(logs) if turn not in preempted] if preempted else logs
    return median(free if len(free) >= LEAST_TURNS else logs) if logs else None


def centre(log_ratios: Floats) -> Centre:
    """One step of Huber's M-estimator from the median, over the last axis (at least two blocks).

    Ratios further than `HUBER` robust standard deviations (1.4826 median absolute deviations) from the median are
    pulled in to there. The estimate is the median plus what the rest add, over the number left in place; the standard
    error is that of the pulled-in ratios over the share left in place. A t interval has one degree of freedom fewer
    than there are ratios left in place, as with a trimmed mean (Tukey and McLaughlin): outliers cost certainty.
    """
    blocks = log_ratios.shape[-1]
    middle = np.median(log_ratios, axis=-1, keepdims=True)
    away = log_ratios - middle
    reach = HUBER * 1.4826 * np.median(np.abs(away), axis=-1, keepdims=True)
    pulled = np.clip(away, -reach, reach)
    in_place = np.count_nonzero(np.abs(away) <= reach, axis=-1)
    estimate = middle[..., 0] + pulled.sum(axis=-1) / in_place
    return Centre(estimate, pulled.std(axis=-1, ddof=1) * np.sqrt(blocks) / in_place, np.asarray(in_place) - 1)


def geometric_mean(log_ratios_by_workload: Sequence[Sequence[float]]) -> Summary:
    """The geometric mean over workloads of each one's ratio, with a 95 % interval by bootstrap over blocks (seeded).

    Workloads of one length share their blocks, processes and neighbours, so they are resampled together; each length
    on its own. The workloads themselves are not resampled: the mean is of these, not of all there could be. Few
    blocks are widened for as in `time_interval`.
    """
    random = np.random.default_rng(0)
    lengths = [len(log_ratios) for log_ratios in log_ratios_by_workload]
    total, resampled = 0.0, np.zeros(_RESAMPLES)
    for length in sorted(set(lengths)):
        alike = np.array([values for values in log_ratios_by_workload if len(values) == length])
        drawn = alike[:, random.integers(length, size=(_RESAMPLES, length))]
        total += float(_estimates(alike).sum())
        resampled += _estimates(drawn).sum(axis=0)
    estimate = total / len(lengths)
    low, high = _widened(resampled / len(lengths), estimate, min(lengths), ONE_BLOCK_RATIO)
    return Summary(estimate=as_ratio(estimate), low=as_ratio(low), high=as_ratio(high))


def control(log_ratios_by_cell: Sequence[Sequence[float]]) -> Control:
    """Whether the baseline, entered twice, equals itself: mean over cells in a block, then a t interval over blocks.

    Cells of a block share its processes, so blocks are what is independent. Cells that were decided early have fewer;
    a block counts if at least half of the cells reached it, as the mean of those: the few noisy cells that
    go on for longest do not outvote the rest. 99.5 %, so that a sound run is doubted once in 200.
    """
    most = max(len(cell) for cell in log_ratios_by_cell)
    reached = [[cell[block] for cell in log_ratios_by_cell if len(cell) > block] for block in range(most)]
    means = np.array([np.mean(cells) for cells in reached if 2 * len(cells) >= len(reached[0])])
    estimate = float(means.mean())
    if len(means) == 1:
        return Control(estimate=as_ratio(estimate), **_around(estimate, NORMAL_95 * ONE_BLOCK_RATIO), trusted=None)
    half = float(student(0.005, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    return Control(
        estimate=as_ratio(estimate),
        **_around(estimate, half),
        trusted=abs(estimate) <= half if len(means) >= 3 else None,
    )


def student(level: float, freedom: float | Floats) -> Floats:
    """How many standard errors a two-sided t interval of error `level` reaches, for so many degrees of freedom."""
    return np.asarray(-stdtrit(freedom, level / 2))


def _estimates(log_ratios: Floats) -> Floats:
    return centre(log_ratios).estimate if log_ratios.shape[-1] > 1 else log_ratios[..., 0]


def _widened(resampled: Floats, location: float, blocks: int, one_block: float) -> Interval:
    """The 95 % range of resampled logs round their location, widened for few blocks."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    if blocks == 1:
        factor, more = 1.0, NORMAL_95 * one_block
    else:
        factor, more = float(student(0.05, blocks - 1) / NORMAL_95 * np.sqrt(blocks / (blocks - 1))), 0.0
    below, above = max(location - float(low), 0.0), max(float(high) - location, 0.0)
    return Interval(location - factor * below - more, location + factor * above + more)


def _around(location: float, half: float) -> dict[str, float]:
    return {"low": as_ratio(location - half), "high": as_ratio(location + half)}


def as_ratio(log: float) -> float:
    """The ratio of a log ratio."""
    # two wild blocks have a t interval that no float holds as a ratio: what is shown stays finite
    return float(np.exp(min(max(log, -700.0), 700.0)))
