"""Runs of which the second is like the first, but for what a test changes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from support.recorded import END, RUN, record, write

from bench.analysis.compare import Compared, Comparison
from bench.records.schema import Block, CodeFacts, Record, Result, Run
from bench.records.store import read_result
from bench.report import comparison as report

MACHINE = 0.05
"""Standard deviation of what hits all rows of a block alike."""


OWN = 0.002
"""Standard deviation of what hits a row alone."""


def records(times: dict[str, float], *, seed: int, blocks: int = 8, **fields: object) -> list[Record]:
    """Rows that take turns, each as fast as said, but for the noise of the machine and a little of their own."""
    rng = np.random.default_rng(seed)
    lines = []
    for block in range(1, blocks + 1):
        shared = rng.normal(0, MACHINE) + rng.normal(0, OWN, 15)
        for name, time in times.items():
            samples = time * np.exp(shared + rng.normal(0, OWN) + rng.normal(0, OWN, 15))
            started_at = f"2026-01-31T12:00:{seed % 60:02}+00:00"
            lines.append(record(name, block=block, samples_s=samples.tolist(), started_at=started_at, **fields))
    return lines


TIMES = {"torch/module": 0.010, "jax/scan": 0.020, "thinc/layers": 0.040}


MANY = TIMES | {f"thinc/{number}": 0.010 + 0.001 * number for number in range(6)}
"""Rows of which some that did not change show how much ratios move from run to run."""


ROWS = {name: CodeFacts(code=name, versions={"numpy": "2.4.6"}) for name in MANY}


BASE = replace(RUN, rows=ROWS)


def changed(*names: str, run: Run = BASE) -> Run:
    """The run, with other code in these rows."""
    return replace(run, rows=run.rows | {name: CodeFacts(code="other", versions={}) for name in names})


def here(run: Run = BASE, **fields: Any) -> Run:
    """The run, in another environment."""
    return replace(run, environment=replace(run.environment, **fields))


def result(folder: Path, *lines: Record | Block, run: Run = BASE) -> Result:
    return read_result(write(folder, *lines, END, run=run))


def cells(comparison: Comparison) -> dict[str, Compared]:
    return {one.cell.implementation: one for one in comparison.cells}


def words(comparison: Comparison, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(*report.render(comparison), sep="\n")
    return stream.getvalue()


def slower(times: dict[str, float] = TIMES, /, **factors: float) -> dict[str, float]:
    """The times, some of them changed; all those of the framework."""
    return {name: time * factors.get(name.partition("/")[0], 1.0) for name, time in times.items()}
