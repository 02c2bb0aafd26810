"""``bench calibrate``: how often the verdicts err, measured with the pipeline that gives them.

Pairs of identical workers, and of workers that differ by a planted amount of work, go through the same tables, turns,
blocks and stopping rule as the rows of a run, on the machine as it is and with a noisy neighbour on its processors.
No two comparisons of identical workers share a process. What the blocks gave is then replayed, drawn again thousands of
times, for rates that a few hundred comparisons cannot show. For ``bench machine``, a few blocks of them have to do.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from bench.calibration import calibration, report, workers
from bench.calibration.calibration import SURROUNDINGS, Batch, Begun, Comparison, Head, Surroundings, pairs_of
from bench.calibration.neighbour import noisy
from bench.calibration.workers import Pair
from bench.here import as_typed
from bench.machine.describe import describe
from bench.measure.errors import DiskFull
from bench.measure.lock import only_run
from bench.measure.runner import Listener, run_plan
from bench.measure.stopping import next_block
from bench.measure.worker_environment import entries_that_fit
from bench.records.atomic import write_atomic
from bench.records.schema import SAME_PROGRAM, Block, Environment, Group, Line, Record
from bench.records.store import RECORDS_FILE, drop_half_written, head_text, record_line
from bench.report.machine_text import Accuracy
from bench.units import duration
from bench.workloads.shapes import choose
from impls import Row
from impls.contract import InvalidInput

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
    names = {name for pair in workers.twins_of(rows) for name in (pair.ours, pair.theirs)}
    if names and len(names) > (room := entries_that_fit(choose([], "default", "cpu"), "cpu")):
        raise InvalidInput(f"--rows: {len(names)} workers share one pool, and memory has room for {room}; name fewer")

    def done(block: Block) -> None:
        stderr.print(f"{duration(time.monotonic() - began)}: block {block.block} is done, {block.records} records")

    with only_run(f"bench calibrate into {out.name}") as mark:
        head = _begin(out, command, [row.name for row in rows])
        batches = calibration.read_batches(out)
        for number in range(len(batches)):  # of one that was killed before it was gone
            shutil.rmtree(_folder(out, number), ignore_errors=True)
        kinds = SURROUNDINGS if not rows else SURROUNDINGS[:1]
        stopped, code = "", 0
        try:
            for number in count(len(batches)):
                have, surroundings = sum(map(pairs_of, batches)), kinds[number % len(kinds)]
                left_s = budget_s - (time.monotonic() - began)
                alike = batches[number % len(kinds) :: len(kinds)]
                begun = calibration.read_begun(_folder(out, number))
                if (have >= pairs and alike) or (alike and alike[-1].elapsed_s - begun.elapsed_s > left_s):
                    break
                on = f", on from block {len(begun.ends_s) + 1}" if begun.ends_s else ""
                anyhow = "" if alike else "; the first such batch is measured whatever time it takes"
                stderr.print(f"{have} of {pairs} pairs; batch {number}, {surroundings}{on}{anyhow}")
                begun.folder.mkdir(exist_ok=True)
                batch = measure_batch(number, rows, surroundings, head.seed, mark, begun, done)
                with (out / calibration.COMPARISONS_FILE).open("ab") as file:
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
                write_atomic(out / calibration.TABLE_FILE, text.encode())
            except OSError as error:
                stopped, code = stopped or f"the table cannot be written ({error.strerror})", code or 1
            print(text)
    if stopped:
        again = as_typed(shlex.join([*shlex.split(command), "--out", str(out)]))
        blocks = len(calibration.read_begun(_folder(out, len(batches))).ends_s)
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

    if (out / calibration.HEAD_FILE).exists():
        head = calibration.read_head(out)
        if list(head.rows) != list(rows):
            raise InvalidInput(f"--out {out}: was begun with other rows; name the same, or choose another folder")
        if program(head.environment) != program(environment):
            raise InvalidInput(f"--out {out}: was begun with another program or machine; choose another folder")
        (out / calibration.COMPARISONS_FILE).touch()
        drop_half_written(out, calibration.COMPARISONS_FILE)
        return head
    head = Head(
        schema_version=calibration.SCHEMA_VERSION,
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
        write_atomic(out / calibration.HEAD_FILE, head_text(head))
        (out / calibration.COMPARISONS_FILE).touch()
    except OSError as error:
        raise InvalidInput(f"--out {out}: cannot be written ({error.strerror})") from None
    return head


def measure_batch(
    number: int, rows: Sequence[Row], surroundings: Surroundings, seed: int, mark: str, begun: Begun, done: Done
) -> Batch:
    """One table of rows, or of synthetic workers, measured until each pair has its verdict, or all its blocks.

    A pair of rows is left out where one of them fails.

    Raises:
        WorkerFailed: a synthetic worker has no time, or no row has.
        DiskFull: a record cannot be written.
        OSError: the folder cannot be written.
    """
    began, folder, lines = time.monotonic(), begun.folder, [*begun.lines]

    def saved(new: Sequence[Line]) -> None:
        lines.extend(new)
        for line in new:
            if isinstance(line, Block):
                done(line)

    with noisy(seed + number, mark) if surroundings == "neighbour" else nullcontext():
        if rows:
            table = workers.twins_table(folder, rows, seed + number)
        else:
            table = workers.synthetic_table(folder, seed + number)
        write_atomic(folder / RECORDS_FILE, b"".join(map(record_line, begun.lines)))
        listener, due = Listener(kept=saved), workers.undecided_pairs(table.pairs)
        run_plan(table.plan, table.problems, folder, listener, mark=mark, known=begun.lines, next_block=due)
    measured = Begun(folder, lines)
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in measured.records:
        groups[record.cell.group].append(record)
    comparisons = [
        comparison_of(group, own, pair, number, surroundings)
        for group, own in groups.items()
        for pair in table.pairs
        if workers.works(pair, own)
    ]
    failed = []
    for one in measured.records:
        if not one.ok:
            where = f" at {one.cell.workload} {one.cell.task}" if rows else ""
            failed.append(f"{one.cell.implementation} is {one.status} ({one.reason}){where}")
    if failed and not (rows and any(one.percent == 0 for one in comparisons)):
        raise WorkerFailed(failed[0])
    elapsed_s = begun.elapsed_s + time.monotonic() - began
    ends_s = measured.ends_s if rows else ()
    return Batch(comparisons=comparisons, elapsed_s=elapsed_s, ends_s=ends_s, failed=tuple(failed))


def comparison_of(
    group: Group, records: Sequence[Record], pair: Pair, number: int, surroundings: Surroundings
) -> Comparison:
    """What a batch has of a pair, as far as the pair itself went: others may have gone on with one of its workers."""
    of_row: dict[str, Any] = {}
    if pair.row:
        taken = workers.processor_of(pair, records)
        of_row = {"row": pair.row, "workload": group.workload, "task": group.task, "processor": taken}
    sides = workers.sides_of(pair, records)
    return Comparison(batch=number, surroundings=surroundings, percent=pair.percent, sides=sides, **of_row)


PAIRS = BLOCKS = 4
"""What ``bench machine`` measures of identical workers: so much of each."""


def measure_accuracy() -> Accuracy:
    """What this machine makes of identical workers that take turns for about half a minute.

    Raises:
        InvalidInput: another run has this machine.
    """
    began, pairs = time.monotonic(), workers.identical_pairs(PAIRS)
    budget = replace(workers.BUDGET, min_blocks=BLOCKS, max_blocks=BLOCKS)
    lines: list[Line] = []
    with only_run("bench machine") as mark, TemporaryDirectory(prefix="accuracy-") as name:
        folder, listener = Path(name), Listener(kept=lines.extend)
        plan = workers.plan_of(workers.entries_of(folder, pairs), int(began), budget)
        run_plan(plan, workers.pose(folder), folder, listener, mark=mark, next_block=next_block)
    return accuracy_of(pairs, lines, time.monotonic() - began)


def accuracy_of(pairs: Sequence[Pair], lines: Sequence[Line], seconds: float) -> Accuracy:
    """What the lines of such blocks say: ratios, and a fixed product that shows the machine's drift."""
    records = [line for line in lines if isinstance(line, Record)]
    ratios = [ratio for pair in pairs for ratio in workers.sides_of(pair, records).log_ratios]
    products = [product for line in lines if isinstance(line, Block) for product in line.product_s]
    return Accuracy(
        turns_sd=float(np.sqrt(np.mean(np.square(ratios)))),
        blocks=BLOCKS,
        contended=len({record.block for record in records if "contended" in record.flags}),
        product_spread=float(np.std(products) / np.median(products)),
        seconds=seconds,
    )
