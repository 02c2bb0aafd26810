"""What the runner and a worker send each other, a line of JSON each: the job, then commands and answers."""

from __future__ import annotations

import os
from contextlib import suppress
from types import UnionType
from typing import Any

import msgspec

from bench.records.schema import Cell, Memory, Phase, Record
from bench.workloads.flops import BatchSizes
from impls.contract import Seq2seqConfig


class ProblemFile(msgspec.Struct, frozen=True):
    """Where a workload's numbers are (``reference_outputs.load`` reads them), and the configuration they are for."""

    config: Seq2seqConfig
    path: str
    batches: tuple[BatchSizes, ...] = ()
    """Of what sizes a call's batches are: all that a bound has to know."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has to know before the first command."""

    row_path: str
    cells: list[Cell]
    problems: dict[str, ProblemFile]
    """Workload to where its numbers are."""
    seed: int
    """The run's own: with the block, it draws what calls are fed."""
    block: int
    pool: int
    warmup_s: float
    processors: list[int]
    hash_seed: int
    padding_bytes: int
    memory_limit_bytes: int | None
    blocked: list[str]
    started_s: float
    """When the process was started, by the system's clock that does not go back."""


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Load and compile a cell, in the first block validate it, and warm it up, on these processors."""

    cell: int
    attempt: int
    processors: list[int]


class AwaitTurns(msgspec.Struct, frozen=True, tag=True):
    """Move to these processors, and wait for turns, this many at most."""

    most_turns: int
    calls: int
    discards: bool
    """Whether a call before those of each turn is not timed."""
    processors: list[int]


class Turn(msgspec.Struct, frozen=True, tag=True):
    """Take a turn."""


class Check(msgspec.Struct, frozen=True, tag=True):
    """Validate what was timed, on these processors, and report."""

    processors: list[int]
    unseen: bool
    """Whether that includes an input that it has not seen."""


class Revisit(msgspec.Struct, frozen=True, tag=True):
    """Measure the peak memory of the only cell there is, and validate it once more."""


class Compile(msgspec.Struct, frozen=True, tag=True):
    """Load the only cell there is with zeros for numbers, call it twice: what it has compiled stays in its cache."""


class Prepared(msgspec.Struct, frozen=True, tag=True):
    """Ready for turns; a call takes about this long."""

    call_s: float
    phases_s: dict[Phase, float] = {}


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """Asleep until its turn."""


class TurnTaken(msgspec.Struct, frozen=True, tag=True):
    """A turn is over."""

    preempted: bool
    """Whether it was preempted: it waited for a processor that somebody else had."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """Done with a cell, for good or ill."""

    record: Record
    phases_s: dict[Phase, float] = {}


class Revisited(msgspec.Struct, frozen=True, tag=True):
    """A cell's peak memory is known, or why it is not; and the cell was right once more, or a record says how not."""

    memory: Memory
    failure: Record | None


class Built(msgspec.Struct, frozen=True, tag=True):
    """A cell is compiled."""

    first_call_s: float
    compile_s: float


AnyCommand = Prepare | AwaitTurns | Turn | Check | Revisit | Compile
Answer = Prepared | Waiting | TurnTaken | Finished | Revisited | Built


def send(fd: int, message: Job | AnyCommand | Answer) -> None:
    """Send a line."""
    data = msgspec.json.encode(message) + b"\n"
    while data:
        data = data[os.write(fd, data) :]


class Runner:
    """The runner as a worker sees it: its commands come through one pipe, the answers go through another."""

    def __init__(self, command_fd: int, answer_fd: int) -> None:
        self._commands, self._answer_fd = os.fdopen(command_fd, "rb"), answer_fd

    def receive(self, kind: Any = AnyCommand) -> Any:
        """The next message, waited for asleep; None where the runner is gone."""
        line = self._commands.readline()
        return msgspec.json.decode(line, type=kind) if line else None

    def expect(self, kind: type | UnionType) -> Any:
        """The next command, which has to be of this kind; the process ends with the runner."""
        command = self.receive()
        if not isinstance(command, kind):
            os._exit(0 if command is None else 3)
        return command

    def send(self, answer: Answer) -> None:
        """Send an answer; where a row has closed the pipe, the runner sees that and ends this process."""
        with suppress(OSError):
            send(self._answer_fd, answer)
