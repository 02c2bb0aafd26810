"""What a calibration has measured, complete tables and one that was begun, and how it is read."""

from __future__ import annotations

import lzma
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Literal, NamedTuple

from bench.calibration.simulate import at_most, said_in_groups
from bench.calibration.workers import Processor, Sides
from bench.records.schema import Block, Effort, Environment, Line, Record, Struct, VerdictChange
from bench.records.store import RECORDS_FILE, decode, read_versioned
from impls.contract import InvalidInput, Task

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
    """The rows that were held against themselves; none where there were synthetic workers."""


class Comparison(Struct, frozen=True, kw_only=True):
    """Two workers held against each other in fresh processes, block after block, until there was a verdict."""

    batch: int
    surroundings: Surroundings
    percent: int
    """How much more work ours did."""
    sides: Sides
    row: str | None = None
    """Which row both were, where they were not synthetic."""
    workload: str | None = None
    task: Task | None = None
    processor: Processor | None = None
    """What they took of the processor."""

    @property
    def group(self) -> str:
        """What they took turns on: nothing that has a name, if they were synthetic."""
        return f"{self.workload} {self.task}" if self.workload else ""


class Batch(Struct, frozen=True, kw_only=True, tag_field="type", tag="batch"):
    """One table of synthetic workers, or of rows, and how long it took."""

    comparisons: list[Comparison]
    elapsed_s: float
    ends_s: tuple[float, ...] = ()
    """When each block ended, since the batch began."""
    failed: tuple[str, ...] = ()
    """Rows that have no time somewhere, and why: no comparison there."""


class Calibration(NamedTuple):
    """What was calibrated, and what came of it."""

    head: Head
    batches: list[Batch]


class Outcome(NamedTuple):
    """A comparison, the verdict that it reached, and after how many blocks; UNCLEAR if none was reached."""

    comparison: Comparison
    verdict: str
    blocks: int

    @property
    def percent(self) -> int:
        """How much more work ours did."""
        return self.comparison.percent

    @property
    def log_ratios(self) -> list[float]:
        """Of ours over theirs, block by block."""
        return self.comparison.sides.log_ratios


def read(folder: Path) -> Calibration:
    """The calibration in a folder, complete batches alone.

    Raises:
        InvalidInput: there is none, or it is damaged.
    """
    return Calibration(read_head(folder), read_batches(folder))


def read_head(folder: Path) -> Head:
    """The head of the calibration in a folder.

    Raises:
        InvalidInput: there is none, or it is damaged, or of another version of this program.
    """
    return read_versioned(folder / HEAD_FILE, Head, SCHEMA_VERSION)


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


@dataclass(frozen=True, slots=True)
class Begun:
    """The folder that a table is measured in, and the lines of its whole blocks."""

    folder: Path
    lines: list[Line]

    @property
    def records(self) -> list[Record]:
        """What the workers had."""
        return [line for line in self.lines if isinstance(line, Record)]

    @property
    def ends_s(self) -> tuple[float, ...]:
        """When each whole block ended, in seconds of measuring."""
        return tuple(accumulate(line.elapsed_s for line in self.lines if isinstance(line, Block)))

    @property
    def elapsed_s(self) -> float:
        """For how long its blocks were measured."""
        return max(self.ends_s, default=0.0)


def read_begun(folder: Path) -> Begun:
    """What the folder has of a table, without the block that was broken off.

    Raises:
        InvalidInput: it is damaged.
        OSError: it cannot be read.
    """
    path = folder / RECORDS_FILE
    if not path.exists():
        return Begun(folder, [])
    *texts, _ = path.read_bytes().split(b"\n")  # what follows the last end of a line is half written
    lines: list[Line] = [decode(text, Line, f"{path}:{number}") for number, text in enumerate(texts, 1)]
    after = max((number for number, line in enumerate(lines, 1) if isinstance(line, Block)), default=0)
    said = takewhile(lambda line: isinstance(line, Effort | VerdictChange), lines[after:]) if after else ()
    return Begun(folder, [*lines[:after], *said])


def pairs_of(batch: Batch) -> int:
    """How many pairs of identical workers a batch has: in each group the same, but where one has failed."""
    return max(Counter(one.group for one in batch.comparisons if one.percent == 0).values(), default=0)


def outcomes_of(batches: Sequence[Batch]) -> list[Outcome]:
    """What each comparison came to, with what the others of its batch say of its variance."""
    outcomes = []
    for batch in batches:
        groups: dict[str, list[Comparison]] = defaultdict(list)
        for one in batch.comparisons:
            groups[one.group].append(one)
        series = [[one.sides.log_ratios for one in group] for group in groups.values()]
        for group, said in zip(groups.values(), said_in_groups(series), strict=True):
            outcomes += [Outcome(one, *own) for one, own in zip(group, said, strict=True)]
    return outcomes


def identical_of(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The comparisons of identical workers."""
    return [one for one in outcomes if one.percent == 0]


def false_ones(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Identical workers of which one was called faster."""
    return [one for one in identical_of(outcomes) if one.verdict in ("FASTER", "SLOWER")]


def bound(batches: Sequence[Batch]) -> float:
    """The rate of false verdicts a comparison that is not exceeded, at 95 %.

    Each pair is one try, for its comparisons, group by group, share their workers; and each false verdict counts for a
    pair of its own. That is more than whole tables, resampled, say: a pair has as many comparisons as there are groups.
    """
    pairs = sum(map(pairs_of, batches))
    return at_most(min(len(false_ones(outcomes_of(batches))), pairs), pairs)
