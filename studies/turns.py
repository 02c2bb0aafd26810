"""How much taking turns is worth: ``python -m studies.turns FOLDER``.

Identical workers, and PyTorch beside JAX, share the same timed seconds in several ways: one process after the other, or
both alive and taking turns of 400 to 2 milliseconds. The ways take turns themselves, block by block, so that all
meet the same neighbours. What is compared is the standard deviation, from block to block, of the log ratio of the arms.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.stats import median
from bench.calibration import synthetic
from bench.machine.describe import describe
from bench.measure.journal import Listener
from bench.measure.lock import only_run
from bench.measure.messages import ProblemFile
from bench.measure.plan import Plan, Seat, Sitting, Table
from bench.measure.presets import Budget
from bench.measure.runner import run_plan
from bench.records.schema import Cell, Environment, Record, Struct
from bench.report.markdown import environment_line, table
from bench.units import percent
from bench.workloads import reference_outputs
from bench.workloads.shapes import Workload, shape_workload
from impls import find_rows
from studies.keep import carry_out, keep, paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records.schema import Line

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
TABLE_FILE = "turns.md"


@dataclass(frozen=True, slots=True)
class Way:
    """How two arms share the time."""

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
    sides: synthetic.Sides

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


def plan_of(way: Way, seed: int) -> Plan:
    """Both arms at one table, or each at a table of its own."""
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
    seats = tuple(_seat(way.workload, row, arm) for row, arm in ((way.ours, "ours"), (way.theirs, "theirs")))
    shared = (seats,) if way.together else ((seats[0],), (seats[1],))
    tables = tuple(Table(number, 1, members) for number, members in enumerate(shared))
    return Plan(tables, (), budget, "theirs", seed)


def _seat(workload: Workload, name: str, arm: str) -> Seat:
    row = find_rows()[name]
    cell = Cell(
        implementation=arm,
        framework=row.framework,
        tier=row.tier,
        workload=workload.name,
        task="encode",
        device="cpu",
        threads=1,
    )
    return Seat(arm, row, 1, "float32", (cell,))


def run_block(
    way: Way, block: int, seed: int, folder: Path, problems: dict[str, ProblemFile], mark: str
) -> list[Record]:
    """One block of one way, with fresh processes: first attempts, contended or not."""
    plan = plan_of(way, seed)
    order = np.random.default_rng([seed, block]).permutation(len(plan.tables))
    sittings = tuple(
        Sitting(plan.tables[index], (seats[0].cells[0]).group, tuple((seat, seat.cells[0]) for seat in seats))
        for index in order
        for seats in [plan.tables[index].seats]
    )
    lines: list[Line] = []
    run_plan(
        plan,
        problems,
        folder,
        Listener(kept=lines.extend),
        mark=mark,
        next_block=lambda _plan, _records: None if lines else (block, sittings),
    )
    records = [line for line in lines if isinstance(line, Record)]
    if wrong := [record for record in records if not record.ok]:
        raise RuntimeError(f"{wrong[0].cell.implementation} of {way.words}: {wrong[0].reason}")
    return [record for record in records if record.attempt == 0]


def measure() -> Experiment:
    """All blocks of all ways, a block of each in turn."""
    seed = int(time.time())
    started_at, environment = datetime.now().astimezone().isoformat(timespec="seconds"), describe()
    records: dict[Way, list[Record]] = {way: [] for way in WAYS}
    with only_run("experiment on taking turns") as mark, TemporaryDirectory(prefix="turns-") as name:
        folder = Path(name)
        problems = {}
        for workload in (LARGE, SMALL):
            path = folder / f"{workload.name}.safetensors"
            reference_outputs.save(reference_outputs.pose(workload, ("encode",)), path)
            problems[workload.name] = ProblemFile(workload.config, str(path))
        rng = np.random.default_rng(seed)
        for block in range(1, BLOCKS + 1):
            print(f"block {block} of {BLOCKS}", file=sys.stderr)
            for index in rng.permutation(len(WAYS)):
                records[WAYS[index]] += run_block(WAYS[index], block, seed, folder, problems, mark)
    return Experiment(
        command="python -m studies.turns",
        started_at=started_at,
        environment=environment,
        outcomes=[
            Outcome(
                words=way.words, together=way.together, sides=synthetic.sides_of(synthetic.Pair("ours", "theirs"), own)
            )
            for way, own in records.items()
        ],
    )


def report(experiment: Experiment) -> str:
    """The table of the experiment, in Markdown."""
    lines = []
    for outcome in experiment.outcomes:
        turns = f"{np.mean([len(samples) for samples in outcome.sides.ours_s]):.0f}"
        spread, undisturbed = _spread(outcome.log_ratios), _spread(outcome.sides.log_ratios)
        lines.append([outcome.words, turns, *spread])
        if outcome.together and undisturbed != spread:
            lines.append([f"{outcome.words}, undisturbed ones", turns, *undisturbed])
    header = ["how the arms share the time", "turns", "blocks", "standard deviation", "robust", "furthest"]
    return (
        "# What taking turns is worth\n\n"
        f"{environment_line(experiment.environment)}  \n`{experiment.command}`, {experiment.started_at}\n\n"
        f"The log ratio of two arms, block by block, with fresh processes in each, {TIMED_S} s timed of each arm:"
        f" {LARGE.shape} (small: batch {SMALL.batch_size}), task encode, one thread. Robust: 1.4826 median absolute"
        " deviations. Furthest: the block furthest from the median. Undisturbed ones: without the turns in which either"
        " arm waited for a processor that somebody else had, where that makes a difference."
        " All ways ran block by block in one run, in a random order.\n\n" + table(header, lines)
    )


def _spread(log_ratios: Sequence[float]) -> list[str]:
    """How many blocks, their standard deviation, a robust one, and how far the furthest is from the median."""
    away = np.asarray(log_ratios) - np.median(log_ratios)
    deviations = (float(away.std(ddof=1)), float(1.4826 * np.median(np.abs(away))), float(np.abs(away).max()))
    return [f"{len(log_ratios)}", *map(percent, deviations)]


def main(arguments: Sequence[str]) -> int:
    """Measure, or, with a folder that has the measurements, make the table anew."""
    (folder,) = paths(arguments, "studies.turns FOLDER")
    return carry_out(lambda: keep(folder / RAW_FILE, Experiment, measure, report))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
