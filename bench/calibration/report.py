"""What a calibration says: how often verdicts are wrong, and what they find after how many blocks; and its publication.

Published are one of synthetic workers, and for each machine those on real rows.
"""

from __future__ import annotations

import lzma
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import ClassVar, TypeVar

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from bench import units
from bench.analysis.stats import PRACTICAL, median
from bench.analysis.verdict import MIN_BLOCKS, locate
from bench.calibration import calibration
from bench.calibration.calibration import Batch, Calibration, Head, Outcome, false_ones, identical_of, outcomes_of
from bench.calibration.simulate import at_most, clopper_pearson, error_rate, lag_correlation, recorded
from bench.calibration.workers import BUDGET, PAIRS_A_ROW
from bench.publish.commits import check_named
from bench.publish.kinds import Kind, Repository, dated, refusal
from bench.records.store import head_text
from bench.report.markdown import environment_line, table

Key = TypeVar("Key", int, str)

REPLAYS = 20_000
REPLAYED = (0, 1, 2, 3, 5, 10)
"""Per cent."""
MOST_BLOCKS = BUDGET.max_blocks or 0
WORDS = {"quiet": "as the machine is", "neighbour": "with a noisy neighbour on each processor"}

GOALS = (
    ("false FASTER or SLOWER in at most 1 %", 0, ("SAME", "UNCLEAR"), 0.99),
    ("5 % found in at least 99 %", 5, ("SLOWER",), 0.99),
    ("3 % found in at least 95 %", 3, ("SLOWER",), 0.95),
)
"""In words; per cent of extra work; verdicts of which there are to be enough; and what share is enough."""


def markdown(head: Head, batches: Sequence[Batch]) -> str:
    """How often verdicts are wrong, what they find after how many blocks, and what that took."""
    return "\n".join((_of_rows if head.rows else _of_synthetic)(head, batches))


def in_words(batches: Sequence[Batch]) -> str:
    """A sentence on how often verdicts are wrong."""
    identical = identical_of(outcomes_of(batches))
    false = len(false_ones(identical))
    got = f"{false} got a false FASTER or SLOWER:"
    if any(one.comparison.row for one in identical):
        pairs, tables = sum(map(calibration.pairs_of, batches)), f"{len(batches)} table{'s' * (len(batches) != 1)}"
        return (
            f"Of {len(identical)} comparisons of real rows with themselves ({pairs} disjoint pairs in {tables}), {got}"
            f" at most {100 * calibration.bound(batches):.1f} % (95 %, each pair taken for one try)"
        )
    return (
        f"Of {len(identical)} comparisons of identical workers, with calls of {_call(identical)}, {got}"
        f" a rate of at most {100 * at_most(false, len(identical)):.1f} % (95 %, one-sided)"
    )


def _of_synthetic(head: Head, batches: Sequence[Batch]) -> Iterator[str]:
    outcomes = outcomes_of(batches)
    numbers = [len(one.comparison.sides.ours_s) for one in outcomes]
    yield "# How often the verdicts err\n"
    yield f"{environment_line(head.environment)}  \n`{head.command}`, {head.started_at}\n"
    yield (
        "Workers that do the same work, and workers of which one does a known share more, went through the tables,"
        f" turns and blocks of `bench run`: {min(numbers)} to {max(numbers)} blocks each. Verdicts are those of the"
        " rule as it is now, looking after each block from the third on; blocks after a verdict are not used."
        f" The workers do small NumPy products, {_call(outcomes)} a call, which is a turn: longer calls have fewer"
        " turns, and are noisier. No two comparisons of identical workers share a process; each"
        " planted slow-down is held against one of a pair. Those of one table share its rounds."
        " `docs/method.md` says how and why.\n"
    )
    yield "## Against what was aimed at\n"
    yield (
        f"Within {MOST_BLOCKS} blocks, both surroundings together. In square brackets, 95 % Clopper-Pearson bounds.\n"
    )
    yield _goals(outcomes)
    yield "## Identical workers\n"
    yield _errors(outcomes)
    yield "## Planted slow-downs\n"
    yield (
        f"Came out as: the mean over the first {MIN_BLOCKS} blocks, which all comparisons have, with its 95 % interval."
        " It has to be a little below what was planted, for a part of a call does not grow with its work."
        " Found: SLOWER. Missed: SAME, though the difference is beyond the practical threshold of"
        f" {100 * PRACTICAL:.0f} %. Backwards: FASTER. In square brackets, 95 % Clopper-Pearson bounds.\n"
    )
    yield _found(outcomes)
    yield "Share found after so many blocks, both surroundings together:\n"
    looks = range(MIN_BLOCKS, MOST_BLOCKS + 1)
    yield _found_after(outcomes, looks, ["blocks", *map(str, looks)])
    yield "## The recorded noise, replayed\n"
    yield (
        f"The blocks of the identical workers, drawn again for {REPLAYS:,} comparisons with an exact effect. What"
        " one block has to do with the next is lost. Wrong is also SAME where the effect is above 2 %.\n"
    )
    yield _replays(outcomes)
    yield "## Time\n"
    yield _time(batches)


def _of_rows(head: Head, batches: Sequence[Batch]) -> Iterator[str]:
    outcomes = outcomes_of(batches)
    rows = ", ".join(f"`{name}`" for name in head.rows)
    of_tables = at_most(min(len(false_ones(outcomes)), len(batches)), len(batches))
    yield "# How often the verdicts err, on real rows\n"
    yield f"{environment_line(head.environment)}  \n`{head.command}`, {head.started_at}\n"
    yield (
        f"The rows {rows} were in one pool several times each, as their own twins, on the workloads and tasks of"
        f" the default run: {PAIRS_A_ROW} pairs a row, no worker in two of them; and each row twice with a planted"
        " slow-down, held against one of a pair. Turns, blocks and stopping rule are those of `bench run`."
        " `docs/method.md` says how and why.\n"
    )
    yield (
        f"{in_words(batches)}. Comparisons of a pair share their workers, group by group, and pairs of a table its"
        f" minutes: if whole tables had to be taken for tries, it would be at most {100 * of_tables:.0f} %.\n"
    )
    yield from (f"No comparison, for it has no time: {words}.\n" for batch in batches for words in batch.failed)
    yield f"{_found_in_words(outcomes)}\n"
    yield "## Twins\n"
    yield _twins(identical_of(outcomes))
    yield "## Planted slow-downs\n"
    yield (
        "Planted: what the longer row took of the processor in its turns, over what its twin took: the robust"
        f" centre of the first {MIN_BLOCKS} blocks of all pairs, with its 95 % interval. Came out as: likewise,"
        " of wall time. Found: SLOWER."
        f" Missed: SAME, though the difference is above {100 * PRACTICAL:.0f} %. Backwards: FASTER.\n"
    )
    yield _found_on_rows(outcomes)
    yield "Share found after so many blocks, and that many minutes in the middle:\n"
    looks = range(MIN_BLOCKS, max(len(batch.ends_s) for batch in batches) + 1)
    ends_s = [median([batch.ends_s[min(look, len(batch.ends_s)) - 1] for batch in batches]) for look in looks]
    times = [f"{look} ({units.duration(spent)})" for look, spent in zip(looks, ends_s, strict=True)]
    yield _found_after(outcomes, looks, ["aimed at", *times])


def share(hits: int, trials: int) -> str:
    """``0.0 % [0.0, 1.2]``: a share with its bounds."""
    return _per_cent(hits / trials, *clopper_pearson(hits, trials))


def _per_cent(*values: float) -> str:
    middle, low, high = (f"{100 * value:.1f}" for value in values)
    return f"{middle} % [{low}, {high}]"


def came_out_as(outcomes: Sequence[Outcome]) -> str:
    """``2.7 % [2.5, 2.9]``: the extra work as it was measured, over blocks that no verdict had a say in."""
    logs = [float(np.mean(one.log_ratios[:MIN_BLOCKS])) for one in outcomes]
    mean = float(np.mean(logs))
    if len(logs) == 1:
        return f"{100 * np.expm1(mean):.1f} %"
    half = float(stats.t.isf(0.025, len(logs) - 1) * stats.sem(logs))
    return _per_cent(*(float(np.expm1(mean + side)) for side in (0.0, -half, half)))


def _call(outcomes: Sequence[Outcome]) -> str:
    """How long a call of the worker that has no extra work took, in the middle."""
    return units.seconds(median([median(samples) for one in outcomes for samples in one.comparison.sides.theirs_s]))


def _goals(outcomes: Sequence[Outcome]) -> str:
    """What was aimed at beside what was reached, and by how much it was missed."""
    lines = []
    for words, percent, verdicts, least in GOALS:
        said = [one.verdict in verdicts for one in outcomes if one.percent == percent]
        if not said:
            lines.append([words, "0", "–", "not measured"])
            continue
        hits, missed = sum(said), least - sum(said) / len(said)
        is_shown = at_most(len(said) - hits, len(said)) <= 1 - least
        how = f"by {100 * missed:.1f} points" if missed > 0 else "no" if is_shown else "no, but too few to show it"
        lines.append([words, f"{len(said)}", share(hits if percent else len(said) - hits, len(said)), how])
    return table(["aim", "comparisons", "reached", "missed"], lines)


def _shares(chosen: Sequence[Outcome], *verdicts: str) -> list[str]:
    said = [one.verdict for one in chosen]
    return [units.percent(said.count(verdict) / len(said)) for verdict in verdicts]


def _mean_blocks(chosen: Sequence[Outcome]) -> str:
    return f"{np.mean([one.blocks for one in chosen]):.1f}"


def _errors(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for where, chosen in _by_surroundings(identical_of(outcomes)):
        wrong, series = len(false_ones(chosen)), [one.log_ratios for one in chosen]
        rate = [f"{wrong}", f"{100 * at_most(wrong, len(chosen)):.2f} %", *_shares(chosen, "SAME", "UNCLEAR")]
        spread = units.percent(float(np.std([ratio for one in series for ratio in one])))
        correlation = f"{lag_correlation(series):.2f}"
        lines.append([where, f"{len(chosen)}", *rate, _mean_blocks(chosen), spread, correlation])
    header = ["identical workers", "comparisons", "false FASTER or SLOWER", "rate at most (95 %)", "SAME", "UNCLEAR"]
    return table([*header, "blocks", "standard deviation of a block", "correlation with the next"], lines)


def _grouped(outcomes: Iterable[Outcome], by: Callable[[Outcome], Key]) -> dict[Key, list[Outcome]]:
    found: dict[Key, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        found[by(one)].append(one)
    return {key: found[key] for key in sorted(found)}


def _by_percent(outcomes: Iterable[Outcome]) -> dict[int, list[Outcome]]:
    """The comparisons with planted work, by how much."""
    return _grouped([one for one in outcomes if one.percent], lambda one: one.percent)


def _by_group(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    return _grouped(outcomes, lambda one: one.comparison.group)


def _by_surroundings(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, Sequence[Outcome]]]:
    found = {
        name: [one for one in outcomes if one.comparison.surroundings == name] for name in calibration.SURROUNDINGS
    }
    yield from ((WORDS[name], own) for name, own in found.items() if own)
    if all(found.values()):
        yield "both", outcomes


def _found(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for percent, own in _by_percent(outcomes).items():
        for where, chosen in _by_surroundings(own):
            said = Counter(one.verdict for one in chosen)
            missed = said["SAME"] if percent > 100 * PRACTICAL else 0
            numbers = (f"{number}" for number in (said["SAME"], missed, said["FASTER"]))
            found, (unclear,) = share(said["SLOWER"], len(chosen)), _shares(chosen, "UNCLEAR")
            came = [f"{percent} %", where, f"{len(chosen)}", came_out_as(chosen)]
            lines.append([*came, found, *numbers, unclear, _mean_blocks(chosen)])
    header = ["planted", "surroundings", "comparisons", "came out as", "found", "SAME", "missed", "backwards"]
    return table([*header, "UNCLEAR", "blocks"], lines, left=2)


def _found_after(outcomes: Sequence[Outcome], looks: Iterable[int], header: Sequence[str]) -> str:
    lines = []
    for percent, chosen in _by_percent(outcomes).items():
        found = [sum(one.verdict == "SLOWER" and one.blocks <= look for one in chosen) for look in looks]
        lines.append([f"{percent} %", *(units.percent(hits / len(chosen)) for hits in found)])
    return table(header, lines)


def _replays(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for where, chosen in _by_surroundings(identical_of(outcomes)):
        common = min(len(one.log_ratios) for one in chosen)
        tables = recorded([np.array([one.log_ratios[:common] for one in chosen])])
        for percent in REPLAYED:
            rates = error_rate(tables, comparisons=REPLAYS, most_blocks=MOST_BLOCKS, effects=[percent / 100])
            wrong = rates.wrong if percent else rates.false
            found = f"{100 * rates.found[MOST_BLOCKS]:.2f} %" if percent else ""
            same = units.percent(rates.same) if not percent else ""
            lines.append([f"{percent} %", where, f"{100 * wrong:.2f} %", found, same, f"{rates.mean_blocks:.1f}"])
    return table(["effect", "surroundings", "wrong", "found", "SAME", "blocks"], lines, left=2)


def _time(batches: Sequence[Batch]) -> str:
    lines = []
    for name in calibration.SURROUNDINGS:
        if chosen := [batch for batch in batches if batch.comparisons[0].surroundings == name]:
            total = sum(batch.elapsed_s for batch in chosen)
            each = total / sum(len(batch.comparisons) for batch in chosen)
            lines.append([WORDS[name], f"{len(chosen)}", units.duration(total), units.duration(each)])
    return table(["surroundings", "tables", "wall time", "a comparison"], lines)


def _found_in_words(outcomes: Sequence[Outcome]) -> str:
    """What effect is found on real rows, and what is not, in as many blocks as a default run has."""
    parts = []
    for percent, planted in _by_percent(outcomes).items():
        groups = (f"{name}: {_shares(own, 'SLOWER')[0]}" for name, own in _by_group(planted).items())
        parts.append(f"of {percent} % it finds {_shares(planted, 'SLOWER')[0]} ({', '.join(groups)})")
    (same,) = _shares(identical_of(outcomes), "SAME")
    return f"What a default run finds on these rows: {'; '.join(parts)}. Of identical rows it calls {same} SAME."


def _twins(identical: Sequence[Outcome]) -> str:
    parts = {f"row `{name}`": own for name, own in _grouped(identical, lambda one: f"{one.comparison.row}").items()}
    parts |= {f"group `{name}`": own for name, own in _by_group(identical).items()}
    lines = []
    for name, chosen in parts.items():
        variances = [np.var(one.log_ratios, ddof=1) for one in chosen]
        shares = _shares(chosen, "SAME", "UNCLEAR")
        spread = units.percent(float(np.sqrt(np.mean(variances))))
        lines.append([name, f"{len(chosen)}", f"{len(false_ones(chosen))}", *shares, spread])
    header = ["twins of", "comparisons", "false FASTER or SLOWER", "SAME", "UNCLEAR", "standard deviation of a block"]
    return table(header, lines)


def _found_on_rows(outcomes: Sequence[Outcome]) -> str:
    lines = []
    for percent, planted in _by_percent(outcomes).items():
        for group, chosen in (*_by_group(planted).items(), ("all", planted)):
            said = Counter(one.verdict for one in chosen)
            planted_logs = [one.comparison.processor.log_ratios for one in chosen if one.comparison.processor]
            took, came = _centre(chosen, planted_logs), _centre(chosen, [one.log_ratios for one in chosen])
            found, unclear = _shares(chosen, "SLOWER", "UNCLEAR")
            numbers = (f"{said['SAME']}", f"{said['FASTER']}")
            lines.append([f"{percent} %", group, f"{len(chosen)}", took, came, found, *numbers, unclear])
    header = ["aimed at", "group", "comparisons", "planted", "came out as", "found", "missed", "backwards", "UNCLEAR"]
    return table(header, lines, left=2)


def _centre(chosen: Sequence[Outcome], log_ratios: Sequence[Sequence[float]]) -> str:
    """``4.9 % [4.2, 5.6]``: the centre of the first blocks of all, which no verdict had a say in.

    The groups of a block share its processes: they count as one, by their mean.
    """
    of_processes: dict[tuple[int, str | None, int], list[float]] = defaultdict(list)
    for one, ratios in zip(chosen, log_ratios, strict=True):
        for block, ratio in enumerate(ratios[:MIN_BLOCKS]):
            of_processes[one.comparison.batch, one.comparison.row, block].append(ratio)
    at = locate(np.array([fmean(own) for own in of_processes.values()]))
    return _per_cent(*(float(np.expm1(one)) for one in (at.estimate, *at.interval(0.05))))


@dataclass(frozen=True, slots=True)
class Calibrations(Kind[Calibration]):
    """Results of ``bench calibrate``."""

    head_file: ClassVar[str] = calibration.HEAD_FILE

    def read(self, folder: Path) -> Calibration:
        """The calibration in a folder."""
        return calibration.read(folder)

    def check(self, thing: Calibration, folder: Path, repository: Repository) -> Calibration:
        """Refuse a calibration that says nothing."""
        refuse = refusal(folder)
        if not thing.batches:
            raise refuse("has no complete batch yet; `python -m bench calibrate --out` goes on")
        check_named(thing.head.environment, repository.root, refuse, again="calibrate")
        return thing

    def head(self, thing: Calibration) -> Head:
        """When it began, and what made it."""
        return thing.head

    def target(self, thing: Calibration, repository: Repository) -> Path:
        """One of synthetic workers takes the place of the one before; one on real rows stands beside the others."""
        if not thing.head.rows:
            return repository.method
        return dated(twins(repository) / thing.head.environment.machine, thing, self)

    def raw(self, thing: Calibration, folder: Path) -> dict[str, bytes]:
        """The head, and the comparisons packed."""
        packed = lzma.compress((folder / calibration.COMPARISONS_FILE).read_bytes())
        return {calibration.PACKED_FILE: packed, calibration.HEAD_FILE: head_text(thing.head)}

    def places(self, repository: Repository) -> list[Path]:
        """Those on real rows."""
        return [repository.method, twins(repository)]

    def folders(self, repository: Repository) -> list[Path]:
        """The one of synthetic workers, which stands among other files, and those on real rows."""
        folders = [repository.method, *twins(repository).glob("[!.]*")]
        return [folder for folder in folders if (folder / calibration.HEAD_FILE).exists()]

    def made(self, thing: Calibration, folder: Path) -> dict[Path, str]:
        """Its table."""
        return {folder / calibration.TABLE_FILE: markdown(*thing)}


def twins(repository: Repository) -> Path:
    """A folder for each calibration on real rows."""
    return repository.method / "twins"


def error_rate_in_words(repository: Repository, machine: str) -> str:
    """How often verdicts were wrong when rows were compared with themselves, if measured: a sentence with a link.

    Those of rows on this machine, or, where it has none, on each that has: unlike machines are not pooled. Where no row
    was compared with itself, how often verdicts on identical workers were wrong.
    """
    of_synthetic: list[Batch] = []
    of_rows: dict[tuple[str, str], list[Batch]] = {}
    for folder in sorted(Calibrations().folders(repository)):
        head, batches = calibration.read(folder)
        own = of_rows.setdefault((head.environment.machine, head.environment.cpu), []) if head.rows else of_synthetic
        own += batches
    here = {own: batches for own, batches in of_rows.items() if own[0] == machine}
    said = [f"{in_words(batches)}, on {cpu}" for (_, cpu), batches in (here or of_rows).items()]
    if of_synthetic and not said:
        said.append(in_words(of_synthetic))
    how = "([how we measure this](docs/method.md#how-often-it-errs))"
    return f"{'; '.join(said)} {how}." if said else "How often verdicts err has not been measured yet."
