"""The timed bodies. A worker runs this file under pytest, and pytest-benchmark samples.

Every result is awaited inside the timed body, by the harness. A cell is compared with the oracle before it is timed and
again after, on an input that the row has not seen.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bench import answers
from bench.job import Finished, Started, report
from bench.plan import samples_and_iterations, settle
from bench.where import where
from impls import build_row, read_row
from impls.contract import DeviceUnavailable
from impls.equality import answer, deviations, wrong_dtype
from impls.numpy_model import NumpyModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from bench.job import Job
    from bench.records import Cell, Record
    from impls.equality import Answer

MIN_WARMUP_CALLS = 1
"""Beside the two calls of the first-call measurement, and those of the validation."""


SLIGHT = 0.1
"""How far processor seconds a second may exceed the threads, by the clocks' own coarseness."""


class TooManyThreads(RuntimeError):
    """The row used more processors than it was allowed."""


class Invalid(Exception):
    """The row's values are wrong; the message names the quantity."""


@dataclass(frozen=True)
class Loaded:
    """A row at one workload."""

    workload: str
    model: NumpyModel
    problem: answers.Problem
    build_s: float


class Seated:
    """The pytest plugin that carries a job to ``test_cell``: the row in its seat, and what it has loaded."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.row = read_row(Path(job.row_path), Path(job.row_root) if job.row_root else None)
        self._loaded: Loaded | None = None
        self._import_s: float | None = None
        self._build: Callable[..., Any] | None = None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a cell."""
        ids = [f"{cell.workload}-{cell.task}" for cell in self.job.cells]
        metafunc.parametrize("cell", self.job.cells, ids=ids)

    @pytest.fixture(scope="session")
    def seated(self) -> Seated:
        """The plugin itself."""
        return self

    def load(self, cell: Cell) -> Loaded:
        """The row at the cell's workload: made once for all its tasks."""
        if self._build is None:
            start = time.perf_counter()
            self._build = build_row(self.row)
            self._import_s = time.perf_counter() - start
        if self._loaded is None or self._loaded.workload != cell.workload:
            self._loaded = None  # the old model's memory, before the new one is made
            source = self.job.problems[cell.workload]
            problem = answers.load(Path(source.path))
            start = time.perf_counter()
            model = NumpyModel(self._build, source.config, problem.parameters, cell.device)
            self._loaded = Loaded(cell.workload, model, problem, time.perf_counter() - start)
        return self._loaded

    def measure(self, cell: Cell, benchmark: BenchmarkFixture) -> Record:
        """The cell's record, with its samples.

        Raises:
            Invalid: the row's values are wrong.
        """
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        loaded = self.load(cell)
        model, problem = loaded.model, loaded.problem
        model.load(problem.parameters)
        call = body(model, cell, problem)

        first_call_s, second_call_s = wall_s(call), wall_s(call)
        error = validate(model, cell, problem, input_set=0)

        warmup: list[float] = []
        warm_until = time.perf_counter() + self.job.budget.warmup_s
        while len(warmup) < MIN_WARMUP_CALLS or time.perf_counter() < warm_until:
            warmup.append(wall_s(call))
        samples, iterations = samples_and_iterations(min(warmup), self.job.budget)

        model.load(problem.parameters)
        cpu_start, wall_start = time.process_time(), time.perf_counter()
        result = benchmark.pedantic(call, rounds=samples, iterations=iterations)  # type: ignore[no-untyped-call]
        cpu_per_wall = (time.process_time() - cpu_start) / (time.perf_counter() - wall_start)
        if cpu_per_wall > cell.threads + SLIGHT:
            raise TooManyThreads(f"{cpu_per_wall:.1f} processors were busy, with {cell.threads} allowed")
        assert benchmark.stats is not None
        error = max(error, validate_timed(model, cell, problem, result))
        error = max(error, validate(model, cell, problem, input_set=1))
        return msgspec.structs.replace(
            settle(cell, "ok", ""),
            reason=None,
            samples_s=list(benchmark.stats.stats.data),
            iterations=iterations,
            import_s=self._import_s,
            build_s=loaded.build_s,
            first_call_s=first_call_s,
            compile_s=max(0.0, first_call_s - second_call_s) if self.row.compiles else None,
            warmup_calls=len(warmup),
            max_relative_error=error,
            cpu_per_wall=cpu_per_wall,
            started_at=started_at,
        )


def body(model: NumpyModel, cell: Cell, problem: answers.Problem) -> Callable[[], Any]:
    """The timed call: the task on every batch of the workload, each result awaited; it gives the last result."""
    row = model.row
    task: Callable[..., Any] = getattr(row, cell.task)
    wait = row.wait
    batches = [tuple(map(row.to_device, batch.arguments(cell.task))) for batch in problem.batches[0]]
    row.wait(batches)

    def call() -> Any:
        for batch in batches:
            result = task(*batch)
            wait(result)
        return result

    return call


def wall_s(call: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def validate(model: NumpyModel, cell: Cell, problem: answers.Problem, *, input_set: int) -> float:
    """The worst relative error on an input set, from freshly loaded weights.

    Raises:
        Invalid: it is beyond its limit.
    """
    model.load(problem.parameters)
    solved = answers.solve(model, cell.task, problem.batches, input_set)
    slack = problem.slack[input_set] if cell.task == "train_step" else None
    when = "after timing, on an input not seen before" if input_set else "before timing"
    return worst_error(cell, solved, problem.answers[input_set, cell.task], when, slack)


def validate_timed(model: NumpyModel, cell: Cell, problem: answers.Problem, result: Any) -> float:
    """The worst relative error of the last timed call's result.

    Many timed steps of training are too many for the oracle to follow; of them, the loss must have fallen.

    Raises:
        Invalid: it is beyond its limit, or the loss has not fallen.
    """
    last = answer(model.convert(result))
    expected = problem.answers[0, cell.task]
    if cell.task == "train_step":
        count = len(problem.batches[0])
        first_loss, last_loss = float(expected[f"loss of step {count}"]), float(last["loss"])
        if not last_loss < first_loss:  # NaN compares false
            raise Invalid(f"the loss did not fall while training was timed: {first_loss:.6g}, then {last_loss:.6g}")
        return 0.0
    count = len(problem.batches[0])
    solved = answers.of_batch(last, count - 1, count)
    return worst_error(cell, solved, {name: expected[name] for name in solved}, "while it was timed", None)


def worst_error(cell: Cell, solved: Answer, expected: Answer, when: str, slack: Answer | None) -> float:
    """The worst relative error of an answer.

    Raises:
        Invalid: it is beyond its limit, or something is not float32.
    """
    if wrong := wrong_dtype(solved):
        raise Invalid(f"{wrong} ({when})")
    worst = deviations(cell.task, solved, expected, slack)[0]
    if not worst.within:
        raise Invalid(f"{worst} ({when})")
    return worst.error


def test_cell(cell: Cell, seated: Seated, benchmark: BenchmarkFixture) -> None:
    """Measure one cell, and report whatever becomes of it."""
    report(seated.job, Started(cell))
    try:
        record = seated.measure(cell, benchmark)
    except KeyboardInterrupt:
        raise
    except Invalid as error:
        record = settle(cell, "invalid", str(error))
    except DeviceUnavailable as error:
        record = settle(cell, "unavailable", str(error))
    except BaseException as error:  # a row that calls sys.exit() or pytest.skip() has no result either
        traceback.print_exc()
        record = settle(cell, "out_of_memory" if is_out_of_memory(error) else "error", where(error, seated.row.path))
    report(seated.job, Finished(record))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, PyTorch, JAX or CuPy says that memory has run out."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "resource_exhausted" in words
