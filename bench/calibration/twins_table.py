"""What a calibration on real rows says, in Markdown: how often verdicts are wrong, and what they find when."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from bench import units
from bench.analysis.stats import PRACTICAL, median
from bench.analysis.verdict import MIN_BLOCKS, locate
from bench.calibration.calibration import pairs_of, told_of
from bench.calibration.calibration_table import at_most
from bench.calibration.twins import PAIRS_A_ROW
from bench.report.markdown import environment_line, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.calibration.calibration import Batch, Head, Told


def markdown(head: Head, batches: Sequence[Batch]) -> str:
    """How often verdicts on real rows are wrong, and what they find after how many blocks and minutes."""
    rows = ", ".join(f"`{name}`" for name in head.rows)
    return "\n".join(
        [
            "# How often the verdicts err, on real rows\n",
            f"{environment_line(head.environment)}  \n`{head.command}`, {head.started_at}\n",
            f"The rows {rows} sat at one table several times each, as their own twins, on the workloads and tasks of"
            f" the default run: {PAIRS_A_ROW} pairs a row, no worker in two of them; and each row twice with a planted"
            " slow-down, held against one of a pair. Turns, blocks and stopping rule are those of `bench run`."
            " `docs/method.md` says how and why.\n",
            f"{in_words(batches)}. Comparisons of a pair share their workers, group by group, and pairs of a table its"
            f" minutes: if whole tables had to be taken for tries, it would be at most"
            f" {100 * at_most(min(_false(batches), len(batches)), len(batches)):.0f} %.\n",
            *(f"No comparison, for it has no time: {words}.\n" for batch in batches for words in batch.failed),
            f"{found_in_words(batches)}\n",
            "## Twins\n",
            _errors(batches),
            "## Planted slow-downs\n",
            "Planted: what the longer row took of the processor in its turns, over what its twin took: the robust"
            f" centre of the first {MIN_BLOCKS} blocks of all pairs, with its 95 % interval. Came out as: likewise,"
            " of wall time. Found: SLOWER."
            f" Missed: SAME, though the difference is above {100 * PRACTICAL:.0f} %. Backwards: FASTER.\n",
            _planted(batches),
            "Share found after so many blocks, and that many minutes in the middle:\n",
            _over_time(batches),
        ]
    )


def false_ones(told: Sequence[Told]) -> list[Told]:
    """Twins that were told apart."""
    return [one for one in told if one.percent == 0 and one.verdict in ("FASTER", "SLOWER")]


def bound(batches: Sequence[Batch]) -> float:
    """The rate of false verdicts a comparison that is not exceeded, at 95 %.

    Each pair is one try, for its comparisons, group by group, share their workers; and each false verdict counts for a
    pair of its own. That is more than whole tables, resampled, say: a pair has as many comparisons as there are groups.
    """
    pairs = sum(map(pairs_of, batches))
    return at_most(min(_false(batches), pairs), pairs)


def in_words(batches: Sequence[Batch]) -> str:
    """A sentence on how often verdicts on real rows are wrong."""
    told = [one for one in told_of(batches) if one.percent == 0]
    pairs = sum(map(pairs_of, batches))
    return (
        f"Of {len(told)} comparisons of real rows with themselves ({pairs} disjoint pairs in {len(batches)}"
        f" table{'s' * (len(batches) != 1)}), {_false(batches)} got a false FASTER or SLOWER: at most"
        f" {100 * bound(batches):.1f} % (95 %, each pair taken for one try)"
    )


def found_in_words(batches: Sequence[Batch]) -> str:
    """What effect is found on real rows, and what is not, in as many blocks as a default run has."""
    told = told_of(batches)
    parts = []
    for percent in sorted({one.percent for one in told if one.percent}):
        planted = [one for one in told if one.percent == percent]
        groups = sorted({one.comparison.group for one in planted})
        of_group = (f"{group}: {_share(planted, 'SLOWER', group)}" for group in groups)
        parts.append(f"of {percent} % it finds {_share(planted, 'SLOWER')} ({', '.join(of_group)})")
    same = _share([one for one in told if one.percent == 0], "SAME")
    return f"What a default run finds on these rows: {'; '.join(parts)}. Of identical rows it calls {same} SAME."


def _share(told: Sequence[Told], verdict: str, group: str | None = None) -> str:
    own = [one.verdict for one in told if group in (None, one.comparison.group)]
    return units.percent(own.count(verdict) / len(own))


def _false(batches: Sequence[Batch]) -> int:
    return len(false_ones(told_of(batches)))


def _errors(batches: Sequence[Batch]) -> str:
    told = [one for one in told_of(batches) if one.percent == 0]
    lines = []
    for name in ("row", "group"):
        for value in sorted({getattr(one.comparison, name) for one in told}):
            chosen = [one for one in told if getattr(one.comparison, name) == value]
            said = Counter(one.verdict for one in chosen)
            ratios = [one.sides.log_ratios for one in chosen]
            spread = np.sqrt(np.mean([np.var(own, ddof=1) for own in ratios]))
            lines.append(
                [
                    f"{name} `{value}`",
                    f"{len(chosen)}",
                    f"{said['FASTER'] + said['SLOWER']}",
                    units.percent(said["SAME"] / len(chosen)),
                    units.percent(said["UNCLEAR"] / len(chosen)),
                    units.percent(float(spread)),
                ]
            )
    header = ["twins of", "comparisons", "false FASTER or SLOWER", "SAME", "UNCLEAR", "standard deviation of a block"]
    return table(header, lines)


def _planted(batches: Sequence[Batch]) -> str:
    told = [one for one in told_of(batches) if one.percent]
    lines = []
    for percent in sorted({one.percent for one in told}):
        for group in (*sorted({one.comparison.group for one in told}), "all"):
            chosen = [one for one in told if one.percent == percent and group in (one.comparison.group, "all")]
            said = Counter(one.verdict for one in chosen)
            lines.append(
                [
                    f"{percent} %",
                    group,
                    f"{len(chosen)}",
                    _centre(chosen, _of_processor),
                    _centre(chosen, lambda one: one.sides.log_ratios),
                    units.percent(said["SLOWER"] / len(chosen)),
                    f"{said['SAME']}",
                    f"{said['FASTER']}",
                    units.percent(said["UNCLEAR"] / len(chosen)),
                ]
            )
    header = ["aimed at", "group", "comparisons", "planted", "came out as", "found", "missed", "backwards", "UNCLEAR"]
    return table(header, lines, left=2)


def _of_processor(one: Told) -> list[float]:
    taken = one.comparison.processor
    assert taken is not None
    return list(np.log(taken.ours_s) - np.log(taken.theirs_s))


def _centre(chosen: Sequence[Told], of: Callable[[Told], Sequence[float]]) -> str:
    """``4.9 % [4.2, 5.6]``: the centre of the first blocks of all, which no verdict had a say in.

    The groups of a block share its processes: they count as one, by their mean.
    """
    of_processes: dict[tuple[int, str | None, int], list[float]] = defaultdict(list)
    for one in chosen:
        for block, ratio in enumerate(of(one)[:MIN_BLOCKS]):
            of_processes[one.comparison.batch, one.comparison.row, block].append(ratio)
    at = locate(np.array([fmean(own) for own in of_processes.values()]))
    middle, low, high = (100 * float(np.expm1(one)) for one in (at.estimate, *at.interval(0.05)))
    return f"{middle:.1f} % [{low:.1f}, {high:.1f}]"


def _over_time(batches: Sequence[Batch]) -> str:
    told = [one for one in told_of(batches) if one.percent]
    looks = range(MIN_BLOCKS, max(len(batch.ends_s) for batch in batches) + 1)
    ends_s = [[batch.ends_s[min(look, len(batch.ends_s)) - 1] for batch in batches] for look in looks]
    lines = []
    for percent in sorted({one.percent for one in told}):
        chosen = [one for one in told if one.percent == percent]
        found = [sum(one.verdict == "SLOWER" and one.blocks <= look for one in chosen) for look in looks]
        lines.append([f"{percent} %", *(units.percent(hits / len(chosen)) for hits in found)])
    header = [f"{look} ({units.duration(spent)})" for look, spent in zip(looks, map(median, ends_s), strict=True)]
    return table(["aimed at", *header], lines)
