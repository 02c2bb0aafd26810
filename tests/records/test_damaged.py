"""What is no result is refused in one line, whatever its bytes are."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recorded import BLOCK, END, RUN, cell, head, memory, record, write

from bench.records.schema import Record
from bench.records.store import read_result, record_line
from impls.contract import InvalidInput


def head_of(**fields: object) -> Callable[[Path], object]:
    """A change of the environment in the run's head."""
    return head(environment=json.loads(msgspec.json.encode(RUN.environment)) | fields)


def head_is(data: bytes) -> Callable[[Path], object]:
    """A head that is something else."""
    return lambda folder: (folder / "run.json").write_bytes(data)


def line(**fields: object) -> Callable[[Path], object]:
    """A first line that has other values or fields."""
    return line_is(json.dumps(json.loads(record_line(record())) | fields).encode())


def line_is(data: bytes) -> Callable[[Path], object]:
    """A first line that is something else, before a good one."""
    return lambda folder: (folder / "records.jsonl").write_bytes(data + b"\n" + record_line(record()))


class Clever:
    """What would leave a mark if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, ("ran",)


NO_CONFIG = {
    "embedding_dim": 1,
    "hidden_dim": 0,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "bidirectional": False,
}


NO_RESULT = r"run\.json: is no result of this program, or damaged"


NO_LINE = r"records\.jsonl:1: is no result of this program, or damaged"


BAD_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda folder: (folder / "run.json").unlink(), "holds no result"),
    "no records": (lambda folder: (folder / "records.jsonl").unlink(), "holds no result"),
    "newer": (head(schema_version=99), "schema version 99, this program reads up to 4; update it"),
    "older": (head(schema_version=1), "schema version 1, this program reads from 2 on; measure again"),
    "foreign": (head_is(b'{"benchmarks": []}'), NO_RESULT),
    "a field too many": (head(extra=1), NO_RESULT),
    "not JSON": (head_is(b"hello"), NO_RESULT),
    "nothing": (head_is(b""), NO_RESULT),
    "binary": (head_is(b"\xff\xfe\x00"), NO_RESULT),
    "a pickle": (head_is(pickle.dumps(Clever())), NO_RESULT),
    "nested deeply": (head_is(b'{"schema_version":2,"x":' + b"[" * 200_000), NO_RESULT),
    "a huge version": (head_is(b'{"schema_version":' + b"9" * 10_000 + b"}"), NO_RESULT),
    "a line of another form": (line_is(b'{"status": "ok"}'), NO_LINE),
    "a line of an unknown kind": (line(type="verdict"), NO_LINE),
    "an unknown status": (line(status="great"), NO_LINE),
    "an unknown field": (line(median_s=1.0), NO_LINE),
    "a name that reaches for Python": (line(__reduce__=["os.mkdir", "ran"]), NO_LINE),
    "a name that moves the cursor": (line(**{"a\n\x1b[2J": 1}), NO_LINE),
    "a line that is a pickle": (line_is(pickle.dumps(Clever(), protocol=0)), NO_LINE),
    "a line that is nested deeply": (line_is(b'{"type":"cell","reason":' + b"[" * 200_000), NO_LINE),
    "not a number": (line(samples_s=[float("nan")]), NO_LINE),
    "an infinite number": (line_is(b'{"type":"end","why":"disk","elapsed_s":1e999}'), NO_LINE),
    "a huge number": (line_is(b'{"type":"end","why":"disk","elapsed_s":' + b"9" * 10_000 + b"}"), NO_LINE),
    "half a character": (line_is(b'{"type":"end","why":"\\ud800","elapsed_s":1}'), NO_LINE),
    "a time of zero": (line(samples_s=[0.0]), f"{NO_LINE}.*above zero"),
    "a time below zero": (line(samples_s=[-1.0]), f"{NO_LINE}.*above zero"),
    "ok without a time": (line(samples_s=[]), f"{NO_LINE}.*must be there"),
    "a square product of zero": (line(squares_s=[0.0], square_size=9), f"{NO_LINE}.*square products"),
    "a square product of no size": (line(squares_s=[1.0]), f"{NO_LINE}.*square products"),
    "words that steer a terminal": (line(reason="\x1b[2J"), f"{NO_LINE}.*control characters"),
    "words that steer one in a byte": (line_is(record_line(record(reason="x")).replace(b"x", b"\xc2\x9b")), NO_LINE),
    "a name that steers a terminal": (line(cell=cell("\b")), f"{NO_LINE}.*control characters"),
    "a machine that climbs out": (head_of(machine="../../x"), NO_RESULT),
    "a day that is none": (head(started_at="2026-02-31T12:00:00+00:00"), NO_RESULT),
    "a day in words": (head(started_at="yesterday"), NO_RESULT),
    "a configuration that is none": (
        head(workloads={"seed": {"shape": "E 1", "sequences": 1, "source": "x", "config": NO_CONFIG}}),
        f"{NO_RESULT}.*hidden_dim must be a whole number of at least 1",
    ),
    "no sequences": (head(workloads={"seed": {"shape": "E 1", "sequences": 0, "source": "x"}}), NO_RESULT),
    "an unknown workload": (line(cell=cell(workload="none")), f"{NO_LINE}.*'none' is not among the run's workloads"),
    "an empty line": (line_is(b""), NO_LINE),
    "an old Macintosh's line": (line_is(record_line(record())[:-1] + b"\r{"), NO_LINE),
}


@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_what_is_no_result_is_refused_in_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage, words = BAD_FOLDERS[what]
    damage(write(tmp_path / "result", record()))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=words) as caught:
        read_result(tmp_path / "result")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_line_that_is_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    write(tmp_path, record(), BLOCK, record("jax/scan"))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"elapsed_s"', b'"elapsed_\x00"'))
    with pytest.raises(InvalidInput, match=r"records\.jsonl:2: is no result of this program, or damaged"):
        read_result(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder"):
        read_result(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_result(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["run.json", "records.jsonl"])
def test_a_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, record())
    real = Path.read_bytes

    def locked(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", locked)  # who tests as root may read everything
    with pytest.raises(InvalidInput, match=r"cannot be read.*Permission denied"):
        read_result(tmp_path)


def read_or_refuse(run_json: bytes, records_jsonl: bytes) -> None:
    """Read what the two files hold: a result, or one line that says why not."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "run.json").write_bytes(run_json)
        (Path(folder) / "records.jsonl").write_bytes(records_jsonl)
        try:
            read_result(Path(folder))
        except InvalidInput as caught:
            assert str(caught).isprintable()


HEAD = msgspec.json.encode(RUN)


LINES = b"".join(map(record_line, (record(), memory(), BLOCK, record(status="invalid", samples_s=[]), END)))


@given(data=st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refuse(data, LINES)
    read_or_refuse(HEAD, data)
    read_or_refuse(HEAD, LINES + data + b"\n")


PIECES = st.binary(max_size=8) | st.sampled_from(
    [
        b"[" * 5000,
        b'{"a":' * 5000,
        b"NaN",
        b"-1",
        b"1e999",
        b"9" * 5000,
        b"\\ud800",
        b"null",
        b"\r",
        b"\n",
        b'"',
        b"\xff",
    ]
)


@given(where=st.integers(0, len(HEAD)), length=st.integers(0, 20), piece=PIECES)
def test_any_change_of_a_head_is_read_or_refused(where: int, length: int, piece: bytes) -> None:
    read_or_refuse(HEAD[:where] + piece + HEAD[where + length :], LINES)


@given(where=st.integers(0, len(LINES)), length=st.integers(0, 20), piece=PIECES)
def test_any_change_of_a_line_is_read_or_refused(where: int, length: int, piece: bytes) -> None:
    read_or_refuse(HEAD, LINES[:where] + piece + LINES[where + length :])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(name=st.sampled_from(Record.__struct_fields__) | st.text(), value=JSON)
def test_any_value_of_a_field_is_read_or_refused(name: str, value: object) -> None:
    changed = json.loads(record_line(record())) | {name: value}
    read_or_refuse(HEAD, json.dumps(changed).encode("utf-8", "replace") + b"\n")
