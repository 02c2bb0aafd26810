"""The published experiments, in small: they measure with the real pipeline, and their tables say what was measured."""

from __future__ import annotations

import math
import re
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from support.recorded import BLOCK, END, RUN, cell, record, write

from bench.analysis.verdict import LEVEL
from bench.calibration.simulate import error_rate
from bench.calibration.workers import Sides
from bench.cli.publish import OURS
from bench.machine.describe import describe
from bench.records.schema import CONTROL, Cell, Effort, Run, VerdictChange
from bench.records.store import read_result
from studies import decided, protocol, rule, turns
from studies.experiment import carry_out, read, save
from studies.kinds import EFFECTS, KINDS, made, normal

if TYPE_CHECKING:
    from pathlib import Path

SEED_ONLY = msgspec.structs.replace(RUN, workloads={"seed": RUN.workloads["seed"]})

EFFORT = Effort(
    workload="seed", task="forward", device="cpu", threads=1, turns=4, before=1,
    round_s=1.0, around_s=4.0, turn_sd=0.2, process_sd=0.1,
)  # fmt: skip
"""One turn has a variance of 4 + 1 and takes 4 + 1 seconds; four have 1 + 1 and take 4 + 4."""


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    measured = []

    def measure() -> Run:
        measured.append(1)
        return RUN

    raw = tmp_path / "method" / "run.json"
    for _ in range(2):
        assert save(raw, Run, measure, lambda run: f"{run.preset}\n") == "default\n"
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
    sides = Sides(ours_s=[[1.0, 2.0, 9.0]], theirs_s=[[4.0, 2.0, 1.0]], preempted=[[]])
    apart, paired = (turns.Outcome(words="", together=together, sides=sides) for together in (False, True))
    assert apart.log_ratios == [pytest.approx(0.0)]  # the medians are 2 and 2
    assert paired.log_ratios == [pytest.approx(0.0)]
    sides = Sides(ours_s=[[1.0, 2.0, 9.0]], theirs_s=[[2.0, 4.0, 3.0]], preempted=[[]])
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


def test_the_course_of_a_run_is_known_block_by_block(tmp_path: Path) -> None:
    rows = ("jax/scan", "thinc/layers")
    records = [record(name, block=block) for block in (1, 2, 3, 4) for name in ("torch/module", CONTROL, *rows)]
    blocks = [msgspec.structs.replace(BLOCK, block=block, elapsed_s=60.0) for block in (1, 2, 3, 4)]
    said = [
        VerdictChange(cell=Cell(**cell("jax/scan")), block=3, verdict="SLOWER", elapsed_s=200.0),
        VerdictChange(cell=Cell(**cell("thinc/layers")), block=4, verdict="FASTER", elapsed_s=260.0),
    ]
    lines = [*records, *blocks, EFFORT, *said, END]
    course = decided.course_of(read_result(write(tmp_path / "run", *lines)))
    assert course.ratios == 2 and course.decided == [0, 0, 1, 2]
    assert (course.until_s(0.5), course.until_s(0.75)) == (180.0, 240.0)
    shorter = msgspec.structs.replace(course, done_s=[90.0], turns_s=[3.5], decided=[0])
    assert shorter.until_s(0.6) is None
    text = decided.report(
        decided.Experiment(command="", environment=RUN.environment, followed="run", following=course, kept=shorter)
    )
    assert "| 60 % decided after | 4.0 min | never |" in text
    assert "| 60 % decided after, in first blocks | 4.00 | never |" in text
    assert "| seed forward | 20.0 % | 1.00 s | 4.0 s | 1 | 4 | 0.64 |" in text
    assert "| 1 | 1.0 min | 4 s | 0 of 2 | 1.5 min | 4 s | 0 of 2 |" in text
    assert "| 4 | 4.0 min | 4 s | 2 of 2 | – | – | – |" in text


@pytest.mark.parametrize("change", ["machine", "budget", "efforts"])
def test_a_second_run_is_made_only_beside_a_default_run_of_this_machine(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = "another" if change == "machine" else describe().machine
    run = msgspec.structs.replace(
        RUN,
        environment=msgspec.structs.replace(RUN.environment, machine=machine),
        command="python -m bench run --device cpu --threads 1 --preset default" + " --budget 9m" * (change == "budget"),
    )
    folder = write(tmp_path / "run", record(), BLOCK, *([] if change == "efforts" else [EFFORT]), END, run=run)
    arguments = ["", str(folder), str(tmp_path)]
    assert carry_out(arguments, "studies.decided RESULT FOLDER", decided.table_of) == 2
    assert {"machine": "another machine", "budget": "no whole default run", "efforts": "no whole default run"}[
        change
    ] in capsys.readouterr().err
    assert not (tmp_path / decided.RAW_FILE).exists()


@pytest.mark.parametrize("name", ["Gaussian, unlike groups", "one row and the control, drifting, 10 %"])
def test_the_published_simulation_is_that_of_this_rule(name: str) -> None:
    published = read(OURS.repository.method / rule.RAW_FILE, rule.Simulation)
    assert published.level == LEVEL
    assert list(published.errors) == list(KINDS)
    assert list(published.beyond) == list(rule.BEYOND)
    assert [(one.tables, one.effect) for one in published.power] == list(product(rule.POWER, rule.FOUND))
    assert rule.worst(published).high <= 0.01
    rates = error_rate(KINDS[name], effects=EFFECTS, comparisons=rule.COMPARISONS, most_blocks=rule.LOOKS)
    assert published.errors[name] == rates


def test_the_published_replays_are_of_runs_that_the_rule_was_not_chosen_on() -> None:
    published = read(OURS.repository.method / rule.RAW_FILE, rule.Simulation)
    replayed = {one.run for one in published.replayed}
    assert replayed > set(rule.CHOSEN_ON)
    assert len(published.recorded) == len(rule.CHOSEN_ON)


def test_the_rates_of_the_rule_are_measured_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"two groups": made(normal, [0.01, 0.02], rows=3)}
    for name, value in (("KINDS", few), ("BEYOND", few), ("POWER", few), ("COMPARISONS", 120), ("CHOSEN_ON", ("run",))):
        monkeypatch.setattr(rule, name, value)
    for name, ratio in (("run", 2.0), ("other", 0.5)):
        rows = {"torch/module": 1.0, "jax/scan": ratio, CONTROL: 1.001}
        lines = [
            record(row, block=block, samples_s=[seconds * (1 + 1e-3 * (block * len(row) % 5))] * 3)
            for block in range(1, 8)
            for row, seconds in rows.items()
        ]
        write(tmp_path / name, *lines, END, run=SEED_ONLY)
    measured = rule.measure([read_result(tmp_path / name) for name in ("run", "other")])
    text = save(tmp_path / "method" / rule.RAW_FILE, rule.Simulation, lambda: measured, rule.report)
    assert read(tmp_path / "method" / rule.RAW_FILE, rule.Simulation) == measured
    assert [list(kinds) for kinds in (measured.errors, measured.recorded)] == [["two groups"], ["blocks of `run`"]]
    assert [name for name in ("`run`", "`other`") if f"| {name} |" in text] == ["`other`"]
    assert (
        "Of 1 verdicts, 1 have a later block and 0 have none; the later blocks of 1, by themselves, have a verdict too"
        in text
    )


def replayed(rows: list[list[float]], *others: list[float]) -> rule.Outcome:
    return rule.replay(rule.Replayed(run="run", machine="this", rows={"group": rows}, others={"group": [*others]}))


def test_a_replay_holds_verdicts_against_the_blocks_after_them() -> None:
    slow, fast, same, wild = [0.3] * 3, [-0.3] * 3, [0.0] * 3, [-0.9, 0.0, 0.9]
    outcome = replayed([slow + slow, slow + fast, slow + same, same + fast[:2], wild, slow, fast + slow[:1]], slow * 2)
    assert (outcome.ratios, outcome.decided) == (7, dict.fromkeys(range(3, 7), 6))
    assert (outcome.with_later, outcome.analysed_again) == (5, 3)
    assert (outcome.contradicted, outcome.turned) == (2, 2)


def test_what_is_said_in_a_replay_knows_of_the_noise_of_those_who_get_no_verdict() -> None:
    row, noise = [0.25, 0.26, 0.27], [0.0, 0.01, -0.01]
    assert replayed([row]).decided == {3: 0}
    assert replayed([row], *[noise] * 6).decided == {3: 1}
