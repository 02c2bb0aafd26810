"""``bench run``: checks what was asked, draws the numbers, runs the plan, writes the result, shows the table."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bench import answers
from bench.environment import ROOT, available_bytes, describe, gpus, parse_threads, worker_environment
from bench.plan import BUDGETS, cell_of, expected_s, make_plan
from bench.pronunciations import read_words
from bench.records import FAILURES, SCHEMA_VERSION, Run, WorkloadFacts, read_result, start_result
from bench.report import markdown, text
from bench.report.rows import table_rows
from bench.runner import Listener, blocked, run_plan
from bench.worker import ProblemFile
from bench.workloads import PRESETS, Workload, choose, estimate_bytes, parse_shape
from impls import HERE, find_rows, read_row
from impls.contract import DEVICES, TASKS, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from bench.plan import Plan
    from bench.records import Cell, Record
    from impls import Row
    from impls.contract import Device, Task

BASELINE = "torch/module"
LOCAL = ROOT / "results" / "local"
PREFLIGHT_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked of ``bench run``, checked."""

    rows: tuple[Row, ...]
    workloads: tuple[Workload, ...]
    tasks: tuple[Task, ...]
    device: Device
    threads: tuple[int, ...]
    preset: str
    baseline: str
    out: Path
    command: str


def check_request(
    *,
    impl: Sequence[str],
    workload: Sequence[str],
    task: Sequence[str],
    device: str,
    threads: Sequence[str],
    preset: str,
    shape: str | None,
    baseline: str | None,
    out: Path | None,
) -> Request:
    """The request behind the words of a command line.

    Raises:
        InvalidInput: a word means nothing here, or what it asks for cannot be done on this machine.
    """
    rows = choose_rows(impl)
    if unknown := [name for name in task if name not in TASKS]:
        raise InvalidInput(f"unknown task {unknown[0]!r}; choose from {', '.join(TASKS)}")
    if preset not in PRESETS:
        raise InvalidInput(f"unknown preset {preset!r}; choose from {', '.join(PRESETS)}")
    chosen_device = choose_device(device)
    workloads = choose(workload, preset, device) if workload or shape is None else []
    if shape is not None:
        workloads.append(parse_shape(shape))
    if any(one.is_words for one in workloads):
        read_words()  # says what is wrong with the dictionary, before anything is made
    for one in workloads:
        needed, free = estimate_bytes(one), available_bytes()
        if needed > free:
            raise InvalidInput(
                f"workload {one.name} needs about {needed / 2**30:.0f} GiB, and {free / 2**30:.0f} GiB are free;"
                " choose smaller sizes"
            )
    names = [row.name for row in rows]
    if baseline is not None and baseline not in names:
        raise InvalidInput(f"--baseline {baseline}: is not in this run, which has {', '.join(names)}")
    return Request(
        rows=tuple(rows),
        workloads=tuple(workloads),
        tasks=tuple(name for name in TASKS if name in (task or PRESETS[preset])),
        device=chosen_device,
        threads=tuple(parse_threads(threads)),
        preset=preset,
        baseline=baseline or BASELINE,
        out=free_folder(out),
        command=_command(
            impl=[Path(name).name if name.endswith(".py") else name for name in impl],  # no folders of this machine
            workload=workload,
            task=task,
            device=[device],
            threads=threads,
            preset=[preset],
            shape=[shape] if shape else [],
            baseline=[baseline] if baseline else [],
        ),
    )


def choose_rows(names: Sequence[str]) -> list[Row]:
    """The rows of these names or files; all of the tree's where none is given.

    Raises:
        InvalidInput: there is no such row, or a file is not one.
    """
    known = find_rows()
    rows = []
    for name in names:
        if name in known:
            rows.append(known[name])
        elif name.endswith(".py"):
            path = Path(name).resolve()
            rows.append(read_row(path, HERE if path.is_relative_to(HERE) else None))
        else:
            raise InvalidInput(f"unknown row {name!r}; choose from {', '.join(known)}, or give a file that ends in .py")
    by_name: dict[str, Row] = {}
    for row in rows or known.values():
        if by_name.setdefault(row.name, row).path != row.path:
            raise InvalidInput(f"two files are called {row.name}; rename one")
    return list(by_name.values())


def choose_device(name: str) -> Device:
    """The device of that name.

    Raises:
        InvalidInput: there is none.
    """
    for device in DEVICES:
        if device == name:
            if device == "gpu" and not gpus():
                raise InvalidInput(
                    "--device gpu: `nvidia-smi -L` lists no NVIDIA device (is the driver installed?);"
                    " leave it out to run on the CPU"
                )
            return device
    raise InvalidInput(f"unknown device {name!r}; choose from {', '.join(DEVICES)}")


def free_folder(out: Path | None) -> Path:
    """A folder for the result that does not exist yet.

    Raises:
        InvalidInput: it exists already.
    """
    if out is None:
        stamp = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        return next(path for path in _numbered(LOCAL / stamp) if not path.exists())
    try:
        if not out.exists():
            return out
    except OSError as error:
        raise InvalidInput(f"--out {str(out)[:80]}: cannot be written ({error.strerror})") from None
    raise InvalidInput(f"--out {out}: exists already; choose another folder, or remove it")


def preflight(row: Row, device: Device) -> None:
    """Try a person's own file in a process of its own.

    Raises:
        InvalidInput: it does not meet the contract; the message has the line, and where the full trace is.
    """
    known = {name for other in find_rows().values() for name in other.frameworks}
    with tempfile.NamedTemporaryFile("wb", prefix="bench-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.preflight", str(row.path), device, *blocked(row, known)],
            cwd=ROOT,
            env=worker_environment(os.environ, threads=1, device=device, extra=row.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    trace = Path(log.name)
    try:
        said, _ = process.communicate(timeout=PREFLIGHT_LIMIT_S)
        why = said.strip().rpartition("\n")[2] or f"{row.path.name}: ended Python with exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        why = f"{row.path.name}: load did not return within {PREFLIGHT_LIMIT_S:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == 0:
        trace.unlink()
        return
    if trace.stat().st_size:
        raise InvalidInput(f"--impl {row.path.name}: {why}; full trace: {trace}")
    trace.unlink()
    raise InvalidInput(f"--impl {row.path.name}: {why}")


def run(request: Request) -> int:
    """Measure, write and show; exit code 0, or 1 where a row failed, or 130 where the run was interrupted.

    Raises:
        InvalidInput: a person's own file does not meet the contract, or the folder cannot be written.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    for row in request.rows:
        if not row.path.is_relative_to(HERE) and row.missing() is None:
            preflight(row, request.device)
    budget = BUDGETS[request.preset]
    plan = make_plan(
        rows=sorted(request.rows, key=lambda row: row.name != request.baseline),  # the baseline first
        workloads=request.workloads,
        tasks=request.tasks,
        device=request.device,
        threads=request.threads,
        budget=budget,
    )
    try:
        request.out.mkdir(parents=True)
    except OSError as error:
        raise InvalidInput(f"--out {request.out}: cannot be written ({error.strerror})") from None
    start_result(_head(request, plan), request.out)

    interrupted = False
    try:
        with (
            tempfile.TemporaryDirectory(prefix="numbers-", dir=request.out) as numbers,
            _Progress(plan, request) as bar,
        ):
            problems = {}
            for workload in request.workloads:
                bar.say(f"the oracle works out {workload.name}")
                path = Path(numbers) / f"{workload.name}.safetensors"
                try:
                    answers.save(answers.pose(workload, request.tasks), path)
                except MemoryError:
                    raise InvalidInput(
                        f"workload {workload.name} does not fit into memory; choose smaller sizes"
                    ) from None
                problems[workload.name] = ProblemFile(workload.config, str(path))
            run_plan(plan, problems, request.out, Listener(bar.started, bar.finished))
    except KeyboardInterrupt:
        interrupted = True

    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    result = read_result(request.out)
    rows = table_rows([result])
    (request.out / "table.md").write_text(markdown.full(rows, [result]), encoding="utf-8")
    Console(highlight=False).print(*text.render(rows, [result]), sep="\n")
    if interrupted:
        stderr.print(f"interrupted: the table has what was measured, {len(result.records)} cells")
    stderr.print(f"result: {_shown(request.out)}")
    return 130 if interrupted else 1 if any(record.status in FAILURES for record in result.records) else 0


class _Progress:
    """A bar with the time left on a terminal, a line a row elsewhere; on standard error: the table can be piped."""

    def __init__(self, plan: Plan, request: Request) -> None:
        batches = {workload.name: workload.num_batches for workload in request.workloads}
        self._cost = {
            cell: expected_s(cell, seat.row, plan.budget, batches[cell.workload])
            for seat in plan.seats
            for cell in seat.cells
        }
        self._left = {seat.row.name: 0 for seat in plan.seats}
        for cell in self._cost:
            self._left[cell.implementation] += 1
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            speed_estimate_period=120,
            refresh_per_second=1,  # it shares the processors with what is measured
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=sum(self._cost.values()))

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, what: str) -> None:
        """Show what goes on."""
        self._bar.update(self._task, description=what)
        if not self._console.is_terminal:
            self._console.print(what)

    def started(self, cell: Cell) -> None:
        """Show the cell that is being measured."""
        self._bar.update(self._task, description=f"{cell.implementation}  {cell.workload} {cell.task}")

    def finished(self, record: Record) -> None:
        """Move on by one cell."""
        cell = cell_of(record)
        if cell not in self._cost:
            return
        self._bar.advance(self._task, self._cost[cell])
        self._left[cell.implementation] -= 1
        if not self._console.is_terminal and self._left[cell.implementation] == 0:
            self._console.print(f"{cell.implementation} is done")


def _head(request: Request, plan: Plan) -> Run:
    return Run(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=request.command,
        preset=request.preset,
        baseline=request.baseline,
        seed=answers.SEED,
        cells=plan.cells,
        environment=describe(),
        workloads={
            workload.name: WorkloadFacts(shape=workload.shape, sequences=workload.sequences, source=workload.source)
            for workload in request.workloads
        },
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def _command(**options: Sequence[str]) -> str:
    given = [(f"--{name}", *values) for name, values in options.items() if values]
    return shlex.join(["python", "-m", "bench", "run", *(word for words in given for word in words)])


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
