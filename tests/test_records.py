"""The file format: what is written comes back, and what is not ours is refused in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records import (
    SCHEMA_VERSION,
    Environment,
    Record,
    Run,
    WorkloadFacts,
    read_result,
    record_line,
    start_result,
)
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run(
    schema_version=SCHEMA_VERSION,
    started_at="2026-01-31T12:00:00+00:00",
    command="python -m bench run",
    preset="default",
    baseline="torch/module",
    seed=1,
    cells=2,
    environment=Environment(
        machine="a-processor-2-cores",
        cpu="A Processor",
        cores=2,
        memory_bytes=2**34,
        os="Linux x86_64",
        python="3.11.7",
        versions={"torch": "2.13.0"},
        gpus=[],
        git_commit="0" * 40,
        git_dirty=False,
    ),
    workloads={
        "seed": WorkloadFacts(shape="E 10", sequences=2, source="the notebook"),
        "g2p": WorkloadFacts(shape="E 64", sequences=256, source="words"),
    },
)


def record(implementation: str = "torch/module", **fields: object) -> Record:
    """A record that is ok unless told otherwise."""
    values = {
        "implementation": implementation,
        "framework": implementation.partition("/")[0],
        "tier": "idiomatic",
        "workload": "seed",
        "task": "forward",
        "device": "cpu",
        "threads": 1,
        "status": "ok",
        "samples_s": [0.001, 0.002, 0.003],
        "iterations": 5,
        "max_relative_error": 2e-7,
    }
    return Record(**(values | fields))  # type: ignore[arg-type]


def write(folder: Path, *records: Record, run: Run = RUN) -> Path:
    """A result in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    start_result(run, folder)
    (folder / "records.jsonl").write_bytes(b"".join(map(record_line, records)))
    return folder


@given(samples=st.lists(st.floats(1e-9, 1e3), min_size=1), reason=st.none() | st.text())
def test_a_record_comes_back_as_it_was_written(samples: list[float], reason: str | None) -> None:
    written = record(samples_s=samples, reason=reason)
    line = record_line(written)
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line, type=Record) == written


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    records = [record(), record("jax/scan", status="invalid", reason="h_n is off", samples_s=[])]
    result = read_result(write(tmp_path, *records))
    assert (result.run, result.records) == (RUN, records)


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, record(), record("jax/scan"))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    result = read_result(tmp_path)
    assert [own.implementation for own in result.records] == ["torch/module"]
    assert result.half_written


def damage_version(folder: Path) -> None:
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(head | {"schema_version": 99}))


BAD_FOLDERS = {
    "absent": (lambda folder: (folder / "run.json").unlink(), "holds no result"),
    "no records": (lambda folder: (folder / "records.jsonl").unlink(), "holds no result"),
    "newer": (damage_version, "schema version 99, this program reads up to 1; update it"),
    "foreign": (lambda folder: (folder / "run.json").write_text('{"benchmarks": []}'), "run.json: is no result"),
    "not JSON": (lambda folder: (folder / "run.json").write_text("hello"), "run.json: is no result"),
    "binary": (lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe\x00"), "run.json: is no result"),
    "a line is damaged": (
        lambda folder: (folder / "records.jsonl").write_text('{"status": "ok"}\n'),
        "records.jsonl:1: is no result",
    ),
    "an unknown status": (
        lambda folder: (folder / "records.jsonl").write_bytes(record_line(record()).replace(b'"ok"', b'"great"')),
        "records.jsonl:1: is no result",
    ),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_what_is_no_result_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    damage, words = BAD_FOLDERS[what]
    damage(write(tmp_path, record()))
    with pytest.raises(InvalidInput, match=words) as caught:
        read_result(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder"):
        read_result(tmp_path / "nowhere")
