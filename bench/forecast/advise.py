"""``bench advise``: what to expect of a shape that was not measured, from the newest scaling run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from bench import units
from bench.analysis.analysis import Analysis
from bench.forecast.held_out import Score, check, score
from bench.forecast.model import Beyond, Expected, Model, TaskAt, beyond, forecast, model_of
from bench.here import ROOT
from bench.machine.describe import code_facts, describe
from bench.measure.request import check_device, choose_precisions, choose_tasks, parse_threads
from bench.records.store import RUN_FILE, read_result
from bench.workloads.flops import BatchSizes
from bench.workloads.shapes import parse_shape
from bench.workloads.sweeps import SCALING
from impls import find_rows
from impls.contract import Device, InvalidInput, Precision, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from bench.records.schema import Result
    from bench.workloads.shapes import Workload

RESULTS = ROOT / "results"
HOW_TO = "`python -m bench run --preset scaling` makes one (about 50 minutes)"


class Source(NamedTuple):
    """A scaling run, and where it is."""

    path: Path
    model: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTask:
    """What is expected at a task."""

    at: TaskAt
    expected: list[Expected]
    """The shortest time first."""
    beyond: list[Beyond]
    score: Score
    """How the same fits did on held-out shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What is expected of a shape, and what that rests on."""

    workload: Workload
    source: Source
    tasks: list[OfTask]
    is_known: bool
    """Whether the run measured the very shape."""
    is_here: bool
    """Whether the run was made on this machine."""
    changed: list[str]
    """The rows that have changed since, in code or versions."""
    command: list[str]
    """What measures the shape."""


def advise(
    *,
    shape: str,
    task: Sequence[Task],
    threads: str,
    device: Device,
    precision: Precision,
    result: Path | None,
) -> Advice:
    """What the newest scaling run, or the one in ``result``, lets one expect of a shape.

    Raises:
        InvalidInput: a word means nothing here, or there is no scaling run, or none that has what is asked for.
    """
    workload = parse_shape(shape)
    check_device(device)
    (chosen_threads,) = parse_threads([threads])
    choose_precisions([precision], device)
    machine = describe().machine
    tasks = choose_tasks(task, SCALING)
    places = [TaskAt(one, device, precision, chosen_threads) for one in tasks]
    source = newest(machine, places) if result is None else Source(result, model_of(Analysis(read_result(result))))
    if lacking := next((at for at in places if at not in source.model.fits), None):
        what = f"{lacking.task} at {units.place(lacking.device, lacking.threads, lacking.precision)}"
        raise InvalidInput(
            f"{_shown(source.path)} has no {what}; `python -m bench run --preset scaling` measures it, with --task,"
            " --threads, --device and --precision as here"
        )
    batches = [BatchSizes(*lengths, workload.batch_size) for lengths in workload.lengths]
    return Advice(
        workload=workload,
        source=source,
        tasks=[
            OfTask(
                at=at,
                expected=forecast(source.model, at, workload.config, batches, without=workload.name),
                beyond=beyond(source.model, at, workload.config, batches),
                score=score(check(source.model, at)),
            )
            for at in places
        ],
        is_known=workload.name in source.model.run.workloads,
        is_here=source.model.run.environment.machine == machine,
        changed=changed(source.model),
        command=command(shape, tasks, chosen_threads, device, precision),
    )


def newest(machine: str, places: Collection[TaskAt]) -> Source:
    """The newest scaling run, published or local, of all these tasks; one of this machine before others.

    If none has them all, the first in that order.

    Raises:
        InvalidInput: there is none.
    """
    found = []
    for path in (*RESULTS.glob(f"[!.]*/{RUN_FILE}"), *RESULTS.glob(f"local/*/{RUN_FILE}")):
        try:
            result = read_result(path.parent)
        except InvalidInput:  # damaged, or older
            continue
        if result.run.preset == SCALING:
            found.append(result)

    def rank(result: Result) -> tuple[bool, datetime]:
        return result.run.environment.machine == machine, datetime.fromisoformat(result.run.started_at)

    first = None
    for result in sorted(found, key=rank, reverse=True):
        try:
            source = Source(result.path, model_of(Analysis(result)))
        except InvalidInput:  # cut short before it had enough
            continue
        if source.model.fits.keys() >= set(places):
            return source
        first = first or source
    if first is None:
        raise InvalidInput(f"there is no scaling run to go by; {HOW_TO}")
    return first


def changed(model: Model) -> list[str]:
    """The rows of the run that are not what they were: their code, what it imports, or the versions of that."""
    here = find_rows()
    rows = {fitted.implementation for fits in model.fits.values() for fitted in fits}
    return sorted(
        name
        for name, facts in model.run.rows.items()
        if name in rows and (name not in here or code_facts(here[name]) != facts)
    )


def command(shape: str, tasks: Sequence[str], threads: int, device: str, precision: str) -> list[str]:
    """The words that measure the shape."""
    words = ["python", "-m", "bench", "run", "--shape", shape, "--task", *tasks]
    words += ["--threads", str(threads)] * (threads != 1)
    words += ["--device", device] * (device != "cpu") + ["--precision", precision] * (precision != "float32")
    return words


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
