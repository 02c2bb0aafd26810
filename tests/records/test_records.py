"""The file format: what is written comes back, and what is not ours is refused in one line and runs nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import ask, one_line
from support.recorded import BLOCK, END, RUN, head, memory, record, write

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
from impls.contract import TASKS

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
