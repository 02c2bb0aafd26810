"""After trainings their rows take turns at steps: which they lack, and where those stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from support.frameworks import need
from support.trained import history, turns, write_trainings

from bench.records.schema import CONTROL
from bench.train import turns as taking
from bench.train.run import TrainRequest, read_head
from bench.train.turns import read_turns, take_turns
from bench.workloads.task import Task
from impls.training import find_trainable

if TYPE_CHECKING:
    from pathlib import Path

    from bench.measure.request import Request

ROWS = ("thinc/tuned", "thinc/layers")


def request(folder: Path) -> TrainRequest:
    need("thinc")
    head, known = read_head(write_trainings(folder, [history(row, 0, 3000) for row in ROWS])), find_trainable()
    return TrainRequest(head, tuple(known[row] for row in ROWS), folder, Task([]), None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be run, or gone on with."""
    found: list[Any] = []
    monkeypatch.setattr(taking, "run", lambda request, _: found.append(request) or "run")
    monkeypatch.setattr(taking, "check_resume", lambda options: options)
    monkeypatch.setattr(taking, "go_on", lambda options, _: found.append(options) or "goes on")
    return found


def test_rows_that_have_taken_none_take_all(tmp_path: Path, asked: list[Request]) -> None:
    assert take_turns(request(tmp_path), math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    (own,) = asked
    assert sorted(row.name for row in own.rows) == sorted(ROWS) and own.out == tmp_path / "turns"
    assert [one.name for one in own.workloads] == ["letters"] and own.tasks == ("learn_step",)
    assert own.threads == (1,) and own.budget.total_s == 1200


def test_the_time_that_is_left_is_their_budget(tmp_path: Path, asked: list[Request]) -> None:
    take_turns(request(tmp_path), 90.7, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert asked[0].budget.total_s == 90


def test_rows_that_have_taken_theirs_lack_none(tmp_path: Path, asked: list[Request]) -> None:
    own = request(tmp_path)
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns")
    assert take_turns(own, math.inf, lambda *_: None) is None and not asked  # type: ignore[arg-type, return-value]


def test_turns_that_were_cut_short_go_on(tmp_path: Path, asked: list[Any]) -> None:
    own = request(tmp_path)
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns")
    records = tmp_path / "turns" / "records.jsonl"
    records.write_bytes(b"".join(records.read_bytes().splitlines(keepends=True)[:-1]))
    assert take_turns(own, 60.0, lambda *_: None) == "goes on"  # type: ignore[arg-type, return-value]
    assert asked[0].resume == tmp_path / "turns" and asked[0].budget == "60s"


def test_turns_that_are_too_few_for_verdicts_go_on_and_those_in_which_a_row_failed_do_not(
    tmp_path: Path, asked: list[Any]
) -> None:
    own, place = request(tmp_path), tmp_path / "turns"
    turns(dict.fromkeys(ROWS, 0.1), place, blocks=2)
    assert take_turns(own, math.inf, lambda *_: None) == "goes on"  # type: ignore[arg-type, return-value]
    records = place / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"ok"', b'"crashed"', 1))
    assert take_turns(own, math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    assert asked[1].out == tmp_path / "turns-2"


def test_turns_of_other_rows_are_none_of_theirs(tmp_path: Path, asked: list[Request]) -> None:
    own = request(tmp_path)
    turns({"thinc/tuned": 0.1, "torch/tuned": 0.2}, tmp_path / "turns")
    assert read_turns(tmp_path, frozenset(ROWS)) is None
    assert take_turns(own, math.inf, lambda *_: None) == "run"  # type: ignore[arg-type, return-value]
    assert asked[0].out == tmp_path / "turns-2"
    turns(dict.fromkeys(ROWS, 0.1), tmp_path / "turns-2")
    found = read_turns(tmp_path, frozenset(ROWS))
    assert found is not None and found.path == tmp_path / "turns-2"
    assert {record.cell.implementation for record in found.records} == {*ROWS, CONTROL}
