"""What this machine makes of identical workers: a few interleaved blocks, and a fixed product that shows its drift."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.calibration import synthetic
from bench.measure.lock import only_run
from bench.measure.runner import Listener, run_plan
from bench.measure.stopping import next_block
from bench.records.schema import Block, Line, Record
from bench.report.machine_text import Accuracy

PAIRS = BLOCKS = 4
BUDGET = replace(synthetic.BUDGET, min_blocks=BLOCKS, max_blocks=BLOCKS)


def measure_accuracy() -> Accuracy:
    """About half a minute of identical workers taking turns.

    Raises:
        InvalidInput: another run has this machine.
    """
    began = time.monotonic()
    pairs = [synthetic.Pair(f"pair{index}-a", f"pair{index}-b") for index in range(PAIRS)]
    lines: list[Line] = []
    with only_run("bench machine") as mark, TemporaryDirectory(prefix="accuracy-") as name:
        folder, listener = Path(name), Listener(kept=lines.extend)
        rows = [synthetic.write_worker(folder, name) for pair in pairs for name in (pair.ours, pair.theirs)]
        plan = synthetic.plan_of(rows, seed=int(began), budget=BUDGET)
        run_plan(plan, synthetic.pose(folder), folder, listener, mark=mark, next_block=next_block)
    return accuracy_of(pairs, lines, time.monotonic() - began)


def accuracy_of(pairs: Sequence[synthetic.Pair], lines: Sequence[Line], seconds: float) -> Accuracy:
    """What the lines of such blocks say."""
    records = [line for line in lines if isinstance(line, Record)]
    ratios = [ratio for pair in pairs for ratio in synthetic.sides_of(pair, records).log_ratios]
    products = [product for line in lines if isinstance(line, Block) for product in line.product_s]
    return Accuracy(
        turns_sd=float(np.sqrt(np.mean(np.square(ratios)))),
        blocks=BLOCKS,
        contended=len({record.block for record in records if "contended" in record.flags}),
        product_spread=float(np.std(products) / np.median(products)),
        seconds=seconds,
    )
