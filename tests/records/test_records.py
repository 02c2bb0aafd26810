"""The file format: what is written comes back, and what is not ours is refused in one line and runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import ask, one_line
from support.recorded import BLOCK, END, RUN, cell, memory, record, write

from bench.records.schema import (
    Block,
    Cell,
    End,
    Flag,
    Line,
    Memory,
    Record,
    Status,
)
from bench.records.store import drop_half_written, read_result, record_line
from bench.report.words import about_end
from impls.contract import TASKS, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"))
COUNTS = st.integers(0, 2**40)
SECONDS = st.floats(1e-9, 1e6)
CELLS = st.builds(
    Cell,
    **{
        "implementation": TEXTS,
        "framework": TEXTS,
        "tier": TEXTS,
        "workload": st.sampled_from(list(RUN.workloads)),
        "task": st.sampled_from(TASKS),
        "device": st.sampled_from(["cpu", "gpu"]),
        "precision": st.sampled_from(["float32", "tf32"]),
        "threads": st.integers(1, 512),
    },
)
RECORDS = st.builds(
    Record,
    cell=CELLS,
    block=COUNTS,
    pool=COUNTS,
    attempt=COUNTS,
    status=st.sampled_from(get_args(Status)),
    reason=st.none() | TEXTS,
    samples_s=st.lists(SECONDS, min_size=1),
    calls=st.none() | COUNTS,
    compile_s=st.none() | SECONDS,
    max_relative_error=st.none() | st.floats(0, 1e300),
    flags=st.lists(st.sampled_from(get_args(Flag))),
    processors=st.lists(COUNTS),
    hash_seed=st.none() | COUNTS,
    square_size=st.integers(1, 2**20),
    squares_s=st.lists(SECONDS),
)
MEMORIES = st.builds(
    Memory,
    cell=CELLS,
    status=st.sampled_from(get_args(Status)),
    reason=st.none() | TEXTS,
    peak_bytes=st.none() | COUNTS,
)
BLOCKS = st.builds(
    Block,
    block=COUNTS,
    started_at=TEXTS,
    elapsed_s=SECONDS,
    product_s=st.lists(SECONDS),
    load=st.none() | SECONDS,
    steal=st.none() | st.floats(0, 1),
)
ENDS = st.builds(
    End, why=st.sampled_from(["decided", "budget", "blocks", "interrupted", "disk"]), elapsed_s=st.floats(0, 1e9)
)


def key(line: Line) -> str:
    """What is there once: a cell in an attempt, or a line that is like no other."""
    if isinstance(line, Record):
        return f"{line.cell!r} {line.block} {line.pool} {line.attempt}"
    return f"{line.cell!r}" if isinstance(line, Memory) else f"{line}"


@given(lines=st.lists(RECORDS | MEMORIES | BLOCKS | ENDS, max_size=8, unique_by=key))
def test_a_result_comes_back_as_it_was_written(lines: list[Line]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = read_result(write(Path(folder), *lines))
    for kind, found in ((Record, result.records), (Memory, result.memory), (Block, result.blocks), (End, result.ends)):
        assert found == [line for line in lines if isinstance(line, kind)]
    assert result.run == RUN
    assert not result.half_written


@given(lines=st.lists(RECORDS | MEMORIES, max_size=4, unique_by=key))
@pytest.mark.parametrize("version", [2, 3])
def test_a_result_in_which_cells_were_not_nested_is_read_as_well(version: int, lines: list[Line]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nested = read_result(write(Path(folder), *lines, run=msgspec.structs.replace(RUN, schema_version=4)))
        flat = [json.loads(record_line(one)) for one in lines]
        (Path(folder) / "records.jsonl").write_text("".join(json.dumps(one | one.pop("cell")) + "\n" for one in flat))
        head(schema_version=version)(Path(folder))
        found = read_result(Path(folder))
    assert (found.records, found.memory) == (nested.records, nested.memory)


@given(line=RECORDS | MEMORIES | BLOCKS | ENDS)
def test_what_happened_is_one_line(line: Line) -> None:
    assert record_line(line).count(b"\n") == 1
    assert record_line(line).endswith(b"\n")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("\x1b[2Jgone\x00\x07\x08\x0c\r\x7f\x85\x9b31m", "?[2Jgone????????31m"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        (r"a literal \x1b, \u001b and \\u001b", r"a literal \x1b, \u001b and \\u001b"),
        ("\\\x1b", "\\?"),
        ("ä ü 漢 é \xa0", "ä ü 漢 é \xa0"),
    ],
)
def test_what_would_steer_a_terminal_is_not_written(words: str, kept: str, tmp_path: Path) -> None:
    (found,) = read_result(write(tmp_path, record(status="error", samples_s=[], reason=words))).records
    assert found.reason == kept


def test_a_part_that_was_killed_took_what_its_blocks_did(tmp_path: Path) -> None:
    blocks = [msgspec.structs.replace(BLOCK, elapsed_s=100.0, block=number) for number in range(1, 9)]
    assert read_result(write(tmp_path / "a", record(), *blocks, End(why="budget", elapsed_s=12.0))).elapsed_s == 800
    ends = [End(why="interrupted", elapsed_s=500.0), End(why="budget", elapsed_s=700.0)]
    assert read_result(write(tmp_path / "b", record(), *blocks, *ends)).elapsed_s == 1200


@pytest.mark.parametrize(
    ("line", "again", "what"),
    [
        (record(), record(samples_s=[0.5]), r"torch/module seed forward, block 1, pool 0, attempt 0"),
        (record(), record(status="crashed", samples_s=[]), r"torch/module seed forward, block 1, pool 0, attempt 0"),
        (memory(), memory(peak_bytes=1), r"peak memory of torch/module seed forward"),
        (BLOCK, BLOCK, r"the machine in block 1"),
        (END, END, r"an end"),
    ],
)
def test_what_was_appended_again_is_refused(line: Line, again: Line, what: str, tmp_path: Path) -> None:
    folder = write(tmp_path, record("jax/scan"), line, memory("jax/scan"), again, END if line is not END else BLOCK)
    words = rf"records\.jsonl:4: says what line 2 has said \({what}\); remove one of them$"
    one_line(ask("table", str(folder)), words)


def test_what_is_measured_again_is_no_repetition(tmp_path: Path) -> None:
    lines = [
        record(),
        *(record(**{name: 2}) for name in ("block", "pool", "attempt", "threads")),
        *(record(**{name: other}) for name, other in (("task", "encode"), ("workload", "g2p"), ("device", "gpu"))),
        record(precision="bfloat16"),
        record("torch/module@2.9.1"),
        memory(),
        memory(task="encode"),
        BLOCK,
        msgspec.structs.replace(BLOCK, elapsed_s=3.25),  # the rest of a block that was cut, see `test_plan`
        END,
        End(why="interrupted", elapsed_s=1.5),
        End(why="interrupted", elapsed_s=2.5),
    ]
    result = read_result(write(tmp_path, *lines))
    assert [*result.records, *result.memory, *result.blocks, *result.ends] == lines


def test_each_line_says_what_it_is() -> None:
    kinds = [json.loads(record_line(line))["type"] for line in (record(), memory(), BLOCK, END)]
    assert kinds == ["cell", "memory", "block", "end"]


@pytest.mark.parametrize(
    ("ends", "whole"),
    [
        ([], False),
        ([END], True),
        ([End(why="interrupted", elapsed_s=1.0)], False),
        ([End(why="disk", elapsed_s=1.0)], False),
        ([End(why="interrupted", elapsed_s=1.0), End(why="budget", elapsed_s=2.0)], True),
    ],
)
def test_a_result_is_whole_when_its_last_part_went_to_its_own_end(ends: list[End], whole: bool, tmp_path: Path) -> None:
    assert read_result(write(tmp_path, record(), *ends)).whole is whole


@pytest.mark.parametrize("data", [record_line(record(block=2)), record_line(record(block=2))[:40], record_line(BLOCK)])
def test_a_continuation_that_was_killed_is_not_whole_though_the_part_before_it_was(data: bytes, tmp_path: Path) -> None:
    folder = write(tmp_path, record(), End(why="budget", elapsed_s=2.0))
    assert read_result(folder).whole
    with (folder / "records.jsonl").open("ab") as file:
        file.write(data)
    result = read_result(folder)
    assert not result.whole
    assert "not whole: it was cut short, `python -m bench run --resume RESULT` goes on" in about_end(result)


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_half_written_last_line_is_left_out(cut: int, tmp_path: Path) -> None:
    write(tmp_path, record(), record("jax/scan"))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    result = read_result(tmp_path)
    assert [own.cell.implementation for own in result.records] == ["torch/module"]
    assert result.half_written


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_half_written_line_is_cut_off_before_more_is_appended(cut: int, tmp_path: Path) -> None:
    write(tmp_path, record(), BLOCK, record("jax/scan"))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[: -cut or None])
    drop_half_written(tmp_path)
    with path.open("ab") as file:
        file.write(record_line(record("thinc/layers")))
    result = read_result(tmp_path)
    names = ["torch/module", *(["jax/scan"] if not cut else []), "thinc/layers"]
    assert [own.cell.implementation for own in result.records] == names
    assert not result.half_written


def test_a_file_of_nothing_but_half_a_line_is_empty(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "records.jsonl").write_bytes(record_line(record())[:30])
    drop_half_written(tmp_path)
    assert (tmp_path / "records.jsonl").read_bytes() == b""
    assert read_result(tmp_path).records == []


def head(**fields: object) -> Callable[[Path], object]:
    """A change of the run's head."""

    def change(folder: Path) -> None:
        (folder / "run.json").write_text(json.dumps(json.loads((folder / "run.json").read_text()) | fields))

    return change


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
