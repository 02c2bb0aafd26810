"""The only place that knows the file format of a result.

A result is a folder: ``run.json`` (what was asked, of what machine) and ``records.jsonl`` (one line a cell, raw samples
included). Derived numbers are never stored with the raw ones. Everything read passes through the schema below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from impls.contract import Device, InvalidInput, Task

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
RECORDS_FILE = "records.jsonl"

Status = Literal["ok", "unsupported", "unavailable", "invalid", "error", "crashed", "timeout", "out_of_memory"]
FAILURES: frozenset[str] = frozenset({"invalid", "error", "crashed", "timeout", "out_of_memory"})
"""What a row is to blame for; ``unsupported`` is declared, ``unavailable`` is the machine's."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is read and written as JSON."""


class Cell(Struct, frozen=True, kw_only=True):
    """Implementation x workload x task x device x precision x threads."""

    implementation: str
    framework: str
    tier: str
    workload: str
    task: Task
    device: Device
    threads: int
    precision: Literal["float32"] = "float32"


class Record(Cell, frozen=True, kw_only=True):
    """What a worker reports of one cell."""

    status: Status
    reason: str | None = None
    samples_s: list[float] = []
    """Seconds a call, one number a sample; a sample is the mean of ``iterations`` calls."""
    iterations: int | None = None
    import_s: float | None = None
    """Loading the row's file, its framework included."""
    build_s: float | None = None
    """Making the model and loading its weights, until the device has them."""
    first_call_s: float | None = None
    """The first call, everything included."""
    compile_s: float | None = None
    """First call less second call, for a row that compiles."""
    warmup_calls: int | None = None
    max_relative_error: float | None = None
    """The worst quantity, before and after timing, against the float64 oracle."""
    cpu_per_wall: float | None = None
    """Processor seconds a second while sampling: how many threads really worked."""
    started_at: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a time."""
        return self.status == "ok"


class Environment(Struct, frozen=True, kw_only=True):
    """The machine and its software."""

    machine: str
    """Short name of the processor and how many of it may be used."""
    cpu: str
    cores: int
    """Processors that this process may use."""
    memory_bytes: int
    os: str
    python: str
    versions: dict[str, str]
    gpus: list[str]
    git_commit: str | None
    git_dirty: bool


class WorkloadFacts(Struct, frozen=True, kw_only=True):
    """What a reader of the table wants to know of a workload."""

    shape: str
    sequences: int
    """How many sequences one sample passes over."""
    source: str


class Run(Struct, frozen=True, kw_only=True):
    """What was asked, when, of what machine."""

    schema_version: int
    started_at: str
    command: str
    preset: str
    baseline: str
    seed: int
    cells: int
    """How many records it has when it is whole."""
    environment: Environment
    workloads: dict[str, WorkloadFacts]


@dataclass(frozen=True, slots=True)
class Result:
    """A result folder, read."""

    path: Path
    run: Run
    records: list[Record]
    half_written: bool = False
    """Whether the run was cut short in the middle of a record, which is left out."""


def start_result(run: Run, folder: Path) -> None:
    """Write the head of a result, and a file of no records yet."""
    (folder / RECORDS_FILE).touch()
    (folder / RUN_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def record_line(record: Record) -> bytes:
    """The record as one line."""
    return msgspec.json.encode(record) + b"\n"


def read_result(folder: Path) -> Result:
    """The result in a folder.

    Raises:
        InvalidInput: there is no such folder, it holds no result, or the result is damaged, foreign or newer.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    head = folder / RUN_FILE
    if not head.is_file() or not (folder / RECORDS_FILE).is_file():
        raise InvalidInput(f"{folder}: holds no result (a result has {RUN_FILE} and {RECORDS_FILE})")
    version = _decode(head.read_bytes(), _Versioned, f"{head}").schema_version
    if version > SCHEMA_VERSION:
        raise InvalidInput(f"{head}: schema version {version}, this program reads up to {SCHEMA_VERSION}; update it")
    run = _decode(head.read_bytes(), Run, f"{head}")
    records: list[Record] = []
    for number, line in enumerate((folder / RECORDS_FILE).read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            return Result(folder, run, records, half_written=True)
        records.append(_decode(line, Record, f"{folder / RECORDS_FILE}:{number}"))
    return Result(folder, run, records)


class _Versioned(msgspec.Struct):
    schema_version: int


T = TypeVar("T")


def _decode(data: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{where}: is no result of this program, or damaged ({error})") from None
