"""The harness waits for every result: an asynchronous row is timed by when it is done, not by when it returns."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from crosschecks import NOTEBOOK, draw

from bench.answers import Batch, Problem
from bench.cells import body, wall_s
from bench.records import Cell
from impls.numpy_model import NumpyModel
from impls.reference import Reference

DELAY_S = 0.2
CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)
PROBLEM = Problem(
    parameters=CASE.parameters,
    batches=[[Batch(x=CASE.x, y=CASE.y, d_output=CASE.d_output, target=CASE.target)] * 2] * 2,
    answers={},
    slack={},
)
CELL = Cell(
    implementation="async", framework="numpy", tier="loop", workload="seed", task="forward", device="cpu", threads=1
)


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


def timed(row: type[Reference]) -> float:
    model = NumpyModel(lambda config, parameters, device: row(config, parameters), NOTEBOOK, CASE.parameters)
    return wall_s(body(model, CELL, PROBLEM))


def test_the_timed_call_ends_when_every_result_is_there() -> None:
    assert timed(Asynchronous) >= 2 * DELAY_S  # two batches, each awaited


def test_the_check_above_can_fail() -> None:
    assert timed(Forgetful) < 2 * DELAY_S
