"""What the rule of `stats.py` does to noise of known kinds: how often it is wrong, and what it finds. Pure and seeded.

Log ratios are drawn, an effect is added, and the rule looks after each block from the sixth until it has a verdict or
blocks run out, just as a run does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from bench.stats import MIN_BLOCKS, Interval, verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Words: TypeAlias = NDArray[np.str_]

Noise: TypeAlias = "Callable[[np.random.Generator, tuple[int, int]], Floats]"
"""Log ratios of identical rows, (comparisons, blocks)."""

Rule: TypeAlias = "Callable[[Floats], Words]"
"""A verdict for each row of log ratios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of all comparisons, each with its 95 % Clopper-Pearson interval.

    `wrong`: FASTER or SLOWER, and the effect is 0 or goes the other way. `found`: FASTER or SLOWER, as the effect goes.
    """

    comparisons: int
    wrong: float
    found: float
    same: float
    unclear: float
    mean_blocks: float
    wrong_bounds: Interval
    found_bounds: Interval


def normal(sd: float) -> Noise:
    """Gaussian."""
    return lambda random, shape: random.normal(0, sd, shape)


def contaminated(sd: float, share: float = 1 / 12) -> Noise:
    """Gaussian, and each process of either arm is slower by exp(0.1 to 0.5) with probability `share`, as measured."""

    def draw(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
        ours, theirs = ((random.random(shape) < share) * random.uniform(0.1, 0.5, shape) for _ in range(2))
        return random.normal(0, sd, shape) + ours - theirs

    return draw


def heavy(scale: float) -> Noise:
    """Student's t with 3 degrees of freedom."""
    return lambda random, shape: random.standard_t(3, shape) * scale


def drifting(sd: float, share: float = 0.1, memory: float = 0.8) -> Noise:
    """Gaussian, with `share` of the variance in a slow AR(1) drift: what is left when taking turns removes the rest."""

    def draw(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
        drift = random.normal(0, 1, shape)
        for block in range(1, shape[1]):
            drift[:, block] = memory * drift[:, block - 1] + np.sqrt(1 - memory**2) * drift[:, block]
        return np.asarray(sd * (np.sqrt(share) * drift + np.sqrt(1 - share) * random.normal(0, 1, shape)))

    return draw


def unsteady(sd: float, share: float = 0.25, factor: float = 6) -> Noise:
    """Gaussian, and `share` of the blocks are noisier by `factor`: a neighbour comes and goes."""
    return lambda random, shape: random.normal(0, sd, shape) * np.where(random.random(shape) < share, factor, 1)


NOISES: dict[str, Noise] = {
    **{f"normal {sd}": normal(sd) for sd in (0.005, 0.01, 0.03, 0.05, 0.1)},
    **{f"contaminated {sd}": contaminated(sd) for sd in (0.005, 0.01, 0.03, 0.05)},
    **{f"heavy {scale}": heavy(scale) for scale in (0.01, 0.03, 0.05)},
    **{f"drifting {sd}": drifting(sd) for sd in (0.01, 0.03, 0.05, 0.1)},
    **{f"unsteady {sd}": unsteady(sd) for sd in (0.007, 0.02)},
}
"""The noise for which `stats.LEVEL` is chosen: the worst of these stays below 1 %."""


def error_rate(
    noise: Noise,
    effect: float = 0.0,
    *,
    comparisons: int = 2000,
    most_blocks: int = 40,
    rule: Rule = verdicts,
    seed: int = 0,
) -> Rates:
    """The rates of the stopped procedure where the true ratio is 1 + `effect`."""
    log_ratios = noise(np.random.default_rng(seed), (comparisons, most_blocks)) + np.log1p(effect)
    said, blocks = stopped(log_ratios, rule)
    differs = (said == "FASTER") | (said == "SLOWER")
    found = said == ("SLOWER" if effect > 0 else "FASTER") if effect else np.zeros(comparisons, dtype=bool)
    wrong = differs & ~found
    return Rates(
        comparisons=comparisons,
        wrong=float(wrong.mean()),
        found=float(found.mean()),
        same=float((said == "SAME").mean()),
        unclear=float((said == "UNCLEAR").mean()),
        mean_blocks=float(blocks.mean()),
        wrong_bounds=clopper_pearson(int(wrong.sum()), comparisons),
        found_bounds=clopper_pearson(int(found.sum()), comparisons),
    )


def replay(
    pool: Sequence[float], effect: float = 0.0, *, comparisons: int = 2000, most_blocks: int = 40, seed: int = 0
) -> Rates:
    """The rates with noise that was recorded: blocks are drawn from `pool`, log ratios of identical rows.

    Each takes a random sign: nothing tells the arms of identical rows apart, so a lean of the pool is chance.
    """
    noise = partial(_recorded, np.asarray(pool, dtype=np.float64))
    return error_rate(noise, effect, comparisons=comparisons, most_blocks=most_blocks, seed=seed)


def stopped(log_ratios: Floats, rule: Rule = verdicts) -> tuple[Words, NDArray[np.int64]]:
    """The verdict and the number of blocks where each comparison stops: at its first verdict that is not UNCLEAR."""
    comparisons, most_blocks = log_ratios.shape
    said = np.full(comparisons, "UNCLEAR")
    blocks = np.full(comparisons, most_blocks)
    going = np.arange(comparisons)
    for look in range(MIN_BLOCKS, most_blocks + 1):
        said[going] = rule(log_ratios[going, :look])
        blocks[going] = look
        going = going[said[going] == "UNCLEAR"]
    return said, blocks


def clopper_pearson(hits: int, trials: int) -> Interval:
    """The exact 95 % interval of a share."""
    interval = stats.binomtest(hits, trials).proportion_ci(method="exact")
    return Interval(float(interval.low), float(interval.high))


def _recorded(pool: Floats, random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return np.asarray(random.choice(pool, shape) * random.choice([-1.0, 1.0], shape))
