"""An interleaved block: the workers of a block, alive at once, who take turns on one cell after the other.

Each prepares a cell on processors of its own, as many at a time as there are processors for. Then all move to the same
processors, and sleep except in their turns. They come in a fresh random order: to the pool, and in each round.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
import numpy as np

from bench.analysis.roofline import square_rates
from bench.machine import gpu
from bench.machine.cpus import cpu_s, load_average, processor_ticks, stolen, taken_by_others
from bench.measure.messages import AwaitTurns, Check, Finished, Prepare, Prepared, Turn, TurnTaken, Waiting
from bench.measure.plan import calls_a_turn, rounds_of
from bench.measure.stopping import AFTER_A_COLD_BLOCK, checks_unseen
from bench.measure.worker_client import Failure, WorkerProcess, together
from bench.records.schema import BOUND, without_time
from bench.records.store import fault_of
from bench.workloads.flops import product_flops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bench.measure.messages import Answer, AnyCommand, ProblemFile
    from bench.measure.plan import Entry, PlannedGroup
    from bench.measure.worker_client import Setting
    from bench.records.schema import Cell, Flag, Group, Phase, Record

Kind = TypeVar("Kind")

CONTENDED = 0.5
"""A group in which more than this share of all turns was preempted is measured again."""

STOLEN = 0.05
"""More than this share of the processors' time given to other virtual machines is contention too."""

TAKEN = 0.1
"""More than this share of the processors' time taken by other programs is contention where a row has several threads:
which of its turns were preempted cannot be told then."""

TURN_OF_SEVERAL_S = 0.01
"""About how long a turn lasts where a row has several threads, which take 10 to 20 ms to fall asleep after it."""

IMPOSSIBLE = 1.5
"""Nobody's products run so many times as fast as the best square product. Real rows reach 1.15 of it, where the squares
were made while somebody else had the processors."""

WARMED_S = 0.005
"""Where no call of a group lasts longer, each turn has one more before those that are timed: it finds cold caches."""

MOST_PADDING_BYTES = 4096

CALLS_OF_A_CHECK = 5
"""About how many calls the check after the turns makes."""


@dataclass(slots=True)
class Member:
    """A worker in a planned group, until it has a record."""

    entry: Entry
    cell: Cell
    attempt: int
    worker: WorkerProcess | None
    call_s: float = 0.0
    unpreempted: int = 0
    """How many of its turns it did not have to wait for a processor in."""
    phases_s: dict[Phase, float] = field(default_factory=dict)
    """What it did since that was last looked at."""
    record: Record | None = None


class Interleaver:
    """The workers of a pool, for one block. As a context manager it leaves no process behind."""

    def __init__(self, setting: Setting, slots: Sequence[list[int]], place: list[int]) -> None:
        """``slots``: processors for those who prepare. ``place``: the processors on which turns are taken."""
        self._plan, self._setting, self._slots, self._place = setting.plan, setting, slots, place
        self._rng = np.random.default_rng([setting.plan.seed, setting.block, setting.pool])
        self._workers: dict[str, WorkerProcess] = {}
        self._never_began: dict[str, Failure] = {}
        self.phases_s: defaultdict[Phase, float] = defaultdict(float)
        """Wall time by phase so far; what workers do side by side is shared out among theirs."""
        self._seconds: dict[Group, tuple[float, float]] = {}

    @property
    def block(self) -> int:
        """The block that it is measured in."""
        return self._setting.block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            worker.end()

    def measure(
        self,
        planned: PlannedGroup,
        attempt: int,
        earlier: Mapping[Cell, Record],
        tell: Callable[[str], None],
        turns: int | None = None,
    ) -> list[Record]:
        """Every member's record of the group.

        ``earlier``: a record of each cell that was timed before; its turns are made like those. ``tell`` hears what
        goes on. ``turns``: how many each takes; as many as the plan's time allows if not given.
        """
        order: list[int] = self._rng.permutation(len(planned.members)).tolist()  # no row is always entered last
        members = [self._member(entry, cell, attempt) for entry, cell in (planned.members[index] for index in order)]
        tell("prepare")
        before_s = dict(self.phases_s)
        # who takes long begins: else the last one would keep the others waiting, and processors idle
        slow_first = sorted(_active(members), key=lambda one: _prepared_after_s(one, earlier), reverse=True)
        with self._shared_out(members):
            for member, answer in self._together(
                slow_first, lambda one, slot: Prepare(one.entry.cells.index(one.cell), attempt, slot), Prepared
            ):
                member.call_s, member.phases_s = answer.call_s, answer.phases_s

        tell("take turns")
        start = time.monotonic()
        budget = self._plan.budget
        if planned.group.threads > 1:
            budget = replace(budget, turn_s=max(budget.turn_s, TURN_OF_SEVERAL_S))
        rounds = turns or rounds_of([one.call_s for one in _active(members)], budget)
        most_turns = budget.most_rounds * rounds
        before = [(one.entry.versioned, earlier[one.cell]) for one in members if one.cell in earlier]
        known = {name: record.calls for name, record in before if record.calls}
        # all discard a call or none does: else one row would be timed cold beside another that is warm
        discards = next(
            (record.discards for _, record in before if record.discards is not None),
            max((one.call_s for one in _active(members)), default=0.0) <= WARMED_S,
        )
        for member in _active(members):
            calls_of_it = budget.calls or calls_a_turn(member.call_s, budget)
            many = known.setdefault(member.entry.versioned, calls_of_it)  # the control makes as many as the baseline
            if member.worker is not None:  # it has as long for its turns and the check as its calls promise, twice over
                calls = (most_turns + 1) * (many + discards) + CALLS_OF_A_CHECK
                member.worker.allow(2 * calls * member.call_s)
            self._ask(member, AwaitTurns(most_turns, many, discards, self._place), Waiting)
        ticks, clocks_before = processor_ticks(self._place), self._gpu(planned)
        own = {os.getpid(), *(worker.pid for worker in self._workers.values() if worker.pid)}
        own_before = cpu_s(own)
        for taken in range(most_turns):
            if taken >= rounds and min((one.unpreempted for one in _active(members)), default=rounds) >= rounds:
                break
            for index in self._rng.permutation(len(members)):
                if members[index].record is None:
                    turn = self._ask(members[index], Turn(), TurnTaken)
                    members[index].unpreempted += turn is not None and not turn.preempted
        after, own_s = processor_ticks(self._place), {pid: had - own_before[pid] for pid, had in cpu_s(own).items()}
        steal, others = stolen(ticks, after), taken_by_others(ticks, after, sum(own_s.values()))
        clocks_after = self._gpu(planned)
        flags = gpu.flags(clocks_before, clocks_after, own) if clocks_before and clocks_after else []
        self.phases_s["turns"] += time.monotonic() - start

        tell("check")
        unseen = checks_unseen(self._plan, planned, self.block)
        longest_first = sorted(_active(members), key=lambda one: one.call_s, reverse=True)
        with self._shared_out(members):
            self._together(longest_first, lambda _, slot: Check(slot, unseen))
        self._remember(planned.group, before_s)
        found = [record for index in np.argsort(order) if (record := members[index].record) is not None]
        crowded = (steal or 0.0) > STOLEN or (planned.group.threads > 1 and (others or 0.0) > TAKEN)
        # squares that were made while somebody else had the processors say nothing of the machine
        records = found if crowded else possible(found, self._setting.problems, earlier.values())
        return _noted(records, crowded, steal, flags, clocks_after)

    def seconds(self) -> dict[Group, tuple[float, float]]:
        """Of each group, how long its turns took, and all around them that a later block has too.

        The start of the workers is shared by all.
        """
        start_s = self.phases_s.get("start", 0.0) / max(1, len(self._seconds))
        return {group: (turns_s, around_s + start_s) for group, (turns_s, around_s) in self._seconds.items()}

    def _remember(self, group: Group, before_s: Mapping[Phase, float]) -> None:
        spent: dict[Phase, float] = {name: own - before_s.get(name, 0.0) for name, own in self.phases_s.items()}
        turns_s = spent.pop("turns", 0.0)
        spent.pop("start", None)
        around_s = sum(AFTER_A_COLD_BLOCK.get(name, 1.0) * seconds for name, seconds in spent.items())
        self._seconds[group] = turns_s, around_s

    def _member(self, entry: Entry, cell: Cell, attempt: int) -> Member:
        if failure := self._never_began.get(entry.name):
            return Member(entry, cell, attempt, None, record=self._failed(cell, attempt, failure))
        if entry.name not in self._workers:
            self._workers[entry.name] = WorkerProcess(
                entry,
                entry.cells,
                self._setting,
                hash_seed=int(self._rng.integers(2**32)),
                padding_bytes=int(self._rng.integers(MOST_PADDING_BYTES)),
            )
        return Member(entry, cell, attempt, self._workers[entry.name])

    def _failed(self, cell: Cell, attempt: int, failure: Failure) -> Record:
        where = {"block": self._setting.block, "pool": self._setting.pool, "attempt": attempt}
        return without_time(cell, failure.status, failure.reason, **where)

    def _ask(self, member: Member, command: AnyCommand, kind: type[Kind]) -> Kind | None:
        """One member's answer, if it is of this kind."""
        return next((answer for _, answer in self._together([member], lambda *_: command, kind)), None)

    def _together(
        self, members: Iterable[Member], command: Callable[[Member, list[int]], AnyCommand], kind: type | None = None
    ) -> list[tuple[Member, Any]]:
        """The members' answers of this kind, as many asked at a time as there are slots. By others they are skipped."""
        asked = {member.worker: member for member in members if member.worker is not None}
        requests = {worker: partial(command, member) for worker, member in asked.items()}
        answers = []
        for worker, outcome in together(requests, self._slots):
            if kind and isinstance(outcome, kind):
                answers.append((asked[worker], outcome))
            else:
                self._finish(asked[worker], outcome)
        return answers

    def _finish(self, member: Member, outcome: Answer | Failure) -> None:
        """Give a record to a member that has no more to give; the worker lives on if it has said so itself."""
        if isinstance(outcome, Finished):
            fault = self._fault_of(outcome.record, member)
            if fault is None:
                member.record, member.phases_s = outcome.record, outcome.phases_s
                return
            outcome = Failure("error", f"the worker's record is not to be used ({fault})")
        failure = outcome if isinstance(outcome, Failure) else Failure("error", "the worker answered out of turn")
        member.record = self._failed(member.cell, member.attempt, failure)
        worker = self._workers.pop(member.entry.name)
        worker.end()
        if not worker.answered:  # one that never began would not begin again either
            self._never_began[member.entry.name] = failure

    def _fault_of(self, record: Record, member: Member) -> str | None:
        """What is wrong with a record: a row shares its worker's memory, and may have written it."""
        asked = (member.cell, self._setting.block, self._setting.pool, member.attempt)
        if (record.cell, record.block, record.pool, record.attempt) != asked:
            return "it is about something else"
        return fault_of(record)

    @contextmanager
    def _shared_out(self, members: Sequence[Member]) -> Iterator[None]:
        """Share the time that the context lasts out among the phases of what the members did in it."""
        start = time.monotonic()
        yield
        wall_s = time.monotonic() - start
        seconds = [(phase, max(0.0, own_s)) for one in members for phase, own_s in one.phases_s.items()]
        whole_s = sum(own_s for _, own_s in seconds) or 1.0
        for phase, own_s in seconds:
            self.phases_s[phase] += wall_s * own_s / whole_s
        for one in members:
            one.phases_s = {}

    def _gpu(self, planned: PlannedGroup) -> gpu.Gpu | None:
        return gpu.state() if planned.group.device == "gpu" else None


def _active(members: Sequence[Member]) -> list[Member]:
    return [member for member in members if member.record is None]


def _prepared_after_s(member: Member, earlier: Mapping[Cell, Record]) -> tuple[bool, float]:
    """How long a member will take to be ready, as far as that is known: longest who compiles for the first time."""
    before = earlier.get(member.cell)
    took = (before.import_s, before.build_s, before.first_call_s) if before else ()
    return member.entry.row.compiles_on(member.cell.device) and before is None, sum(seconds or 0.0 for seconds in took)


def possible(
    records: Sequence[Record], problems: Mapping[str, ProblemFile], earlier: Iterable[Record] = ()
) -> list[Record]:
    """The records; of a row whose products would have run faster than products can here, one that says so.

    What can be is the best square product that a bound of any framework made before these turns, or ``earlier`` ones.
    """
    place = records[0].cell.device, records[0].cell.threads, records[0].cell.precision
    alike = (one for one in earlier if (one.cell.device, one.cell.threads, one.cell.precision) == place)
    limit = max(square_rates([*records, *alike]).values(), default=None)
    return [record if limit is None else _possible(record, problems[record.cell.workload], limit) for record in records]


def _possible(record: Record, problem: ProblemFile, limit: float) -> Record:
    if not record.ok or record.cell.tier == BOUND:
        return record
    rate = product_flops(problem.config, problem.batches, record.cell.task) / median(record.samples_s)
    if rate <= IMPOSSIBLE * limit:
        return record
    reason = (
        f"its products would have run at {rate / 1e9:.0f} GFLOP/s, {rate / limit:.1f} times what products reach here"
        f" ({limit / 1e9:.0f} GFLOP/s): its work is not all inside the timed call"
    )
    return without_time(record.cell, "invalid", reason, block=record.block, pool=record.pool, attempt=record.attempt)


def _noted(
    records: Sequence[Record],
    crowded: bool,
    steal: float | None,
    flags: Sequence[Flag],
    state: gpu.Gpu | None,
) -> list[Record]:
    """The records with what was noticed of the whole group."""
    turns = sum(len(record.samples_s) for record in records)
    contended = crowded or sum(len(record.preempted) for record in records) > CONTENDED * turns
    common: list[Flag] = ["contended", *flags] if contended else [*flags]
    return [
        msgspec.structs.replace(
            record,
            flags=[*record.flags, *common],
            steal=steal,
            load=load_average(),
            clock_mhz=state.clock_mhz if state else None,
        )
        if record.ok
        else record
        for record in records
    ]
