"""Calibrations that never were: their head, comparisons and tables."""

from __future__ import annotations

import numpy as np

from bench.calibration import calibration
from bench.calibration.calibration import Batch, Comparison, Head
from bench.calibration.workers import Processor, Sides
from bench.machine.describe import describe


def comparison(percent: int, ratio: float, *, blocks: int = 6, **fields: object) -> Comparison:
    """Ours is slower than theirs by ``ratio`` in every block."""
    values = {"batch": 0, "surroundings": "quiet"} | fields
    ours, theirs = [[ratio] * 3] * blocks, [[1.0] * 3] * blocks
    return Comparison(percent=percent, sides=Sides(ours_s=ours, theirs_s=theirs, preempted=[[]] * blocks), **values)


HEAD = Head(
    schema_version=calibration.SCHEMA_VERSION,
    started_at="2026-01-31T12:00:00+00:00",
    command="python -m bench calibrate --pairs 2",
    seed=1,
    environment=describe(),
)


def batch(number: int, *, false: bool = False, planted: float = 0.05) -> Batch:
    """A table of two groups: a pair of twins and a slow-down in each."""
    rng = np.random.default_rng(number)
    comparisons = []
    for task in ("forward", "train_step"):
        for percent, ratio in ((0, 1.3 if false and task == "forward" else 1.0), (0, 1.0), (5, 1 + planted)):
            ours = [[ratio * float(np.exp(rng.normal(0, 0.002)))] * 3 for _ in range(6)]
            theirs = [[1.0] * 3] * 6
            comparisons.append(
                Comparison(
                    batch=number,
                    surroundings="quiet",
                    percent=percent,
                    sides=Sides(ours_s=ours, theirs_s=theirs, preempted=[[]] * 6),
                    row="torch/module",
                    workload="seed",
                    task=task,
                    processor=Processor(ours_s=[ratio] * 6, theirs_s=[1.0] * 6),
                )
            )
    return Batch(comparisons=comparisons, elapsed_s=600.0, ends_s=[100.0 * block for block in range(1, 7)])
