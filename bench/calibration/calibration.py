"""What a calibration has measured, and how it is read."""

from __future__ import annotations

import lzma
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

from bench.calibration.simulate import said_in_groups
from bench.calibration.synthetic import Sides
from bench.calibration.twins import Processor
from bench.records.schema import Environment, Struct
from bench.records.store import decode
from impls.contract import InvalidInput, Task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


HEAD_FILE = "calibration.json"
COMPARISONS_FILE = "comparisons.jsonl"
PACKED_FILE = "comparisons.jsonl.xz"
"""The same, as it is published: a fifth of the size."""

TABLE_FILE = "calibration.md"
SCHEMA_VERSION = 1

Surroundings = Literal["quiet", "neighbour"]
SURROUNDINGS: tuple[Surroundings, ...] = ("quiet", "neighbour")


class Head(Struct, frozen=True, kw_only=True):
    """What was calibrated, when and where."""

    schema_version: int
    started_at: str
    command: str
    seed: int
    environment: Environment
    rows: tuple[str, ...] = ()
    """The rows that were held against themselves; none where there were arms."""


class Comparison(Struct, frozen=True, kw_only=True):
    """Two workers held against each other in fresh processes, block after block, until there was a verdict."""

    batch: int
    surroundings: Surroundings
    percent: int
    """How much more work ours did."""
    sides: Sides
    row: str | None = None
    """Which row both were, where they were no arms."""
    workload: str | None = None
    task: Task | None = None
    processor: Processor | None = None
    """What they took of the processor."""

    @property
    def group(self) -> str:
        """What they took turns on: nothing that has a name, if they were arms."""
        return f"{self.workload} {self.task}" if self.workload else ""


class Batch(Struct, frozen=True, kw_only=True, tag_field="type", tag="batch"):
    """One table of arms, or of rows, and how long it took."""

    comparisons: list[Comparison]
    elapsed_s: float
    ends_s: tuple[float, ...] = ()
    """When each block ended, since the batch began."""
    failed: tuple[str, ...] = ()
    """Rows that have no time somewhere, and why: no comparison there."""


class Told(NamedTuple):
    """A comparison, its first verdict that is not UNCLEAR, and after how many blocks that came."""

    comparison: Comparison
    verdict: str
    blocks: int

    @property
    def percent(self) -> int:
        """How much more work ours did."""
        return self.comparison.percent

    @property
    def surroundings(self) -> Surroundings:
        """What went on beside it."""
        return self.comparison.surroundings

    @property
    def sides(self) -> Sides:
        """What was measured."""
        return self.comparison.sides


def read_head(folder: Path) -> Head:
    """The head of the calibration in a folder.

    Raises:
        InvalidInput: there is none, or it is damaged, or of another version of this program.
    """
    path = folder / HEAD_FILE
    try:
        head: Head = decode(path.read_bytes(), Head, f"{path}")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from None
    if head.schema_version != SCHEMA_VERSION:
        raise InvalidInput(f"{path}: schema version {head.schema_version}, this program reads {SCHEMA_VERSION}")
    return head


def read_batches(folder: Path) -> list[Batch]:
    """The complete batches of the calibration in a folder, as it was measured or as it is published.

    Raises:
        InvalidInput: a line, or the packed file, is damaged, or a batch stands where another has to be.
    """
    path, packed = folder / COMPARISONS_FILE, folder / PACKED_FILE
    try:
        data = lzma.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    except (OSError, lzma.LZMAError) as error:
        raise InvalidInput(f"{folder}: its comparisons cannot be read ({error})") from None
    whole = [line for line in data.splitlines(keepends=True) if line.endswith(b"\n")]
    batches: list[Batch] = [decode(line, Batch, f"{path}:{number}") for number, line in enumerate(whole, 1)]
    for number, batch in enumerate(batches):
        if strange := {one.batch for one in batch.comparisons} - {number}:
            raise InvalidInput(f"{path}:{number + 1}: is batch {strange.pop()}, and not batch {number}; remove it")
    return batches


def pairs_of(batch: Batch) -> int:
    """How many pairs of identical workers a batch has: in each group the same, but where one has failed."""
    return max(Counter(one.group for one in batch.comparisons if one.percent == 0).values(), default=0)


def told_of(batches: Sequence[Batch]) -> list[Told]:
    """The verdict of each comparison, with what the others of its batch say of its variance."""
    told = []
    for batch in batches:
        groups: dict[str, list[Comparison]] = defaultdict(list)
        for one in batch.comparisons:
            groups[one.group].append(one)
        series = [[one.sides.log_ratios for one in group] for group in groups.values()]
        for group, said in zip(groups.values(), said_in_groups(series), strict=True):
            told += [Told(one, *own) for one, own in zip(group, said, strict=True)]
    return told
