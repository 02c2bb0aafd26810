"""Runs that are only pretended: what a plan's blocks would have brought, without a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.measure.plan import BUDGETS, Budget, Plan, PlannedGroup, make_plan
from bench.measure.stopping import next_block
from bench.records.schema import Record, without_time
from bench.workloads.shapes import SEED, WORDS
from impls import Row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

BUDGET = replace(BUDGETS["default"], max_blocks=20)


def row(name: str, **fields: object) -> Row:
    """A row that needs nothing but NumPy and is in no file."""
    values = {"tier": "loop", "summary": "", "frameworks": ("numpy",), "name": name, "path": Path(f"/{name}.py")}
    return Row(**(values | fields))


def plan(*rows: Row, budget: Budget = BUDGET, seed: int = 1, **more: object) -> Plan:
    """A plan of rows at two workloads and two tasks; the first row is the baseline."""
    wanted = {"threads": [1], "workloads": [SEED, WORDS], "tasks": ("forward", "train_step")} | more
    return make_plan(rows=rows, device="cpu", budget=budget, baseline=rows[0].name, seed=seed, **wanted)


def sit(
    planned: PlannedGroup,
    block: int,
    speeds: Mapping[str, float],
    *,
    noise: float = 0.003,
    fails: Collection[tuple[str, int]] = (),
    attempt: int = 0,
    contended: bool = False,
) -> list[Record]:
    """What a group would bring: times as the speeds say, with noise of each turn and of each process."""
    group = planned.group
    rng = np.random.default_rng([block, planned.pool.number, attempt, len(group.workload), len(group.task)])
    drift = rng.lognormal(0, 0.1)
    records = []
    for entry, cell in planned.members:
        where = {"block": block, "pool": planned.pool.number, "attempt": attempt}
        if (entry.name, block) in fails:
            records.append(without_time(cell, "crashed", "it was to be", **where))
            continue
        own = speeds.get(entry.row.name, 1.0) * drift * rng.lognormal(0, noise)
        records.append(
            Record(
                cell=cell,
                **where,
                status="ok",
                samples_s=(0.001 * own * rng.lognormal(0, noise, 9)).tolist(),
                calls=20,
                flags=["contended"] if contended else [],
            )
        )
    return records


def run(
    plan: Plan,
    speeds: Mapping[str, float],
    *,
    noise: float = 0.003,
    fails: Collection[tuple[str, int]] = (),
    known: Sequence[Record] = (),
) -> list[Record]:
    """All that the plan would bring, beyond what is known."""
    records = [*known] or [*plan.skipped]
    while (due := next_block(plan, records)) is not None:
        block, planned_groups = due
        for planned in planned_groups:
            records += sit(planned, block, speeds, noise=noise, fails=fails)
    return records
