"""Rows whose values are right and whose work is not done when the clock stops: none of them gets to be fast by it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.crosschecks import NOTEBOOK, draw
from support.measuring import QUICK, last, measure, sooner_or_later
from support.processes import numpy_row

from bench.machine.cpus import processors
from bench.measure import proof
from bench.measure.errors import Invalid
from bench.records.schema import Record
from bench.workloads.reference_outputs import Batch
from impls import read_row
from impls.contract import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from impls.contract import Task

ROW = '''"""A row that gives right values, and is wrong about when."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from impls.contract import Gradients, LSTMOutput, TrainStep
from impls.reference import Reference

ROW = {"tier": "loop", "summary": "plain NumPy", "frameworks": ["numpy"]}
pool, room = ThreadPoolExecutor(1), threading.Semaphore(8)


def submit(work, *arguments):
    """What is worked out in the background; who asks for more than there is room for waits, as with JAX."""
    room.acquire()
    made = pool.submit(work, *arguments)
    made.add_done_callback(lambda _: room.release())
    return made


class Later:
    """What is worked out when somebody asks for it."""

    def __init__(self, work):
        self.work, self.made = work, None

    def value(self):
        if self.made is None:
            self.made = self.work()
        return self.made

    def _asked(self):
        return Gradients(lambda: self.value().parameters, lambda: self.value().x, lambda: self.value().y)


class Slow(Reference):
    """Each call takes two milliseconds more, so that its work is longer than what readings differ by."""

    def encode(self, x):
        time.sleep(0.002)
        return super().encode(x)

    def forward(self, x, y):
        time.sleep(0.002)
        return super().forward(x, y)

    def gradients(self, x, y, d_output):
        time.sleep(0.002)
        return super().gradients(x, y, d_output)

    def train_step(self, x, y, target):
        time.sleep(0.002)
        return super().train_step(x, y, target)


class Row(Slow):
    def __init__(self, config, parameters, device):
        super().__init__(config, parameters, np.float32)

    def to_numpy(self, array):
        return np.array(array)

CODE

def load(config, parameters, device):
    return Row(config, parameters, device)
'''

MEMORY = """
    kept = {}

    def forward(self, x, y):
        key = KEY
        if key not in self.kept:
            ONLY_LAST
            self.kept[key] = super().forward(x, y)
        return self.kept[key]
"""

BYTES, ADDRESS = "x.tobytes() + y.tobytes()", "(x.ctypes.data, y.ctypes.data)"

ROWS = {
    "right": "",
    "deferred": """
    def forward(self, x, y):
        return Later(lambda: Slow.forward(self, x, y))

    def to_numpy(self, array):
        return np.array(array.value() if isinstance(array, Later) else array)
""",
    "deferred_again": """
    def forward(self, x, y):
        return Later(lambda: Slow.forward(self, x, y))

    def to_numpy(self, array):
        return np.array(array.work() if isinstance(array, Later) else array)
""",
    "deferred_encode": """
    def encode(self, x):
        later = Later(lambda: Slow.encode(self, x))
        return LSTMOutput(*(lambda at=at: later.value()[at] for at in range(3)))

    def to_numpy(self, array):
        return np.array(array() if callable(array) else array)
""",
    "deferred_gradients": """
    def gradients(self, x, y, d_output):
        return Later(lambda: Slow.gradients(self, x, y, d_output))._asked()

    def to_numpy(self, array):
        return np.array(array() if callable(array) else array)

    def canonical(self, parameters):
        return super().canonical(parameters() if callable(parameters) else parameters)
""",
    "gives_the_first_weight_gradients": """
    first = None

    def gradients(self, x, y, d_output):
        made = super().gradients(x, y, d_output)
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 4:  # those before are held against the oracle's whole answer
            made = made._replace(parameters=self.first)
        self.first = self.first or made.parameters
        return made
""",
    "unawaited": """
    def forward(self, x, y):
        return submit(Slow.forward, self, x, y)

    def to_numpy(self, array):
        return np.array(array.result() if hasattr(array, "result") else array)
""",
    "awaits_the_wrong_thing": """
    def load(self, parameters):
        pool.submit(int).result()
        super().load(parameters)

    def train_step(self, x, y, target):
        made = submit(Slow.train_step, self, x, y, target)
        return TrainStep(made, made)

    def to_numpy(self, array):
        return np.array(array.result().loss if hasattr(array, "result") else array)

    def canonical(self, parameters):
        return super().canonical(parameters.result().parameters if hasattr(parameters, "result") else parameters)
""",
    "remembers_the_last_bytes": MEMORY.replace("KEY", BYTES).replace("ONLY_LAST", "self.kept.clear()"),
    "remembers_the_last_address": MEMORY.replace("KEY", ADDRESS).replace("ONLY_LAST", "self.kept.clear()"),
    "remembers_all": MEMORY.replace("KEY", BYTES).replace("ONLY_LAST", "pass"),
    "stops_training": """
    def load(self, parameters):
        super().load(parameters)
        self.steps, self.last = 0, None

    def train_step(self, x, y, target):
        self.steps += 1
        if self.steps <= 3:
            self.last = super().train_step(x, y, target)
        return self.last
""",
    "gives_the_last_loss": """
    last = np.float32(1)

    def train_step(self, x, y, target):
        before = self.last if self._optimizer.step_count > 3 else None
        self.last, parameters = super().train_step(x, y, target)
        return TrainStep(self.last if before is None else before, parameters)
""",
}


def row_file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(ROW.replace("CODE", ROWS[name]), encoding="utf-8")
    return path


def measured(folder: Path, name: str, task: Task) -> tuple[Record, Record]:
    """The records of the right row and of the named one, in one short block."""
    rows = [read_row(row_file(folder, one)) for one in ("right", name)]
    found = last(measure(folder, *rows, tasks=[task], budget=replace(QUICK, min_turns=3, calls=4)))
    assert found["right", task].ok, found["right", task].reason
    return found["right", task], found[name, task]


WORDS = {
    "deferred": ("forward", "the work is not done when the call returns"),
    "deferred_again": ("forward", "the work is not done when the call returns"),
    "deferred_encode": ("encode", "the work is not done when the call returns"),
    "deferred_gradients": ("gradients", "the work is not done when the call returns"),
    "gives_the_first_weight_gradients": ("gradients", "d .* is off by .*while it was timed"),
    "unawaited": ("forward", "the work is not done when the call returns"),
    "awaits_the_wrong_thing": ("train_step", "the work is not done when the call returns"),
    "stops_training": ("train_step", "training stands still"),
    "gives_the_last_loss": ("train_step", "loss is off by .*of the step after those that were timed"),
}


@pytest.mark.parametrize("name", WORDS)
def test_work_outside_the_clock_is_invalid(name: str, tmp_path: Path) -> None:
    task, words = WORDS[name]
    _, found = measured(tmp_path, name, task)
    assert (found.status, found.samples_s) == ("invalid", []), found
    assert re.search(words, found.reason or ""), found.reason


def test_a_late_reading_is_one_beyond_noise() -> None:
    for turns, limit_s in ((2, 600e-6), (3, 433.3e-6), (10, 200e-6), (50, 120e-6)):
        for late_s in (0.99 * limit_s, 1.01 * limit_s):
            found = proof.late_by_s([late_s] * turns, 0.0)
            assert found == (late_s if late_s > limit_s else None)
    assert proof.late_by_s([0.0005, 9.0], 0.0) is None, "of two the shorter counts"
    assert proof.late_by_s([0.0005, 9.0, 0.0], 0.0) == 0.0005, "of three the median"
    assert proof.late_by_s([0.024] * 9, 0.1) is None
    assert proof.late_by_s([0.026] * 9, 0.1) == 0.026, "more than a quarter of a call"


class Turn(proof.ModelTurns):
    """Turns whose readings are late at first, or always."""

    def __init__(self, readings_s: Sequence[float]) -> None:
        self._late_s, self._drawn, self._readings_s = [*readings_s], [[]], iter([])
        self.call = lambda inputs: inputs

    def place(self, count: int) -> Any:
        return range(count)

    def look(self, result: Any) -> None:
        self._late_s.append(next(self._readings_s))

    def is_late(self, more_s: Sequence[float], call_s: float) -> bool:
        """Whether these are invalid, if more turns have these readings; and no other turn is taken."""
        self._readings_s = iter(more_s)
        try:
            proof.check_late(self, self._late_s, call_s, len(self._drawn))
        except Invalid:
            return True
        assert not [*self._readings_s]
        return False


def test_a_few_late_readings_of_short_turns_are_no_proof() -> None:
    assert not Turn([0.0007, 0.0008]).is_late([0.0] * proof.FEW_TURNS, 0.001)
    assert Turn([0.0007, 0.0008]).is_late([0.0007] * proof.FEW_TURNS, 0.001)
    assert Turn([0.7, 0.8]).is_late([], 2.0), "ten more calls of two seconds would be too many"
    assert not Turn([0.0, 0.0008]).is_late([], 0.001)


def test_ten_turns_one_after_the_other_decide_however_many_were_late_before() -> None:
    late, ready = [0.0007], [0.0]
    assert not Turn(late * 99).is_late(ready * proof.FEW_TURNS, 0.001)
    assert Turn(late * 99).is_late(late * proof.FEW_TURNS, 0.001)
    assert Turn(late * 99).is_late((late + ready) * 5, 0.001), "who waits in every other call is late in half of them"
    assert Turn([0.07] * 5).is_late([0.0] * 5, 0.2), "five do not decide alone"


def test_weights_that_are_no_numbers_have_not_moved() -> None:
    turns = Turn([0.0])
    turns._moves = [0.5, float("nan")]
    with pytest.raises(Invalid, match="by nan of what so many steps"):
        turns._check_moves()


@pytest.mark.parametrize("name", ["remembers_the_last_bytes", "remembers_the_last_address", "remembers_all"])
def test_a_memory_of_inputs_saves_nothing(name: str, tmp_path: Path) -> None:
    right, found = measured(tmp_path, name, "forward")
    assert found.ok, found.reason
    assert min(found.samples_s) > 0.5 * min(right.samples_s)


@pytest.mark.parametrize("task", TASKS)
def test_no_call_is_fed_what_an_earlier_one_was(task: Task) -> None:
    case = draw(NOTEBOOK, t_x=5, t_y=4, batch=3)
    rng = np.random.default_rng(0)
    batches = [Batch(x=case.x, y=case.y, d_output=case.d_output, target=case.target)] * 2
    calls = [proof.fresh(batches, task, rng) for _ in range(50)]
    arrays = [array for call in calls for arguments in call for array in arguments]
    assert len({array.tobytes() for array in arrays}) == len(arrays)
    for call in calls:
        for arguments, batch in zip(call, batches, strict=True):
            for array, own in zip(arguments, batch.arguments(task), strict=True):
                assert array.dtype == own.dtype and array.shape == own.shape
                assert 0.75 < np.abs(array).mean() / np.abs(own).mean() < 1.3


# --- a rate that cannot be --------------------------------------------------------------------------------------------


# --- processors and turns that are not the row's ----------------------------------------------------------------------

MANY = """import hashlib, os
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(8)
def burn(_):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 5000)
def many():
    list(pool.map(burn, range(8)))"""


@pytest.mark.quiet
@pytest.mark.skipif(len(processors()) < 2, reason="one processor: there is no second one to take")
def test_a_row_with_more_threads_or_processors_than_its_cell_is_flagged(tmp_path: Path) -> None:
    free = f"[os.sched_setaffinity(int(one), {processors()}) for one in os.listdir('/proc/self/task')]\nmany()"
    files = [
        numpy_row(tmp_path, "takes", before=free, top=MANY),
        numpy_row(tmp_path, "keeps", before="many()", top=MANY),
    ]
    rows = [read_row(file) for file in files]

    def unseen(folder: Path) -> Any:
        found = last(measure(folder, *rows, tasks=["encode"], budget=replace(QUICK, min_turns=9)))
        takes, keeps = found["takes", "encode"].flags, found["keeps", "encode"].flags
        assert "extra_processors" in takes and "extra_processors" not in keeps
        return None if "oversubscribed" in keeps else keeps  # one processor, which somebody else may have

    sooner_or_later(unseen, tmp_path)


def test_what_cannot_be_is_refused_where_turns_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench.measure.interleave.square_rates", lambda _records: {1: 1.0}
    )  # a machine that makes one operation a second
    monkeypatch.setattr("bench.measure.interleave.STOLEN", 2.0)
    found = last(measure(tmp_path, read_row(row_file(tmp_path, "right")), tasks=["forward"]))
    record = found["right", "forward"]
    assert (record.status, record.samples_s) == ("invalid", []) and "what products reach here" in (record.reason or "")
