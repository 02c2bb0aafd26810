"""``bench calibrate``: how often the verdicts err, measured with the pipeline that gives them.

Pairs of identical workers, and of workers that differ by a planted amount of work, go through the same tables, turns,
blocks and stopping rule as the rows of a run, on the machine as it is and with a noisy neighbour on its processors.
No two comparisons of identical workers share a process. What the blocks gave is then replayed, drawn anew thousands of
times, for rates that a few hundred comparisons cannot show.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from bench import answers
from bench.environment import describe
from bench.here import as_typed
from bench.job import ProblemFile
from bench.judge import group_of
from bench.lock import only_run
from bench.method import arms, calibration_table, twins, twins_table
from bench.method.calibration import (
    COMPARISONS_FILE,
    HEAD_FILE,
    SCHEMA_VERSION,
    SURROUNDINGS,
    TABLE_FILE,
    Batch,
    Comparison,
    Head,
    pairs_of,
    read_batches,
    read_head,
)
from bench.method.neighbour import noisy
from bench.plan import BUDGETS
from bench.records import SAME_PROGRAM, Block, Record, drop_half_written
from bench.report.units import duration
from bench.run import seats_that_fit
from bench.runner import DiskFull, Listener, run_plan
from bench.whole import write_whole
from bench.workloads import PRESETS, choose
from impls import HERE
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.judge import Group
    from bench.method.calibration import Surroundings
    from bench.records import Environment, Line
    from impls import Row

TWINS_BUDGET = replace(BUDGETS["default"], max_blocks=8, total_s=float("inf"), weighs=False)
"""As many blocks as a default run has time for, about."""

PAIRS_A_TABLE = 8
PLANTED = (1, 2, 3, 5, 10)
"""Per cent of extra work, each held against an arm of a pair of its own."""


def calibrate(*, pairs: int, budget_s: float, out: Path, command: str, rows: Sequence[Row] = ()) -> int:
    """Measure until there are so many pairs of identical workers, or the time is spent; write what they say.

    ``rows``: whose twins they are, on the default workloads; arms of counted work if none are given.

    Exit code 0; 1 where the machine or a worker failed, 130 where interrupted: complete batches are kept then, and the
    same command goes on in that folder.

    Raises:
        InvalidInput: the folder holds something else, or was made by another program or on another machine, or there
            are more rows than memory has room for.
    """
    began = time.monotonic()
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    seats = {name for one in twins.twins_of(rows) for name in (one.pair.ours, one.pair.theirs)}
    if seats and len(seats) > (room := seats_that_fit(choose([], "default", "cpu"), "cpu")):
        raise InvalidInput(f"--rows: {len(seats)} workers sit at one table, and memory has room for {room}; name fewer")
    with only_run(f"bench calibrate into {out.name}") as mark:
        head = _begin(out, command, [row.name for row in rows])
        batches = read_batches(out)
        surroundings_of = SURROUNDINGS if not rows else SURROUNDINGS[:1]
        stopped, code = "", 0
        try:
            for number in count(len(batches)):
                have = sum(map(pairs_of, batches))
                left_s = budget_s - (time.monotonic() - began)
                kinds = len(surroundings_of)
                alike = [batch.elapsed_s for index, batch in enumerate(batches) if (number - index) % kinds == 0]
                if (have >= pairs and number >= kinds) or (alike and alike[-1] > left_s):
                    break
                surroundings = surroundings_of[number % kinds]
                stderr.print(f"{have} of {pairs} pairs; batch {number}, {surroundings}")
                if rows:
                    batch = measure_twins(number, rows, head.seed, mark, stderr)
                else:
                    batch = measure_batch(number, surroundings, head.seed, mark)
                with (out / COMPARISONS_FILE).open("ab") as file:
                    file.write(msgspec.json.encode(batch) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                batches.append(batch)
        except KeyboardInterrupt:
            stopped, code = "interrupted", 130
        except WorkerFailed as error:
            stopped, code = f"{error}", 1
        except OSError as error:  # a full disk, no more processes, and the like
            stopped, code = f"{error if isinstance(error, DiskFull) else error.strerror}", 1
        if not stopped and (have := sum(map(pairs_of, batches))) < pairs:
            stopped = f"the time is spent; {have} of {pairs} pairs"
        if batches:
            text = (twins_table if head.rows else calibration_table).markdown(head, batches)
            try:
                write_whole(out / TABLE_FILE, text.encode())
            except OSError as error:
                stopped, code = stopped or f"the table cannot be written ({error.strerror})", code or 1
            print(text)
    if stopped:
        again = as_typed(shlex.join([*shlex.split(command), "--out", str(out)]))
        stderr.print(f"{stopped}; batches complete, and kept: {len(batches)}; go on with: {again}")
    stderr.print(f"result: {out}, {duration(time.monotonic() - began)}")
    return code


class WorkerFailed(Exception):
    """A batch says nothing: an arm has no time, or no row has."""


def _failure(record: Record) -> str:
    return f"{record.implementation} is {record.status} ({record.reason})"


def _begin(out: Path, command: str, rows: Sequence[str]) -> Head:
    """The head of the calibration in the folder: what it has, or a new one."""
    environment = describe()
    if (out / HEAD_FILE).exists():
        head = read_head(out)
        if list(head.rows) != list(rows):
            raise InvalidInput(f"--out {out}: was begun with other rows; name the same, or choose another folder")
        if _comparable(head.environment) != _comparable(environment):
            raise InvalidInput(f"--out {out}: was begun with another program or machine; choose another folder")
        (out / COMPARISONS_FILE).touch()
        drop_half_written(out, COMPARISONS_FILE)
        return head
    head = Head(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command,
        seed=int(time.time()),
        environment=environment,
        rows=tuple(rows),
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if found := next((path for path in out.iterdir() if not path.name.startswith(".")), None):
            raise InvalidInput(f"--out {out}: holds {found.name}, and no calibration; choose another folder")
        write_whole(out / HEAD_FILE, msgspec.json.format(msgspec.json.encode(head), indent=2) + b"\n")
        (out / COMPARISONS_FILE).touch()
    except OSError as error:
        raise InvalidInput(f"--out {out}: cannot be written ({error.strerror})") from None
    return head


def _comparable(environment: Environment) -> tuple[object, ...]:
    return tuple(getattr(environment, name) for name in SAME_PROGRAM)


def measure_batch(number: int, surroundings: Surroundings, seed: int, mark: str) -> Batch:
    """One table of arms: pairs of identical ones, and one of each planted slow-down."""
    began = time.monotonic()
    pairs = [arms.Pair(f"pair{index}-a", f"pair{index}-b") for index in range(PAIRS_A_TABLE)]
    planted = [arms.Pair(f"plus{percent}", pair.ours, percent) for pair, percent in zip(pairs, PLANTED, strict=False)]
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
    if wrong := [record for record in records if not record.ok]:
        raise WorkerFailed(_failure(wrong[0]))
    return Batch(
        comparisons=[comparison_of(pair, records, number, surroundings) for pair in (*pairs, *planted)],
        elapsed_s=time.monotonic() - began,
    )


def measure_twins(number: int, rows: Sequence[Row], seed: int, mark: str, stderr: Console) -> Batch:
    """One table of rows, each several times, on the default workloads. A pair of which one fails is left out there."""
    began = time.monotonic()
    pairs = twins.twins_of(rows)
    workloads, tasks = choose([], "default", "cpu"), PRESETS["default"]
    lines: list[Line] = []
    ends_s: list[float] = []

    def kept(new: Sequence[Line]) -> None:
        lines.extend(new)
        for line in new:
            if isinstance(line, Block):
                ends_s.append(time.monotonic() - began)
                words = f"batch {number}, block {line.block} is done, {line.records} records"
                stderr.print(f"{duration(ends_s[-1])}: {words}")

    with TemporaryDirectory(prefix="calibration-") as name:
        folder = Path(name)
        longer = {
            (row.name, percent): twins.write_longer(folder, row, percent, HERE)
            for row in rows
            for percent in twins.PLANTED
        }
        problems = {}
        for workload in workloads:
            path = folder / f"{workload.name}.safetensors"
            answers.save(answers.pose(workload, tasks), path)
            problems[workload.name] = ProblemFile(workload.config, str(path), answers.sizes_of(workload))
        plan = twins.plan_of(rows, longer, workloads, tasks, TWINS_BUDGET, seed + number)
        run_plan(
            plan,
            problems,
            folder,
            Listener(kept=kept),
            mark=mark,
            next_block=arms.undecided_pairs([one.pair for one in pairs]),
        )
    records = [line for line in lines if isinstance(line, Record)]
    failed = [f"{_failure(one)} at {one.workload} {one.task}" for one in records if not one.ok]
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in records:
        groups[group_of(record)].append(record)
    comparisons = [
        msgspec.structs.replace(
            comparison_of(one.pair, own, number, "quiet"),
            row=one.row,
            workload=group.workload,
            task=group.task,
            processor=twins.processor_of(one.pair, own),
        )
        for group, own in groups.items()
        for one in pairs
        if arms.works(one.pair, own)
    ]
    for words in failed:
        stderr.print(f"left out of batch {number}: {words}")
    if not any(one.percent == 0 for one in comparisons):
        raise WorkerFailed(failed[0])
    return Batch(
        comparisons=comparisons, elapsed_s=time.monotonic() - began, ends_s=tuple(ends_s), failed=tuple(failed)
    )


def comparison_of(pair: arms.Pair, records: Sequence[Record], number: int, surroundings: Surroundings) -> Comparison:
    """What a batch has of a pair, as far as the pair itself went: others may have gone on with one of its arms."""
    sides = arms.sides_of(pair, records)
    return Comparison(batch=number, surroundings=surroundings, percent=pair.percent, sides=sides)
