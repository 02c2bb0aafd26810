"""The index of published results: it reads well, and a hundred runs take seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from support.recorded import END, RUN, record, write

from bench.analysis.analysis import Analysis
from bench.publish.index import index, page
from bench.records.schema import CONTROL, CodeFacts, Environment, Line, PlanFacts, Run
from bench.records.store import RECORDS_FILE, RUN_FILE, read_result

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Result

RATIOS = {"torch/module": 1.0, CONTROL: 1.0, "jax/scan": 0.5, "thinc/layers": 1.5}


def lines_of(seed: int = 0, blocks: int = 6, speed: float = 1.0) -> list[Line]:
    rng = np.random.default_rng(seed)
    return [
        *(
            record(name, block=block, samples_s=(0.01 * speed * ratio * rng.lognormal(0, 1e-3, 3)).tolist())
            for block in range(1, blocks + 1)
            for name, ratio in RATIOS.items()
        ),
        END,
    ]


def run_at(day: int, machine: str = "a-processor-2-cores", cpu: str = "A Processor", **fields: object) -> Run:
    here: Environment = msgspec.structs.replace(RUN.environment, machine=machine, cpu=cpu)
    began = f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T12:00:00+00:00"
    return msgspec.structs.replace(RUN, started_at=began, environment=here, **fields)


def results_of(place: Path) -> list[Result]:
    """Oldest first, as `index` takes them."""
    results = [read_result(path.parent) for path in sorted(place.glob(f"*/{RUN_FILE}"))]
    return sorted(results, key=lambda result: result.run.started_at)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Two runs of one machine, and between them one of another."""
    write(tmp_path / "first", *lines_of(1), run=run_at(1))
    write(tmp_path / "other", *lines_of(2), run=run_at(2, "b-machine-8-cores", "B Machine"))
    write(tmp_path / "second", *lines_of(3), run=run_at(3))
    return tmp_path


def test_machines_stand_apart_and_the_newest_comes_first(three: Path) -> None:
    text = page(index([*map(Analysis, results_of(three))]), ["method/rule.md"], {"numpy": "2.4.6", "torch": "2.13.0"})
    order = [
        text.index(words)
        for words in ("## A Processor, 2 cores", "[second](second/table.md)", "[first](first/table.md)", "## B Machine")
    ]
    assert order == sorted(order)
    assert "On A Processor, for seed inference, jax/scan is 2.00 times as fast as torch/module" in text
    assert "| [second](second/table.md) | 2026-01-04 | cpu | default | – | 4 | 6 | 2 of 2 |" in text
    assert "On the method itself: [rule](method/rule.md)." in text


def test_what_is_not_at_its_pin_is_said(three: Path) -> None:
    newer = {"torch/module": CodeFacts(code="", versions={"torch": "2.13.0+cu130", "numpy": "2.5.2", "python": "3.12"})}
    write(three / "newer", *lines_of(4), run=run_at(5, rows=newer))
    text = page(index([*map(Analysis, results_of(three))]), [], {"numpy": "2.4.6", "torch": "2.13.0"})
    assert "| [newer](newer/table.md) | 2026-01-06 | cpu | default | numpy 2.5.2 |" in text


def test_a_run_stands_beside_the_one_before_it_on_its_machine(three: Path) -> None:
    lines = {one.analysis.result.path.name: one for one in index([*map(Analysis, results_of(three))])}
    assert lines["first"].like == lines["other"].like == lines["other"].moved == "–"
    assert lines["second"].like == "2 of 2" and lines["second"].moved.endswith(" %")


RUNS = 100
DECODER = msgspec.json.Decoder(Line)
ROWS = [f"torch/row{number}" for number in range(18)] + ["torch/module", CONTROL]
PLACES = [(workload, task) for workload in "abcde" for task in ("forward", "train_step")]


@pytest.mark.thorough
def test_a_hundred_runs_of_two_hundred_cells_are_indexed_in_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    workloads = dict.fromkeys("abcde", RUN.workloads["seed"])
    plan: PlanFacts = msgspec.structs.replace(RUN.plan, pools=[ROWS])
    lines: list[Line] = [
        record(row, block=block, workload=workload, task=task, samples_s=(0.01 * rng.lognormal(0, 0.02, 9)).tolist())
        for block in range(1, 7)
        for workload, task in PLACES
        for row in ROWS
    ]
    for number in range(RUNS):
        run = run_at(number // 5, f"machine{number % 5}-2-cores", f"Machine {number % 5}")
        write(tmp_path / f"{number:03d}", *lines, END, run=msgspec.structs.replace(run, workloads=workloads, plan=plan))
    began_s = time.process_time()
    for path in tmp_path.glob(f"*/{RECORDS_FILE}"):
        DECODER.decode_lines(path.read_bytes())
    decoded_s, began_s = time.process_time() - began_s, time.process_time()
    text = page(index([*map(Analysis, results_of(tmp_path))]), [], {})
    took_s = time.process_time() - began_s
    assert text.count("/table.md)") == RUNS and text.count("\n## Machine ") == 5
    assert took_s < 14 * decoded_s, (took_s, decoded_s)  # 7 to 10; where each row was compared by itself, 20
