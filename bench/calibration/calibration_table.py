"""What a calibration says, in Markdown: how often verdicts are wrong, and what they find."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from bench import units
from bench.analysis.stats import PRACTICAL, median
from bench.analysis.verdict import MIN_BLOCKS
from bench.calibration.calibration import SURROUNDINGS, told_of
from bench.calibration.simulate import clopper_pearson, error_rate, recorded
from bench.calibration.synthetic import BUDGET
from bench.report.markdown import environment_line, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.calibration.calibration import Batch, Head, Told

REPLAYS = 20_000
REPLAYED = (0, 1, 2, 3, 5, 10)

WORDS = {"quiet": "as the machine is", "neighbour": "with a noisy neighbour on each processor"}


def markdown(head: Head, batches: Sequence[Batch]) -> str:
    """How often verdicts are wrong, what they find after how many blocks, and what that took."""
    comparisons = told_of(batches)
    parts = [
        "# How often the verdicts err\n",
        f"{environment_line(head.environment)}  \n`{head.command}`, {head.started_at}\n",
        "Workers that do the same work, and workers of which one does a known share more, went through the tables,"
        f" turns and blocks of `bench run`: {_blocks(comparisons)} blocks each. Verdicts are those of the rule as it is"
        f" now, looking after each block from the third on; blocks after a verdict are not used."
        f" The workers do small NumPy products, {_call(comparisons)} a call, which is a turn: longer calls have fewer"
        " turns, and are noisier. No two comparisons of identical workers share a process; each"
        " planted slow-down is held against one of a pair. Those of one table share its rounds."
        " `docs/method.md` says how and why.\n",
        "## Against what was aimed at\n",
        f"Within {BUDGET.max_blocks} blocks, both surroundings together. In square brackets, 95 % Clopper-Pearson"
        " bounds.\n",
        _goals(comparisons),
        "## Identical workers\n",
        _errors(comparisons),
        "## Planted slow-downs\n",
        f"Came out as: the mean over the first {MIN_BLOCKS} blocks, which all comparisons have, with its 95 % interval."
        " It has to be a little below what was planted, for a part of a call does not grow with its work."
        " Found: SLOWER. Missed: SAME, though the difference is beyond the practical threshold of"
        f" {100 * PRACTICAL:.0f} %. Backwards: FASTER. In square brackets, 95 % Clopper-Pearson bounds.\n",
        _found(comparisons),
        "Share found after so many blocks, both surroundings together:\n",
        _curve(comparisons),
        "## The recorded noise, replayed\n",
        f"The blocks of the identical workers, drawn anew for {REPLAYS:,} comparisons with an exact effect. What"
        " one block has to do with the next is lost. Wrong is also SAME where the effect is above 2 %.\n",
        _replays(comparisons),
        "## Time\n",
        _time(batches),
    ]
    return "\n".join(parts)


def share(hits: int, trials: int) -> str:
    """``0.0 % [0.0, 1.2]``: a share with its bounds."""
    low, high = clopper_pearson(hits, trials)
    return f"{100 * hits / trials:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def came_out_as(comparisons: Sequence[Told]) -> str:
    """``2.7 % [2.5, 2.9]``: the extra work as it was measured, over blocks that no verdict had a say in."""
    logs = [float(np.mean(one.sides.log_ratios[:MIN_BLOCKS])) for one in comparisons]
    mean = float(np.mean(logs))
    if len(logs) == 1:
        return f"{100 * np.expm1(mean):.1f} %"
    half = float(stats.t.isf(0.025, len(logs) - 1) * stats.sem(logs))
    low, middle, high = (100 * np.expm1(mean + side) for side in (-half, 0.0, half))
    return f"{middle:.1f} % [{low:.1f}, {high:.1f}]"


def lag_correlation(series: Sequence[Sequence[float]]) -> float:
    """How much a block's log ratio says of the next one's, identical workers having a mean of zero: 0 where nothing."""
    together = [here * after for one in series for here, after in pairwise(one)]
    alone = [ratio**2 for one in series for ratio in one]
    return float(np.mean(together) / np.mean(alone)) if any(alone) else 0.0


def in_words(comparisons: Sequence[Told]) -> str:
    """A sentence on how often verdicts are wrong."""
    identical = [one for one in comparisons if one.percent == 0]
    wrong = sum(one.verdict in ("FASTER", "SLOWER") for one in identical)
    return (
        f"Of {len(identical)} comparisons of identical workers, with calls of {_call(identical)}, {wrong} got a false"
        f" FASTER or SLOWER: a rate of at most {100 * at_most(wrong, len(identical)):.1f} % (95 %, one-sided)"
    )


def _blocks(comparisons: Sequence[Told]) -> str:
    """How many blocks were measured."""
    numbers = [len(one.sides.ours_s) for one in comparisons]
    return f"{min(numbers)} to {max(numbers)}"


def _call(comparisons: Sequence[Told]) -> str:
    """How long a call of the arm that has no extra work took, in the middle."""
    return units.seconds(median([median(samples) for one in comparisons for samples in one.sides.theirs_s]))


def at_most(hits: int, trials: int) -> float:
    """The rate that is not exceeded, at 95 %: the one-sided Clopper-Pearson bound."""
    return float(stats.beta.isf(0.05, hits + 1, trials - hits)) if hits < trials else 1.0


class Goal(NamedTuple):
    """A share of the comparisons with so many per cent of extra work, and the most or the least that it should be."""

    words: str
    percent: int
    verdicts: tuple[str, ...]
    share: float
    is_most: bool = False


GOALS = (
    Goal("false FASTER or SLOWER in at most 1 %", 0, ("FASTER", "SLOWER"), 0.01, is_most=True),
    Goal("5 % found in at least 99 %", 5, ("SLOWER",), 0.99),
    Goal("3 % found in at least 95 %", 3, ("SLOWER",), 0.95),
)


def _goals(comparisons: Sequence[Told]) -> str:
    """What was aimed at beside what was reached, and by how much it was missed."""
    lines = []
    for goal in GOALS:
        said = [one.verdict for one in comparisons if one.percent == goal.percent]
        if not said:
            lines.append([goal.words, "0", "–", "not measured"])
            continue
        hits = sum(verdict in goal.verdicts for verdict in said)
        shown = at_most(hits if goal.is_most else len(said) - hits, len(said)) <= (
            goal.share if goal.is_most else 1 - goal.share
        )
        missed = (hits / len(said) - goal.share) * (1 if goal.is_most else -1)
        lines.append(
            [
                goal.words,
                f"{len(said)}",
                share(hits, len(said)),
                f"by {100 * missed:.1f} points" if missed > 0 else "no" if shown else "no, but too few to show it",
            ]
        )
    return table(["aim", "comparisons", "reached", "missed"], lines)


def _errors(comparisons: Sequence[Told]) -> str:
    lines = []
    for where, chosen in _by_surroundings([one for one in comparisons if one.percent == 0]):
        said = Counter(one.verdict for one in chosen)
        wrong = said["FASTER"] + said["SLOWER"]
        spreads = np.std([ratio for one in chosen for ratio in one.sides.log_ratios])
        memory = lag_correlation([one.sides.log_ratios for one in chosen])
        lines.append(
            [
                where,
                f"{len(chosen)}",
                f"{wrong}",
                f"{100 * at_most(wrong, len(chosen)):.2f} %",
                units.percent(said["SAME"] / len(chosen)),
                units.percent(said["UNCLEAR"] / len(chosen)),
                f"{np.mean([one.blocks for one in chosen]):.1f}",
                units.percent(float(spreads)),
                f"{memory:.2f}",
            ]
        )
    header = ["identical workers", "comparisons", "false FASTER or SLOWER", "rate at most (95 %)", "SAME", "UNCLEAR"]
    return table([*header, "blocks", "standard deviation of a block", "correlation with the next"], lines)


def _found(comparisons: Sequence[Told]) -> str:
    lines = []
    for percent in sorted({one.percent for one in comparisons if one.percent}):
        for where, chosen in _by_surroundings([one for one in comparisons if one.percent == percent]):
            said = Counter(one.verdict for one in chosen)
            missed = said["SAME"] if percent > 100 * PRACTICAL else 0
            lines.append(
                [
                    f"{percent} %",
                    where,
                    f"{len(chosen)}",
                    came_out_as(chosen),
                    share(said["SLOWER"], len(chosen)),
                    f"{said['SAME']}",
                    f"{missed}",
                    f"{said['FASTER']}",
                    units.percent(said["UNCLEAR"] / len(chosen)),
                    f"{np.mean([one.blocks for one in chosen]):.1f}",
                ]
            )
    header = ["planted", "surroundings", "comparisons", "came out as", "found", "SAME", "missed", "backwards"]
    return table([*header, "UNCLEAR", "blocks"], lines, left=2)


def _curve(comparisons: Sequence[Told]) -> str:
    looks = range(MIN_BLOCKS, (BUDGET.max_blocks or 0) + 1)
    lines = []
    for percent in sorted({one.percent for one in comparisons if one.percent}):
        chosen = [one for one in comparisons if one.percent == percent]
        found = [sum(one.verdict == "SLOWER" and one.blocks <= look for one in chosen) for look in looks]
        lines.append([f"{percent} %", *(units.percent(hits / len(chosen)) for hits in found)])
    return table(["blocks", *map(str, looks)], lines)


def _replays(comparisons: Sequence[Told]) -> str:
    lines = []
    most = BUDGET.max_blocks or 0
    for where, chosen in _by_surroundings([one for one in comparisons if one.percent == 0]):
        common = min(len(one.sides.log_ratios) for one in chosen)
        tables = recorded([np.array([one.sides.log_ratios[:common] for one in chosen])])
        for percent in REPLAYED:
            rates = error_rate(tables, comparisons=REPLAYS, most_blocks=most, effects=[percent / 100])
            wrong = rates.wrong if percent else rates.false
            found = f"{100 * rates.found[most]:.2f} %" if percent else ""
            same = units.percent(rates.same) if not percent else ""
            lines.append([f"{percent} %", where, f"{100 * wrong:.2f} %", found, same, f"{rates.mean_blocks:.1f}"])
    return table(["effect", "surroundings", "wrong", "found", "SAME", "blocks"], lines, left=2)


def _time(batches: Sequence[Batch]) -> str:
    lines = []
    for name in SURROUNDINGS:
        chosen = [batch for batch in batches if batch.comparisons[0].surroundings == name]
        if chosen:
            total = sum(batch.elapsed_s for batch in chosen)
            each = total / sum(len(batch.comparisons) for batch in chosen)
            lines.append([WORDS[name], f"{len(chosen)}", units.duration(total), units.duration(each)])
    return table(["surroundings", "tables", "wall time", "a comparison"], lines)


def _by_surroundings(comparisons: Sequence[Told]) -> Iterable[tuple[str, list[Told]]]:
    for name in SURROUNDINGS:
        if chosen := [one for one in comparisons if one.surroundings == name]:
            yield WORDS[name], chosen
    if len({one.surroundings for one in comparisons}) > 1:
        yield "both", list(comparisons)
