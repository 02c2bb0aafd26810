"""Real workers with real faults: a wrong row has no time, a broken one costs its own cell, nothing outlives a run."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from processes import numpy_row

from bench import answers
from bench.job import ProblemFile
from bench.plan import Budget, make_plan
from bench.records import Record, record_line
from bench.runner import Listener, blocked, run_plan
from bench.workloads import SEED
from impls import find_rows, read_row

if TYPE_CHECKING:
    from pathlib import Path

    from impls import Row

QUICK = Budget(sampling_s=0.02, warmup_s=0.01, min_samples=3, limit_s=20)


def measure(folder: Path, *rows: Row, tasks: tuple = ("encode", "forward"), budget: Budget = QUICK) -> list[Record]:
    """The records of these rows at the notebook's shape."""
    plan = make_plan(rows=rows, workloads=[SEED], tasks=tasks, device="cpu", threads=[1], budget=budget)
    numbers = folder / "seed.safetensors"
    answers.save(answers.pose(SEED, tasks), numbers)
    records: list[Record] = []
    run_plan(
        plan,
        {"seed": ProblemFile(SEED.config, str(numbers))},
        folder,
        Listener(started=lambda _: None, finished=records.append),
    )
    return records


def by_task(records: list[Record]) -> dict[str, Record]:
    return {record.task: record for record in records}


def test_a_right_row_is_timed_on_every_task(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "right"))
    records = measure(tmp_path, row, tasks=("encode", "forward", "gradients", "train_step"))
    assert [record.status for record in records] == ["ok"] * 4, [record.reason for record in records]
    for record in records:
        assert len(record.samples_s) >= QUICK.min_samples
        assert 0 < min(record.samples_s) < 1
        assert record.max_relative_error is not None and 0 < record.max_relative_error < 1e-5
        assert record.first_call_s is not None and record.compile_s is None
        assert record.cpu_per_wall is not None and record.cpu_per_wall < 1.1


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ("result.h_n[0] += 1; return result", "h_n is off"),
        ("return result._replace(c_n=result.c_n[:1])", "c_n is off by inf"),
        ("result.output[0, 0, 0] = np.nan; return result", "output is off by nan"),
        ("return result._replace(output=result.output.astype(np.float64))", "output is float64, expected float32"),
    ],
)
def test_wrong_values_have_no_time(after: str, words: str, tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "wrong", after=after))
    found = by_task(measure(tmp_path, row))
    assert found["encode"].status == "invalid"
    assert found["encode"].samples_s == []
    assert re.search(words, found["encode"].reason or ""), found["encode"].reason
    assert found["forward"].status == "ok"


def test_a_result_kept_from_the_first_input_is_caught_after_timing(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "cached", after="self.kept = getattr(self, 'kept', result); return self.kept"))
    found = by_task(measure(tmp_path, row))
    assert found["encode"].status == "invalid"
    assert found["encode"].samples_s == []
    assert "after timing, on an input not seen before" in (found["encode"].reason or "")


RIGHT_WHEN_WATCHED = """
    def load(self, parameters):
        super().load(parameters)
        self.calls = 0

def load("""


def test_a_row_that_goes_wrong_while_it_is_timed_is_caught(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "tired", after="self.calls += 1; result.h_n[0] += self.calls > 2; return result")
    path.write_text(path.read_text().replace("\ndef load(", RIGHT_WHEN_WATCHED, 1))
    found = by_task(measure(tmp_path, read_row(path), tasks=("encode",)))
    assert found["encode"].status == "invalid"
    assert "h_n is off by" in (found["encode"].reason or "") and "while it was timed" in (found["encode"].reason or "")


WITHOUT_MOMENTUM = """
    def load(self, parameters):
        super().load(parameters)
        self._optimizer = Signs()

class Signs:
    def step(self, parameters, gradients):
        for name, gradient in gradients.items():
            parameters[name] -= 1e-3 * gradient / (np.abs(gradient) + 1e-8)

def load("""


def test_an_optimiser_without_memory_is_caught(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "signs")
    path.write_text(path.read_text().replace("\ndef load(", WITHOUT_MOMENTUM, 1))
    (record,) = measure(tmp_path, read_row(path), tasks=("train_step",))
    assert record.status == "invalid"
    assert "is off by" in (record.reason or "")


TRAINS_WHEN_WATCHED = """
    def train_step(self, x, y, target):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 7:
            from impls.contract import TrainStep
            return TrainStep(np.float32(9.0), self._parameters)
        return super().train_step(x, y, target)

def load("""


def test_training_that_stops_while_it_is_timed_is_caught(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "lazy")
    path.write_text(path.read_text().replace("\ndef load(", TRAINS_WHEN_WATCHED, 1))
    (record,) = measure(tmp_path, read_row(path), tasks=("train_step",))
    assert record.status == "invalid"
    assert "the loss did not fall" in (record.reason or "")


FAULTS = {
    "raises": ("raise RuntimeError('no luck today')", "error", r"fault\.py:\d+: RuntimeError: no luck today"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
    "exits": ("import os; os._exit(7)", "crashed", "exit code 7"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "out_of_memory", "SIGKILL"),
    "exits politely": ("raise SystemExit(0)", "error", "SystemExit"),
    "skips itself": ("import pytest; pytest.skip('not today')", "error", "not today"),
    "runs out of memory": ("raise MemoryError", "out_of_memory", "MemoryError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_its_own_cell_and_the_rest_goes_on(fault: str, tmp_path: Path) -> None:
    code, status, words = FAULTS[fault]
    bad = read_row(numpy_row(tmp_path, "fault", before=code))
    good = read_row(numpy_row(tmp_path, "good"))
    records = measure(tmp_path, bad, good)
    found = {(record.implementation, record.task): record for record in records}
    assert found["fault", "encode"].status == status
    assert re.search(words, found["fault", "encode"].reason or "")
    assert [found[key].status for key in (("fault", "forward"), ("good", "encode"), ("good", "forward"))] == ["ok"] * 3


def test_a_row_that_hangs_is_given_up(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "hang", before="import time; time.sleep(600)"))
    budget = Budget(sampling_s=0.02, warmup_s=0.01, min_samples=3, limit_s=2)
    start = time.monotonic()
    found = by_task(measure(tmp_path, row, budget=budget))
    assert time.monotonic() - start < 60
    assert (found["encode"].status, found["forward"].status) == ("timeout", "ok")


def test_a_file_that_dies_on_import_is_not_tried_again_and_again(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "dies", top="import os\nos._exit(3)"))
    records = measure(tmp_path, row)
    assert {record.status for record in records} == {"crashed"}


def test_what_a_row_prints_harms_nothing(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "loud", before='print(\'{"status": "ok"}\' * 1000)'))
    assert {record.status for record in measure(tmp_path, row)} == {"ok"}
    assert '{"status": "ok"}' in (tmp_path / "logs" / "00-loud-1.log").read_text()


def test_no_process_outlives_a_run(tmp_path: Path) -> None:
    spawn = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)  # stray'])"
    row = read_row(numpy_row(tmp_path, "parent", before=spawn))
    measure(tmp_path, row)
    until = time.monotonic() + 10
    while strays() and time.monotonic() < until:
        time.sleep(0.1)  # killed, and about to be gone
    assert strays() == []


def strays() -> list[str]:
    """The command lines of what the row above leaves running."""
    found = (str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
    return [line for line in found if "# stray" in line and "time.sleep(600)" in line]


def test_other_frameworks_cannot_be_imported(tmp_path: Path) -> None:
    reach = "import importlib.util, thinc.api"
    row = read_row(numpy_row(tmp_path, "reaches", before=reach))
    found = by_task(measure(tmp_path, row))
    assert found["encode"].status == "error"
    assert "thinc is blocked: another row's framework" in (found["encode"].reason or "")


def test_declared_gaps_are_recorded_without_a_worker(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "partial")
    path.write_text(path.read_text().replace('["numpy"]', '["numpy"], "unsupported": {"forward": "it is shy"}'))
    found = by_task(measure(tmp_path, read_row(path)))
    assert (found["forward"].status, found["forward"].reason) == ("unsupported", "it is shy")


def test_a_missing_framework_is_recorded_as_unavailable(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "absent")
    path.write_text(path.read_text().replace('["numpy"]', '["no_such_framework"]'))
    records = measure(tmp_path, read_row(path))
    assert {(record.status, record.reason) for record in records} == {
        ("unavailable", "no_such_framework is not installed")
    }


def test_records_are_on_disk_when_they_are_reported(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "right"))
    plan = make_plan(rows=[row], workloads=[SEED], tasks=("encode",), device="cpu", threads=[1], budget=QUICK)
    numbers = tmp_path / "seed.safetensors"
    answers.save(answers.pose(SEED, ("encode",)), numbers)
    seen: list[int] = []

    def look(record: Record) -> None:
        lines = (tmp_path / "records.jsonl").read_bytes().splitlines()
        assert record_line(record).strip() == lines[-1]
        seen.append(len(lines))

    run_plan(plan, {"seed": ProblemFile(SEED.config, str(numbers))}, tmp_path, Listener(lambda _: None, look))
    assert seen == [1]


def test_a_row_that_names_numpy_leaves_it_to_the_others(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "mine"))
    assert blocked(row, {"torch", "numpy", "jax"}) == ["jax", "torch"]
    torch = find_rows()["torch/module"]
    assert blocked(torch, {"torch", "numpy", "scipy", "jax"}) == ["jax"]
