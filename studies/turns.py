"""How much taking turns is worth: ``python -m studies.turns FOLDER``.

Identical workers, and PyTorch beside JAX, share the same timed seconds in several ways: one process after the other, or
both alive and taking turns of 400 to 2 milliseconds. The ways take turns themselves, block by block, so that all
meet the same neighbours. What is compared is the standard deviation, from block to block, of their log ratio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.analysis.stats import median
from bench.calibration import workers
from bench.machine.describe import describe
from bench.measure.lock import only_run
from bench.measure.plan import Budget, Plan, Pool
from bench.records.schema import Environment, Record, Struct
from bench.report.markdown import environment_line, table
from bench.units import percent
from bench.workloads.shapes import Workload, shape_workload
from impls import find_rows
from studies.experiment import carry_out, one_block, save

LARGE, SMALL = (
    shape_workload(
        embedding_dim=64,
        hidden_dim=128,
        num_encoder_layers=2,
        num_decoder_layers=1,
        bidirectional=True,
        sequence_length=8,
        output_seq_length=1,
        batch_size=batch_size,
    )
    for batch_size in (64, 4)
)
"""Calls of about 12 ms and 1.3 ms on one core here: a turn cannot be shorter."""

BLOCKS = 12
TIMED_S = 1.2
RAW_FILE = "turns.json"


@dataclass(frozen=True, slots=True)
class Way:
    """How two workers share the time."""

    words: str
    turn_s: float
    together: bool = True
    workload: Workload = LARGE
    ours: str = "torch/module"
    theirs: str = "torch/module"


WAYS = (
    Way("identical, one process after the other", 0.020, together=False),
    Way("identical, turns of 400 ms", 0.400),
    Way("identical, turns of 100 ms", 0.100),
    Way("identical, turns of 20 ms", 0.020),
    Way("PyTorch and JAX, one process after the other", 0.020, together=False, ours="jax/scan"),
    Way("PyTorch and JAX, turns of 20 ms", 0.020, ours="jax/scan"),
    Way("identical and small, turns of 20 ms", 0.020, workload=SMALL),
    Way("identical and small, turns of 5 ms", 0.005, workload=SMALL),
    Way("identical and small, turns of 2 ms", 0.002, workload=SMALL),
)


class Outcome(Struct, frozen=True, kw_only=True):
    """What one way gave."""

    words: str
    together: bool
    sides: workers.Sides

    @property
    def log_ratios(self) -> list[float]:
        """Log of ours over theirs: of turns that are paired, or of the medians of processes that were not."""
        if self.together:
            return [float(np.median(np.log(ours) - np.log(theirs))) for ours, theirs in self._blocks()]
        return [float(np.log(median(ours) / median(theirs))) for ours, theirs in self._blocks()]

    def _blocks(self) -> Iterator[tuple[list[float], list[float]]]:
        for ours, theirs in zip(self.sides.ours_s, self.sides.theirs_s, strict=True):
            turns = min(len(ours), len(theirs))
            yield ours[:turns], theirs[:turns]


class Experiment(Struct, frozen=True, kw_only=True):
    """All ways, in one run."""

    command: str
    started_at: str
    environment: Environment
    outcomes: list[Outcome]


def plan_of(way: Way, block: int, seed: int) -> Plan:
    """Both workers in one pool, or each at a table of its own, in the block's order."""
    budget = Budget(
        timed_s=TIMED_S,
        warmup_s=0.05,
        min_turns=1,
        min_blocks=BLOCKS,
        max_blocks=BLOCKS,
        total_s=float("inf"),
        limit_s=300,
        turn_s=way.turn_s,
        most_rounds=1,
        measures_memory=False,
    )
    names = ((way.ours, "ours"), (way.theirs, "theirs"))
    entries = [workers.entry(find_rows()[row], name, [way.workload], ["encode"]) for row, name in names]
    members = [tuple(entries)] if way.together else [(entry,) for entry in entries]
    tables = [Pool(number, 1, own) for number, own in enumerate(members)]
    order = np.random.default_rng([seed, block]).permutation(len(tables))
    return Plan(tuple(tables[index] for index in order), (), budget, "theirs", seed)


def measure() -> Experiment:
    """All blocks of all ways, a block of each in turn."""
    seed = int(time.time())
    started_at, environment = datetime.now().astimezone().isoformat(timespec="seconds"), describe()
    records: dict[Way, list[Record]] = {way: [] for way in WAYS}
    with only_run("experiment on taking turns") as mark, TemporaryDirectory(prefix="turns-") as name:
        folder, problems = Path(name), workers.pose(Path(name), (LARGE, SMALL), ["encode"])
        rng = np.random.default_rng(seed)
        for block in range(1, BLOCKS + 1):
            print(f"block {block} of {BLOCKS}", file=sys.stderr)
            for index in rng.permutation(len(WAYS)):
                way = WAYS[index]
                own = one_block(plan_of(way, block, seed), block, problems, folder, mark)
                records[way] += [record for record in own if record.attempt == 0]  # contended or not
    pair = workers.Pair("ours", "theirs")
    outcomes = [
        Outcome(words=way.words, together=way.together, sides=workers.sides_of(pair, own))
        for way, own in records.items()
    ]
    command = "python -m studies.turns"
    return Experiment(command=command, started_at=started_at, environment=environment, outcomes=outcomes)


def report(experiment: Experiment) -> str:
    """The table of the experiment, in Markdown."""
    lines = []
    for outcome in experiment.outcomes:
        turns = f"{np.mean([len(samples) for samples in outcome.sides.ours_s]):.0f}"
        spread, undisturbed = _spread(outcome.log_ratios), _spread(outcome.sides.log_ratios)
        lines.append([outcome.words, turns, *spread])
        if outcome.together and undisturbed != spread:
            lines.append([f"{outcome.words}, undisturbed ones", turns, *undisturbed])
    header = ["how the workers share the time", "turns", "blocks", "standard deviation", "robust", "furthest"]
    return (
        "# What taking turns is worth\n\n"
        f"{environment_line(experiment.environment)}  \n`{experiment.command}`, {experiment.started_at}\n\n"
        f"The log ratio of two workers, block by block, with fresh processes in each, {TIMED_S} s timed of each:"
        f" {LARGE.shape} (small: batch {SMALL.batch_size}), task encode, one thread. Robust: 1.4826 median absolute"
        " deviations. Furthest: the block furthest from the median. Undisturbed ones: without the turns in which either"
        " worker waited for a processor that somebody else had, where that makes a difference."
        " All ways ran block by block in one run, in a random order.\n\n" + table(header, lines)
    )


def _spread(log_ratios: Sequence[float]) -> list[str]:
    """How many blocks, their standard deviation, a robust one, and how far the furthest is from the median."""
    away = np.asarray(log_ratios) - np.median(log_ratios)
    deviations = (float(away.std(ddof=1)), float(1.4826 * np.median(np.abs(away))), float(np.abs(away).max()))
    return [f"{len(log_ratios)}", *map(percent, deviations)]


def table_of(folder: Path) -> str:
    """Measure, or, with a folder that has the measurements, make the table again."""
    return save(folder / RAW_FILE, Experiment, measure, report)


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv, "studies.turns FOLDER", table_of))
