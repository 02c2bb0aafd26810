"""Trainings that never were: what became of them, their turns, and a folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from support.recorded import END, RUN, record, write

from bench.analysis.analysis import Analysis
from bench.records.schema import CONTROL, CodeFacts, Result, WorkloadFacts
from bench.records.store import head_text, read_result
from bench.train.checkpoint import About, Ending, Evaluation, History
from bench.train.presets import PRESET, PresetName
from bench.train.request import HEAD_FILE, SCHEMA_VERSION, TRAININGS_FILE, Head
from bench.train.results import lines_of
from bench.train.turns import FOLDER
from bench.workloads.flops import BatchSizes
from bench.workloads.letters import config_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PHONEMES = tuple(f"P{number:02}" for number in range(39))


def history(
    row: str, seed: int, step: int, *, ending: Ending | None = "reached", compile_s: float = 0.0, step_s: float = 0.1
) -> History:
    """A training that ended after so many steps; the first of them compiled for so long."""
    config = config_of(PRESET["default"].model)
    half = Evaluation(step=step // 2, phoneme_error=0.2, word_error=0.5)
    last = Evaluation(step=step, phoneme_error=0.099 if ending == "reached" else 0.12, word_error=0.35)
    about = About(
        row=row,
        seed=seed,
        preset="default",
        target=0.1,
        config=config,
        phonemes=PHONEMES,
        step=step,
        evaluations=(half, last),
        test=last if ending else None,
        ending=ending,
    )
    times = np.full(step, step_s)
    times[0] += compile_s
    losses = np.geomspace(3.0, 0.2, step) * (1 + 1e-6 * len(row))
    return History(about, losses.astype(np.float32), times, np.arange(step) == 0)


def turns(
    paces: Mapping[str, float],
    folder: Path | None = None,
    blocks: int = 6,
    *,
    noise: float = 1e-4,
    control: float = 1.0,
    flags: Sequence[str] = (),
    seed: int = 0,
) -> Analysis:
    """Turns in which a step of each row took so many seconds, but for some noise; the first row is the baseline.

    ``noise``: of a block. ``control``: its ratio to the baseline. ``flags``: what was noticed of the last row.
    """
    rows, batches = [*paces], (BatchSizes(8, 9, 128),) * 8
    facts = WorkloadFacts(shape="E 64", sequences=1024, source="words", batches=batches)
    run = msgspec.structs.replace(
        RUN,
        baseline=rows[0],
        workloads={"letters": facts},
        rows={row: CodeFacts(code="1 2", versions={}) for row in rows},
        plan=msgspec.structs.replace(RUN.plan, pools=[[*rows, CONTROL]], tasks=["learn_step"]),
    )
    rng = np.random.default_rng(seed)
    names = {**paces, CONTROL: control * paces[rows[0]]}
    lines = [
        record(
            row,
            block=block,
            workload="letters",
            task="learn_step",
            samples_s=(8 * pace * rng.lognormal(0, noise) * rng.normal(1, 1e-4, 5)).tolist(),
            flags=[*flags] if row == rows[-1] else [],
        )
        for block in range(1, blocks + 1)
        for row, pace in names.items()
    ]
    place = folder or Path("/dev/null")
    if folder is not None:
        return Analysis(read_result(write(folder, *lines, END, run=run)))
    return Analysis(Result(place, run, lines, ends=[END]))


def write_trainings(
    folder: Path,
    trained: Sequence[History],
    paces: Mapping[str, float] | None = None,
    *,
    preset: PresetName = "default",
    **changed: object,
) -> Path:
    """A folder as `bench publish` leaves it, of these trainings and turns."""
    seeds: dict[str, int] = {}
    for one in trained:
        seeds[one.about.row] = max(seeds.get(one.about.row, 0), one.about.seed + 1)
    head = Head(
        schema_version=SCHEMA_VERSION,
        started_at=RUN.started_at,
        command="python -m bench train",
        environment=RUN.environment,
        preset=preset,
        settings=PRESET[preset],
        trainer="2:0",
        target=0.1,
        seeds=seeds,
        threads=1,
        code={row: CodeFacts(code="1 2", versions={}) for row in seeds},
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEAD_FILE).write_bytes(head_text(msgspec.structs.replace(head, **changed)))
    (folder / TRAININGS_FILE).write_bytes(lines_of(trained))
    if paces:
        turns(paces, folder / FOLDER)
    return folder
