"""The only place that knows the file format of a result.

A result is a folder: ``run.json`` (what was asked, of what machine, and the plan) and ``records.jsonl``, one line for
each thing that happened: what a worker measured of a cell in a block (``Record``, raw samples included), what a cell's
peak memory was (``Memory``), what the machine was like in a block (``Block``), how many turns follow from the first one
(``Effort``), what was said when (``VerdictChange``), and how the run ended (``End``). Other derived numbers are never
stored with the raw ones. Everything read passes through the schema below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec

from bench.workloads.flops import BatchSizes
from impls.contract import Device, Precision, Seq2seqConfig
from impls.tasks import AnyTask

if TYPE_CHECKING:
    from pathlib import Path


CONTROL = "control"
"""The name under which the baseline is entered a second time."""

SIGN = "@"
"""Stands between a row and its version; no row's own name has it."""

BOUND = "bound"
"""The tier of what rows are held against: a framework's products alone."""

Phase = Literal["start", "load", "compile", "warm-up", "check", "turns"]
"""What a block's time goes to: processes and their imports; models and weights; first calls of rows that compile;
calls before the first turn; comparing with the oracle; taking turns, with what is around each."""

Status = Literal["ok", "unsupported", "unavailable", "invalid", "error", "crashed", "timeout", "out_of_memory"]
FAILURES: frozenset[str] = frozenset({"invalid", "error", "crashed", "timeout", "out_of_memory"})
"""What a row is to blame for; ``unsupported`` is declared, by ``ROW`` or ``load``, ``unavailable`` is the machine's."""

Flag = Literal["contended", "restless", "extra_processors", "oversubscribed", "throttled", "foreign"]
"""What was noticed while a group was measured: the processors were taken away (``contended``), the row worked while
others had their turn (``restless``) or on processors that its cell does not have (``extra_processors``), its threads
waited for each other's processor (``oversubscribed``), a GPU lowered its clock (``throttled``) or had another process
on it (``foreign``)."""

REFUSED: frozenset[Flag] = frozenset({"restless", "extra_processors"})
"""Who did some of its work where no clock ran, or took more than others may, gets no verdict."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value that is read and written as JSON."""


class Group(NamedTuple):
    """What has to be alike for times to be compared: the rows of a group take turns with each other."""

    workload: str
    task: AnyTask
    device: Device
    precision: Precision
    threads: int


Role = Literal["row", "control", "bound"]


class Cell(Struct, frozen=True, kw_only=True):
    """Implementation x workload x task x device x precision x threads: the key of a time."""

    implementation: str
    """The row's name, with a version behind ``@`` where a run holds several of a framework against each other."""
    framework: str
    tier: str
    workload: str
    task: AnyTask
    device: Device
    threads: int
    precision: Precision = "float32"

    def __str__(self) -> str:
        """``torch/module seed forward``."""
        return f"{self.implementation} {self.workload} {self.task}"

    @property
    def group(self) -> Group:
        """What it is compared in."""
        return Group(self.workload, self.task, self.device, self.precision, self.threads)

    @property
    def row(self) -> str:
        """The row's name without a version."""
        return self.implementation.partition(SIGN)[0]

    @property
    def version(self) -> str:
        """The version it was measured under; empty where a run has only one."""
        return self.implementation.partition(SIGN)[2]

    @property
    def role(self) -> Role:
        """A row competes; neither the baseline's second entry does, nor a bound, which nobody can win against."""
        if self.implementation == CONTROL:
            return "control"
        return "bound" if self.tier == BOUND else "row"


class Record(Struct, frozen=True, kw_only=True, tag_field="type", tag="cell"):
    """What a worker reports of one cell in one block."""

    cell: Cell

    block: int
    """From 1; 0 for a cell that is skipped without a worker."""
    pool: int = msgspec.field(default=0, name="table")
    """Which of a block's pools of workers it was in: rows are compared with the baseline of their own pool."""
    attempt: int = 0
    """Above 0: measured again, for the attempt before was contended."""
    status: Status
    reason: str | None = None
    samples_s: list[float] = []
    """Seconds a call, one number a turn, in the order of the turns: turn ``i`` of all rows in a pool is one round."""
    preempted: list[int] = msgspec.field(default_factory=list, name="disturbed")
    """The turns in which the row waited for a processor that somebody else had."""
    calls: int | None = None
    """How many calls a turn times; the sample is their mean."""
    discards: bool | None = None
    """Whether each turn had one more call before those, which is not timed: it finds cold caches."""
    import_s: float | None = None
    """Loading the row's file, its framework included."""
    build_s: float | None = None
    """Making the model and loading its weights, until the device has them."""
    first_call_s: float | None = None
    """The first call, everything included."""
    compile_s: float | None = None
    """First call less second call, for a row that compiles; in block 1 without a compilation cache. On a GPU by a
    process of its own before the block, with all processors, while others compiled."""
    compiled: str | None = None
    """What was compiled, in the row's own words, where that is not the whole of a task."""
    warmup_calls: int | None = None
    max_relative_error: float | None = None
    """The worst quantity against the float64 oracle."""
    cpu_per_wall: float | None = None
    """Processor seconds a second in its own turns: how many threads really worked."""
    waiting_cpu_s: float | None = None
    """Processor seconds that it took between its turns, when it should have slept."""
    involuntary_switches: int | None = None
    """How often the system took the processor away in its own turns."""
    steal: float | None = None
    """Share of the pool's processor time that the hypervisor gave to others while the group was measured."""
    load: float | None = None
    """Load average of the machine over a minute."""
    flags: list[Flag] = []
    processors: list[int] = []
    hash_seed: int | None = None
    padding_bytes: int | None = None
    """Length of a meaningless environment variable, drawn again for each process: it moves the stack's addresses."""
    clock_mhz: float | None = None
    """The GPU's clock after the turns."""
    square_size: int | None = None
    """Of a bound: rows and columns of two square matrices that it multiplied before its turns."""
    squares_s: list[float] = []
    """Seconds of that product, time after time."""
    started_at: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a time."""
        return self.status == "ok"


def without_time(cell: Cell, status: Status, reason: str, *, block: int = 0, pool: int = 0, attempt: int = 0) -> Record:
    """The record of a cell that has no time."""
    return Record(cell=cell, block=block, pool=pool, attempt=attempt, status=status, reason=reason)


class Memory(Struct, frozen=True, kw_only=True, tag_field="type", tag="memory"):
    """A cell's peak memory, from a process that does nothing else."""

    cell: Cell
    block: int = 0
    """After which block, the cell's last one then; a run that goes on looks again."""
    status: Status
    reason: str | None = None
    peak_bytes: int | None = None
    """The peak while the task ran, less what the process held when the model was loaded."""
    source: str | None = None
    """What was read: ``VmHWM``, or the framework's own counter on a GPU."""


class Block(Struct, frozen=True, kw_only=True, tag_field="type", tag="block"):
    """The machine while a block was measured."""

    block: int
    started_at: str
    elapsed_s: float
    records: int
    """How many records were written in that time."""
    product_s: list[float]
    """Seconds of a fixed NumPy product, before each pool and after the last: how the machine drifts."""
    load: float | None
    steal: float | None
    cold: bool = False
    """Whether it was the first since the run was started, or went on, or of a pool: what is compiled in a block, and
    all that is held against the oracle, is so in that one."""
    pool: int | None = msgspec.field(default=None, name="table")
    """The only pool that it was of, where each has blocks of its own."""
    phases_s: dict[Phase, float] = {}
    """Of the time that has passed, how much went to what. What several workers did side by side counts as long as it
    took, shared out among its phases."""


class Effort(Struct, frozen=True, kw_only=True, tag_field="type", tag="effort"):
    """How many turns a group has from the next block on, and what of this one that follows from."""

    workload: str
    task: AnyTask
    device: Device
    threads: int
    precision: Precision = "float32"
    pool: int = msgspec.field(default=0, name="table")
    block: int = 1
    """The first that it was in from its begin to its end."""
    turns: int
    before: int
    """How many it had in that block."""
    turn_sd: float
    """Standard deviation that one turn gives to a block's log ratio."""
    process_sd: float
    """Standard deviation that fresh processes give to it."""
    round_s: float
    """Wall time of a turn of each member."""
    around_s: float
    """What a block takes for the group beside its turns, in later blocks."""


class VerdictChange(Struct, frozen=True, kw_only=True, tag_field="type", tag="said"):
    """A verdict that was new when a block was done: as it was shown, by the rule of that day."""

    cell: Cell
    block: int
    verdict: str
    elapsed_s: float
    """Since the run was started, the time that it stood still not counted."""


EndsBy = Literal["decided", "budget", "blocks", "interrupted", "disk", "error"]
"""All is decided; the time is spent; all blocks are there; somebody, a full disk or the system stopped it."""


class End(Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """How a run, or its continuation, ended."""

    why: EndsBy
    elapsed_s: float
    """Wall time since the run, or its continuation, was started."""
    budget_s: float | None = None
    """What it was given."""


Line = Record | Memory | Block | Effort | VerdictChange | End


class Environment(Struct, frozen=True, kw_only=True):
    """The machine and its software."""

    machine: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Short name of the processor and how many of it may be used."""
    cpu: str
    cores: int
    """Processors that this process may use."""
    memory_bytes: int
    os: str
    python: str
    versions: dict[str, str]
    gpus: list[str]
    git_commit: str | None
    git_dirty: bool
    harness: str = ""
    """SHA-256 of what carried the run out, behind the number of the way of hashing: see ``code_of_harness``."""
    facts: dict[str, str] = {}
    """What else may explain a time: governor, boost, hypervisor, and so on, as ``bench machine`` names them."""
    left_out: tuple[str, ...] = ()
    """The names of the environment variables that did not reach the workers; of what is published, those that are known
    to change how fast code runs."""


SAME_PROGRAM = ("machine", "python", "versions", "harness")
"""What of an environment has to be the same for a measurement to go on. Each row has its own code to compare."""


class WorkloadFacts(Struct, frozen=True, kw_only=True):
    """What a reader of the table wants to know of a workload."""

    shape: str
    sequences: Annotated[int, msgspec.Meta(ge=1)]
    """How many sequences a call passes over."""
    source: str
    config: Seq2seqConfig | None = None
    """With the sizes of the batches: what a call's floating-point operations follow from."""
    batches: tuple[BatchSizes, ...] = ()
    held_out: bool = False
    """Whether what is fitted to the others is evaluated on this one."""


class CodeFacts(Struct, frozen=True, kw_only=True):
    """What a row was, so that two runs can tell whether it is still the same."""

    code: str
    """SHA-256 of the row's file and of what it imports from ``impls/`` and, of a person's own file, from its folder.
    Behind a space that of its training, where that was timed."""
    versions: dict[str, str]
    """The packages that it may import, and NumPy."""


class PlanFacts(Struct, frozen=True, kw_only=True):
    """What a run set out to do, written down before its first sample."""

    seed: int
    """Draws the order of groups and turns, and each process's hash seed and padding."""
    pools: list[list[str]] = msgspec.field(name="tables")
    """The rows that sit together, control and bounds included."""
    tasks: list[AnyTask]
    threads: list[int]
    precisions: list[Precision]
    device: Device
    min_blocks: int
    max_blocks: int | None
    budget_s: float
    first_block_s: float
    """How long the first block was expected to take: where a plan goes pool by pool, that of the first pool."""
    min_blocks_s: float
    """How long the smallest number of blocks was expected to take, likewise."""
    turn_s: float
    memory_limit_bytes: int | None
    """How much address space a worker may have."""


class Run(Struct, frozen=True, kw_only=True):
    """What was asked, when, of what machine."""

    schema_version: int
    started_at: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")]
    command: str
    preset: str
    baseline: str
    seed: int
    """Draws weights and inputs."""
    plan: PlanFacts
    environment: Environment
    workloads: dict[str, WorkloadFacts]
    rows: dict[str, CodeFacts] = {}
    """Every row of the run, the bounds among them."""
    bounds: dict[str, str] = {}
    """Row to the bound that it is held against: that of the framework which makes its products."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result folder, read."""

    path: Path
    run: Run
    records: list[Record]
    memory: list[Memory] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    efforts: list[Effort] = field(default_factory=list)
    said: list[VerdictChange] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    half_written: bool = False
    """Whether the run was cut short in the middle of a line, which is left out."""
    cut_short: bool = False
    """Whether the run, or its last continuation, did not come to write how it ended."""

    @property
    def whole(self) -> bool:
        """Whether the run, or its last continuation, went to its own end."""
        return bool(self.ends) and not self.cut_short and self.ends[-1].why in ("decided", "budget", "blocks")

    @property
    def decided_after(self) -> dict[float, int]:
        """How many ratios had a verdict other than UNCLEAR, by when that changed: seconds since the run was started."""
        verdicts: dict[Cell, str] = {}
        decided = {}
        for said in self.said:
            verdicts[said.cell] = said.verdict
            decided[said.elapsed_s] = sum(verdict != "UNCLEAR" for verdict in verdicts.values())
        return decided

    @property
    def elapsed_s(self) -> float:
        """Wall time of the run and its continuations; where a part was killed, the least that it can have been."""
        return max(sum(end.elapsed_s for end in self.ends), sum(block.elapsed_s for block in self.blocks))
