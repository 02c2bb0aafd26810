"""``bench advise``: what to expect of a shape that was not measured, from the newest scaling run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.means import TaskAt
from bench.analysis.stats import PRACTICAL, median
from bench.forecast.model import Beyond, Checked, Expected, Model, beyond, check, forecast, model_of, tied
from bench.here import ROOT, as_typed
from bench.machine.describe import code_facts, describe
from bench.measure.request import check_device, choose_precisions, choose_tasks, parse_threads
from bench.records.schema import Result
from bench.records.store import RUN_FILE, read_result
from bench.report.text import NAME, Part, Tables
from bench.workloads.flops import BatchSizes
from bench.workloads.shapes import Workload, parse_shape
from bench.workloads.sweeps import SCALING
from impls import find_rows
from impls.contract import Device, InvalidInput, Precision, Task

RESULTS = ROOT / "results"


@dataclass(frozen=True, slots=True)
class OfTask:
    """What is expected at a task, the shortest time first, and how the same fits did on held-out shapes."""

    at: TaskAt
    expected: list[Expected]
    beyond: list[Beyond]
    held_out: list[Checked]


@dataclass(frozen=True, slots=True)
class Advice:
    """What is expected of a shape, and what that rests on."""

    workload: Workload
    model: Model
    tasks: list[OfTask]
    is_here: bool
    """Whether the scaling run was made on this machine."""
    command: list[str]
    """What measures the shape."""


def advise(
    *, shape: str, task: Sequence[Task], threads: str, device: Device, precision: Precision, result: Path | None
) -> Advice:
    """What the newest scaling run, or the one in ``result``, lets one expect of a shape.

    Raises:
        InvalidInput: a word means nothing here, or there is no scaling run, or none that has what is asked for.
    """
    workload = parse_shape(shape)
    check_device(device)
    (number,) = parse_threads([threads])
    choose_precisions([precision], device)
    machine, tasks = describe().machine, choose_tasks(task, SCALING)
    places = [TaskAt(one, device, precision, number) for one in tasks]
    model = newest(machine, places) if result is None else model_of(Analysis(read_result(result)))
    if lacking := next((at for at in places if at not in model.fits), None):
        path = model.path.relative_to(ROOT) if model.path.is_relative_to(ROOT) else model.path
        raise InvalidInput(
            f"{path} has no {lacking.task} at {lacking.place}; `python -m bench run --preset scaling` measures it,"
            " with --task, --threads, --device and --precision as here"
        )
    batches = [BatchSizes(*lengths, workload.batch_size) for lengths in workload.lengths]
    words = ["python", "-m", "bench", "run", "--shape", shape, "--task", *tasks]
    words += ["--threads", str(number)] * (number != 1) + ["--device", device] * (device != "cpu")
    words += ["--precision", precision] * (precision != "float32")
    of_tasks = []
    for at in places:
        expected = forecast(model, at, workload.config, batches, without=workload.name)
        of_tasks.append(OfTask(at, expected, beyond(model, at, workload.config, batches), check(model, at)))
    return Advice(workload, model, of_tasks, model.run.environment.machine == machine, words)


def newest(machine: str, places: Collection[TaskAt]) -> Model:
    """The newest scaling run, published or local, of all these tasks; one of this machine before others.

    If none has them all, the first in that order.

    Raises:
        InvalidInput: there is none.
    """
    found = []
    for path in (*RESULTS.glob(f"[!.]*/{RUN_FILE}"), *RESULTS.glob(f"local/*/{RUN_FILE}")):
        with suppress(InvalidInput):  # damaged, or older
            result = read_result(path.parent)
            if result.run.preset == SCALING:
                found.append(result)

    def rank(result: Result) -> tuple[bool, datetime]:
        return result.run.environment.machine == machine, datetime.fromisoformat(result.run.started_at)

    first = None
    for result in sorted(found, key=rank, reverse=True):
        with suppress(InvalidInput):  # cut short before it had enough
            model = model_of(Analysis(result))
            if model.fits.keys() >= set(places):
                return model
            first = first or model
    if first is None:
        how_to = "`python -m bench run --preset scaling` makes one (about 50 minutes)"
        raise InvalidInput(f"there is no scaling run to go by; {how_to}")
    return first


def changed(model: Model) -> list[str]:
    """The rows of the run that are not what they were: their code, what it imports, or the versions of that."""
    here, were = find_rows(), model.run.rows
    rows = {fitted.implementation for fits in model.fits.values() for fitted in fits} & were.keys()
    return sorted(name for name in rows if name not in here or code_facts(here[name]) != were[name])


def render(advice: Advice) -> Iterator[RenderableType]:
    """For each task the rows with their expected times, who is the fastest, and how sure that is; plain when piped."""
    yield Text(advice.workload.name, style="bold").append(f"  {advice.workload.shape}", style="not bold dim")
    for of_task in advice.tasks:
        yield Text()
        yield Tables(
            parts=[Part(None, f"{of_task.at.task} {of_task.at.place}", of_task.expected)],
            columns=[NAME, "expected", "9 of 10 within", "ratio", "within", "fastest"],
            cells=partial(_cells, of_task.expected[0]),
            least_first=("9 of 10 within", "fastest", "within"),
            words=[NAME],
        )
        yield Text(f" {verdict(of_task.expected)}", style="bold")
        yield Text(f" {how_sure(of_task)}")
    run = advice.model.run
    where = "on this machine" if advice.is_here else f"on ANOTHER machine, {run.environment.cpu}"
    shapes = f"a scaling run of {advice.model.fitted()} shapes"
    yield Text(f"\nfrom {shapes} {where}, {run.started_at[:10]}: {advice.model.path.name}")
    for doubt in doubts(advice):
        yield Text(doubt, style="yellow")
    yield Text("to measure it, add --measure, or:")


def _cells(first: Expected, one: Expected, _columns: Collection[str]) -> dict[str, Text]:
    words = {
        NAME: one.implementation,
        "expected": units.seconds(one.time_s),
        "9 of 10 within": f"{units.seconds(one.low_s)} to {units.seconds(one.high_s)}",
        "ratio": units.ratio(one.ratio),
        "within": units.between(one.ratio_low, one.ratio_high) if one is not first else "",
        "fastest": f"{100 * one.chance:.0f} %" if one.chance else "",
    }
    return {name: Text(word) for name, word in words.items()}


def verdict(expected: Sequence[Expected]) -> str:
    """Who is expected to be the fastest, or between which rows that is open, in a sentence."""
    (first, *others), names = expected, tied(expected)
    best = f"{first.implementation} is expected to be the fastest"
    if not others:
        return f"{first.implementation} is the only row there is a time of."
    if len(names) == 1:
        ratio = f"{units.ratio(others[0].ratio)} as long {units.between(others[0].ratio_low, others[0].ratio_high)}"
        return f"{best}; {others[0].implementation}, the next, takes {ratio}."
    *within, last = [name for name in names if name != first.implementation]
    listed = f"{', '.join(within)} and {last} are" if within else f"{last} is"
    after = [one.implementation for one in expected]
    after = after[max(map(after.index, names)) + 1 :]
    return f"{best}, but {listed} within the error: a tie{f'; {after[0]} comes after them' if after else ''}."


def how_sure(of_task: OfTask) -> str:
    """How the same fits did on shapes that were held out, and whether this one is like those."""
    seen = "No shape was held out: how far off it is, is known from leaving out one at a time only."
    if checked := of_task.held_out:
        error = median([error for one in checked for error in one.errors.values()])
        seen = (
            f"On {len(checked)} held-out shapes times were off by {units.percent(error)} (median), and the fastest"
            f" row, or one within {units.percent(PRACTICAL)} of it, was as expected, or in the tie, on"
            f" {sum(one.is_right for one in checked)}."
        )
    if not of_task.beyond:
        return f"Inside of what was swept. {seen}"
    outside = "; ".join(map(_outside, of_task.beyond))
    return f"OUTSIDE of what was swept, so the intervals are wider, and still a guess: {outside}. Inside: {seen}"


def _outside(one: Beyond) -> str:
    if one.name == "operations":
        return f"{units.flops(one.value)} in products a call, and no shape had more than {units.flops(one.high)}"
    range_ = f"{one.low:g}" if one.low == one.high else f"{one.low:g} to {one.high:g}"
    return f"{one.name} {one.value:g} (swept: {range_})"


def doubts(advice: Advice) -> Iterator[str]:
    """What else speaks against it."""
    if not advice.is_here:
        yield "times are another machine's, and ratios differ from processor to processor, too"
    if since := changed(advice.model):
        yield f"since then, code or versions have changed, and so may have errors: {', '.join(since)}"
    if (name := advice.workload.name) in advice.model.run.workloads:
        yield as_typed(f"this very shape was measured: `python -m bench table` of that run has {name}")
