"""Before any turn the oracle works, and on a GPU programs are compiled: several at once, by all processors.

The device here is a fake one: rows that say they have a GPU, and need nothing but NumPy.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from support.measuring import QUICK, blocks, carry_out, last
from support.pretend import row as pretended
from support.pretend import sit
from support.processes import numpy_row
from support.recorded import BLOCK

from bench.machine.cpus import processors
from bench.measure import ahead
from bench.measure.ahead import beside, pose, problem_files
from bench.measure.plan import Plan, make_plan
from bench.measure.runner import Listener
from bench.measure.stopping import after_s, next_block
from bench.measure.worker_client import WorkerProcess
from bench.records.schema import FAILURES, Effort, Record
from bench.workloads import reference_outputs
from bench.workloads.shapes import SEED
from impls import read_row
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from impls import Row

SLOW_S = 0.4
"""How long the first call of the rows below takes where nobody has compiled."""

COMPILES = f"""
program = Path(os.environ["TMPDIR"], "program")
if not program.exists():
    time.sleep({SLOW_S})
    program.touch()
    with open(log, "a") as file:
        print(len(os.sched_getaffinity(0)), time.time(), file=file)
if in_a_turn():
    with open(log + ".turns", "a") as file:
        print(time.time(), file=file)
"""


def compiling(folder: Path, name: str, before: str = COMPILES) -> Row:
    """A row that compiles at its first call, into its own cache, and writes down when and by how many processors."""
    top = f"import os, time\nfrom pathlib import Path\nlog = {str(folder / name)!r}"
    path = numpy_row(folder, name, before=before, top=top)
    fields = '"tier": "loop", "devices": ["cpu", "gpu"], "compiles": True,'
    path.write_text(path.read_text().replace('"tier": "loop",', fields))
    return read_row(path)


def plan_on(device: str, *rows: Row, **more: Any) -> Plan:
    wanted = {"tasks": ["encode"], "budget": QUICK, "threads": [1]} | more
    return make_plan(rows=rows, workloads=[SEED], device=device, baseline=rows[0].name, seed=1, **wanted)  # type: ignore[arg-type]


def compiled(folder: Path, name: str) -> list[tuple[int, float]]:
    """By how many processors, and when, the row and its control have compiled."""
    lines = [line.split() for line in (folder / name).read_text().splitlines()]
    return [(int(number), float(when)) for number, when in lines]


def first_turn(folder: Path, *names: str) -> float:
    texts = [(folder / f"{name}.turns").read_text() for name in names]
    return min(float(line) for text in texts for line in text.splitlines())


def test_on_a_gpu_all_compile_before_any_turn_on_all_processors(tmp_path: Path) -> None:
    rows = [compiling(tmp_path, name) for name in ("first", "second")]
    said: list[str] = []
    listener = Listener(doing=lambda _planned, what: said.append(what))
    records = carry_out(tmp_path, plan_on("gpu", *rows), listener)
    assert {record.status for record in records} == {"ok"}
    assert len(compiled(tmp_path, "first")) == 2 and len(compiled(tmp_path, "second")) == 1  # the control has its own
    for name in ("first", "second"):
        for number, when in compiled(tmp_path, name):
            assert number == len(processors())
            assert when < first_turn(tmp_path, "first", "second")
    for record in (one for one in records if not one.attempt):  # not what loading took in the block
        assert record.first_call_s is not None and record.first_call_s >= SLOW_S
        assert record.compile_s is not None and record.compile_s >= SLOW_S / 2
    assert "3 programs are compiled, on all processors; meanwhile the oracle works" in said


def test_on_a_cpu_a_row_compiles_with_the_processors_that_it_is_timed_on(tmp_path: Path) -> None:
    rows = [compiling(tmp_path, name) for name in ("first", "second")]
    records = carry_out(tmp_path, plan_on("cpu", *rows))
    assert {record.status for record in records} == {"ok"}
    assert {number for name in ("first", "second") for number, _ in compiled(tmp_path, name)} == {1}
    assert all((record.compile_s or 0.0) >= SLOW_S / 2 for record in records if not record.attempt)


def test_who_cannot_be_compiled_says_so_and_takes_no_turn(tmp_path: Path) -> None:
    good, bad = compiling(tmp_path, "good"), compiling(tmp_path, "bad", before=BAD)
    records = carry_out(tmp_path, plan_on("gpu", good, compiling(tmp_path, "other"), bad))
    record = last(records)["bad", "encode"]
    assert record.status == "error" and record.block == 1
    assert record.reason is not None and record.reason.endswith("no such kernel (when it was compiled)")
    assert {one.status for one in records if one is not record} == {"ok"}


def test_the_oracle_works_while_programs_are_compiled(tmp_path: Path) -> None:
    spans: dict[str, float] = {}

    def pose(_tell: object, _stopped: object) -> None:
        spans["began"] = time.time()
        time.sleep(6)
        spans["ended"] = time.time()

    carry_out(tmp_path, plan_on("gpu", compiling(tmp_path, "first"), compiling(tmp_path, "second")), pose=pose)
    when = [when for _, when in compiled(tmp_path, "first")]
    assert spans["began"] < min(when) < spans["ended"] < first_turn(tmp_path, "first", "second")


def test_what_the_oracle_cannot_do_ends_the_run_at_once(tmp_path: Path) -> None:
    def pose(_tell: object, _stopped: object) -> None:
        raise InvalidInput("it does not fit into memory")

    for device in ("cpu", "gpu"):
        began = time.monotonic()
        with pytest.raises(InvalidInput, match="does not fit"):
            carry_out(tmp_path, plan_on(device, compiling(tmp_path, "first", before="time.sleep(60)")), pose=pose)
        assert time.monotonic() - began < 30


def test_many_compile_at_once_each_with_all_processors_and_leave_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def together(requests: Any, slots: Any, **options: Any) -> Any:
        seen.append((slots, options["once"]))
        return real(requests, slots, **options)

    real = ahead.together
    monkeypatch.setattr(ahead, "together", together)
    end, ended = WorkerProcess.end, []
    monkeypatch.setattr(WorkerProcess, "end", lambda worker: (ended.append(worker.answered), end(worker))[1])
    carry_out(tmp_path, plan_on("gpu", *(compiling(tmp_path, name) for name in ("first", "second", "third"))))
    assert seen == [([processors()] * min(4, len(processors())), True)]
    assert ended[:4] == [True] * 4, "each is ended when it has answered, and not when all have"


BAD = "raise ValueError('no such kernel')"


def test_a_baseline_that_cannot_be_compiled_fails_once_though_it_is_in_every_pool(tmp_path: Path) -> None:
    rows = [compiling(tmp_path, "base", before=BAD), compiling(tmp_path, "one"), compiling(tmp_path, "two")]
    plan = plan_on("gpu", *rows, entries_a_pool=3)
    assert len(plan.pools) == 2
    failures = [one for one in carry_out(tmp_path, plan) if not one.ok]
    assert len(failures) == 2  # the baseline, and its twin
    assert len({(one.cell, one.block, one.pool, one.attempt) for one in failures}) == 2


def test_who_takes_too_long_to_compile_has_no_time_here_and_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.measure.worker_client.START_LIMIT_S", 3.0)
    rows = [
        compiling(tmp_path, "base"),
        compiling(tmp_path, "other"),
        compiling(tmp_path, "slow", before="time.sleep(60)"),
    ]
    records = carry_out(tmp_path, plan_on("gpu", *rows, budget=replace(QUICK, limit_s=5)))
    slow = last(records)["slow", "encode"]
    assert slow.status == "unavailable" and slow.status not in FAILURES
    assert slow.reason is not None and re.match(
        r"did not get done within the 8 s .* \(when it was compiled\)", slow.reason
    )
    assert {one.status for one in records if one is not slow} == {"ok"}


def test_who_had_an_attempt_before_fails_in_the_next(tmp_path: Path) -> None:
    """A run that goes on with a contended block compiles anew, and its second record is another than the first."""
    rows = [compiling(tmp_path, "base"), compiling(tmp_path, "bad", before=BAD)]
    plan = plan_on("gpu", *rows)
    ((_, cell),) = [member for member in next_block(plan, [])[1][0].members if member[0].name == "bad"]  # type: ignore[index]
    had = Record(cell=cell, block=1, status="ok", samples_s=[0.1], calls=1, flags=["contended"])
    found = [one for one in carry_out(tmp_path, plan, known=[had]) if one.cell == cell]
    assert [(one.status, one.attempt) for one in found] == [("error", 1)]


def test_the_budget_is_obeyed_between_pools(tmp_path: Path) -> None:
    budget = replace(QUICK, min_blocks=2, max_blocks=2, sure_blocks=2, total_s=0.1, pool_by_pool=True)
    plan = plan_on("gpu", *(compiling(tmp_path, name) for name in "ab"), budget=budget, precisions=("float32", "tf32"))
    records = carry_out(tmp_path, plan)
    assert {(one.pool, one.block) for one in records if one.ok} == {(0, 1), (0, 2)}
    assert [(block.pool, block.cold) for block in blocks(tmp_path)] == [(0, True), (0, False)]


def test_a_block_is_charged_what_its_own_pool_learnt() -> None:
    def effort(pool: int) -> Effort:
        more = {"turns": 1, "before": 3, "turn_sd": 0.1, "process_sd": 0.1, "round_s": 5.0, "around_s": 1.0}
        return Effort(workload="seed", task="encode", device="gpu", threads=1, pool=pool, **more)

    block = msgspec.structs.replace(BLOCK, elapsed_s=30.0, cold=False, pool=1)
    assert after_s(block, [effort(0), effort(1), effort(2)]) == 20.0
    assert after_s(msgspec.structs.replace(block, pool=None), [effort(0)]) == 20.0


def test_who_is_stopped_writes_nothing_down(tmp_path: Path) -> None:
    problems = problem_files([SEED], tmp_path)
    request: Any = SimpleNamespace(workloads=[SEED], tasks=("forward",), precisions=("float32",))
    pose(request, problems, lambda _: None, lambda: True)
    assert not list(tmp_path.iterdir())
    pose(request, problems, lambda _: None, lambda: False)
    assert [path.name for path in tmp_path.iterdir()] == ["seed.safetensors"]


def test_who_is_interrupted_does_not_wait_for_what_goes_on_beside() -> None:
    began = time.monotonic()
    stopped: list[Callable[[], bool]] = []

    def work(_tell: object, told: Callable[[], bool]) -> None:
        stopped.append(told)
        time.sleep(20)

    with pytest.raises(KeyboardInterrupt), beside(work):
        while not stopped:
            time.sleep(0.01)
        assert not stopped[0]()
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10 and stopped[0]()


def test_pool_by_pool_the_first_has_its_blocks_before_the_next_begins() -> None:
    budget = replace(QUICK, min_blocks=3, max_blocks=4, pool_by_pool=True)
    rows = [pretended(name, devices=("cpu", "gpu")) for name in ("a", "b", "c")]
    plan = plan_on("gpu", *rows, budget=budget, precisions=("float32", "tf32"))
    order: list[tuple[int, list[int]]] = []
    records: list[Record] = []
    while (due := next_block(plan, records)) is not None:
        block, planned_groups = due
        order.append((block, sorted({one.pool.number for one in planned_groups})))
        for planned in planned_groups:
            records += sit(planned, block, {"b": 1.002, "c": 1.02}, noise=0.02)
    least = [(block, [pool]) for pool in (0, 1) for block in (1, 2, 3)]
    assert order[:6] == least
    assert all(block == 4 for block, _ in order[6:])


def test_zeros_have_the_shapes_that_a_problem_has() -> None:
    problem = reference_outputs.pose(SEED, ("forward",))
    zeros = reference_outputs.blank(SEED.config, reference_outputs.sizes_of(SEED))
    assert {name: array.shape for name, array in zeros.parameters.items()} == {
        name: array.shape for name, array in problem.parameters.items()
    }
    for ours, theirs in zip(zeros.batches[0], problem.batches[0], strict=True):
        for name in ("x", "y", "d_output", "target"):
            assert getattr(ours, name).shape == getattr(theirs, name).shape
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype == np.float32
