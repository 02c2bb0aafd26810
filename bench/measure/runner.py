"""Runs a plan, block by block: starts the workers, gives turns, appends and flushes what comes of it.

Which block is next, and what it is for, follows from the records alone (``stopping.next_block``): a run that was
ended in any way goes on where it stood.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.cells import analyse, counted_of
from bench.machine.cpus import kept_off, load_average, processor_ticks, processors, product, stolen
from bench.measure.ahead import Compiler, Pose, beside
from bench.measure.errors import DiskFull
from bench.measure.interleave import Interleaver
from bench.measure.messages import Revisit, Revisited
from bench.measure.plan import Entry
from bench.measure.stopping import efforts, is_contended, last_s, next_block, next_block_s, retakes_of
from bench.measure.worker_client import Failure, Setting, WorkerProcess, together
from bench.records.schema import Block, Effort, Group, Memory, Record, VerdictChange, without_time
from bench.records.store import RECORDS_FILE, record_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import BinaryIO, Literal

    from bench.measure.messages import Answer, ProblemFile
    from bench.measure.plan import Plan, PlannedGroup
    from bench.records.schema import Cell, Line, Phase

LEAST_FREE_BYTES = 2**20
"""With less on the disk a run stops: a worker that cannot write its log would look like one that fails."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told of progress."""

    block: Callable[[int, Sequence[PlannedGroup]], None] = lambda _block, _planned: None
    """A block begins, with these groups."""
    doing: Callable[[PlannedGroup | None, str], None] = lambda _planned_group, _what: None
    """What goes on now."""
    kept: Callable[[Sequence[Line]], None] = lambda _lines: None
    """These lines are on disk."""


@dataclass(slots=True)
class Journal:
    """The records of a run, on disk before anybody is told of them."""

    file: BinaryIO
    listener: Listener
    records: list[Record] = field(default_factory=list)
    looked_at_after: dict[Cell, int] = field(default_factory=dict)
    """After which block each cell was looked at once more, in a process of its own."""
    blocks: list[Block] = field(default_factory=list)
    efforts: dict[tuple[int, Group], Effort] = field(default_factory=dict)
    said: dict[Cell, str] = field(default_factory=dict)
    """The verdict on each cell that was told last."""

    def take(self, line: Line) -> None:
        """Know of a line that is on the disk."""
        match line:
            case Record():
                self.records.append(line)
            case Memory():
                self.looked_at_after[line.cell] = line.block
            case Block():
                self.blocks.append(line)
            case Effort():
                self.efforts[line.pool, Group(*(getattr(line, name) for name in Group._fields))] = line
            case VerdictChange():
                self.said[line.cell] = line.verdict

    def keep(self, *lines: Line) -> None:
        """Append the lines, and force them to the disk; DiskFull where that cannot be done."""
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


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder while the context lasts; what a killed run has left goes first. DiskFull: it cannot be made."""
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir()
    except OSError as error:
        raise DiskFull(f"{path}: cannot be made ({error.strerror})") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


NextBlock = Callable[["Plan", "Sequence[Record]"], "tuple[int, tuple[PlannedGroup, ...]] | None"]
"""Which block is due, and its planned groups, given the records so far; None: there is no more to do."""


def run_plan(
    plan: Plan,
    problems: Mapping[str, ProblemFile],
    folder: Path,
    listener: Listener,
    *,
    mark: str = "",
    memory_limit_bytes: int | None = None,
    began: float | None = None,
    had_s: float = 0.0,
    known: Sequence[Line] = (),
    next_block: NextBlock = next_block,
    pose: Pose = lambda _tell, _stopped: None,
) -> Literal["decided", "blocks", "budget"]:
    """Measure what the plan still lacks; the lines stand in the folder. Why it ended.

    ``known``: what the folder has already, and ``had_s`` for how long it was measured. ``next_block``: what is due,
    given the records. ``began``: when the budget's time began (``time.monotonic``). ``pose`` writes the files of the
    problems. However this ends, no worker outlives it.

    Raises:
        DiskFull: a record cannot be written.
    """
    (folder / "logs").mkdir(exist_ok=True)
    began = time.monotonic() if began is None else began
    with (folder / RECORDS_FILE).open("ab", buffering=0) as file:
        journal = Journal(file, listener)
        for line in known:
            journal.take(line)
        have = {record.cell for record in journal.records if record.block == 0}
        if skipped := [record for record in plan.skipped if record.cell not in have]:
            journal.keep(*skipped)
        with scratch(folder / "cache") as cache:
            setting = Setting(
                plan=plan,
                folder=folder,
                cache=cache,
                problems=problems,
                memory_limit_bytes=memory_limit_bytes,
                mark=mark,
            )
            allowed = processors()
            run = _Run(setting, journal, allowed, next_block, Compiler(setting, allowed), began, had_s)
            run.get_ready(pose)
            return run.blocks()


@dataclass(frozen=True, slots=True)
class _Run:
    setting: Setting
    journal: Journal
    allowed: list[int]
    """The processors that the run may use."""
    next_block: NextBlock
    compiler: Compiler
    began: float
    had_s: float
    """How long the run had lasted before it went on."""

    def get_ready(self, pose: Pose) -> None:
        """Pose the problems, and meanwhile compile what the first block needs, where that is done apart from turns."""
        due = self.next_block(self.setting.plan, self.journal.records)
        if due is None or not self.compiler.due(due[1]):
            pose(partial(self.journal.listener.doing, None), lambda: False)
            return
        with beside(pose) as has_failed:
            self._compile(*due, has_failed, "; meanwhile the oracle works")

    def _compile(
        self,
        block: int,
        planned_groups: Sequence[PlannedGroup],
        give_up: Callable[[], bool] | None = None,
        beside_that: str = "",
    ) -> bool:
        """Compile what a block needs; whether all that is due can be measured."""
        if programs := len(self.compiler.due(planned_groups)):
            self.journal.listener.doing(None, f"{programs} programs are compiled, on all processors{beside_that}")
        pool_of = {cell: one.pool.number for one in planned_groups for _, cell in one.members}
        failures = self.compiler.compile(planned_groups, give_up)
        for cell, failure in failures.items():
            where = {"block": block, "pool": pool_of[cell], "attempt": self._attempt(block, pool_of[cell], {cell})}
            self.journal.keep(without_time(cell, failure.status, f"{failure.reason} (when it was compiled)", **where))
        return not failures

    def _attempt(self, block: int, pool: int, cells: Collection[Cell]) -> int:
        """The number of the next attempt at these cells."""
        place = block, pool
        attempts = [
            record.attempt
            for record in self.journal.records
            if (record.block, record.pool) == place and record.cell in cells
        ]
        return max(attempts, default=-1) + 1

    def blocks(self) -> Literal["decided", "blocks", "budget"]:
        """Block after block, until all is decided, or the next would end after the budget; and each cell once more."""
        cold, budget, records = True, self.setting.plan.budget, self.journal.records
        while (due := self.next_block(self.setting.plan, records)) is not None:
            block, planned_groups = due
            needed_s = next_block_s(planned_groups, self.journal.blocks, self.journal.efforts.values())
            left_s = budget.total_s - (time.monotonic() - self.began)
            if self.compiler.due(planned_groups):
                needed_s += self.compiler.took_s
            spent = needed_s + last_s(self._to_revisit(), len(self.allowed)) > left_s
            sure = block <= budget.sure_blocks and not (budget.pool_by_pool and planned_groups[0].pool.number)
            if spent and not cold and not sure:
                break
            if not self._compile(block, planned_groups):
                continue
            self._block(block, planned_groups, cold=cold or block == 1)
            cold = False
        self._revisit_all()  # the time for it was kept, but where a block that is sure took more than there is
        last = max((record.block for record in records), default=0)
        self.journal.keep(*self._said(last))  # who was wrong there has lost its verdict
        if due is not None:
            return "budget"
        return "blocks" if last == budget.max_blocks else "decided"

    def _block(self, block: int, planned_groups: Sequence[PlannedGroup], *, cold: bool) -> None:
        self.journal.listener.block(block, planned_groups)
        phases_s: Counter[Phase] = Counter()
        seconds: dict[tuple[int, Group], tuple[float, float]] = {}
        started_at, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        ticks, before = processor_ticks(self.allowed), len(self.journal.records)
        product_s = []
        numbers = dict.fromkeys(one.pool.number for one in planned_groups)
        for number in numbers:
            in_pool = [one for one in planned_groups if one.pool.number == number]
            place = self.allowed[-in_pool[0].pool.threads :]
            product_s.append(product(place))
            with kept_off(place, self.allowed):
                pool = self._pool(replace(self.setting, block=block, pool=number), in_pool, place)
            phases_s.update(pool.phases_s)
            seconds |= {(number, group): spent for group, spent in pool.seconds().items()}
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
                cold=cold,
                pool=number if self.setting.plan.budget.pool_by_pool and len(numbers) == 1 else None,
                phases_s=dict(phases_s),
            ),
            *(self._efforts(block, seconds) if self.setting.plan.budget.adapts else []),
            *self._said(block),
        )

    def _efforts(self, block: int, seconds: Mapping[tuple[int, Group], tuple[float, float]]) -> list[Effort]:
        """How many turns each group has from now on that this was the first whole block of."""
        seconds = {key: spent for key, spent in seconds.items() if key not in self.journal.efforts}
        if not seconds:
            return []
        of_cell: dict[Cell, list[Record]] = defaultdict(list)
        for record in self.journal.records:
            if record.block == block:
                of_cell[record.cell].append(record)
        counted = [one for records in of_cell.values() for one in counted_of(records)]
        cells = analyse(counted, self.setting.plan.baseline)
        baselines = {cell.group: one.baseline for cell, one in cells.items() if one.baseline}
        return efforts(counted, seconds, baselines, self.setting.plan.budget, block)

    def _said(self, block: int) -> list[VerdictChange]:
        """The verdicts that are other than they were before this block; UNCLEAR of what had one and has none now."""
        elapsed_s = self.had_s + time.monotonic() - self.began
        verdicts = dict.fromkeys(self.journal.said, "UNCLEAR") | {
            cell: one.ratio.verdict
            for cell, one in analyse(self.journal.records, self.setting.plan.baseline).items()
            if one.is_compared and one.ratio is not None and one.ratio.verdict is not None
        }
        return [
            VerdictChange(cell=cell, block=block, verdict=verdict, elapsed_s=elapsed_s)
            for cell, verdict in verdicts.items()
            if self.journal.said.get(cell, "UNCLEAR") != verdict
        ]

    def _pool(self, setting: Setting, planned_groups: Sequence[PlannedGroup], place: list[int]) -> Interleaver:
        """A pool's part of a block: each of its groups, and once more some of those that were contended."""
        with Interleaver(setting, self._slots(len(place)), place) as pool:
            contended = []
            for planned in planned_groups:
                records = self._measure(pool, planned)
                if is_contended(records) and not any(record.attempt for record in records):
                    contended.append(planned)
            for planned in contended[: retakes_of(len(planned_groups))]:
                failed = {record.cell for record in self.journal.records if not record.ok}
                if left := tuple(member for member in planned.members if member[1] not in failed):
                    self._measure(pool, replace(planned, members=left))
        return pool

    def _measure(self, pool: Interleaver, planned: PlannedGroup) -> list[Record]:
        attempt = self._attempt(pool.block, planned.pool.number, {cell for _, cell in planned.members})
        earlier = {record.cell: record for record in self.journal.records if record.ok}  # a first attempt too
        effort = self.journal.efforts.get((planned.pool.number, planned.group))
        turns = effort.turns if effort else None
        tell = partial(self.journal.listener.doing, planned)
        records = [*map(self.compiler.told, pool.measure(planned, attempt, earlier, tell, turns))]
        self.journal.keep(*records)
        return records

    def _slots(self, threads: int) -> list[list[int]]:
        """The allowed processors, as many together as a worker has threads."""
        starts = range(0, len(self.allowed) - threads + 1, threads)
        return [self.allowed[start : start + threads] for start in starts]

    def _to_revisit(self) -> list[Record]:
        """The latest record of each row's cell that has a time, and was not looked at once more since that."""
        if not self.setting.plan.budget.measures_memory:
            return []
        latest = {record.cell: record for record in self.journal.records}
        failed = {record.cell for record in self.journal.records if not record.ok}
        return [
            record
            for cell, record in latest.items()
            if cell not in failed and cell.role == "row" and self.journal.looked_at_after.get(cell, -1) < record.block
        ]

    def _revisit_all(self) -> None:
        """Peak memory of each row's cell that has a time, and whether the cell is still right.

        Each has a process of its own: memory that an earlier call left behind would be used again, and not be seen.
        """
        for pool in self.setting.plan.pools:
            due = {record.cell: record for record in self._to_revisit()}  # the baseline is in each pool
            slots = self._slots(pool.threads)
            pairs = [(entry, cell) for entry in pool.entries for cell in entry.cells if cell in due]
            size = max(1, min(len(slots), len(pool.entries)))  # as many as fit into memory together
            for start in range(0, len(pairs), size):
                some = pairs[start : start + size]
                names = ", ".join(f"{entry.name} {cell.workload} {cell.task}" for entry, cell in some)
                self.journal.listener.doing(None, f"peak memory of {names}")
                self.journal.keep(*self._revisit(some, slots, due))

    def _revisit(
        self, pairs: Sequence[tuple[Entry, Cell]], slots: Sequence[list[int]], latest: Mapping[Cell, Record]
    ) -> list[Line]:
        workers = [
            WorkerProcess(entry, (cell,), self.setting, log=f"{entry.label}-{cell.workload}-{cell.task}-memory")
            for entry, cell in pairs
        ]
        try:
            answers = together({worker: lambda _slot: Revisit() for worker in workers}, slots)
        finally:
            for worker in workers:
                worker.end()
        lines: list[Line] = []
        for worker, answer in answers:
            (cell,) = worker.cells
            last, memory, failure = latest[cell], *_seen(cell, answer)
            lines.append(msgspec.structs.replace(memory, block=last.block))
            if failure is not None:
                reason = f"{failure.reason} (once more, at the end)"
                where = {"block": last.block, "pool": last.pool, "attempt": last.attempt + 1}
                lines.append(without_time(cell, failure.status, reason, **where))
        return lines


def _seen(cell: Cell, answer: Answer | Failure) -> tuple[Memory, Record | Failure | None]:
    """The cell's peak memory, or why there is none; and why it is not proven right once more, if it is not."""
    if isinstance(answer, Revisited) and {one.cell for one in (answer.memory, answer.failure) if one} == {cell}:
        return answer.memory, answer.failure
    failure = answer if isinstance(answer, Failure) else Failure("error", "the worker answered out of turn")
    return Memory(cell=cell, status=failure.status, reason=failure.reason), failure
