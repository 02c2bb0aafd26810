"""Runs a plan, block by block: seats the workers, gives turns, appends and flushes what comes of it.

Which block is next, and what it is for, follows from the records alone (``plan.next_block``): a run that was ended in
any way goes on where it stood.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from bench.job import Weigh, Weighed
from bench.plan import Seat, next_block, retakes_of
from bench.processors import kept_off, load_average, processor_ticks, processors, stolen
from bench.records import CONTROL, RECORDS_FILE, Block, Memory, Record, cell_of, fields_of, record_line
from bench.table import RoundTable, is_contended
from bench.worker_process import Failure, Setting, WorkerProcess, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO, Literal

    from bench.job import ProblemFile
    from bench.plan import Plan, Sitting
    from bench.records import Cell, Line

T = TypeVar("T")

PRODUCT_SIZE = 512
"""Rows and columns of the product that shows how the machine drifts: about 3 ms on one core."""

LEAST_FREE_BYTES = 2**20
"""With less on the disk a run stops: a worker that cannot write its log would look like one that fails."""


NextBlock = Callable[["Plan", "Sequence[Record]"], "tuple[int, tuple[Sitting, ...]] | None"]
"""Which block is due, and its sittings, given the records so far; None: there is no more to do."""


class DiskFull(OSError):
    """What was measured cannot be written; the message says where."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of progress."""

    block: Callable[[int, Sequence[Sitting]], None] = lambda _block, _sittings: None
    """A block begins, with these groups."""
    doing: Callable[[Sitting | None, str], None] = lambda _sitting, _what: None
    """What goes on now."""
    kept: Callable[[Sequence[Line]], None] = lambda _lines: None
    """These lines are on disk."""


@dataclass(slots=True)
class Journal:
    """The records of a run, on disk before anybody is told of them."""

    file: BinaryIO
    listener: Listener
    records: list[Record] = field(default_factory=list)
    weighed: set[Cell] = field(default_factory=set)
    last_block: Block | None = None

    def take(self, line: Line) -> None:
        """Know of a line that is on the disk."""
        match line:
            case Record():
                self.records.append(line)
            case Memory():
                self.weighed.add(cell_of(line))
            case Block():
                self.last_block = line

    def keep(self, *lines: Line) -> None:
        """Append the lines, and force them to the disk.

        Raises:
            DiskFull: they cannot be written.
        """
        data = b"".join(map(record_line, lines))
        try:
            while data:  # a disk that is almost full takes a part
                data = data[self.file.write(data) :]
            os.fsync(self.file.fileno())
        except OSError as error:
            raise DiskFull(f"{self.file.name}: cannot be written ({error.strerror})") from None
        for line in lines:
            self.take(line)
        self.listener.kept(lines)
        disk = os.fstatvfs(self.file.fileno())
        if disk.f_bavail * disk.f_frsize < LEAST_FREE_BYTES:
            raise DiskFull(f"{self.file.name}: the disk is almost full")


def run_plan(
    plan: Plan,
    problems: Mapping[str, ProblemFile],
    folder: Path,
    listener: Listener,
    *,
    mark: str = "",
    memory_limit_bytes: int | None = None,
    began: float | None = None,
    known: Sequence[Record | Memory | Block] = (),
    next_block: NextBlock = next_block,
) -> Literal["decided", "blocks", "budget"]:
    """Measure what the plan still lacks; the lines stand in the folder. Why it ended.

    ``known``: what the folder has already. ``next_block``: what is due, given the records. ``began``: when the
    budget's time began (``time.monotonic``). However this ends, no worker outlives it.

    Raises:
        DiskFull: a record cannot be written.
    """
    (folder / "logs").mkdir(exist_ok=True)
    began = time.monotonic() if began is None else began
    with (folder / RECORDS_FILE).open("ab", buffering=0) as file:
        journal = Journal(file, listener)
        for line in known:
            journal.take(line)
        have = {cell_of(record) for record in journal.records if record.block == 0}
        if settled := [record for record in plan.settled if cell_of(record) not in have]:
            journal.keep(*settled)
        with TemporaryDirectory(prefix="seq2seq-lstm-cache-") as cache:
            run = _Run(
                plan,
                problems,
                folder,
                Path(cache),
                listener,
                journal,
                mark,
                memory_limit_bytes,
                processors(),
                next_block,
            )
            return run.blocks(began)


@dataclass(frozen=True, slots=True)
class _Run:
    plan: Plan
    problems: Mapping[str, ProblemFile]
    folder: Path
    cache: Path
    listener: Listener
    journal: Journal
    mark: str
    memory_limit_bytes: int | None
    allowed: list[int]
    next_block: NextBlock

    def blocks(self, began: float) -> Literal["decided", "blocks", "budget"]:
        """Block after block, until all is decided, or the next would end after the budget."""
        first = True
        while True:
            due = self.next_block(self.plan, self.journal.records)
            if due is None:
                break
            block, sittings = due
            left_s = self.plan.budget.total_s - (time.monotonic() - began)
            if not first and self._expected_s(sittings) > left_s:
                return "budget"
            first = False
            self._block(block, sittings)
            if self.plan.budget.weighs:
                self._weigh_all()
        if self.plan.budget.weighs:
            self._weigh_all()  # of a run that was ended before it could
        most = self.plan.budget.max_blocks
        return "blocks" if most and any(record.block == most for record in self.journal.records) else "decided"

    def _expected_s(self, sittings: Sequence[Sitting]) -> float:
        """About how long a block takes: as long as the last one, in proportion to its cells."""
        last = self.journal.last_block
        if last is None:
            return 0.0
        return last.elapsed_s * sum(len(one.members) for one in sittings) / max(1, last.records)

    def _block(self, block: int, sittings: Sequence[Sitting]) -> None:
        self.listener.block(block, sittings)
        started_at, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        ticks, before = processor_ticks(self.allowed), len(self.journal.records)
        product_s = []
        for number in dict.fromkeys(one.table.number for one in sittings):
            at_table = [one for one in sittings if one.table.number == number]
            place = self.allowed[-at_table[0].table.threads :]
            product_s.append(product(place))
            with kept_off(place, self.allowed):
                self._table(block, at_table, place)
        product_s.append(product(place))
        self.journal.keep(
            Block(
                block=block,
                started_at=started_at,
                elapsed_s=time.monotonic() - start,
                records=len(self.journal.records) - before,
                product_s=product_s,
                load=load_average(),
                steal=stolen(ticks, processor_ticks(self.allowed)),
            )
        )

    def _table(self, block: int, sittings: Sequence[Sitting], place: list[int]) -> None:
        setting = self._setting(block, sittings[0].table.number)
        retakes = retakes_of(len(sittings))
        with RoundTable(self.plan, setting, len(sittings) + retakes, self._slots(len(place)), place) as table:
            contended = []
            for sitting in sittings:
                records = self._sit(table, sitting)
                if is_contended(records) and not any(record.attempt for record in records):
                    contended.append(sitting)
            for sitting in contended[:retakes]:
                failed = {cell_of(record) for record in self.journal.records if not record.ok}
                left = tuple(member for member in sitting.members if member[1] not in failed)
                if left:
                    self._sit(table, replace(sitting, members=left))

    def _sit(self, table: RoundTable, sitting: Sitting) -> list[Record]:
        cells = {cell for _, cell in sitting.members}
        block = table.block
        before = [
            record.attempt
            for record in self.journal.records
            if record.block == block and record.table == sitting.table.number and cell_of(record) in cells
        ]
        attempt = max(before, default=-1) + 1
        earlier = {cell_of(record): record for record in self.journal.records if record.ok}  # a first attempt too
        records = table.sit(sitting, attempt, earlier, lambda what: self.listener.doing(sitting, what))
        self.journal.keep(*records)
        return records

    def _setting(self, block: int, table: int) -> Setting:
        return Setting(
            folder=self.folder,
            cache=self.cache,
            problems=self.problems,
            block=block,
            table=table,
            warmup_s=self.plan.budget.warmup_s,
            limit_s=self.plan.budget.limit_s,
            memory_limit_bytes=self.memory_limit_bytes,
            mark=self.mark,
        )

    def _slots(self, threads: int) -> list[list[int]]:
        """The allowed processors, as many together as a worker has threads."""
        slots = [self.allowed[start : start + threads] for start in range(0, len(self.allowed), threads)]
        return [slot for slot in slots if len(slot) == threads]

    def _weigh_all(self) -> None:
        """Peak memory of each cell that has a time and none yet.

        A process for each row, and another after one that died; on a GPU one for each cell, for JAX cannot reset its
        counter.
        """
        timed = {cell_of(record) for record in self.journal.records if record.ok}
        failed = {cell_of(record) for record in self.journal.records if not record.ok}
        for table in self.plan.tables:
            slots = self._slots(table.threads)
            seats = [seat for seat in table.seats if seat.name != CONTROL]
            while True:
                due: dict[str | Cell, tuple[Seat, list[Cell]]] = {}
                for seat in seats:
                    for cell in seat.cells:
                        if cell in timed - failed - self.journal.weighed:
                            own = seat.name if cell.device == "cpu" else cell
                            due.setdefault(own, (seat, []))[1].append(cell)
                if not due:
                    break
                for pairs in batched(due.values(), len(slots)):
                    self.listener.doing(None, f"peak memory of {', '.join(seat.name for seat, _ in pairs)}")
                    self.journal.keep(*self._weigh(pairs, slots))

    def _weigh(self, pairs: Sequence[tuple[Seat, list[Cell]]], slots: Sequence[list[int]]) -> list[Memory]:
        """The memory of each cell, up to the first at which its worker dies."""
        memory: list[Memory] = []
        setting = self._setting(0, 0)
        workers = [WorkerProcess(seat, tuple(cells), setting, sittings=len(cells)) for seat, cells in pairs]
        living = list(workers)
        try:
            for index in range(max(len(worker.cells) for worker in workers)):
                asked = [worker for worker in living if index < len(worker.cells)]
                for worker, answer in together({worker: partial(_ask_to_weigh, index) for worker in asked}, slots):
                    if isinstance(answer, Weighed):
                        memory.append(answer.memory)
                        continue
                    failure = answer if isinstance(answer, Failure) else Failure("error", "it answered out of turn")
                    facts = fields_of(worker.cells[index])
                    memory.append(Memory(**facts, status=failure.status, reason=failure.reason))
                    living.remove(worker)
        finally:
            for worker in workers:
                worker.end()
        return memory


def _ask_to_weigh(index: int, _slot: list[int]) -> Weigh:
    return Weigh(index)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time. (``itertools.batched`` is Python 3.12's.)"""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def product(place: Sequence[int]) -> float:
    """Seconds of a fixed product on the processors where turns are taken, one thread: the fastest of five."""
    matrix = np.full((PRODUCT_SIZE, PRODUCT_SIZE), 0.5, np.float32)
    others = [number for number in processors() if number not in place[-1:]]
    seconds = []
    with threadpool_limits(1), kept_off(others, processors()):
        for _ in range(5):
            start = time.perf_counter()
            matrix @ matrix
            seconds.append(time.perf_counter() - start)
    return min(seconds)
