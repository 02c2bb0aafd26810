"""Kinds of tables whose ratios are known: what the rule's level was chosen for, and what the rule is tested with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.calibration.simulate import Floats, Tables

Noise = Callable[[np.random.Generator, tuple[int, ...]], Floats]
"""Log times of a process in blocks, the last axis, round 0 and with a standard deviation of about one."""

BARELY = 0.0205
"""An effect that is not to be called SAME, and hardly is distinguishable from one that is."""

EFFECTS = (0.0, BARELY, 0.0, -BARELY, 0.0, 0.4, 0.0, BARELY, 0.0, -0.15, 0.0, -BARELY, 0.06, 1.2)
"""The true effects of a table's rows: many are identical, some are found at once and leave, some never are."""

ROWS = len(EFFECTS)
"""As many as the default run has comparisons in a group, its control among them."""

UNLIKE = (0.006, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07)
"""Standard deviations of a block's log ratio in the groups of a default run, as published runs have them."""

OUTLYING = 1 / 12
"""So many processes are slower by exp(0.1 to 0.5), as was measured."""

ALIKE = 6
"""How alike the variances of a group's rows are: as if each had been estimated with so many degrees of freedom."""

MEMORY = 0.8
"""How much of a drift is left after a block."""

FIRST = 1.5
"""How much noisier the first block is, after which the number of turns is chosen."""


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Gaussian."""
    return np.asarray(random.normal(size=shape))


def heavy(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student's t with 3 degrees of freedom."""
    return np.asarray(random.standard_t(3, shape) / np.sqrt(3))


def drifting(share: float = 0.1) -> Noise:
    """Gaussian, with `share` of the variance in a slow AR(1) drift: what is left when taking turns removes the rest."""

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        drift = random.normal(size=shape)
        for block in range(1, shape[-1]):
            drift[..., block] = MEMORY * drift[..., block - 1] + np.sqrt(1 - MEMORY**2) * drift[..., block]
        return np.asarray(np.sqrt(share) * drift + np.sqrt(1 - share) * random.normal(size=shape))

    return draw


def unsteady(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Gaussian, and a quarter of the blocks are six times as noisy: a neighbour comes and goes."""
    return np.asarray(random.normal(size=shape) * np.where(random.random(shape) < 0.25, 6, 1) / 3)


def made(
    noise: Noise,
    deviations: Sequence[float],
    *,
    rows: int = ROWS,
    alike: float = ALIKE,
    outlying: float = 0.0,
    everywhere: bool = False,
    first: float = 1.0,
) -> Tables:
    """Tables of groups whose ratios have these standard deviations; half of the variance is the baseline's.

    ``everywhere``: a process that is an outlier is one in all groups. ``first``: how much noisier the first block is.
    """

    def draw(random: np.random.Generator, tables: int, blocks: int) -> Floats:
        size, places = (tables, len(deviations), rows), 1 if everywhere else len(deviations)
        sd = np.asarray(deviations)[:, None] / np.sqrt(2)
        of_row = (
            sd * np.sqrt(alike / random.chisquare(alike, size)) if np.isfinite(alike) else np.broadcast_to(sd, size)
        )
        sides = []
        for count, scale in ((rows, of_row), (1, sd)):
            log_times = noise(random, (*size[:2], count, blocks)) * scale[..., None]
            log_times[..., 0] *= first
            off = (tables, places, count, blocks)
            sides.append(log_times + (random.random(off) < outlying) * random.uniform(0.1, 0.5, off))
        return np.asarray(sides[0] - sides[1])

    return draw


KINDS: dict[str, Tables] = {
    **{f"Gaussian, {100 * sd:g} %": made(normal, [sd] * 8) for sd in (0.006, 0.03, 0.1)},
    "Gaussian, unlike groups": made(normal, UNLIKE),
    "Gaussian, unlike groups of like rows": made(normal, UNLIKE, alike=np.inf),
    "Gaussian, unlike groups of unlike rows": made(normal, UNLIKE, alike=3),
    "Gaussian, first block noisier": made(normal, UNLIKE, first=FIRST),
    **{f"outliers, {100 * sd:g} %": made(normal, [sd] * 8, outlying=OUTLYING) for sd in (0.006, 0.03)},
    "outliers, unlike groups": made(normal, UNLIKE, outlying=OUTLYING),
    "outliers in all groups at once": made(normal, UNLIKE, outlying=OUTLYING, everywhere=True),
    "heavy tails": made(heavy, UNLIKE),
    "unsteady": made(unsteady, UNLIKE),
    **{f"drifting, {100 * sd:g} %": made(drifting(), [sd] * 8, alike=np.inf) for sd in (0.03, 0.1)},
    "drifting, unlike groups": made(drifting(), UNLIKE),
    "one group, drifting, 10 %": made(drifting(), [0.1], alike=np.inf),
    "two rows and the control, drifting, 10 %": made(drifting(), [0.1] * 8, rows=3, alike=np.inf),
    "one row and the control, drifting, 3 %": made(drifting(), [0.03] * 8, rows=2, alike=np.inf),
    "one row and the control, drifting, 10 %": made(drifting(), [0.1] * 8, rows=2, alike=np.inf),
    "one row and the control, outliers": made(normal, UNLIKE, rows=2, outlying=OUTLYING),
    "one row alone, drifting, 10 %": made(drifting(), [0.1], rows=1, alike=np.inf),
}
"""The tables that `verdict.LEVEL` was chosen for: the worst of these stays below 1 %."""
