"""The error rate is measured with the pipeline itself: workers differ by what was planted, and by nothing else."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import psutil
import pytest
from support.calibrated import HEAD, comparison
from support.processes import bench, wait_until

from bench import here
from bench.calibration import calibrate, calibration, report, workers
from bench.calibration.calibrate import BLOCKS, PAIRS, accuracy_of
from bench.calibration.calibration import Batch, Comparison
from bench.calibration.neighbour import noisy
from bench.calibration.simulate import lag_correlation
from bench.machine.cpus import processors
from bench.measure.errors import DiskFull
from bench.measure.runner import Listener, run_plan
from bench.records.schema import Block, Cell, Effort, Memory, Record, VerdictChange, without_time
from bench.records.store import RECORDS_FILE, record_line
from impls import Row, build_row
from impls.contract import InvalidInput, initial_parameters
from impls.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure.messages import ProblemFile
    from bench.measure.plan import Plan
    from bench.records.schema import Line


def test_a_worker_does_exactly_as_much_more_work_as_planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    monkeypatch.setattr(Reference, "forward", lambda self, x, y: passes.append(1))
    products: list[int] = []
    monkeypatch.setattr(np, "tanh", lambda state: products.append(1) or state)
    parameters = initial_parameters(workers.WORKLOAD.config, 0)
    counts = {}
    for percent in (0, 1, 10):
        load = build_row(workers.write_worker(tmp_path, f"plus{percent}", percent))
        worker = load(workers.WORKLOAD.config, parameters, "cpu")
        x = np.zeros(1)
        worker.forward(x, None)
        passes.clear()
        products.clear()
        worker.forward(x, None)
        counts[percent] = (len(products), len(passes))
    assert counts == {0: (200, 0), 1: (202, 0), 10: (220, 0)}


def test_pairs_go_on_until_they_have_a_verdict_and_no_further() -> None:
    def records(ratio: float, blocks: int) -> list[Record]:
        base = {"framework": "numpy", "tier": "loop", "workload": workers.WORKLOAD.name, "task": "forward"}
        base |= {"device": "cpu", "threads": 1}
        rng = np.random.default_rng(0)
        return [
            Record(
                cell=Cell(**base, implementation=name),
                block=block,
                status="ok",
                samples_s=[seconds * (1 + 0.001 * rng.random())] * 3,
            )
            for block in range(1, blocks + 1)
            for name, seconds in (("a", ratio), ("b", 1.0))
        ]

    pair = workers.Pair("a", "b")
    plan = workers.plan_of([workers.entry(_row(name)) for name in ("a", "b")], seed=1)
    due = workers.undecided_pairs([pair])
    assert due(plan, []) is not None
    assert due(plan, records(1.0, 3)) is None  # SAME
    assert due(plan, records(1.5, 3)) is None  # SLOWER
    block = due(plan, records(1.0, 2))
    assert block is not None
    assert block[0] == 3
    assert [entry.name for entry, _ in block[1][0].members] == ["a", "b"]


def _row(name: str) -> Row:
    return Row(tier="loop", summary="", frameworks=("numpy",), name=name, path=Path(f"{name}.py"))


@pytest.mark.thorough
def test_planted_work_is_found_by_the_pipeline_and_identical_workers_are_not_distinguished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the work a call: beside other programs, what a call begins with is long too, and the same for both."""
    monkeypatch.setattr(workers, "UNITS", 10 * workers.UNITS)
    pairs = [workers.Pair("a", "b"), workers.Pair("plus100", "a", 100)]
    lines: list[Line] = []
    plan = workers.plan_of(workers.entries_of(tmp_path, pairs), seed=1)
    run_plan(
        plan,
        workers.pose(tmp_path),
        tmp_path,
        Listener(kept=lines.extend),
        next_block=workers.undecided_pairs(pairs),
    )
    records = [line for line in lines if isinstance(line, Record)]
    assert {record.status for record in records} == {"ok"}
    group = records[0].cell.group
    same, planted = (calibrate.comparison_of(group, records, pair, 0, "quiet") for pair in pairs)
    outcomes = calibration.outcomes_of([Batch(comparisons=[same, planted], elapsed_s=1.0)])
    assert outcomes[0].verdict in ("SAME", "UNCLEAR")
    assert outcomes[1].verdict == "SLOWER"
    assert 1 + 2 / 3 < np.exp(np.median(planted.sides.log_ratios)) < 1 + 4 / 3, "what was planted, to a third"


@pytest.mark.thorough
def test_a_neighbour_works_on_every_processor_like_any_other_program_and_goes_with_its_context() -> None:
    with noisy(1, ""):
        neighbours = [one for one in psutil.Process().children() if "bench.calibration.neighbour" in one.cmdline()]
        bound = [[number] for number in processors()]
        wait_until(lambda: [one.cpu_affinity() for one in neighbours] == bound, "a neighbour on each processor")
        assert all(one.nice() == 0 and os.sched_getscheduler(one.pid) == os.SCHED_OTHER for one in neighbours)
        worked_s = [sum(one.cpu_times()[:2]) for one in neighbours]
        wait_until(
            lambda: all(sum(one.cpu_times()[:2]) > was + 0.5 for one, was in zip(neighbours, worked_s, strict=True)),
            "the neighbours' work",
        )
    assert not any(one.is_running() for one in neighbours)


def test_a_neighbour_has_a_temporary_folder_that_goes_with_it() -> None:
    with noisy(1, ""):
        (own,) = {
            one.environ()["TMPDIR"]
            for one in psutil.Process().children()
            if "bench.calibration.neighbour" in one.cmdline()
        }
        assert Path(own).is_dir()
    assert not Path(own).exists()


def test_the_report_counts_what_was_said() -> None:
    batches = [
        Batch(comparisons=[comparison(0, 1.0), comparison(0, 1.2), comparison(5, 1.05)], elapsed_s=60.0),
        Batch(comparisons=[comparison(0, 1.0, surroundings="neighbour"), comparison(5, 1.0)], elapsed_s=60.0),
    ]
    words = report.markdown(HEAD, batches)
    both = next(line for line in words.splitlines() if line.startswith("| both |"))
    assert both.split("|")[2:4] == [" 3 ", " 1 "]  # three comparisons of identical workers, one false verdict
    assert "| false FASTER or SLOWER in at most 1 % | 3 | 33.3 % [0.8, 90.6] | by 32.3 points |" in words
    assert "| 5 % found in at least 99 % | 2 | 50.0 % [1.3, 98.7] | by 49.0 points |" in words
    assert "| 3 % found in at least 95 % | 0 | – | not measured |" in words
    planted = r"\| 5 % \| as the machine is \| 2 \| 2.5 % \[-24.8, 39.7\] \| 50.0 % \[1.3, 98.7\] \| 1 \| 1 \| 0 \|"
    assert re.search(planted, words), words


def test_what_planted_work_came_out_as_rests_on_the_blocks_that_all_have() -> None:
    slow, fast = [1.05] * 3, [1.0] * 3
    later = workers.Sides(ours_s=[slow] * 6 + [[9.0] * 3] * 4, theirs_s=[fast] * 10, preempted=[[]] * 10)
    one = Comparison(batch=0, surroundings="quiet", percent=5, sides=later)
    outcomes = calibration.outcomes_of([Batch(comparisons=[one, comparison(5, 1.05)], elapsed_s=1.0)])
    assert report.came_out_as(outcomes[:1]) == "5.0 %"
    assert report.came_out_as(outcomes) == "5.0 % [5.0, 5.0]"


def wavering(percent: int, logs: list[float], **fields: object) -> Comparison:
    """Ours over theirs has these logs, block by block."""
    times = [[float(np.exp(one))] * 3 for one in logs]
    sides = workers.Sides(ours_s=times, theirs_s=[[1.0] * 3] * len(logs), preempted=[[]] * len(logs))
    return msgspec.structs.replace(comparison(percent, 1.0, **fields), sides=sides)


def test_a_comparison_stops_at_its_first_verdict_and_its_batch_tells_of_its_noise() -> None:
    same = comparison(0, 1.0, blocks=9)
    alone = [comparison(0, 1.0, blocks=2), same]
    batches = [Batch(comparisons=one, elapsed_s=1.0) for one in (alone, [same])]
    assert [(one.comparison, one.verdict, one.blocks) for one in calibration.outcomes_of(batches)] == [
        (alone[0], "UNCLEAR", 2),
        (same, "SAME", 3),
        (same, "SAME", 3),
    ]
    slow, others = wavering(30, [0.25, 0.26, 0.27]), [wavering(0, [0.0, 0.01, -0.01])] * 6
    (by_itself,) = calibration.outcomes_of([Batch(comparisons=[slow], elapsed_s=1.0)])
    elsewhere = [Batch(comparisons=one, elapsed_s=1.0) for one in ([slow], others)]
    among_others = calibration.outcomes_of([Batch(comparisons=[*others, slow], elapsed_s=1.0)])[-1]
    assert by_itself.verdict == calibration.outcomes_of(elsewhere)[0].verdict == "UNCLEAR"
    assert (among_others.verdict, among_others.percent) == ("SLOWER", 30)


def test_a_calibration_of_another_program_does_not_go_on(tmp_path: Path) -> None:
    head = calibrate._begin(tmp_path / "out", "python -m bench calibrate", [])
    assert calibrate._begin(tmp_path / "out", "python -m bench calibrate", []).seed == head.seed
    path = tmp_path / "out" / calibration.HEAD_FILE
    path.write_text(path.read_text().replace('"python": "', '"python": "0.'))
    with pytest.raises(InvalidInput, match="another program or machine"):
        calibrate._begin(tmp_path / "out", "python -m bench calibrate", [])


def test_a_lean_that_lasts_shows_as_correlation() -> None:
    random = np.random.default_rng(0)
    independent = random.normal(size=(300, 9))
    drifting = independent + random.normal(size=(300, 1))
    assert lag_correlation(independent.tolist()) == pytest.approx(0.0, abs=0.05)
    assert lag_correlation(drifting.tolist()) == pytest.approx(0.5, abs=0.05)
    assert lag_correlation([[0.0, 0.0]]) == 0.0


@pytest.mark.thorough
def test_a_batch_in_which_a_worker_fails_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = workers.TEMPLATE.replace("return self.answer", "return self.answer * np.float32(1.1)")
    monkeypatch.setattr(workers, "TEMPLATE", broken)
    monkeypatch.setattr(workers, "PAIRS_A_TABLE", 1)
    monkeypatch.setattr(workers, "PLANTED", ())
    with pytest.raises(calibrate.WorkerFailed, match=r"pair0-[ab] is invalid"):
        calibrate.measure_batch(0, [], "quiet", 1, "", calibration.read_begun(tmp_path), id)


def test_a_batch_that_was_appended_again_is_refused(tmp_path: Path) -> None:
    lines = [
        msgspec.json.encode(Batch(comparisons=[comparison(0, 1.0, batch=number)], elapsed_s=1.0)) + b"\n"
        for number in range(2)
    ]
    (tmp_path / calibration.COMPARISONS_FILE).write_bytes(b"".join(lines))
    assert len(calibration.read_batches(tmp_path)) == 2
    (tmp_path / calibration.COMPARISONS_FILE).write_bytes(b"".join([*lines, lines[1]]))
    with pytest.raises(InvalidInput, match=r"comparisons\.jsonl:3: is batch 1, and not batch 2; remove it$"):
        calibration.read_batches(tmp_path)


def test_a_damaged_calibration_is_one_line(tmp_path: Path) -> None:
    calibrate._begin(tmp_path / "out", "python -m bench calibrate", [])
    (tmp_path / "out" / calibration.COMPARISONS_FILE).write_text("{}\n")
    with pytest.raises(InvalidInput, match=r"comparisons.jsonl:1: is no result"):
        calibration.read_batches(tmp_path / "out")
    (tmp_path / "out" / calibration.HEAD_FILE).write_text("{}")
    with pytest.raises(InvalidInput, match="is no result"):
        calibration.read_head(tmp_path / "out")


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (DiskFull("records.jsonl: the disk is almost full"), 1, "the disk is almost full"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
        (calibrate.WorkerFailed("pair0-a is crashed (SIGSEGV)"), 1, "pair0-a is crashed"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_goes_wrong_costs_its_batch_alone(
    fault: BaseException,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    batches = [
        Batch(comparisons=[comparison(0, 1.0, batch=number), comparison(3, 1.03, batch=number)], elapsed_s=0.0)
        for number in range(3)
    ]
    outcomes = iter([batches[0], fault, *batches[1:]])

    def measure(*_: object) -> Batch:
        outcome = next(outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(calibrate, "measure_batch", measure)
    monkeypatch.setattr(report, "REPLAYS", 10)
    out = tmp_path / "out"
    out.mkdir()  # as where one was ended before it had begun
    arguments = {"pairs": 3, "budget_s": 60.0, "out": out, "command": "python -m bench calibrate"}
    assert calibrate.calibrate(**arguments) == code
    said = capsys.readouterr()
    again = re.escape(here.command("calibrate", "--out", str(out)))
    assert re.search(rf"{words}.*; batches complete, and saved: 1; go on with: {again}\n", said.err)
    assert "How often the verdicts err" in said.out and (out / calibration.TABLE_FILE).exists()
    assert calibrate.calibrate(**arguments) == 0
    assert calibration.read_batches(out) == batches


def _block(number: int) -> Block:
    return Block(
        block=number, started_at="", elapsed_s=10.0 * number, records=2, product_s=[1.0], load=None, steal=None
    )


def test_of_a_broken_off_table_whole_blocks_count(tmp_path: Path) -> None:
    cell = workers.entry(_row("a")).cells[0]

    def record(number: int) -> Record:
        return msgspec.structs.replace(without_time(cell, "ok", "", block=number), samples_s=[1.0])

    group = {"workload": cell.workload, "task": "forward", "device": "cpu", "threads": 1}
    effort = Effort(**group, turns=9, before=5, turn_sd=0.1, process_sd=0.1, round_s=1.0, around_s=1.0)
    said = VerdictChange(cell=cell, block=2, verdict="SAME", elapsed_s=1.0)
    whole = [record(1), _block(1), effort, record(2), _block(2), said]
    path = tmp_path / RECORDS_FILE
    for lines, kept in (
        ([], []),
        ([record(1)], []),
        (whole[:2], whole[:2]),
        ([*whole, record(3)], whole),
        ([*whole, Memory(cell=cell, block=2, status="ok"), without_time(cell, "invalid", "", block=2)], whole),
    ):
        path.write_bytes(b"".join(map(record_line, lines)) + b'{"type":"blo')
        found = calibration.read_begun(tmp_path)
        assert found.lines == kept
    assert (found.ends_s, found.elapsed_s) == ((10.0, 30.0), 30.0)
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(InvalidInput, match=r"records\.jsonl:1: is no result of this program"):
        calibration.read_begun(tmp_path)


def test_an_interrupted_table_goes_on_from_its_last_whole_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "PAIRS_A_TABLE", 1)
    monkeypatch.setattr(workers, "PLANTED", ())
    monkeypatch.setattr(calibrate, "SURROUNDINGS", ("quiet",))
    monkeypatch.setattr(workers, "UNITS", 20)
    monkeypatch.setattr(report, "REPLAYS", 10)
    measured: list[int] = []
    breaks_off = [3]

    def measure(plan: Plan, problems: dict[str, ProblemFile], folder: Path, listener: Listener, **named: object) -> str:
        def kept(new: Sequence[Line]) -> None:
            listener.kept(new)
            for line in new:
                if isinstance(line, Record):
                    measured.append(line.block)
                    if line.block in breaks_off:
                        breaks_off.clear()
                        raise KeyboardInterrupt

        return run_plan(plan, problems, folder, Listener(kept=kept), **named)

    monkeypatch.setattr(calibrate, "run_plan", measure)
    out = tmp_path / "out"
    arguments = {"pairs": 1, "budget_s": 300.0, "out": out, "command": "python -m bench calibrate"}
    assert calibrate.calibrate(**arguments) == 130
    said = capsys.readouterr()
    assert "interrupted; batches complete, and saved: 0, and 2 blocks of the next; go on with: " in said.err
    had = workers.sides_of(workers.Pair("pair0-a", "pair0-b"), calibration.read_begun(out / ".batch-0").records)
    assert measured[-1] == 3
    measured.clear()
    assert calibrate.calibrate(**arguments) == 0
    assert (
        "0 of 1 pairs; batch 0, quiet, on from block 3; the first such batch is measured whatever time"
        in capsys.readouterr().err
    )
    assert measured[:2] == [3, 3], "none of the whole blocks, and all of the one that was broken off"
    (batch,) = calibration.read_batches(out)
    (saved,) = batch.comparisons
    assert len(had.ours_s) == 2
    assert (saved.sides.ours_s[:2], saved.sides.theirs_s[:2]) == (had.ours_s, had.theirs_s)
    assert len(saved.sides.ours_s) == max(measured)
    assert not list(out.glob(".batch-*"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"holds notes\.txt, and no calibration"):
        calibrate._begin(tmp_path, "python -m bench calibrate", [])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("words", [["--pairs", "0"], ["--pairs", "many"], ["--budget", "soon"], ["--budget", "0m"]])
def test_bad_words_are_one_line_and_exit_code_2(words: list[str], tmp_path: Path) -> None:
    done = bench("calibrate", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_accuracy_is_the_spread_of_identical_workers() -> None:
    pairs = [workers.Pair(f"{index}-a", f"{index}-b") for index in range(PAIRS)]
    lines: list[Line] = []
    for block in range(1, BLOCKS + 1):
        for pair in pairs:
            for name, seconds in ((pair.ours, 1.01), (pair.theirs, 1.0)):
                record = without_time(workers.entry(_row(name)).cells[0], "ok", "", block=block)
                lines.append(msgspec.structs.replace(record, samples_s=[seconds] * 3))
        lines.append(
            Block(block=block, started_at="", elapsed_s=1.0, records=1, product_s=[1.0, 1.0], load=None, steal=None)
        )
    accuracy = accuracy_of(pairs, lines, 1.0)
    assert accuracy.turns_sd == pytest.approx(np.log(1.01))
    assert accuracy.product_spread == 0.0
    assert accuracy.contended == 0
