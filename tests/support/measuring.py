"""Small runs of real workers in this process: a plan of rows at the notebook's shape, carried out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from bench.measure.messages import ProblemFile
from bench.measure.plan import Budget, Plan, make_plan
from bench.measure.runner import Listener, run_plan
from bench.records.schema import CONTROL, Block, Line, Memory, Record
from bench.records.store import RECORDS_FILE, decode
from bench.workloads import reference_outputs
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from impls import Row
    from impls.contract import Task

TASKS: tuple[Task, ...] = ("encode", "forward")

QUICK = Budget(
    timed_s=0.04,
    turn_s=0.02,
    warmup_s=0.01,
    min_turns=2,
    min_blocks=1,
    max_blocks=1,
    total_s=120,
    limit_s=20,
    measures_memory=False,
)
"""One block of two turns."""

LISTENER = Listener()


def plan_of(*rows: Row, tasks: Sequence[Task] = TASKS, budget: Budget = QUICK, seed: int = 1, **more: Any) -> Plan:
    """These rows at the notebook's shape; the first is the baseline."""
    return make_plan(
        rows=rows,
        workloads=[SEED],
        tasks=tasks,
        device="cpu",
        budget=budget,
        seed=seed,
        **({"threads": [1], "baseline": rows[0].name} | more),
    )


def carry_out(folder: Path, plan: Plan, listener: Listener = LISTENER, **more: object) -> list[Record]:
    """The records of a plan, the control's included."""
    numbers = folder / "seed.safetensors"
    if not numbers.exists():
        reference_outputs.save(reference_outputs.pose(SEED, ("encode", "forward", "gradients", "train_step")), numbers)
    run_plan(
        plan,
        {"seed": ProblemFile(SEED.config, str(numbers), reference_outputs.sizes_of(SEED))},
        folder,
        listener,
        **more,
    )
    return [line for line in lines(folder) if isinstance(line, Record)]


def measure(folder: Path, *rows: Row, tasks: Sequence[Task] = TASKS, budget: Budget = QUICK) -> list[Record]:
    """The records of these rows, the control's included."""
    return carry_out(folder, plan_of(*rows, tasks=tasks, budget=budget))


def lines(folder: Path) -> list[Line]:
    """What the folder's records file says."""
    text = (folder / RECORDS_FILE).read_bytes()
    assert text.endswith(b"\n") or not text
    return [decode(line, Line, "a line") for line in text.splitlines()]


def blocks(folder: Path) -> list[Block]:
    """The machine's lines."""
    return [line for line in lines(folder) if isinstance(line, Block)]


def peaks(folder: Path) -> dict[tuple[str, str], Memory]:
    """Row and task to peak memory."""
    return {(line.cell.implementation, line.cell.task): line for line in lines(folder) if isinstance(line, Memory)}


T = TypeVar("T")


def sooner_or_later(attempt: Callable[[Path], T | None], folder: Path, limit_s: float = 120) -> None:
    """Try, in a fresh folder each time, until an attempt finds nothing; fail with all that was found if none does.

    Somebody else may really have the processor, though hardly each time; what a row does to itself it does each time.
    """
    until, found = time.monotonic() + limit_s, []
    while time.monotonic() < until:
        own = folder / f"attempt {len(found)}"
        own.mkdir()
        wrong = attempt(own)
        if wrong is None:
            return
        found.append(wrong)
    pytest.fail(f"in each of {len(found)} attempts: {found}")


def last(records: Sequence[Record]) -> dict[tuple[str, str], Record]:
    """Row and task to the last record of it, the control's left out."""
    return {(one.cell.implementation, one.cell.task): one for one in records if one.cell.implementation != CONTROL}
