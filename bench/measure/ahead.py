"""What is worked out before the turns of a block: the oracle's answers, and on a GPU each row's programs.

A GPU row's turns need one processor, its compiler can use many: so the programs that a block needs are compiled before
it, by processes of their own and several at a time, into the folders that the rows' workers read. Before the first, the
oracle works meanwhile.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from bench.measure.errors import DiskFull
from bench.measure.messages import Built, Compile, Finished, ProblemFile
from bench.measure.worker_client import Failure, WorkerProcess, together
from bench.workloads import letters, reference_outputs
from impls.contract import TASKS, InvalidInput
from impls.tasks import of_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.measure.messages import Answer
    from bench.measure.plan import Entry, PlannedGroup
    from bench.measure.request import Request
    from bench.measure.worker_client import Setting
    from bench.records.schema import Cell, Record
    from bench.workloads.shapes import Workload


def problem_files(workloads: Sequence[Workload], folder: Path) -> dict[str, ProblemFile]:
    """Where each workload's numbers are to be, and of what sizes they are."""
    return {
        one.name: ProblemFile(one.config, str(folder / f"{one.name}.safetensors"), reference_outputs.sizes_of(one))
        for one in workloads
    }


Pose: TypeAlias = "Callable[[Callable[[str], None], Callable[[], bool]], None]"
"""Poses the problems of a run, as ``pose`` does those of a request."""


def pose(
    request: Request, problems: Mapping[str, ProblemFile], tell: Callable[[str], None], stopped: Callable[[], bool]
) -> None:
    """Work out the oracle's answers, and write them down, unless ``stopped``; ``tell`` hears what goes on.

    Raises:
        InvalidInput: a workload does not fit into memory.
        DiskFull: its numbers cannot be written.
    """
    for workload in request.workloads:
        path = Path(problems[workload.name].path)
        tell(f"the oracle works out {workload.name}")
        try:
            tasks = tuple(task for task in TASKS if task in request.tasks)
            if tasks and not workload.as_trained:
                problem = reference_outputs.pose(workload, tasks, request.precisions)
                if stopped():
                    return
                reference_outputs.save(problem, path)
            if workload.is_words and of_training(request.tasks):
                words = letters.pose(workload.config, letters.word_batches(workload))
                if stopped():
                    return
                letters.save(words, letters.path_beside(f"{path}"))
        except MemoryError:
            raise InvalidInput(f"{workload.name} does not fit into memory; choose smaller sizes") from None
        except OSError as error:
            raise DiskFull(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def beside(work: Pose) -> Iterator[Callable[[], bool]]:
    """Do the work in a thread: the context ends when that is done, and raises what it raised.

    What it gives tells whether the work has failed by now. Whoever leaves the context by an exception does not wait,
    and the work is told to stop.
    """
    raised: list[BaseException] = []
    stopped = threading.Event()

    def do() -> None:
        try:
            work(lambda _what: None, stopped.is_set)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    try:
        yield lambda: bool(raised)
        thread.join()
    except BaseException:
        stopped.set()
        raise
    if raised:
        raise raised[0]


class Compiler:
    """Compiles what a block needs and no block before it had; ``took_s``: how long that took the last time."""

    def __init__(self, setting: Setting, allowed: Sequence[int]) -> None:
        """``allowed``: the processors that compilers may use, all of them each."""
        self._setting, self._allowed = setting, [*allowed]
        self._began: set[tuple[str, Cell]] = set()
        self._built: dict[Cell, Built] = {}
        self.took_s = 0.0

    def due(self, planned_groups: Sequence[PlannedGroup]) -> list[tuple[Entry, Cell]]:
        """Who has to compile for these groups: nobody on a CPU, where a row's compiler has the row's processors."""
        members = (member for one in planned_groups if one.group.device == "gpu" for member in one.members)
        found = {
            (entry.label, cell): (entry, cell)  # the baseline is in each pool
            for entry, cell in members
            if entry.row.compiles_on(cell.device) and (entry.label, cell) not in self._began
        }
        return sorted(found.values(), key=lambda one: one[1].task, reverse=True)  # training first: it takes longest

    def compile(
        self, planned_groups: Sequence[PlannedGroup], give_up: Callable[[], bool] | None = None
    ) -> dict[Cell, Failure]:
        """Compile what is due, until ``give_up`` says so; why that failed, for each cell for which it did."""
        due, began = self.due(planned_groups), time.monotonic()
        if not due:
            return {}
        self._began |= {(entry.label, cell) for entry, cell in due}
        workers = {
            WorkerProcess(entry, (cell,), self._setting, log=f"{entry.label}-{cell.workload}-{cell.task}-compile"): cell
            for entry, cell in due
        }
        most = min(len(self._allowed), max(len(one.pool.entries) for one in planned_groups))  # as many fit into memory
        requests = {worker: lambda _slot: Compile() for worker in workers}
        failures: dict[Cell, Failure] = {}
        try:
            for worker, answer in together(requests, [self._allowed] * most, once=True, give_up=give_up):
                if isinstance(answer, Built):
                    self._built[workers[worker]] = answer
                else:
                    failures[workers[worker]] = _failure(answer)
        finally:
            for worker in workers:
                worker.end()
        self.took_s = time.monotonic() - began
        return failures

    def told(self, record: Record) -> Record:
        """The record, with what compiling took when it was done for it, once."""
        built = self._built.pop(record.cell, None) if record.ok else None
        if built is None:
            return record
        return msgspec.structs.replace(record, first_call_s=built.first_call_s, compile_s=built.compile_s)


def _failure(answer: Answer | Failure) -> Failure:
    """Why a program could not be compiled. Who takes too long has done nothing wrong: another machine may be faster."""
    match answer:
        case Failure(status="timeout"):
            return Failure("unavailable", answer.reason)
        case Finished():
            return Failure(answer.record.status, answer.record.reason or "")
        case Failure():
            return answer
        case _:
            return Failure("error", "the worker answered out of turn")
