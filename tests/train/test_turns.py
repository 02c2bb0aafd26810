"""After trainings their rows take turns at steps: which they lack, and where those stand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from support.frameworks import need
from support.trained import history, turns, write_trainings

from bench.cli import train as command
from bench.records.schema import CONTROL
from bench.train import turns as taking
from bench.train.checkpoint import write_checkpoint
from bench.train.presets import PRESET
from bench.train.request import HEAD_FILE, TRAININGS_FILE, TrainRequest, read_head
from bench.train.results import read_trainings
from bench.train.turns import read_turns, rows_to_compare, take_turns
from bench.train.worker import Failed, beginning
from bench.workloads.task import Task
from impls.training import find_trainable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.measure.request import Request

ROWS = ("thinc/tuned", "thinc/layers")


def request(folder: Path, rows: Sequence[str] = ROWS) -> TrainRequest:
    need("thinc")
    trained, known = [history(row, 0, 3000) for row in rows], find_trainable()
    head = read_head(write_trainings(folder, trained))
    return TrainRequest(head, tuple(known[row] for row in rows), folder, Task([]), None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be run, or gone on with."""
    found: list[Any] = []
    monkeypatch.setattr(taking, "run", lambda request, _: found.append(request) or "run")
    monkeypatch.setattr(taking, "check_resume", lambda options: options)
    monkeypatch.setattr(taking, "go_on", lambda options, _: found.append(options) or "goes on")
    return found


def test_rows_that_have_taken_none_take_all(tmp_path: Path, asked: list[Request]) -> None:
    assert take_turns(request(tmp_path), ROWS, math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    (own,) = asked
    assert sorted(row.name for row in own.rows) == sorted(ROWS) and own.out == tmp_path / "turns"
    assert [one.name for one in own.workloads] == ["letters"] and own.tasks == ("learn_step",)
    assert own.threads == (1,) and own.budget.total_s == 1200


def test_the_time_that_is_left_is_their_budget(tmp_path: Path, asked: list[Request]) -> None:
    take_turns(request(tmp_path), ROWS, 90.7, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert asked[0].budget.total_s == 90


def test_rows_that_have_taken_theirs_lack_none(tmp_path: Path, asked: list[Request]) -> None:
    own = request(tmp_path)
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns")
    assert take_turns(own, ROWS, math.inf, lambda *_: None) is None and not asked  # type: ignore[arg-type, return-value]


def test_turns_that_were_cut_short_go_on(tmp_path: Path, asked: list[Any]) -> None:
    own = request(tmp_path)
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns")
    records = tmp_path / "turns" / "records.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
    assert take_turns(own, ROWS, 60.0, lambda *_: None) == "goes on"  # type: ignore[arg-type, return-value]
    assert asked[0].resume == tmp_path / "turns" and asked[0].budget == "60s"


def test_turns_that_are_too_few_for_verdicts_go_on_and_those_in_which_a_row_failed_do_not(
    tmp_path: Path, asked: list[Any]
) -> None:
    own, place = request(tmp_path), tmp_path / "turns"
    turns(dict.fromkeys(ROWS, 0.1), place, blocks=2)
    assert take_turns(own, ROWS, math.inf, lambda *_: None) == "goes on"  # type: ignore[arg-type, return-value]
    records = place / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"ok"', b'"crashed"', 1))
    assert take_turns(own, ROWS, math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    assert asked[1].out == tmp_path / "turns-2"


def test_a_training_that_fails_keeps_no_other_from_its_turns(tmp_path: Path) -> None:
    rows = (*ROWS, "thinc/pytorch")
    own = request(tmp_path / "found", rows)
    names = {about.row: about.name for about in own.left}
    assert [*names] == [*rows] and rows_to_compare(own, ()) == []
    for about in own.left[:2]:
        fresh = beginning(about)
        write_checkpoint(replace(fresh, about=msgspec.structs.replace(about, ending="missed")), own.folder)
    assert rows_to_compare(own, ()) == [], "it is still to come"
    assert rows_to_compare(own, {names["thinc/pytorch"]}) == [*ROWS]
    no_turns = replace(own, head=msgspec.structs.replace(own.head, settings=PRESET["stress"]))
    assert rows_to_compare(no_turns, {names["thinc/pytorch"]}) == []
    (own.folder / names["thinc/layers"]).unlink()
    assert rows_to_compare(own, {names["thinc/pytorch"], names["thinc/layers"]}) == [], "one has no other"


def test_turns_stay_where_more_rows_and_seeds_are_to_come(tmp_path: Path) -> None:
    trained = [history(row, 0, 3000) for row in ROWS]
    head = write_trainings(tmp_path, trained, dict.fromkeys(ROWS, 0.1)) / HEAD_FILE
    head.write_bytes(head.read_bytes().replace(b'"seeds": {', b'"seeds": {"torch/tuned": 3, '))
    head.write_bytes(head.read_bytes().replace(b'"thinc/tuned": 1', b'"thinc/tuned": 3'))
    found = read_trainings(tmp_path)
    assert found.head.seeds == {"torch/tuned": 3, "thinc/tuned": 3, "thinc/layers": 1} and found.turns is not None


def test_those_whose_training_ended_take_turns_and_the_command_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = request(tmp_path)
    (own.folder / TRAININGS_FILE).unlink()
    more = replace(own, head=msgspec.structs.replace(own.head, seeds=own.head.seeds | {"thinc/pytorch": 1}))
    more = replace(more, rows=(*own.rows, find_trainable()["thinc/pytorch"]))
    seen: list[Any] = []

    def carry_out(given: TrainRequest, watching: Any) -> None:
        for _, about in given.trainings:
            if about.row in ROWS:
                fresh = beginning(msgspec.structs.replace(about, ending="missed"))
                write_checkpoint(fresh, given.folder)
            else:
                watching.hears(about, Failed("crashed", "it did"))

    def turned(_request: TrainRequest, rows: list[str], *_: object) -> None:
        seen.append(rows)

    monkeypatch.setattr(command, "check_resume", lambda *_: more)
    monkeypatch.setattr(command, "carry_out", carry_out)
    monkeypatch.setattr(command, "take_turns", turned)
    assert command.train(resume=own.folder) == 1 and seen == [[*ROWS]]


def test_turns_of_other_rows_are_none_of_theirs(tmp_path: Path, asked: list[Request]) -> None:
    own = request(tmp_path)
    turns({"thinc/tuned": 0.1, "torch/tuned": 0.2}, tmp_path / "turns")
    assert read_turns(tmp_path, ROWS) is None
    assert take_turns(own, ROWS, math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    assert asked[0].out == tmp_path / "turns-2"
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns-2")
    found = read_turns(tmp_path, ROWS)
    assert found is not None and found.path == tmp_path / "turns-2"
    assert {record.cell.implementation for record in found.records} == {*ROWS, CONTROL}
