"""The page of goals counts what a run shows, and names what is missed."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from support.profiled import QUIET, profiles
from support.recorded import BLOCK, END, RUN, record, write

from bench.records.schema import CONTROL, CodeFacts
from bench.records.store import read_result
from bench.workloads.shapes import WORKLOADS
from studies import goals
from studies.goals import BEFORE, ENGINE, LARGE, NONE, TASKS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Line, Result

NAMES = ("seed", "g2p", "latency", *LARGE)
TIMES = {"torch/module": 1.0, "jax/nnx": 1.1, "jax/nnx_split": 0.9, "thinc/layers": 2.0, CONTROL: 1.0} | {
    **{"torch/tuned": 0.8, "jax/tuned": 0.5, "thinc/tuned": 1.2, ENGINE: 0.6},
    **{"torch/products": 0.76, "jax/products": 0.48, "thinc/products": 1.15},
}
BOUNDS = {name: f"{name.partition('/')[0]}/products" for name in BEFORE}


def run_of(
    tmp_path: Path,
    changed: dict[tuple[str, str], float] | None = None,
    names: tuple[str, ...] = NAMES,
    threads: tuple[int, ...] = (1, 2),
) -> Result:
    """Six blocks; ``changed``: how many times as long a row takes at a workload."""
    rng = np.random.default_rng(1)
    lines: list[Line] = []
    for block in range(1, 7):
        for workload, number in product(names, threads):
            for task in TASKS:
                for name, time in TIMES.items():
                    if name == ENGINE and task != "forward":
                        continue
                    seconds = 1e-3 * time * (changed or {}).get((name, workload), 1.0)
                    tier = "bound" if name.endswith("/products") else "loop"
                    samples = (seconds * rng.lognormal(0, 0.002, 9)).tolist()
                    where = {"workload": workload, "task": task, "block": block, "tier": tier, "threads": number}
                    lines.append(record(name, samples_s=samples, **where))
        lines.append(msgspec.structs.replace(BLOCK, block=block))
    facts = RUN.workloads["seed"]
    rows = {name: CodeFacts(code=name, versions={}) for name in TIMES if name != CONTROL}
    plan = msgspec.structs.replace(RUN.plan, pools=[list(TIMES)], tasks=list(TASKS), threads=list(threads))
    run = msgspec.structs.replace(RUN, workloads=dict.fromkeys(names, facts), rows=rows, bounds=BOUNDS, plan=plan)
    return read_result(write(tmp_path, *lines, END, run=run))


def test_all_is_reached(tmp_path: Path) -> None:
    page = goals.page([run_of(tmp_path)], [])
    assert f"{every_goal()} of {every_goal()} goals are reached." in page
    assert "Missed" not in page and "**0" not in page


def every_goal() -> int:
    """How many goals there are, with one thread and with two."""
    cells = 4 * len(NAMES) * 2  # four pairs, two tasks
    means, shares, engine = 3 * 2, 3 * 2 * len(LARGE), len(NAMES)
    return 2 * (cells + means + shares + engine)


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        (
            {("torch/tuned", "g2p"): 1.5},
            [r"torch/tuned against torch/module, forward cpu×1, g2p: 1\.20× \[.*\] SLOWER"],
        ),
        (
            {("jax/nnx_split", name): 0.6 for name in NAMES},
            [r"jax/tuned against jax/nnx_split, forward cpu×1, mean: 0\.9"],
        ),
        ({("thinc/products", "braun"): 0.7}, [r"thinc/tuned, train_step cpu×1, braun, of the bound: 67 %"]),
        ({(ENGINE, "seed"): 0.8}, [rf"jax/tuned against {ENGINE}, forward cpu×1, seed: 1\.04× .*goal 1\.00×"]),
        ({(ENGINE, "braun"): 0.6}, [rf"jax/tuned against {ENGINE}, forward cpu×1, braun: 1\.39× .*goal 1\.25×"]),
    ],
)
def test_what_is_missed_is_named(tmp_path: Path, changed: dict[tuple[str, str], float], missed: list[str]) -> None:
    page = goals.page([run_of(tmp_path, changed)], [])
    assert "Missed:" in page
    for line in missed:
        assert re.search(f"^- {line}", page, flags=re.MULTILINE), page


def test_beside_what_is_missed_stands_what_its_calls_do(tmp_path: Path) -> None:
    run = run_of(tmp_path, {("thinc/products", "braun"): 0.7}, threads=(1, 2))
    missing = {"implementation": "thinc/tuned", "framework": "thinc", "tier": "loop", "task": "train_step"}
    mine = msgspec.structs.replace(QUIET, workload="braun", **missing)
    reached = msgspec.structs.replace(mine, workload="fastrnns")
    other = msgspec.structs.replace(RUN.environment, cpu="Another Processor")
    page = goals.page([run], [profiles(mine, reached), profiles(mine, environment=other)])
    assert "### What the calls do that miss a goal" in page
    lines = [line for line in page.splitlines() if "thinc/tuned" in line and "40 %" in line]
    assert lines == ["| `thinc/tuned` | train_step | cpu×1 | braun | 10.0 s | 40 % | 10 % | 50 % | 2.00× |"]
    assert "Not profiled: `thinc/tuned` forward cpu×1 braun, `thinc/tuned` forward cpu×2 braun" in page
    assert "What the calls do" not in goals.page([run], [profiles(mine, environment=other)])


def test_near_the_engine_is_enough_but_at_seed(tmp_path: Path) -> None:
    assert "Missed" not in goals.page([run_of(tmp_path, {(ENGINE, "braun"): 0.7})], [])


def test_what_was_not_measured_is_missed(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    gone = ("jax/tuned", "g2p"), ("jax/products", "braun"), (ENGINE, "seed")
    records = [own for own in run.records if (own.cell.implementation, own.cell.workload) not in gone]
    page = goals.page([replace(run, records=records)], [])
    for line in (
        "jax/tuned against jax/nnx, forward cpu×1, g2p",
        "jax/tuned against jax/nnx_split, forward cpu×1, mean",
        "jax/tuned, train_step cpu×2, braun, of the bound",
        f"forward cpu×1, seed, against {ENGINE}",
    ):
        assert f"- {line}: not measured" in page
    assert f" of {every_goal()} goals are reached." in page


def test_a_run_without_all_of_it_shows_no_goals(tmp_path: Path) -> None:
    assert NONE in goals.page([run_of(tmp_path / "few", names=("seed", "g2p", "latency", "braun"))], [])
    assert NONE in goals.page([run_of(tmp_path / "alone", threads=(1,))], [])


def test_the_command_that_is_given_measures_all_of_it() -> None:
    words = NONE.split()
    assert set(NAMES) <= set(words) and set(NAMES) <= set(WORKLOADS)
    assert {ENGINE, *BEFORE, *(name for names in BEFORE.values() for name in names)} <= set(words)
