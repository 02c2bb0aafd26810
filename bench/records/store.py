"""The only place that knows the files of a result."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from bench.here import shown
from bench.records.atomic import write_atomic
from bench.records.schema import Block, Cell, Effort, End, Line, Memory, Record, Result, Run, Struct, VerdictChange
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

Kind = TypeVar("Kind")

SCHEMA_VERSION = 4

OLDEST_READ = 2
"""Its results had fewer kinds of lines, and all that they have means the same."""

NESTED = 4
"""Before this version a line had its cell's fields among its own."""


RUN_FILE = "run.json"
RECORDS_FILE = "records.jsonl"


def start_result(run: Run, folder: Path) -> None:
    """Write the head of a result, and a file of no records yet; both are on the disk then, and the head is whole."""
    (folder / RECORDS_FILE).touch()
    write_atomic(folder / RUN_FILE, head_text(run))


def head_text(head: Struct) -> bytes:
    """What stands in ``run.json``, or in the head of another thing."""
    return msgspec.json.format(_encoded(head), indent=2) + b"\n"


def record_line(line: Struct) -> bytes:
    """What happened, as one line."""
    return _encoded(line) + b"\n"


CONTROL_CHARACTER = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\(?:[bfr]|u00(?:[01][0-9a-fA-F]|7[fF]|[89][0-9a-fA-F]))|\x7f|\xc2[\x80-\x9f]"
)
"""What would steer a terminal, in JSON: all but newline and tab. A row's exception may have it, a result has not."""

MAY_BE_CONTROL = (b"\\", b"\x7f", b"\xc2")
"""Without any of these there is none, and hardly a line has one: to look for them is fast."""


def _encoded(value: Struct) -> bytes:
    return CONTROL_CHARACTER.sub(rb"\1?", msgspec.json.encode(value))


def read_result(folder: Path) -> Result:
    """The result in a folder.

    Raises:
        InvalidInput: there is no such folder, it holds no result, or the result is damaged, foreign, older or newer.
    """
    head, lines = _files(folder)
    version = decode(head, _Versioned, f"{folder / RUN_FILE}").schema_version
    if not OLDEST_READ <= version <= SCHEMA_VERSION:
        newer = f"up to {SCHEMA_VERSION}; update it"
        older = f"from {OLDEST_READ} on; measure again"
        words = f"schema version {version}, this program reads {newer if version > SCHEMA_VERSION else older}"
        raise InvalidInput(f"{folder / RUN_FILE}: {words}")
    result = Result(folder, decode(head, Run, f"{folder / RUN_FILE}"), [])
    try:
        datetime.fromisoformat(result.run.started_at)
    except ValueError as error:
        raise _damaged(f"{folder / RUN_FILE}", f"{error}") from None
    lists: dict[type[Line], list[Any]] = {
        Record: result.records,
        Memory: result.memory,
        Block: result.blocks,
        Effort: result.efforts,
        VerdictChange: result.said,
        End: result.ends,
    }
    records = f"{folder / RECORDS_FILE}"
    *whole, last = lines.split(b"\n")
    numbers: dict[object, int] = {}
    said: Line | None = None
    for number, line in enumerate(whole, 1):
        where = f"{records}:{number}"
        said = decode(line if version >= NESTED else _nested(line), Line, where)
        if (first := numbers.setdefault(_only_once(said), number)) != number:
            raise InvalidInput(f"{where}: says what line {first} has said ({_in_words(said)}); remove one of them")
        fault = fault_of(said) if isinstance(said, Record) else None
        if isinstance(said, Record | Memory | VerdictChange) and said.cell.workload not in result.run.workloads:
            fault = f"{said.cell.workload!r} is not among the run's workloads"
        if fault:
            raise _damaged(where, fault)
        lists[type(said)].append(said)
    return replace(result, half_written=bool(last), cut_short=bool(last) or not isinstance(said, End))


def _damaged(where: str, why: str) -> InvalidInput:
    return InvalidInput(f"{where}: is no result of this program, or damaged ({why})")


def _nested(line: bytes) -> bytes:
    """A line in which the cell's fields stand among its own, with the cell as one of them."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return line  # what is wrong with it is said where it is decoded
    if not isinstance(fields, dict) or fields.get("type") not in ("cell", "memory", "said"):
        return line
    cell = {name: fields.pop(name) for name in Cell.__struct_fields__ if name in fields}
    return msgspec.json.encode(fields | {"cell": cell})


def _only_once(line: Line) -> object:
    """What no two lines of a result have in common, however often it was ended and went on.

    A block may have several lines, each about a part of it; but no two parts that took the same time.
    """
    match line:
        case Record():
            return line.cell, line.block, line.pool, line.attempt
        case Memory():
            return line.cell, line.block
        case _:
            return record_line(line)


def _in_words(line: Line) -> str:
    match line:
        case Record():
            return f"{line.cell}, block {line.block}, pool {line.pool}, attempt {line.attempt}"
        case Memory():
            return f"peak memory of {line.cell}"
        case Block():
            return f"the machine in block {line.block}"
        case Effort():
            return f"the turns of {line.workload} {line.task}"
        case VerdictChange():
            return f"a verdict on {line.cell}"
        case End():
            return "an end"


def drop_half_written(folder: Path, name: str = RECORDS_FILE) -> None:
    """Cut a half-written last line off, so that what is appended stands on a line of its own."""
    with (folder / name).open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)


class _Versioned(msgspec.Struct):
    schema_version: int


def read_versioned(path: Path, kind: type[Kind], version: int) -> Kind:
    """What stands in a JSON file that has to be of this schema version.

    Raises:
        InvalidInput: it cannot be read, is something else, or has another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{shown(path)}: cannot be read ({error.strerror})") from None
    found = decode(data, _Versioned, shown(path)).schema_version
    if found != version:
        raise InvalidInput(f"{shown(path)}: schema version {found}, this program reads {version}")
    value: Kind = decode(data, kind, shown(path))
    return value


def _files(folder: Path) -> tuple[bytes, bytes]:
    """What the two files of a result hold."""
    try:
        if not folder.is_dir():
            raise InvalidInput(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
        if not (folder / RUN_FILE).is_file() or not (folder / RECORDS_FILE).is_file():
            raise InvalidInput(f"{folder}: holds no result (a result has {RUN_FILE} and {RECORDS_FILE})")
        return (folder / RUN_FILE).read_bytes(), (folder / RECORDS_FILE).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be read ({error.strerror})") from None


def decode(data: bytes, kind: Any, where: str) -> Any:
    """What stands in the bytes, checked against a schema.

    Raises:
        InvalidInput: it is something else.
    """
    try:
        if any(sign in data for sign in MAY_BE_CONTROL) and CONTROL_CHARACTER.search(data):
            raise msgspec.ValidationError("it has control characters")
        return _decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        words = "".join(letter if letter.isprintable() else "?" for letter in str(error))[:200]
        raise _damaged(where, words) from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)  # made once: it takes longer than to decode a line


def fault_of(record: Record) -> str | None:
    """What makes no sense in a record of the right form, or None."""
    if record.ok and not (record.samples_s and min(record.samples_s) > 0):
        return "samples of a cell that is ok must be there, and above zero"
    if record.squares_s and not (min(record.squares_s) > 0 and (record.square_size or 0) > 0):
        return "square products must have a size and times, above zero"
    return None
