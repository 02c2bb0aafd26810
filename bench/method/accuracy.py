"""What this machine makes of identical workers: a short round table, and a fixed product that shows its drift."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from bench.lock import only_run
from bench.method import arms
from bench.plan import next_block
from bench.records import Block, Record
from bench.runner import Listener, run_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Line

PAIRS = 4
BLOCKS = 4
BUDGET = replace(arms.BUDGET, min_blocks=BLOCKS, max_blocks=BLOCKS)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well two identical workers agree here: what a short round table of them measured."""

    turns_sd: float
    """Standard deviation, over blocks, of the log ratio of two identical workers that took turns."""
    blocks: int
    contended: int
    """In how many of the blocks the processors were taken away."""
    product_spread: float
    """Relative spread of the times of a fixed NumPy product over the whole measurement."""
    seconds: float
    """How long it took."""


def measure_accuracy() -> Accuracy:
    """About half a minute of identical workers taking turns.

    Raises:
        InvalidInput: another run has this machine.
    """
    began = time.monotonic()
    pairs = [arms.Pair(f"pair{index}-a", f"pair{index}-b") for index in range(PAIRS)]
    lines: list[Line] = []
    with only_run("bench machine") as mark, TemporaryDirectory(prefix="accuracy-") as name:
        folder = Path(name)
        rows = [arms.write_arm(folder, name) for pair in pairs for name in (pair.ours, pair.theirs)]
        listener = Listener(kept=lines.extend)
        plan = arms.plan_of(rows, seed=int(began), budget=BUDGET)
        run_plan(plan, arms.pose(folder), folder, listener, mark=mark, next_block=next_block)
    return accuracy_of(pairs, lines, time.monotonic() - began)


def accuracy_of(pairs: Sequence[arms.Pair], lines: Sequence[Line], seconds: float) -> Accuracy:
    """What the lines of such a round table say."""
    records = [line for line in lines if isinstance(line, Record)]
    ratios = [ratio for pair in pairs for ratio in arms.sides_of(pair, records).log_ratios]
    products = [product for line in lines if isinstance(line, Block) for product in line.product_s]
    return Accuracy(
        turns_sd=float(np.sqrt(np.mean(np.square(ratios)))),
        blocks=BLOCKS,
        contended=len({record.block for record in records if "contended" in record.flags}),
        product_spread=float(np.std(products) / np.median(products)),
        seconds=seconds,
    )
