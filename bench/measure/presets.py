"""The presets: what is measured where nothing is named, and how much effort that takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.analysis.verdict import MIN_BLOCKS
from impls.contract import TASKS

if TYPE_CHECKING:
    from impls.contract import Task


TURN_S = 0.002
"""About how long a turn lasts. What disturbs a turn hardly depends on its length, so many short ones say more than few
long ones (``results/method/turns.md`` has the measurement)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much effort a run may take, and when a cell is given up."""

    timed_s: float
    """How long a row is timed on a cell in a block, on average over the rows."""
    warmup_s: float
    min_turns: int
    """A row whose calls are long takes at least this many turns."""
    min_blocks: int
    max_blocks: int | None
    total_s: float
    """No block is begun that would end later than this, but for those that are sure."""
    limit_s: float
    """How long a worker may take over a cell, beside twice what its turns should take, before it is given up."""
    turn_s: float = TURN_S
    calls: int | None = None
    """How many calls a turn has; as many as fill it where this is not given."""
    most_rounds: int = 2
    """Rounds go on until every row has had its number of undisturbed turns, for at most so many times that number."""
    measures_memory: bool = True
    """Whether peak memory is measured."""
    sure_blocks: int = 1
    """So many blocks are measured whatever time they take."""
    adapts: bool = False
    """Whether the number of turns follows, after the first block, from what that has shown."""


BUDGETS = {
    "smoke": Budget(
        timed_s=0.1,
        warmup_s=0.02,
        min_turns=2,
        min_blocks=1,
        max_blocks=1,
        total_s=90,
        limit_s=120,
        measures_memory=False,
    ),
    "default": Budget(
        timed_s=0.3,
        warmup_s=0.05,
        min_turns=3,
        min_blocks=MIN_BLOCKS,
        max_blocks=None,
        total_s=1200,
        limit_s=300,
        sure_blocks=MIN_BLOCKS,
        adapts=True,
    ),
    "full": Budget(
        timed_s=1.0,
        warmup_s=0.5,
        min_turns=5,
        min_blocks=10,
        max_blocks=None,
        total_s=4 * 3600,
        limit_s=1800,
        sure_blocks=MIN_BLOCKS,
        adapts=True,
    ),
    "scaling": Budget(
        timed_s=0.1,
        warmup_s=0.02,
        min_turns=3,
        min_blocks=3,
        max_blocks=3,
        total_s=3600,
        limit_s=300,
        measures_memory=False,
    ),
}


BUDGETS["threads"] = BUDGETS["default"]

Preset = Literal["smoke", "default", "full", "scaling", "threads"]

PRESETS: dict[str, tuple[Task, ...]] = {
    "smoke": ("forward", "train_step"),  # what compiles longest is left out: it takes two minutes on two cores
    "default": ("forward", "train_step"),  # inference and training: what decides, in twenty minutes
    "full": TASKS,
    "scaling": ("forward", "train_step"),  # not the workloads below, but shapes: see `bench.workloads.sweeps`
    "threads": ("forward", "train_step"),  # one such shape
}
"""Name to the tasks that it measures where none is named."""


BASELINE = "torch/module"
