"""Every result is awaited, by the harness, and all of it, by each adapter.

An asynchronous row is timed by when it is done, not by when it returns.
"""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.crosschecks import NOTEBOOK, draw
from support.frameworks import need

from bench.measure.proof import timed_call
from bench.measure.subjects import wall_s
from bench.workloads.reference_outputs import Batch
from impls import build_row, find_rows
from impls.contract import Gradients, LSTMOutput, TrainStep
from impls.numpy_model import NumpyModel
from impls.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impls.contract import Task

DELAY_S = 0.2
CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)
BATCH = Batch(x=CASE.x, y=CASE.y, d_output=CASE.d_output, target=CASE.target)


class Asynchronous(Reference):
    """Returns at once; the result is there DELAY_S later."""

    def forward(self, x: np.ndarray, y: np.ndarray) -> Any:
        done = threading.Event()
        threading.Timer(DELAY_S, done.set).start()
        return done

    def wait(self, result: Any) -> None:
        if isinstance(result, threading.Event):
            result.wait()


class Forgetful(Asynchronous):
    """What a harness that forgets to wait would see."""

    def wait(self, result: Any) -> None:
        pass


def timed(row: type[Reference], task: Task = "forward") -> float:
    """Seconds that a call on two batches takes."""
    model = NumpyModel(lambda config, parameters, device: row(config, parameters), NOTEBOOK, CASE.parameters)
    return wall_s(partial(timed_call(model, task), [BATCH.arguments(task)] * 2))


def test_the_timed_call_ends_when_every_result_is_there() -> None:
    assert timed(Asynchronous) >= 2 * DELAY_S  # two batches, each awaited


def test_the_check_above_can_fail() -> None:
    assert timed(Forgetful) < 2 * DELAY_S


# --- a result is many arrays, each of which may be the last ----------------------------------------------------------


def leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, dict):
        result = list(result.values())
    if not isinstance(result, list | tuple):
        yield result
        return
    for part in result:
        yield from leaves(part)


def nested(make: Any) -> list[LSTMOutput | Gradients | TrainStep]:
    """A result of each shape, of leaves that ``make`` makes."""
    return [
        LSTMOutput(make(), make(), make()),
        Gradients({"a": make(), "b": [make(), (make(),)]}, make(), make()),
        TrainStep(make(), {"a": make(), "b": {"c": make()}}),
    ]


class OneLate(Reference):
    """All of its results are there at once, but for one array of them."""

    late = 0

    def _result(self, task: str) -> Any:
        result = nested(threading.Event)[("encode", "gradients", "train_step").index(task)]
        for number, event in enumerate(leaves(result)):
            if number == self.late:
                threading.Timer(DELAY_S, event.set).start()
            else:
                event.set()
        return result

    def encode(self, x: np.ndarray) -> Any:
        return self._result("encode")

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Any:
        return self._result("gradients")

    def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> Any:
        return self._result("train_step")

    def wait(self, result: Any) -> None:
        for leaf in leaves(result):
            if isinstance(leaf, threading.Event):
                leaf.wait()


@pytest.mark.parametrize(
    ("task", "late"), [("encode", 2), ("gradients", 0), ("gradients", 4), ("train_step", 0), ("train_step", 2)]
)
def test_the_whole_result_is_given_to_the_row_to_wait_for(task: Any, late: int) -> None:
    row = type("Row", (OneLate,), {"late": late})
    assert timed(row, task) >= 2 * DELAY_S


def build(name: str) -> Any:
    row = find_rows()[name]
    for framework in row.frameworks:
        need(framework)
    return build_row(row)(CASE.config, CASE.parameters, "cpu")


class Leaf:
    """What JAX asks of an array that it has to wait for."""

    def __init__(self) -> None:
        self.awaited = False

    def block_until_ready(self) -> Leaf:
        self.awaited = True
        return self


JAX_ROWS = [name for name, row in find_rows().items() if name.startswith("jax/") and "cpu" in row.devices]


@pytest.mark.parametrize("name", JAX_ROWS)
def test_jax_waits_for_every_array(name: str) -> None:
    row = build(name)
    for result in nested(Leaf):
        row.wait(result)
        assert all(leaf.awaited for leaf in leaves(result))


@pytest.mark.parametrize("name", JAX_ROWS)
def test_jax_sees_every_array_of_a_real_result(name: str) -> None:
    """JAX passes over what it does not know, such as a variable of another library that holds an array."""
    row = build(name)
    import jax

    x, y, d_output, target = map(row.to_device, (CASE.x, CASE.y, CASE.d_output, CASE.target))
    weights = sum(array.size for array in CASE.parameters.values())
    results = {
        "encode": (row.encode(x), 0),
        "forward": (row.forward(x, y), 0),
        "gradients": (row.gradients(x, y, d_output), weights + CASE.x.size + CASE.y.size),
        "train_step": (row.train_step(x, y, target), weights + 1),
    }
    for task, (result, least) in results.items():
        found = jax.tree.leaves(result)
        assert all(isinstance(leaf, jax.Array) for leaf in found), task
        assert sum(leaf.size for leaf in found) >= least, task  # however a row cuts its weights up, all are there


def test_torch_waits_for_the_whole_device(monkeypatch: pytest.MonkeyPatch) -> None:
    row = build("torch/module")
    import torch

    idle: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", idle.append)
    row.wait(None)
    assert idle == []  # nothing is pending on a CPU
    row.device = torch.device("cuda")
    row.wait(TrainStep(None, {}))
    assert idle == [row.device]


@pytest.mark.parametrize("name", ["thinc/layers", "thinc/pytorch"])
def test_thinc_waits_for_the_whole_device(name: str) -> None:
    row = build(name)
    row.wait(None)
    idle: list[str] = []
    device = SimpleNamespace(synchronize=lambda: idle.append("idle"))
    row.ops = SimpleNamespace(xp=SimpleNamespace(cuda=SimpleNamespace(Device=lambda: device)))
    row.wait(TrainStep(None, {}))
    assert idle == ["idle"]
