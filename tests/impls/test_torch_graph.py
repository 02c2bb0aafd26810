"""``torch/tuned`` in CUDA graphs, without a GPU: all checks of a row, with a recording that a CPU can play.

What cannot be seen so is whether cuDNN's kernels can be recorded; what can is what a recording rests on: that it reads
its own copies of the arguments, finds weights and the optimiser's state where they were, and that recording undoes
what its warm-up did.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.crosschecks import CHECKS, CONFIGS, NOTEBOOK, draw
from support.frameworks import need

from impls.numpy_model import NumpyModel

need("torch")

import torch  # noqa: E402
from torch import nn  # noqa: E402

from impls.torch import _graph, module, tuned  # noqa: E402
from impls.torch._graph import WARM_UP_CALLS, Recording  # noqa: E402


class OnCpu(Recording):
    """Calls the function where a graph would be played: into the place of the result."""

    def _record(self) -> None:
        for _ in range(WARM_UP_CALLS):
            self._function(*self._arguments)
        self._result = self._function(*self._arguments).clone()

    def _play(self) -> None:
        self._result.copy_(self._function(*self._arguments))


@pytest.fixture(autouse=True)
def recorded_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned.TunedRow, "record", OnCpu)
    monkeypatch.setattr(tuned.TunedRow, "records", True)


@pytest.mark.parametrize("context", CONFIGS)
@pytest.mark.parametrize("check", [name for name, (needed, _) in CHECKS.items() if needed != "states"])
def test_the_row_equals_the_oracle(check: str, context: Any) -> None:
    case = draw(CONFIGS[context], t_x=10, t_y=9, batch=2)
    CHECKS[check][1](NumpyModel(tuned.load, CONFIGS[context], case.parameters, "cpu"), case)


def row_of(case: Any) -> tuned.TunedRow:
    row = tuned.load(case.config, case.parameters, "cpu")
    assert row.records
    return row


def placed(case: Any) -> tuple[Any, ...]:
    return tuple(torch.from_numpy(array.copy()) for array in (case.x, case.y, case.target))


def addresses(row: tuned.TunedRow) -> list[int]:
    return [tensor.data_ptr() for tensor in (*row._trained.values(), *row._state())]


def test_weights_and_the_optimisers_state_stay_in_their_place() -> None:
    case = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)
    row = row_of(case)
    row.train_step(*placed(case))
    before = addresses(row)
    assert len(before) == 4 * len(row._trained)  # the weights, two moments of each, and its number of steps
    row.load(case.parameters)
    row.train_step(*placed(case))
    assert addresses(row) == before


def test_shapes_take_turns_as_they_do_where_nothing_is_recorded() -> None:
    cases = [draw(NOTEBOOK, t_x, t_y, 2) for t_x, t_y in ((10, 9), (4, 6))]
    row, plain = row_of(cases[0]), module.load(NOTEBOOK, cases[0].parameters, "cpu")
    for model in (row, plain):
        model.load(cases[0].parameters)
    for case in (*cases, *cases, cases[1]):
        for arguments in (placed(case), placed(case.other())):
            ours, theirs = row.train_step(*arguments), plain.train_step(*arguments)
            assert torch.allclose(ours.loss, theirs.loss, rtol=1e-5)
    for name, array in row.parameters().items():
        assert np.allclose(array, plain.parameters()[name], rtol=0, atol=1e-5), name


def test_a_result_outlives_the_next_call() -> None:
    case = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)
    row = row_of(case)
    x, y, _ = placed(case)
    first = row.forward(x, y)
    kept = first.clone()
    row.forward(2 * x, y)
    assert torch.equal(first, kept)


def test_a_recording_that_undoes_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned.TunedRow, "_undo", lambda _row: lambda: None)
    case = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)
    with pytest.raises(AssertionError, match="is off"):
        CHECKS["ten training steps"][1](NumpyModel(tuned.load, NOTEBOOK, case.parameters, "cpu"), case)


def test_an_optimiser_that_is_made_anew_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned.TunedRow, "_forget", lambda _row: None)
    case = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)
    with pytest.raises(AssertionError, match="is off"):
        CHECKS["ten training steps"][1](NumpyModel(tuned.load, NOTEBOOK, case.parameters, "cpu"), case)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU records")
def test_the_recipe_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On streams and a graph that only write down what they were told."""
    said: list[str] = []

    class Stream:
        def wait_stream(self, _other: Stream) -> None:
            said.append("wait")

    class Graph:
        def replay(self) -> None:
            said.append("replay")

    class Within:
        def __init__(self, what: str) -> None:
            self._what = what

        def __enter__(self) -> None:
            said.append(f"{self._what} begins")

        def __exit__(self, *_: object) -> None:
            said.append(f"{self._what} ends")

    main = Stream()
    monkeypatch.setattr(_graph.torch.cuda, "Stream", Stream)
    monkeypatch.setattr(_graph.torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(_graph.torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(_graph.torch.cuda, "stream", lambda _stream: Within("stream"))
    monkeypatch.setattr(_graph.torch.cuda, "graph", lambda _graph: Within("graph"))

    def function(x: torch.Tensor) -> torch.Tensor:
        said.append("call")
        return 2 * x

    recording = Recording(function, torch.ones(2), undo=lambda: said.append("undo"))
    recording(torch.ones(2))
    warm_up = ["wait", "stream begins", *["call"] * WARM_UP_CALLS, "stream ends", "wait"]
    assert said == [*warm_up, "graph begins", "call", "graph ends", "undo", "replay"]


def test_weights_are_one_block_once_the_row_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording would not find them, were they put together again whenever they are loaded."""
    calls: list[nn.Module] = []
    flatten = nn.LSTM.flatten_parameters
    monkeypatch.setattr(nn.LSTM, "flatten_parameters", lambda lstm: (calls.append(lstm), flatten(lstm))[1])
    case = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)
    row = row_of(case)
    made = len(calls)
    assert made >= 2
    row.load(case.parameters)
    assert len(calls) == made
