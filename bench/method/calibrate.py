"""``bench calibrate``: how often the verdicts err, measured with the pipeline that gives them.

Pairs of identical workers, and of workers that differ by a planted amount of work, go through the same tables, turns,
blocks and stopping rule as the rows of a run, on the machine as it is and with a noisy neighbour on its processors.
Each comparison has processes of its own. What the blocks gave is then replayed, drawn anew thousands of times, for
rates that a few hundred comparisons cannot show.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import msgspec
from rich.console import Console

from bench.environment import describe
from bench.lock import only_run
from bench.machine import facts_for_record, read_facts
from bench.method import arms
from bench.method.neighbour import noisy
from bench.records import Environment, Record, Struct, decode, drop_half_written
from bench.report.units import duration
from bench.runner import Listener, run_plan
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Line

HEAD_FILE = "calibration.json"
COMPARISONS_FILE = "comparisons.jsonl"
TABLE_FILE = "calibration.md"
SCHEMA_VERSION = 1

PAIRS_A_TABLE = 8
PLANTED = (1, 2, 3, 5, 10)
"""Per cent of extra work, each held against the first identical arm of its table."""

Surroundings = Literal["quiet", "neighbour"]
SURROUNDINGS: tuple[Surroundings, ...] = ("quiet", "neighbour")


class Head(Struct, frozen=True, kw_only=True):
    """What was calibrated, when and where."""

    schema_version: int
    started_at: str
    command: str
    seed: int
    environment: Environment


class Comparison(Struct, frozen=True, kw_only=True):
    """Two workers held against each other in fresh processes, block after block, until there was a verdict."""

    batch: int
    surroundings: Surroundings
    percent: int
    """How much more work ours did."""
    sides: arms.Sides


class Batch(Struct, frozen=True, kw_only=True, tag_field="type", tag="batch"):
    """One table of arms, and how long it took."""

    comparisons: list[Comparison]
    elapsed_s: float


def calibrate(*, pairs: int, budget_s: float, out: Path) -> int:
    """Measure until there are so many comparisons of identical workers, or the time is spent; write what they say.

    Exit code 0, or 130 where interrupted: the batches that are complete are kept, and the same command goes on.

    Raises:
        InvalidInput: the folder holds something else, or was made by another program or on another machine.
    """
    from bench.report import calibration  # draws on scipy, which this command may well wait for

    began = time.monotonic()
    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    with only_run(f"bench calibrate into {out.name}") as mark:
        head = _begin(out, f"python -m bench calibrate --pairs {pairs}")
        batches = read_batches(out)
        interrupted = False
        try:
            for number in count(len(batches)):
                have = sum(one.percent == 0 for batch in batches for one in batch.comparisons)
                left_s = budget_s - (time.monotonic() - began)
                alike = [batch.elapsed_s for index, batch in enumerate(batches) if (number - index) % 2 == 0]
                if have >= pairs or (alike and alike[-1] > left_s):
                    break
                surroundings = SURROUNDINGS[number % len(SURROUNDINGS)]
                stderr.print(f"{have} of {pairs} comparisons; batch {number}, {surroundings}")
                batch = measure_batch(number, surroundings, head.seed, mark)
                with (out / COMPARISONS_FILE).open("ab") as file:
                    file.write(msgspec.json.encode(batch) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                batches.append(batch)
        except KeyboardInterrupt:
            interrupted = True
    text = calibration.markdown(head, batches)
    (out / TABLE_FILE).write_text(text, encoding="utf-8")
    print(text)
    stderr.print(
        f"{'interrupted; the same command goes on' if interrupted else 'result'}: {out}, "
        f"{duration(time.monotonic() - began)}"
    )
    return 130 if interrupted else 0


def _begin(out: Path, command: str) -> Head:
    """The head of the calibration in the folder: what it has, or a new one."""
    environment = msgspec.structs.replace(describe(), facts=facts_for_record(read_facts()))
    if (out / HEAD_FILE).exists():
        head = read_head(out)
        if _comparable(head.environment) != _comparable(environment):
            raise InvalidInput(f"--out {out}: was begun with another program or machine; choose another folder")
        drop_half_written(out, COMPARISONS_FILE)
        return head
    head = Head(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        seed=int(time.time()),
        environment=environment,
    )
    try:
        out.mkdir(parents=True)
        (out / COMPARISONS_FILE).touch()
        (out / HEAD_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(head), indent=2) + b"\n")
    except OSError as error:
        raise InvalidInput(f"--out {out}: cannot be written ({error.strerror})") from None
    return head


def _comparable(environment: Environment) -> tuple[object, ...]:
    return environment.machine, environment.python, environment.versions, environment.git_commit


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
    """The complete batches of the calibration in a folder.

    Raises:
        InvalidInput: a line is damaged.
    """
    path = folder / COMPARISONS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    return [decode(line, Batch, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.endswith(b"\n")]


def measure_batch(number: int, surroundings: Surroundings, seed: int, mark: str) -> Batch:
    """One table of arms: pairs of identical ones, and one of each planted slow-down."""
    began = time.monotonic()
    pairs = [arms.Pair(f"pair{index}-a", f"pair{index}-b") for index in range(PAIRS_A_TABLE)]
    planted = [arms.Pair(f"plus{percent}", pairs[0].ours, percent) for percent in PLANTED]
    with TemporaryDirectory(prefix="calibration-") as folder:
        rows = [
            arms.write_arm(Path(folder), name, percent)
            for name, percent in (
                *((name, 0) for pair in pairs for name in (pair.ours, pair.theirs)),
                *((pair.ours, pair.percent) for pair in planted),
            )
        ]
        lines: list[Line] = []
        with noisy(seed + number, mark) if surroundings == "neighbour" else nullcontext():
            run_plan(
                arms.plan_of(rows, seed + number),
                arms.pose(Path(folder)),
                Path(folder),
                Listener(kept=lines.extend),
                mark=mark,
                next_block=arms.undecided_pairs([*pairs, *planted]),
            )
    records = [line for line in lines if isinstance(line, Record)]
    return Batch(
        comparisons=[comparison_of(pair, records, number, surroundings) for pair in (*pairs, *planted)],
        elapsed_s=time.monotonic() - began,
    )


def comparison_of(pair: arms.Pair, records: Sequence[Record], number: int, surroundings: Surroundings) -> Comparison:
    """What a batch has of a pair, as far as the pair itself went: others may have gone on with one of its arms."""
    sides = arms.sides_of(pair, records)
    return Comparison(batch=number, surroundings=surroundings, percent=pair.percent, sides=sides)
