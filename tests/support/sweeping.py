"""Scaling runs that are only pretended: times that follow from known coefficients, with noise of rows, shapes and
blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from support.recorded import END, RUN, record, write

from bench.forecast.features import Coefficients, cost_s, features
from bench.records.schema import CONTROL, CodeFacts, Record, Run, WorkloadFacts
from bench.workloads.reference_outputs import sizes_of
from bench.workloads.sweeps import BASE, SCALING, preset_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.records.schema import Line
    from bench.workloads.shapes import Workload

TASKS = ("forward", "train_step")


def coefficients(
    call_s: float = 4e-5,
    step_s: float = 2e-6,
    state_s: float = 2e-9,
    weight_s: float = 3e-10,
    far_byte_s: float = 5e-11,
    flop_s: tuple[float, ...] = (5e-11, 3e-11, 1e-11, 5e-12),
) -> Coefficients:
    """Coefficients like those of a framework on one core."""
    return Coefficients(
        call_s=call_s,
        step_s=step_s,
        state_s=state_s,
        weight_s=weight_s,
        far_byte_s=far_byte_s,
        flop_s=flop_s,
    )


ROWS = {
    "torch/module": coefficients(),
    "jax/scan": coefficients(call_s=1e-5, step_s=1e-6, flop_s=(2e-11, 2e-11, 2e-11, 1e-11)),
    "thinc/layers": coefficients(step_s=8e-6, flop_s=(4e-11, 4e-11, 1.2e-11, 1e-11)),
}
"""``jax/scan`` has cheap steps and dear products: small shapes are its own, large ones those of ``torch/module``."""

SHAPES = preset_shapes(BASE)


def facts(workload: Workload) -> WorkloadFacts:
    """What a run notes of a workload."""
    return WorkloadFacts(
        shape=workload.shape,
        sequences=workload.sequences,
        source=workload.source,
        config=workload.config,
        batches=sizes_of(workload),
        held_out=workload.held_out,
    )


def scaling_run(shapes: Sequence[Workload] = SHAPES, **fields: object) -> Run:
    """The head of such a run."""
    plan = msgspec.structs.replace(RUN.plan, min_blocks=3, max_blocks=3, pools=[[*ROWS, CONTROL]])
    run = msgspec.structs.replace(
        RUN,
        preset=SCALING,
        plan=plan,
        workloads={workload.name: facts(workload) for workload in shapes},
        rows={name: CodeFacts(code=name, versions={}) for name in ROWS},
    )
    return msgspec.structs.replace(run, **fields)


def lines(
    rows: Mapping[str, Coefficients] = ROWS,
    shapes: Sequence[Workload] = SHAPES,
    *,
    noise: float = 0.01,
    unlike: float = 0.0,
    blocks: int = 3,
    threads: int = 1,
    seed: int = 1,
) -> list[Record]:
    """What three blocks would bring. ``unlike``: how far a row lies from its coefficients, shape by shape, as a
    share."""
    random = np.random.default_rng(seed)
    found = []
    for workload in shapes:
        for task in TASKS:
            of = features(workload.config, sizes_of(workload), task)
            own = {name: cost_s(coefficient, of) * random.lognormal(0, unlike) for name, coefficient in rows.items()}
            own[CONTROL] = own["torch/module"]
            for block in range(1, blocks + 1):
                weather = random.lognormal(0, 0.05)
                for name, time_s in own.items():
                    samples_s = (time_s * weather * random.lognormal(0, noise, 5)).tolist()
                    place = {"workload": workload.name, "task": task, "threads": threads}
                    found.append(record(name, **place, block=block, samples_s=samples_s, calls=3))
    return found


def write_scaling(folder: Path, *, run: Run | None = None, **how: object) -> Path:
    """A result folder of such a run."""
    all_lines: list[Line] = [*lines(**how), END]
    return write(folder, *all_lines, run=run or scaling_run())
