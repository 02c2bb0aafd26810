"""How far each row's values are from the oracle's on a device: ``python -m studies.values FOLDER [DEVICE]``.

The cross-tests say whether a row is within its limits; this says by how much, in every precision that the row has, and
is what is published of a device that tests do not run on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING

import msgspec

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.describe import describe
from bench.measure.errors import verdict_on
from bench.measure.plan import cells_of
from bench.measure.request import is_here
from bench.measure.worker import block
from bench.measure.worker_client import blocked
from bench.measure.worker_environment import environment_of, worker_environment
from bench.records.schema import Environment, Status, Struct
from bench.report.markdown import environment_line, table
from bench.workloads import reference_outputs
from bench.workloads.shapes import parse_shape
from impls import find_rows, import_row
from impls.contract import PRECISIONS, TASKS, Device, InvalidInput, Precision, Task, precision
from impls.equality import deviations
from impls.numpy_model import NumpyModel
from studies.experiment import carry_out, save
from studies.kernels import kernels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from impls import Row

SHAPES = (
    "embedding_dim=10,hidden_dim=20,batch_size=2",
    "embedding_dim=33,hidden_dim=193,batch_size=3,num_encoder_layers=1,num_decoder_layers=1,bidirectional=false",
    "embedding_dim=64,hidden_dim=128,batch_size=64",
)
"""The notebook's shape, one wider than cuDNN's small algorithm takes, and that of real words."""

LIMIT_S = 100.0
"""For a row in a precision, with its start and all that it compiles."""


class Value(Struct, frozen=True, kw_only=True):
    """The worst quantity of a row's answer to a task at a shape."""

    row: str
    precision: Precision
    shape: str
    task: Task
    status: Status = "ok"
    reason: str = ""
    quantity: str = ""
    error: float | None = None
    """Relative, against the float64 oracle; None where there is no answer."""
    limit: float | None = None
    kernels: tuple[str, ...] = ()
    """What a GPU ran for it, as its profiler has it; nothing where there is none."""

    @property
    def within(self) -> bool:
        """Whether it is right."""
        return self.error is not None and self.limit is not None and self.error <= self.limit


class Values(Struct, frozen=True, kw_only=True):
    """All of them, and where that was."""

    started_at: str
    device: Device
    environment: Environment
    elapsed_s: float
    interrupted: bool = False
    """Whether some rows were not reached."""
    values: list[Value]


def measure(device: Device) -> Values:
    """The values of every row that can run on the device here: each row and precision in a process of its own."""
    started_at, began = datetime.now().astimezone().isoformat(timespec="seconds"), time.monotonic()
    workloads = [parse_shape(shape) for shape in SHAPES]
    wanted: list[Precision] = [one for one in PRECISIONS if device == "gpu" or one != "tf32"]
    with TemporaryDirectory(prefix="values-") as folder:
        for one in workloads:
            posed = reference_outputs.pose(one, TASKS, tuple(wanted))
            reference_outputs.save(posed, Path(folder, f"{one.name}.safetensors"))
        pairs = [
            (row, own)
            for own in wanted
            for row in find_rows().values()
            if row.missing() is None and cells_of(row, workloads, TASKS, device, 1, own)[0]
        ]
        running: list[subprocess.Popen[bytes]] = []
        interrupted = Event()
        with ThreadPoolExecutor(max(1, len(processors()) // 2)) as pool:
            futures = [
                pool.submit(_by_itself, row, own, device, Path(folder), running, interrupted) for row, own in pairs
            ]
            try:
                wait(futures)
            except KeyboardInterrupt:  # whoever is done by now is kept
                interrupted.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for process in running:
                    process.kill()
        values = [value for future in futures if not future.cancelled() for value in future.result()]
    return Values(
        started_at=started_at,
        device=device,
        environment=describe(),
        elapsed_s=time.monotonic() - began,
        interrupted=interrupted.is_set(),
        values=values,
    )


def _by_itself(
    row: Row,
    own: Precision,
    device: Device,
    folder: Path,
    running: list[subprocess.Popen[bytes]],
    interrupted: Event,
) -> list[Value]:
    """What a process of the row's own finds; ``running``: those that may have to be ended."""
    label = f"{row.name.replace('/', '-')}-{own}"
    cache, said = folder / label, folder / f"{label}.jsonl"
    cache.mkdir()
    environment = worker_environment(
        os.environ, threads=1, device=device, precision=own, cache=cache, extra=environment_of(row)
    )
    command = [sys.executable, "-m", "studies.values", row.name, device, str(folder), str(said)]
    with (folder / f"{label}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        running.append(process)
        if interrupted.is_set():  # it came in between
            process.kill()
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(LIMIT_S)
        process.kill()
        process.wait()
    values = [msgspec.json.decode(line, type=Value) for line in said.read_bytes().splitlines()] if said.exists() else []
    if interrupted.is_set():
        return values
    missing = [(parse_shape(shape).name, task) for shape in SHAPES for task in TASKS if task not in row.unsupported]
    missing = [one for one in missing if one not in {(value.shape, value.task) for value in values}]
    status: Status = "timeout" if code is None else "crashed"
    reason = f"not done within {LIMIT_S:.0f} s" if code is None else f"the process ended with exit code {code}"
    return values + [
        Value(row=row.name, precision=own, shape=shape, task=task, status=status, reason=reason)
        for shape, task in missing
    ]


def _of_row(row: Row, device: Device, folder: Path) -> Iterator[Value]:
    """What this process's row gives, in the precision of its environment."""
    own, load = precision(), import_row(row).load
    for shape in SHAPES:
        workload = parse_shape(shape)
        problem = reference_outputs.load(folder / f"{workload.name}.safetensors")
        for task in TASKS:
            if task in row.unsupported:
                continue
            value = Value(row=row.name, precision=own, shape=workload.name, task=task)
            try:
                model = NumpyModel(load, workload.config, problem.parameters, device)
                solved = reference_outputs.solve(model, task, problem.batches, 0)
            except Exception as error:
                status, reason = verdict_on(error, row.path, [])
                yield msgspec.structs.replace(value, status=status, reason=reason)
                continue
            slack = problem.slack[own, 0] if task == "train_step" else None
            worst, *_ = deviations(task, solved, problem.answers[0, task], slack, precision=own)
            value = msgspec.structs.replace(value, quantity=worst.quantity, error=worst.error, limit=worst.limit)
            if device == "gpu":
                with suppress(Exception):  # a profiler that fails costs its names, and no value
                    call = partial(reference_outputs.solve, model, task, problem.batches, 0)
                    value = msgspec.structs.replace(value, kernels=tuple(kernels_of(row, call)))
            yield value


def report(found: Values) -> str:
    """A line for each row, precision and task: where it is worst."""
    right = [value for value in found.values if value.within]
    lines = []
    of_line: dict[tuple[str, Precision, Task], list[Value]] = {}
    for value in found.values:
        of_line.setdefault((value.row, value.precision, value.task), []).append(value)
    for (name, own, task), values in of_line.items():
        without = [value for value in values if value.error is None]
        worst = max(values, key=lambda value: -1.0 if value.error is None else value.error)
        error = "–" if worst.error is None else f"{worst.error:.1e}"
        limit = "–" if worst.limit is None else f"{worst.limit:.0e}"
        said = "; ".join(f"{value.shape}: {value.status} ({value.reason})" for value in without)
        off = ", ".join(value.shape for value in values if value.error is not None and not value.within)
        verdict = "; ".join(filter(None, [said, off and f"off at {off}"])) or "right"
        lines.append([f"`{name}`", own, task, verdict, worst.quantity, worst.shape, error, limit])
    header = ["row", "precision", "task", "", "worst quantity", "at", "error", "limit"]
    return "\n".join(
        [
            f"# Values on a {found.device}\n",
            f"{environment_line(found.environment)}  \n{found.started_at}, {found.elapsed_s:.0f} s\n",
            f"{len(right)} of {len(found.values)} answers are within their limits. Errors are relative, against the"
            f" float64 oracle (`docs/definitions.md`).{' Not all rows were reached.' * found.interrupted}\n",
            table(header, lines, left=6),
            *_kernels_in_words(found.values),
        ]
    )


def _kernels_in_words(values: Sequence[Value]) -> Iterator[str]:
    """What ran for each row at the first shape."""
    first = parse_shape(SHAPES[0]).name
    lines = [
        f"- `{value.row}` {value.precision} {value.task}: `{'`, `'.join(value.kernels)}`"
        for value in values
        if value.kernels and value.shape == first
    ]
    if lines:
        yield f"## Kernels at {first}\n\n" + "\n".join(lines) + "\n"


def study(folder: Path, device: Path = Path("cpu")) -> str:
    """The table, measured if it is not there."""
    name: Device = "gpu" if device.name == "gpu" else "cpu"
    if device.name != name:
        raise InvalidInput(f"{device}: is no device; choose cpu or gpu")
    if not is_here(name):
        raise InvalidInput(
            "`nvidia-smi -L` lists no NVIDIA device; `python -m studies.values FOLDER cpu` has the CPU's"
        )
    return save(folder / f"values-{name}.json", Values, lambda: measure(name), report)


def _child(name: str, device: str, folder: str, said: str) -> None:
    row = find_rows()[name]
    block(blocked(row))
    with Path(said).open("wb", buffering=0) as file:
        for value in _of_row(row, "gpu" if device == "gpu" else "cpu", Path(folder)):
            file.write(msgspec.json.encode(value) + b"\n")


CHILD = 5
"""So many words call the process of a row."""

if __name__ == "__main__":
    if len(sys.argv) == CHILD:
        _child(*sys.argv[1:])
    else:
        sys.exit(carry_out(sys.argv, "studies.values FOLDER [cpu|gpu]", study))
