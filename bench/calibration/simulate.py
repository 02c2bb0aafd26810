"""What the rule of verdicts does to whole tables of known ratios: how often it is wrong, and what it finds. Seeded.

A table has groups of rows that share a baseline, whose noise is in all their ratios. It is looked at after every block,
and who has a verdict leaves: by that, errors add up, and the verdicts of some decide what is known of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from bench.analysis.stats import PRACTICAL, Interval
from bench.analysis.verdict import LEAST_VARIANCE, MIN_BLOCKS, Prior, priors, verdicts

Floats: TypeAlias = NDArray[np.float64]
Words: TypeAlias = NDArray[np.str_]

Tables = Callable[[np.random.Generator, int, int], Floats]
"""Log ratios of identical rows in so many tables of so many blocks, ``(tables, groups, rows, blocks)``."""

Rule = Callable[[Floats, Prior], Words]
"""A verdict for each row of log ratios, with what the rest of its table says of their variance."""

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of the comparisons of many tables, with 95 % intervals from resampling whole tables.

    `false`: of identical rows, those called FASTER or SLOWER. `wrong`: of the others, those called SAME beyond
    `PRACTICAL` or the wrong way round. `found`: of the others, those called the right way, by number of blocks.
    """

    tables: int
    comparisons: int
    false: float
    false_bounds: Interval
    wrong: float
    wrong_bounds: Interval
    same: float
    """Of identical rows, those called so."""
    found: dict[int, float]
    mean_blocks: float


def recorded(groups: Sequence[Floats]) -> Tables:
    """Tables with the noise of recorded groups: log ratios ``(rows, blocks)`` of rows of any ratio.

    Each group keeps its standard deviation. Its blocks are drawn from those of all groups, in units of that group's,
    whole and turned round at random: what rows had in common they have again. A group's own blocks are so few
    that the same would come three times in a row.
    """
    rows, random = max(map(len, groups)), np.random.default_rng(0)
    deviations, pool = [], []
    for group in groups:
        noise = (group - group.mean(axis=1, keepdims=True)) * np.sqrt(group.shape[1] / (group.shape[1] - 1))
        deviations.append(float(np.sqrt(max(np.mean(noise**2), LEAST_VARIANCE))))
        members = np.resize(random.permutation(len(group)), rows)
        pool += list((noise[members] / deviations[-1]).T)
    blocks_of = np.array(pool)

    def draw(random: np.random.Generator, tables: int, blocks: int) -> Floats:
        size = (tables, len(groups), blocks)
        drawn = blocks_of[random.integers(len(blocks_of), size=size)] * random.choice([-1.0, 1.0], (*size, 1))
        return np.asarray(np.swapaxes(drawn, -1, -2) * np.array(deviations)[:, None, None])

    return draw


def error_rate(
    tables: Tables,
    *,
    effects: Sequence[float],
    comparisons: int = 10_000,
    most_blocks: int = 40,
    rule: Rule = verdicts,
    seed: int = 0,
) -> Rates:
    """The rates of the stopped procedure in tables of so many comparisons, whose rows have these effects in turn."""
    count = ceil(comparisons / tables(np.random.default_rng(seed), 1, 1).size)
    noise = tables(np.random.default_rng(seed), count, most_blocks)
    groups, rows = noise.shape[1:3]
    effect = np.resize(np.asarray(effects), (groups, rows)) if rows < len(effects) else np.resize(effects, rows)
    effect = np.broadcast_to(effect, noise.shape[:3])
    said, blocks = stopped(noise + np.log1p(effect)[..., None], rule)
    sign = np.select([said == "FASTER", said == "SLOWER"], [-1, 1], default=0)
    identical, right = effect == 0, sign == np.sign(effect)
    wrong = ((said == "SAME") & (np.abs(effect) > PRACTICAL)) | ((sign != 0) & ~right)
    false, false_bounds = _share(wrong, identical)
    missed, missed_bounds = _share(wrong, ~identical)
    others = max(1, int((~identical).sum()))
    return Rates(
        tables=count,
        comparisons=said.size,
        false=false,
        false_bounds=false_bounds,
        wrong=missed,
        wrong_bounds=missed_bounds,
        same=float((said == "SAME")[identical].mean()) if identical.any() else 0.0,
        found={
            look: float((~identical & right & (sign != 0) & (blocks <= look)).sum() / others)
            for look in (3, 4, 5, 6, 8, 10, 12)
        },
        mean_blocks=float(blocks.mean()),
    )


def _share(hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> tuple[float, Interval]:
    """The share of hits, and its 95 % interval: tables are resampled; where none has a hit, one could."""
    per_table, size = ((what & among).reshape(len(hits), -1).sum(axis=1) for what in (hits, among))
    if not size.any():
        return 0.0, Interval(0.0, 0.0)
    if not per_table.any():
        return 0.0, Interval(0.0, clopper_pearson(0, len(hits)).high)
    which = np.random.default_rng(0).integers(len(hits), size=(_RESAMPLES, len(hits)))
    low, high = np.quantile(per_table[which].sum(axis=1) / size[which].sum(axis=1), [0.025, 0.975])
    return float(per_table.sum() / size.sum()), Interval(float(low), float(high))


def stopped(log_ratios: Floats, rule: Rule = verdicts) -> tuple[Words, NDArray[np.int64]]:
    """The verdict and the number of blocks where each comparison stops: at its first verdict that is not UNCLEAR.

    ``log_ratios``: ``(tables, groups, rows, blocks)``, NaN in blocks that a comparison does not have.
    """
    measured = np.isfinite(log_ratios)
    size, blocks = log_ratios.shape[:-1], measured.sum(axis=-1)
    said = np.full(size, "UNCLEAR")
    variances, freedom = np.full(size, np.nan), np.full(size, np.nan)
    for look in range(MIN_BLOCKS, log_ratios.shape[-1] + 1):
        going = (said == "UNCLEAR") & measured[..., look - 1]
        variances[going], freedom[going] = log_ratios[going, :look].var(axis=-1, ddof=1), look - 1
        known = priors(variances, freedom)
        own = Prior(*(np.broadcast_to(part[..., None], size)[going] for part in known))
        said[going] = rule(log_ratios[going, :look], own)
        blocks[going] = look
    return said, blocks


def one_table(series: Sequence[Sequence[Sequence[float]]]) -> Floats:
    """The log ratios of a table's groups, ``(1, groups, rows, blocks)``, NaN where a group or a row has fewer."""
    most = max((len(ratios) for group in series for ratios in group), default=0)
    table = np.full((1, len(series), max(map(len, series), default=0), most), np.nan)
    for place, group in enumerate(series):
        for row, ratios in enumerate(group):
            table[0, place, row, : len(ratios)] = ratios
    return table


def said_in_groups(series: Sequence[Sequence[Sequence[float]]]) -> list[list[tuple[str, int]]]:
    """The first verdict that is not UNCLEAR of each comparison of each group, and after how many blocks it came.

    There a comparison gets no more blocks for its own sake. In a run it may get more for its neighbour's, and shows the
    verdict of the last: the rule's error is that of all looks together.
    """
    words, blocks = stopped(one_table(series))
    return [
        [(str(words[0, place, row]), int(blocks[0, place, row])) for row in range(len(group))]
        for place, group in enumerate(series)
    ]


def clopper_pearson(hits: int, trials: int) -> Interval:
    """The exact 95 % interval of a share."""
    interval = stats.binomtest(hits, trials).proportion_ci(method="exact")
    return Interval(float(interval.low), float(interval.high))


def at_most(hits: int, trials: int) -> float:
    """The rate that is not exceeded, at 95 %: the one-sided Clopper-Pearson bound."""
    return float(stats.beta.isf(0.05, hits + 1, trials - hits)) if hits < trials else 1.0


def lag_correlation(series: Sequence[Sequence[float]]) -> float:
    """How much a block's log ratio says of the next one's, identical workers having a mean of zero: 0 where nothing."""
    together = [here * after for one in series for here, after in pairwise(one)]
    alone = [ratio**2 for one in series for ratio in one]
    return float(np.mean(together) / np.mean(alone)) if any(alone) else 0.0
