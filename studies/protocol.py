"""What the harness costs: ``python -m studies.protocol RESULT FOLDER``.

The wall time of a run to its table, beside that of pyperf's default protocol on the same cells: 20 processes of one
warm-up value and three values of at least 100 ms each, one process after the other. Two processes of each cell are
really run, and their time is multiplied: the protocol does the same thing 20 times.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.analysis.analysis import Analysis
from bench.calibration import workers
from bench.machine.describe import describe
from bench.measure.lock import only_run
from bench.measure.plan import BUDGETS, Entry, Plan, PlannedGroup, Pool
from bench.records.schema import Cell, Environment, Result, Struct
from bench.records.store import read_result
from bench.report.markdown import environment_line, table
from bench.units import duration, percent
from bench.workloads.shapes import named
from impls import find_rows
from studies.experiment import carry_out, one_block, save

PROCESSES = 20
"""pyperf's default: ``--processes=20 --values=3 --warmups=1``, a value of at least 100 ms."""

VALUES = 4
"""The warm-up value and the three that count."""

VALUE_S = 0.1
RUN_PROCESSES = 2
RAW_FILE = "protocol.json"


class Timed(Struct, frozen=True, kw_only=True):
    """One process of the protocol on one cell."""

    cell: str
    elapsed_s: float


class Experiment(Struct, frozen=True, kw_only=True):
    """All processes that were run."""

    result: str
    """The result whose cells they are."""
    started_at: str
    environment: Environment
    processes: list[Timed]


def cells_of(result: Result) -> list[Cell]:
    """The cells of a result that have a time; the control's and the bounds' aside."""
    failed = {record.cell for record in result.records if not record.ok}
    cells = dict.fromkeys(record.cell for record in result.records if record.ok)
    return [cell for cell in cells if cell not in failed and cell.role == "row"]


def measure(result: Result) -> Experiment:
    """A few processes of each cell, one after the other, each compiling for itself."""
    budget = replace(
        BUDGETS["default"],
        timed_s=VALUES * VALUE_S,
        warmup_s=0.0,
        min_turns=VALUES,
        min_blocks=1,
        max_blocks=1,
        total_s=float("inf"),
        turn_s=VALUE_S,
        most_rounds=1,
        measures_memory=False,
    )
    rows, processes = find_rows(), []
    started_at, environment = datetime.now().astimezone().isoformat(timespec="seconds"), describe()
    with only_run("experiment on the cost of the harness") as mark, TemporaryDirectory(prefix="protocol-") as name:
        workloads = [named(one, result.run.preset) for one in result.run.workloads]
        problems, cells = workers.pose(Path(name), workloads, result.run.plan.tasks), cells_of(result)
        for number, cell in enumerate(cells, 1):
            words = f"{cell} {cell.threads}"
            print(f"cell {number} of {len(cells)}: {words}", file=sys.stderr)
            entry = Entry(cell.implementation, rows[cell.implementation], cell.threads, cell.precision, (cell,))
            plan = Plan((Pool(0, cell.threads, (entry,)),), (), budget, entry.name, 0)
            for _ in range(RUN_PROCESSES):
                times: dict[str, float] = {}

                def note(_planned_group: PlannedGroup | None, what: str, times: dict[str, float] = times) -> None:
                    times.setdefault(what, time.monotonic())

                with TemporaryDirectory(prefix="process-", dir=name) as folder:  # its own cache: it is empty
                    # block 1 would validate first
                    one_block(plan, 2, problems, Path(folder), mark, note)
                # what we do after its last value, pyperf does not
                processes.append(Timed(cell=words, elapsed_s=times["check"] - times["prepare"]))
    return Experiment(result=result.path.name, started_at=started_at, environment=environment, processes=processes)


def shares(result: Result) -> tuple[float, float]:
    """The wall time of the result's run, and the part of it in which something was timed, in seconds."""
    timed = sum(sum(record.samples_s) * (record.calls or 1) for record in result.records)
    return result.elapsed_s, timed


def report(experiment: Experiment, result: Result) -> str:
    """What the run took, what the protocol would take, and the ratio, in Markdown."""
    elapsed_s, timed_s = shares(result)
    protocol_s = sum(one.elapsed_s for one in experiment.processes) * PROCESSES / RUN_PROCESSES
    blocks = max(record.block for record in result.records)
    compared = [one.is_decided for one in Analysis(result).cells.values() if one.is_compared]
    run = f"`bench run`, {blocks} blocks, `{result.path.name}`: {sum(compared)} of {len(compared)} ratios decided"
    pyperf = f"pyperf's default protocol, {PROCESSES} processes a cell"
    lines = [
        [run, duration(elapsed_s), "1.00"],
        [pyperf, duration(protocol_s), f"{protocol_s / elapsed_s:.2f}"],
    ]
    return (
        "# What the harness costs\n\n"
        f"{environment_line(experiment.environment)}  \n{experiment.started_at}\n\n"
        f"{len(cells_of(result))} cells. Of the protocol, {RUN_PROCESSES} processes of each cell were run, and their"
        f" time multiplied by {PROCESSES // RUN_PROCESSES}; every process compiles for itself, as under pyperf.\n\n"
        + table(["until the table is there", "wall time", "ratio"], lines)
        + f"\nOf the run, {duration(timed_s)} were inside timed regions, {percent(timed_s / elapsed_s)}; the rest is"
        " starting processes, compiling, validating and warming up.\n"
    )


def table_of(of: Path, folder: Path) -> str:
    """Measure, or, with a folder that has the measurements, make the table again."""
    result = read_result(of)
    return save(folder / RAW_FILE, Experiment, lambda: measure(result), lambda found: report(found, result))


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv, "studies.protocol RESULT FOLDER", table_of))
