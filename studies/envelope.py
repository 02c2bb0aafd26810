"""How far may the losses of a right row stray from the oracle's, and do twins that nobody fitted stay within it?

``python -m studies.envelope PRESET FILE`` trains the oracle and 40 twins for 200 steps, one on each processor, fits the
envelope to the first 20, and writes it with how near the others come to its limits. ``smoke`` (H 32) takes minutes,
``default`` (H 128, 16 words in a batch) much longer.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track
from threadpoolctl import threadpool_limits

from bench.machine.code import code_of_row
from bench.records.atomic import write_atomic
from bench.records.store import head_text
from bench.train.envelope import SEED, Stored, curve_of, fit, oracle_losses
from bench.train.presets import PRESETS, PresetName
from bench.workloads.task import read_task
from impls import training_reference

if TYPE_CHECKING:
    from bench.train.envelope import Losses

TWINS = 20
"""So many fit it, and as many others are held against it."""


def losses(preset: PresetName, twin: int | None) -> Losses:
    """Those of the oracle, or of a twin."""
    chosen = curve_of(preset)
    return oracle_losses(chosen, read_task(chosen.lengths), SEED, twin)


def one_thread() -> None:
    """Let this process multiply with one thread: there is one process for each processor."""
    threadpool_limits(1)


def stored(preset: PresetName) -> Stored:
    """The envelope of the preset, made anew."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=one_thread) as pool:
        found = pool.map(partial(losses, preset), [None, *range(2 * TWINS)])
        oracle, *twins = track(found, "the oracle and its twins", total=1 + 2 * TWINS)
    fitted = fit(oracle, twins[:TWINS])
    return Stored(
        settings=curve_of(preset),
        seed=SEED,
        twins=TWINS,
        held_out=tuple(fitted.reach(twin) for twin in twins[TWINS:]),
        losses=tuple(map(float, fitted.losses)),
        limits=tuple(map(float, fitted.limits)),
        code=code_of_row(Path(training_reference.__file__)),
        command=f"python -m studies.envelope {preset} FILE",
    )


def main() -> None:
    """Make the envelope that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    if not os.access(given.file.parent, os.W_OK):
        parser.error(f"{given.file}: its folder cannot be written")
    write_atomic(given.file, head_text(stored(given.preset)))


if __name__ == "__main__":
    main()
