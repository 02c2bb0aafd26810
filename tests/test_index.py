"""The index of published results: it reads well, and a thousand runs take seconds once their notes are there."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from test_records import END, RUN, record, write

from bench import index as index_module
from bench import notes
from bench.index import SUMMARY_FILE, Summary, index, page
from bench.notes import recall, source_of
from bench.records import CONTROL, RECORDS_FILE, RUN_FILE, Environment, Line, PlanFacts, Run, start_result
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from bench.index import Indexed

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


def folders_of(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"*/{RUN_FILE}"))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Two runs of one machine, and between them one of another."""
    write(tmp_path / "first", *lines_of(1), run=run_at(1))
    write(tmp_path / "other", *lines_of(2), run=run_at(2, "b-machine-8-cores", "B Machine"))
    write(tmp_path / "second", *lines_of(3), run=run_at(3))
    return tmp_path


def test_machines_stand_apart_and_the_newest_comes_first(three: Path) -> None:
    text = page(index(folders_of(three)), ["method/rule.md"])
    order = [
        text.index(words)
        for words in ("## A Processor, 2 cores", "[second](second/table.md)", "[first](first/table.md)", "## B Machine")
    ]
    assert order == sorted(order)
    assert "On A Processor, for seed inference, jax/scan is 2.00 times as fast as torch/module" in text
    assert "| [second](second/table.md) | 2026-01-04 | cpu | default | 4 | 6 | 2 of 2 |" in text
    assert "On the method itself: [rule](method/rule.md)." in text


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The results whose records are read from now on."""
    read: list[str] = []
    real = index_module.read_result

    def watched(folder: Path) -> object:
        read.append(folder.name)
        return real(folder)

    monkeypatch.setattr(index_module, "read_result", watched)
    return read


def summaries(indexed: list[Indexed]) -> dict[str, Summary]:
    return {one.path.name: one.summary for one in indexed}


def test_notes_spare_the_reading_and_say_the_same(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = index(folders_of(three), remember=False)
    assert not list(three.rglob(".*")), "who trusts no notes leaves none"
    first = index(folders_of(three))
    read = counted(monkeypatch)
    assert index(folders_of(three)) == first == fresh
    assert read == []


def test_one_byte_of_a_record_makes_its_line_anew_and_the_next_ones_comparison(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = summaries(index(folders_of(three)))
    path = three / "first" / RECORDS_FILE
    path.write_bytes(path.read_bytes().replace(b'"block":6', b'"block":7', 1))
    read = counted(monkeypatch)
    after = summaries(index(folders_of(three)))
    assert sorted(read) == ["first", "first", "second"]  # itself; and the next beside it
    assert (before["first"].blocks, after["first"].blocks) == (6, 7)
    assert after["other"] == before["other"]
    assert before["second"].since and after["second"].since
    assert after["second"].since.before == after["first"].source != before["second"].since.before


FAULTS = {
    "damaged": b"{",
    "empty": b"",
    "foreign": b'{"type":"made","source":"0","files":{}}',
    "another's": b'{"type":"summary","source":"0"}',
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_note_that_is_of_no_use_is_made_anew(what: str, three: Path) -> None:
    before = index(folders_of(three))
    (three / "first" / SUMMARY_FILE).write_bytes(FAULTS[what])
    assert index(folders_of(three)) == before
    source = source_of([three / "first" / RUN_FILE, three / "first" / RECORDS_FILE])
    assert recall(three / "first" / SUMMARY_FILE, Summary, source) == before[0].summary


def test_a_note_of_another_program_is_stale(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(folders_of(three))
    monkeypatch.setattr(notes, "program", lambda: "another")
    read = counted(monkeypatch)
    index(folders_of(three))
    assert {*read} == {"first", "second", "other"}


def test_where_no_note_can_be_written_the_work_is_done_again(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in folders_of(three):
        (folder / f".{SUMMARY_FILE}.new").mkdir()  # root may write everywhere, but not a file in a folder's place
    first = index(folders_of(three))
    assert not list(three.rglob(SUMMARY_FILE))
    assert index(folders_of(three)) == first


def test_a_folder_whose_records_are_gone_is_named(three: Path) -> None:
    folders = folders_of(three)
    (three / "other" / RECORDS_FILE).unlink()
    with pytest.raises(InvalidInput, match=r"other/records\.jsonl: cannot be read \(No such file"):
        index(folders)


RUNS, CELLS = 1_000, 200
ROWS = [f"torch/row{number}" for number in range(18)] + ["torch/module", CONTROL]
PLACES = [(workload, task) for workload in "abcde" for task in ("forward", "train_step")]


@pytest.mark.thorough
def test_a_thousand_runs_of_two_hundred_cells_are_indexed_in_ten_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first runs are indexed for the first time; the notes of the rest are written as those would have been."""
    rng = np.random.default_rng(0)
    workloads = dict.fromkeys("abcde", RUN.workloads["seed"])
    plan: PlanFacts = msgspec.structs.replace(RUN.plan, tables=[ROWS])
    lines: list[Line] = [
        record(row, block=block, workload=workload, task=task, samples_s=(0.01 * rng.lognormal(0, 0.02, 9)).tolist())
        for block in range(1, 7)
        for workload, task in PLACES
        for row in ROWS
    ]

    def run_of(number: int) -> Run:
        machine = number % 20
        began = run_at(number // 20, f"machine{machine}-2-cores", f"Machine {machine}")
        return msgspec.structs.replace(began, workloads=workloads, plan=plan)

    seen = write(tmp_path / "0000", *lines, END, run=run_of(0))
    for number in range(1, RUNS):
        folder = tmp_path / f"{number:04d}"
        folder.mkdir()
        start_result(run_of(number), folder)
        (folder / RECORDS_FILE).unlink()
        (folder / RECORDS_FILE).hardlink_to(seen / RECORDS_FILE)
    folders = folders_of(tmp_path)

    known = [folders[0], folders[20]]  # the first two runs of one machine
    began = time.monotonic()
    first, second = (one.summary for one in index(known))
    cold_s = (time.monotonic() - began) / 2
    assert first.cells == CELLS and first.blocks == 6 and second.since is not None
    sources = [source_of([folder / RUN_FILE, folder / RECORDS_FILE]) for folder in folders]
    for number, (folder, source) in enumerate(zip(folders, sources, strict=True)):
        run = run_of(number)
        own = {"machine": run.environment.machine, "cpu": run.environment.cpu, "started_at": run.started_at}
        own |= {"comparable": index_module.comparable_with(run), "source": source}
        own |= {"weight": (*first.weight[:-1], datetime.fromisoformat(run.started_at).timestamp())}
        own |= {"said": first.said.replace("Machine 0", run.environment.cpu)}
        since = msgspec.structs.replace(second.since, before=sources[number - 20]) if number >= 20 else None
        summary = msgspec.structs.replace(first, **own, since=since)
        (folder / SUMMARY_FILE).write_bytes(msgspec.json.encode(summary))

    read = counted(monkeypatch)
    began = time.monotonic()
    text = page(index(folders), [])
    warm_s = time.monotonic() - began
    assert len(read) == 0, "each note is taken as it is"
    assert text.count("/table.md)") == RUNS and text.count("\n## Machine ") == 20
    assert warm_s < 10, f"and the first time took {cold_s:.2f} s a run"

    shown = index(folders)[-1].summary
    (folders[-1] / SUMMARY_FILE).unlink()
    assert index(folders)[-1].summary == shown, "what was written for it is what it would have been"


@pytest.mark.parametrize("changed", [None, "page.js", "page.css", "page.html"])
def test_a_note_is_about_the_pages_script_and_style_too(changed: str | None, tmp_path: Path) -> None:
    for path in notes.PAGE.glob("page.*"):
        shutil.copy(path, tmp_path / path.name)
    if changed:
        (tmp_path / changed).write_text("another", encoding="utf-8")
    assert (notes.program(tmp_path) == notes.program()) == (changed is None)
