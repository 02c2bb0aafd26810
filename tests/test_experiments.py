"""The published experiments, in small: they measure with the real pipeline, and their tables say what was measured."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from test_records import BLOCK, END, RUN, cell, record, write

from bench.method import protocol, rule, turns
from bench.method.arms import Sides
from bench.method.keep import keep, read
from bench.method.simulate import NOISES, error_rate
from bench.publish import OURS
from bench.records import CONTROL, Cell, Run, read_result
from bench.stats import LEVEL

if TYPE_CHECKING:
    from pathlib import Path

SEED_ONLY = msgspec.structs.replace(RUN, workloads={"seed": RUN.workloads["seed"]})


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    measured = []

    def measure() -> Run:
        measured.append(1)
        return RUN

    raw = tmp_path / "method" / "run.json"
    for _ in range(2):
        assert keep(raw, Run, measure, lambda run: f"{run.preset}\n") == "default\n"
    assert measured == [1]
    assert raw.with_suffix(".md").read_text() == "default\n"


@pytest.mark.thorough
def test_turns_and_processes_one_after_the_other_are_really_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BLOCKS", 2)
    monkeypatch.setattr(turns, "TIMED_S", 0.1)
    apart = turns.Way("apart", 0.020, together=False, workload=turns.SMALL)
    monkeypatch.setattr(turns, "WAYS", (apart, turns.Way("turns", 0.005, workload=turns.SMALL)))
    experiment = turns.measure()
    assert [one.words for one in experiment.outcomes] == ["apart", "turns"]
    for outcome in experiment.outcomes:
        assert len(outcome.log_ratios) == 2
        assert all(math.isfinite(ratio) for ratio in outcome.log_ratios)
    text = turns.report(experiment)
    counts = dict(re.findall(r"\| (apart|turns) \| (\d+) \| 2 \|", text))
    assert 1 <= int(counts["apart"]) <= 5, "turns of 20 ms, in 0.1 s"
    assert int(counts["apart"]) < int(counts["turns"]) <= 20, "turns of 5 ms"


def test_processes_that_ran_apart_are_not_paired_turn_by_turn() -> None:
    sides = Sides(ours_s=[[1.0, 2.0, 9.0]], theirs_s=[[4.0, 2.0, 1.0]], disturbed=[[]])
    apart, paired = (turns.Outcome(words="", together=together, sides=sides) for together in (False, True))
    assert apart.log_ratios == [pytest.approx(0.0)]  # the medians are 2 and 2
    assert paired.log_ratios == [pytest.approx(0.0)]
    sides = Sides(ours_s=[[1.0, 2.0, 9.0]], theirs_s=[[2.0, 4.0, 3.0]], disturbed=[[]])
    apart, paired = (turns.Outcome(words="", together=together, sides=sides) for together in (False, True))
    assert apart.log_ratios == [pytest.approx(np.log(2 / 3))]
    assert paired.log_ratios == [pytest.approx(np.log(1 / 2))]


@pytest.mark.thorough
def test_the_protocols_processes_are_really_run_and_multiplied(tmp_path: Path) -> None:
    run = msgspec.structs.replace(SEED_ONLY, plan=msgspec.structs.replace(RUN.plan, tasks=["encode"]))
    records = [record("thinc/layers", task="encode"), record(CONTROL, task="encode"), BLOCK, END]
    experiment = protocol.measure(read_result(write(tmp_path / "run", *records, run=run)))
    assert [one.cell for one in experiment.processes] == ["thinc/layers seed encode 1"] * protocol.RUN_PROCESSES
    assert all(protocol.VALUES * protocol.VALUE_S < one.elapsed_s < 60 for one in experiment.processes)


def test_the_cost_of_the_protocol_is_that_of_twenty_processes_a_cell(tmp_path: Path) -> None:
    samples = {"samples_s": [0.5] * 4, "calls": 5}
    result = read_result(write(tmp_path / "run", record(**samples), record(CONTROL, **samples), END, run=SEED_ONLY))
    timed = [protocol.Timed(cell="torch/module seed forward 1", elapsed_s=seconds) for seconds in (2.0, 4.0)]
    experiment = protocol.Experiment(
        result="run", started_at=RUN.started_at, environment=RUN.environment, processes=timed
    )
    text = protocol.report(experiment, result)
    assert protocol.cells_of(result) == [Cell(**cell())]
    assert protocol.shares(result) == (61.5, 20.0)
    ratio = re.search(r"20 processes a cell \| [^|]* \| ([\d.]+)", text)
    assert ratio is not None
    assert float(ratio.group(1)) == pytest.approx(6.0 * 10 / 61.5, abs=0.01)


@pytest.mark.parametrize("name", ["normal 0.05", "drifting 0.1"])
def test_the_published_simulation_is_that_of_this_rule(name: str) -> None:
    published = read(OURS.method / rule.RAW_FILE, rule.Simulation)
    assert published.level == LEVEL
    assert list(published.errors) == list(NOISES)
    assert rule.worst(published).wrong_bounds.high <= 0.01
    again = error_rate(NOISES[name], comparisons=rule.COMPARISONS, most_blocks=rule.LOOKS)
    assert published.errors[name] == again
