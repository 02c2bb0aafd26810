"""``bench calibrate``: how often the verdicts err, measured with the pipeline that gives them.

Pairs of identical workers, and of workers that differ by a planted amount of work, go through the same tables, turns,
blocks and stopping rule as the rows of a run, on the machine as it is and with a noisy neighbour on its processors.
No two comparisons of identical workers share a process. What the blocks gave is then replayed, drawn again thousands of
times, for rates that a few hundred comparisons cannot show.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

import msgspec
from rich.console import Console

from bench.calibration import report, synthetic, twins
from bench.calibration.calibration import (
    COMPARISONS_FILE,
    HEAD_FILE,
    SCHEMA_VERSION,
    SURROUNDINGS,
    TABLE_FILE,
    Batch,
    Begun,
    Comparison,
    Head,
    Surroundings,
    pairs_of,
    read_batches,
    read_begun,
    read_head,
)
from bench.calibration.neighbour import noisy
from bench.calibration.synthetic import Pair
from bench.here import as_typed
from bench.machine.describe import describe
from bench.measure.lock import only_run
from bench.measure.messages import ProblemFile
from bench.measure.plan import BUDGETS, PRESETS, Plan
from bench.measure.runner import DiskFull, Listener, run_plan
from bench.measure.worker_environment import entries_that_fit
from bench.records.atomic import write_whole
from bench.records.schema import SAME_PROGRAM, Block, Environment, Group, Line, Record
from bench.records.store import RECORDS_FILE, drop_half_written, record_line
from bench.units import duration
from bench.workloads.shapes import choose
from impls import HERE, Row
from impls.contract import InvalidInput

TWINS_BUDGET = replace(BUDGETS["default"], max_blocks=8, total_s=float("inf"), measures_memory=False)
"""As many blocks as a default run has time for, about."""

PAIRS_A_TABLE = 8
PLANTED = (1, 2, 3, 5, 10)
"""Per cent of extra work, each held against a worker of a pair of its own."""

Done = Callable[[Block], object]
"""Hears of each block that is done."""


class WorkerFailed(Exception):
    """A batch says nothing: a synthetic worker has no time, or no row has."""


def calibrate(*, pairs: int, budget_s: float, out: Path, command: str, rows: Sequence[Row] = ()) -> int:
    """Measure until there are so many pairs of identical workers, or the time is spent; write what they say.

    ``rows``: whose twins they are, on the default workloads; synthetic workers if none are given.

    Exit code 0; 1 where the machine or a worker failed, 130 where interrupted: complete batches are saved then, and the
    whole blocks of the next. The same command goes on in that folder.

    Raises:
        InvalidInput: the folder holds something else, or was made by another program or on another machine, or there
            are more rows than memory has room for.
    """
    began = time.monotonic()
    stderr = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    names = {name for one in twins.twins_of(rows) for name in (one.pair.ours, one.pair.theirs)}
    if names and len(names) > (room := entries_that_fit(choose([], "default", "cpu"), "cpu")):
        raise InvalidInput(f"--rows: {len(names)} workers share one pool, and memory has room for {room}; name fewer")

    def done(block: Block) -> None:
        stderr.print(f"{duration(time.monotonic() - began)}: block {block.block} is done, {block.records} records")

    with only_run(f"bench calibrate into {out.name}") as mark:
        head = _begin(out, command, [row.name for row in rows])
        batches = read_batches(out)
        for number in range(len(batches)):  # of one that was killed before it was gone
            shutil.rmtree(_folder(out, number), ignore_errors=True)
        kinds = SURROUNDINGS if not rows else SURROUNDINGS[:1]
        stopped, code = "", 0
        try:
            for number in count(len(batches)):
                have, surroundings = sum(map(pairs_of, batches)), kinds[number % len(kinds)]
                left_s = budget_s - (time.monotonic() - began)
                alike = batches[number % len(kinds) :: len(kinds)]
                begun = read_begun(_folder(out, number))
                if (have >= pairs and alike) or (alike and alike[-1].elapsed_s - begun.elapsed_s > left_s):
                    break
                on = f", on from block {len(begun.ends_s) + 1}" if begun.ends_s else ""
                anyhow = "" if alike else "; the first such batch is measured whatever time it takes"
                stderr.print(f"{have} of {pairs} pairs; batch {number}, {surroundings}{on}{anyhow}")
                begun.folder.mkdir(exist_ok=True)
                if rows:
                    batch = measure_twins(number, rows, head.seed, mark, begun, done)
                else:
                    batch = measure_batch(number, surroundings, head.seed, mark, begun, done)
                with (out / COMPARISONS_FILE).open("ab") as file:
                    file.write(msgspec.json.encode(batch) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                batches.append(batch)
                for words in batch.failed:
                    stderr.print(f"left out of batch {number}: {words}")
                shutil.rmtree(begun.folder, ignore_errors=True)
        except KeyboardInterrupt:
            stopped, code = "interrupted", 130
        except WorkerFailed as error:
            stopped, code = f"{error}", 1
            shutil.rmtree(begun.folder, ignore_errors=True)  # it would fail again
        except OSError as error:  # a full disk, no more processes, and the like
            stopped, code = f"{error if isinstance(error, DiskFull) else error.strerror}", 1
        if not stopped and (have := sum(map(pairs_of, batches))) < pairs:
            stopped = f"the time is spent; {have} of {pairs} pairs"
        if batches:
            text = report.markdown(head, batches)
            try:
                write_whole(out / TABLE_FILE, text.encode())
            except OSError as error:
                stopped, code = stopped or f"the table cannot be written ({error.strerror})", code or 1
            print(text)
    if stopped:
        again = as_typed(shlex.join([*shlex.split(command), "--out", str(out)]))
        blocks = len(read_begun(_folder(out, len(batches))).ends_s)
        saved = f"{len(batches)}{f', and {blocks} blocks of the next' if blocks else ''}"
        stderr.print(f"{stopped}; batches complete, and saved: {saved}; go on with: {again}")
    stderr.print(f"result: {out}, {duration(time.monotonic() - began)}")
    return code


def _folder(out: Path, number: int) -> Path:
    """Where a table is measured; hidden, and gone once its batch is saved."""
    return (out / f".batch-{number}").absolute()  # workers run in another folder than the person


def _begin(out: Path, command: str, rows: Sequence[str]) -> Head:
    """The head of the calibration in the folder: what it has, or a new one."""
    environment = describe()

    def program(of: Environment) -> list[object]:
        # rows and workers have no code of their own in the head: all of it is that of the commit
        return [getattr(of, name) for name in (*SAME_PROGRAM, "git_commit", "git_dirty")]

    if (out / HEAD_FILE).exists():
        head = read_head(out)
        if list(head.rows) != list(rows):
            raise InvalidInput(f"--out {out}: was begun with other rows; name the same, or choose another folder")
        if program(head.environment) != program(environment):
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


def _go_on(
    begun: Begun, plan: Plan, problems: Mapping[str, ProblemFile], pairs: Sequence[Pair], mark: str, done: Done
) -> Begun:
    """The table once each pair has its verdict, or all its blocks.

    Raises:
        DiskFull: a record cannot be written.
        OSError: the folder cannot be written.
    """
    lines = list(begun.lines)

    def saved(new: Sequence[Line]) -> None:
        lines.extend(new)
        for line in new:
            if isinstance(line, Block):
                done(line)

    write_whole(begun.folder / RECORDS_FILE, b"".join(map(record_line, begun.lines)))
    due = synthetic.undecided_pairs(pairs)
    run_plan(plan, problems, begun.folder, Listener(kept=saved), mark=mark, known=begun.lines, next_block=due)
    return Begun(begun.folder, lines)


def measure_batch(number: int, surroundings: Surroundings, seed: int, mark: str, begun: Begun, done: Done) -> Batch:
    """One table of synthetic workers: pairs of identical ones, and one of each planted slow-down."""
    began = time.monotonic()
    pairs = [Pair(f"pair{index}-a", f"pair{index}-b") for index in range(PAIRS_A_TABLE)]
    pairs += [Pair(f"plus{percent}", pair.ours, percent) for pair, percent in zip(pairs, PLANTED, strict=False)]
    names = {name: 0 for pair in pairs for name in (pair.ours, pair.theirs)} | {one.ours: one.percent for one in pairs}
    rows = [synthetic.write_worker(begun.folder, name, percent) for name, percent in names.items()]
    with noisy(seed + number, mark) if surroundings == "neighbour" else nullcontext():
        plan, problems = synthetic.plan_of(rows, seed + number), synthetic.pose(begun.folder)
        table = _go_on(begun, plan, problems, pairs, mark, done)
    if wrong := [record for record in table.records if not record.ok]:
        raise WorkerFailed(_failure(wrong[0]))
    return Batch(
        comparisons=[comparison_of(pair, table.records, number, surroundings) for pair in pairs],
        elapsed_s=begun.elapsed_s + time.monotonic() - began,
    )


def measure_twins(number: int, rows: Sequence[Row], seed: int, mark: str, begun: Begun, done: Done) -> Batch:
    """One table of rows, each several times, on the default workloads. A pair of which one fails is left out there."""
    began, pairs = time.monotonic(), twins.twins_of(rows)
    workloads, tasks = choose([], "default", "cpu"), PRESETS["default"]
    longer = {
        (row.name, percent): twins.write_longer(begun.folder, row, percent, HERE)
        for row in rows
        for percent in twins.PLANTED
    }
    problems = synthetic.pose(begun.folder, workloads, tasks)
    plan = twins.plan_of(rows, longer, workloads, tasks, TWINS_BUDGET, seed + number)
    table = _go_on(begun, plan, problems, [one.pair for one in pairs], mark, done)
    failed = [f"{_failure(one)} at {one.cell.workload} {one.cell.task}" for one in table.records if not one.ok]
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in table.records:
        groups[record.cell.group].append(record)
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
        if synthetic.works(one.pair, own)
    ]
    if not any(one.percent == 0 for one in comparisons):
        raise WorkerFailed(failed[0])
    elapsed_s = begun.elapsed_s + time.monotonic() - began
    return Batch(comparisons=comparisons, elapsed_s=elapsed_s, ends_s=table.ends_s, failed=tuple(failed))


def _failure(record: Record) -> str:
    return f"{record.cell.implementation} is {record.status} ({record.reason})"


def comparison_of(pair: Pair, records: Sequence[Record], number: int, surroundings: Surroundings) -> Comparison:
    """What a batch has of a pair, as far as the pair itself went: others may have gone on with one of its workers."""
    sides = synthetic.sides_of(pair, records)
    return Comparison(batch=number, surroundings=surroundings, percent=pair.percent, sides=sides)
