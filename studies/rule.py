"""What the rule of verdicts does: ``python -m studies.rule FOLDER [RESULT …]``.

How often it errs in whole tables of each kind that `verdict.LEVEL` was chosen for, in some that it was not chosen for,
and in tables of noise that real rows had; what it finds after how many blocks; and what it would have said in runs that
it was not chosen on, beside what their later blocks say.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.analysis.analysis import Analysis
from bench.analysis.stats import PRACTICAL, Interval
from bench.analysis.verdict import FEW_BLOCKS, LEVEL, MIN_BLOCKS, MOST_FREEDOM, verdicts
from bench.calibration.simulate import Floats, Rates, error_rate, one_table, recorded, stopped
from bench.records.schema import Result, Struct
from bench.records.store import read_result
from bench.report.markdown import table
from bench.units import percent
from studies.experiment import carry_out, save
from studies.kinds import EFFECTS, KINDS, OUTLYING, ROWS, drifting, made, normal

RAW_FILE = "rule.json"
COMPARISONS = 100_000
"""For each kind of table."""

LOOKS = 40
"""At most so many blocks, for how often the rule errs."""

FEW = 12
"""At most so many, for what it finds."""

CHOSEN_ON = ("amd-epyc-family-25-model-1-2-cores-2026-11-26-3", "amd-epyc-family-26-model-2-2-cores-2026-11-27")
"""The published runs of real rows whose noise the rule was chosen on; it is replayed on others."""

COMMON = 6
"""The former rule gave each comparison so many blocks at least, so that whole blocks can be drawn from them."""

BEYOND = {
    "drifting, 3 %, a fifth of the variance": made(drifting(0.2), [0.03] * 8, alike=np.inf),
    "drifting, 3 %, half of the variance": made(drifting(0.5), [0.03] * 8, alike=np.inf),
}
"""Tables that `LEVEL` was not chosen for: what the rule's promise rests on."""

POWER = {
    **{f"Gaussian, {100 * sd:g} %": made(normal, [sd] * 8) for sd in (0.007, 0.02, 0.04, 0.07)},
    "2 %, one process in twelve slower by 10 to 50 %": made(normal, [0.02] * 8, outlying=OUTLYING),
}
FOUND = (0.05, 0.1, 0.3, 1.0)
"""Effects."""


class Power(Struct, frozen=True, kw_only=True):
    """What is found in one kind of table whose rows all have one effect."""

    tables: str
    effect: float
    rates: Rates


class Replayed(Struct, frozen=True, kw_only=True):
    """The log ratios of a run, block by block, group by group."""

    run: str
    machine: str
    rows: dict[str, list[list[float]]]
    """Of rows to the baseline."""
    others: dict[str, list[list[float]]]
    """Of the control and the bounds: they get no verdict, and tell of the noise."""


class Simulation(Struct, frozen=True, kw_only=True):
    """All that was simulated and replayed, with the level that it is about."""

    level: float
    errors: dict[str, Rates]
    beyond: dict[str, Rates]
    recorded: dict[str, Rates]
    power: list[Power]
    replayed: list[Replayed]


def measure(results: Sequence[Result]) -> Simulation:
    """Some minutes of simulated tables; the results of `CHOSEN_ON` lend their noise, and all are replayed."""
    replayed = [replayed_of(result) for result in results]
    noise = {f"blocks of `{run.run}`": recorded(_common(run)) for run in replayed if run.run in CHOSEN_ON}
    errors, beyond, of_rows = (
        {
            name: error_rate(kind, effects=EFFECTS, comparisons=COMPARISONS, most_blocks=LOOKS)
            for name, kind in kinds.items()
        }
        for kinds in (KINDS, BEYOND, noise)
    )
    power = [
        Power(
            tables=name,
            effect=effect,
            rates=error_rate(kind, comparisons=COMPARISONS // 10, most_blocks=FEW, effects=[effect]),
        )
        for name, kind in POWER.items()
        for effect in FOUND
    ]
    return Simulation(level=LEVEL, errors=errors, beyond=beyond, recorded=of_rows, power=power, replayed=replayed)


def replayed_of(result: Result) -> Replayed:
    """What a result has to replay."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    others: dict[str, list[list[float]]] = defaultdict(list)
    for cell, one in Analysis(result).cells.items():
        if one.log_ratios and cell.implementation != one.baseline:
            place = rows if cell.role == "row" else others
            group = cell.group
            name = f"{group.workload} {group.task} {group.threads} {group.precision}"
            place[name].append([one.log_ratios[block] for block in sorted(one.log_ratios)])
    name = result.path.resolve().name
    return Replayed(run=name, machine=result.run.environment.machine, rows=rows, others=others)


def _common(run: Replayed) -> list[Floats]:
    groups = []
    for name in run.rows:
        members = [one[:COMMON] for one in (*run.rows[name], *run.others.get(name, ())) if len(one) >= COMMON]
        if members:
            groups.append(np.array(members))
    return groups


class Outcome(Struct, frozen=True, kw_only=True):
    """What the rule says in a run."""

    ratios: int
    decided: dict[int, int]
    """How many after so many blocks."""
    with_later: int
    """Of those decided, how many have a block after that."""
    analysed_again: int
    """How many have a verdict of their own there that is not UNCLEAR."""
    contradicted: int
    """How many have the opposite verdict there, or SAME beside FASTER or SLOWER."""
    turned: int
    """Of those called FASTER or SLOWER, for how many the middle of the later blocks lies on the other side of 1."""


def replay(run: Replayed) -> Outcome:
    """The verdicts that the rule would have given, block by block, and what the blocks after each say."""
    names = sorted({*run.rows, *run.others})
    ratios = one_table([[*run.rows.get(name, []), *run.others.get(name, [])] for name in names])
    compared = np.zeros(ratios.shape[:-1], dtype=bool)
    for place, name in enumerate(names):
        compared[0, place, : len(run.rows.get(name, []))] = True
    said, blocks = stopped(ratios)
    decided = compared & (said != "UNCLEAR")
    later = [
        (str(word), one[look:][np.isfinite(one[look:])])
        for word, look, one in zip(said[decided], blocks[decided], ratios[decided], strict=True)
    ]
    again = [(word, str(verdicts(rest))) for word, rest in later if len(rest) >= MIN_BLOCKS]
    reached = [(word, own) for word, own in again if own != "UNCLEAR"]
    return Outcome(
        ratios=int(compared.sum()),
        decided={look: int((decided & (blocks <= look)).sum()) for look in range(MIN_BLOCKS, ratios.shape[-1] + 1)},
        with_later=sum(len(rest) > 0 for _, rest in later),
        analysed_again=len(reached),
        contradicted=sum(word != own for word, own in reached),
        turned=sum(
            len(rest) > 0 and word != "SAME" and (float(np.median(rest)) < 0) != (word == "FASTER")
            for word, rest in later
        ),
    )


def worst(simulation: Simulation) -> Interval:
    """The bounds of the error where it is most frequent, of the tables that the level was chosen for."""
    rates = simulation.errors.values()
    return max((one for each in rates for one in (each.false_bounds, each.wrong_bounds)), key=lambda one: one.high)


def bounded(share: float, bounds: Interval) -> str:
    """``0.64 % [0.57, 0.73]``: a share with 95 % bounds."""
    return f"{100 * share:.2f} % [{100 * bounds.low:.2f}, {100 * bounds.high:.2f}]"


def report(simulation: Simulation) -> str:
    """The tables, in Markdown."""
    bounds = worst(simulation)
    errors = [
        [
            *(name, bounded(rates.false, rates.false_bounds), bounded(rates.wrong, rates.wrong_bounds)),
            *(percent(rates.same), f"{rates.mean_blocks:.1f}"),
        ]
        for name, rates in (*simulation.errors.items(), *simulation.beyond.items(), *simulation.recorded.items())
    ]
    looks = (3, 4, 5, 6, 8, 10, 12)
    power = [
        [one.tables, f"{100 * one.effect:.0f} %", *(percent(one.rates.found[look]) for look in looks)]
        for one in simulation.power
    ]
    return (
        f"# What the rule does, simulated and replayed\n\n`python -m studies.rule`, level {simulation.level:g},"
        f" practical threshold {100 * PRACTICAL:.0f} %, at most {MOST_FREEDOM} degrees of freedom from other"
        " comparisons. The kinds of tables are those of `studies/kinds.py`: eight groups of"
        f" {ROWS} comparisons that share a baseline, unless they say otherwise.\n\n"
        "## How often it errs\n\n"
        f"The rule looks after each block from {MIN_BLOCKS} to {LOOKS}, and who has a verdict leaves:"
        f" {COMPARISONS:,} comparisons of each kind, with 95 % bounds from resampling whole tables. False: FASTER or"
        " SLOWER of identical rows. Wrong: of rows that differ by 2.05 % and more, SAME or the opposite. The worst"
        f" bound of those that the level was chosen for is {100 * bounds.high:.2f} %; the"
        f" {len(simulation.beyond)} with more drift are none of them. The last {len(simulation.recorded)} draw whole"
        " blocks of published runs of real rows, scaled to each group's noise.\n\n"
        + table(["tables", "false", "wrong", "identical rows SAME", "blocks"], errors)
        + f"\n## What it finds\n\nAfter so many blocks; {COMPARISONS // 10:,} comparisons each, all with that"
        f" effect. Of up to {FEW_BLOCKS} blocks, two may be outliers and make no verdict.\n\n"
        + table(["noise of a block", "effect", *map(str, looks)], power, left=2)
        + "\n## Replayed on published runs\n\n"
        "What the rule would have said in runs that it was not chosen on. Contradicted: the blocks after the verdict,"
        f" {MIN_BLOCKS} or more and by themselves, have the opposite verdict, or SAME beside FASTER or SLOWER. Turned:"
        " the middle of the later blocks, of however few, lies on the other side of 1. All log ratios stand in"
        f" `{RAW_FILE}`, those of runs that are not published here too.\n\n" + _replays(simulation)
    )


def _replays(simulation: Simulation) -> str:
    header = ["run", "ratios", "decided after 3", "4", "5", "6", "all blocks"]
    lines, pooled = [], [0] * 5
    for run in simulation.replayed:
        if run.run in CHOSEN_ON:
            continue
        outcome = replay(run)
        last = max(outcome.decided)
        decided = [f"{outcome.decided.get(look, outcome.decided[last])}" for look in (3, 4, 5, 6)]
        most = outcome.decided[last]
        counts = [most, outcome.with_later, outcome.analysed_again, outcome.contradicted, outcome.turned]
        pooled = [sum(pair) for pair in zip(pooled, counts, strict=True)]
        later = f"{most - outcome.with_later}", *map(str, counts[2:])
        lines.append([f"`{run.run}`", f"{outcome.ratios}", *decided, f"{most} ({last})", *later])
    return (
        table([*header, "without a later block", "a verdict again", "contradicted", "turned"], lines)
        + f"\nOf {pooled[0]} verdicts, {pooled[1]} have a later block and {pooled[0] - pooled[1]} have none;"
        f" the later blocks of {pooled[2]}, by themselves, have a verdict too, by which {pooled[3]} are contradicted;"
        f" {pooled[4]} turned.\n"
    )


def table_of(folder: Path, *results: Path) -> str:
    """Simulate, or, with a folder that has the rates, make the table again."""
    return save(folder / RAW_FILE, Simulation, lambda: measure([*map(read_result, results)]), report)


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv, "studies.rule FOLDER [RESULT …]", table_of))
