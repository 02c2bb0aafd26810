"""The checks that make a row a row: each compares it with the oracle, and fails naming the quantity that is off.

Used on every row (``test_rows.py``), on randomly drawn configurations, and on rows made wrong on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from impls import Row
from impls.contract import CONTEXTS, Context, LayerStates, Precision, Seq2seqConfig, States, initial_parameters
from impls.equality import Answer, answer, deviations, wrong_dtype
from impls.reference import Reference, TrainingSlack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from impls.contract import Parameters, Task, Variant
    from impls.numpy_model import NumpyModel

NOTEBOOK = Seq2seqConfig(
    embedding_dim=10, hidden_dim=20, num_encoder_layers=2, num_decoder_layers=2, bidirectional=True
)
CONFIGS: dict[Context, Seq2seqConfig] = {context: replace(NOTEBOOK, context=context) for context in CONTEXTS}
"""The notebook's configuration, and its variant with the representation at every step."""
TRAINING_STEPS = 10


@dataclass(frozen=True)
class Case:
    """A configuration with weights and inputs drawn from a seed."""

    config: Seq2seqConfig
    parameters: Parameters
    x: np.ndarray
    y: np.ndarray
    h_n: np.ndarray
    h_0: np.ndarray
    d_output: np.ndarray
    target: np.ndarray

    def oracle(self) -> Reference:
        """The oracle with this case's weights."""
        return Reference(self.config, self.parameters)

    def other(self) -> Case:
        """The same weights, other inputs."""
        return draw(self.config, self.x.shape[0], self.y.shape[0], self.x.shape[1], seed=1, parameters=self.parameters)


def draw(
    config: Seq2seqConfig, t_x: int, t_y: int, batch: int, seed: int = 0, parameters: Parameters | None = None
) -> Case:
    """A case of these sizes."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return Case(
        config=config,
        parameters=parameters or initial_parameters(config, seed),
        x=normal(t_x, batch, config.embedding_dim),
        y=normal(t_y, batch, config.embedding_dim),
        h_n=normal(config.num_encoder_layers * config.num_directions, batch, config.hidden_dim),
        h_0=normal(batch, config.decoder_hidden_dim),
        d_output=normal(t_y, batch, config.decoder_hidden_dim),
        target=normal(t_y, batch, config.decoder_hidden_dim),
    )


def assert_equal(
    task: Task,
    actual: Mapping[str, np.ndarray],
    oracle: Mapping[str, np.ndarray],
    slack: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Fail, naming what is off, unless every quantity is within its limit."""
    wrong = wrong_dtype(actual)
    assert wrong is None, wrong
    off = [str(deviation) for deviation in deviations(task, actual, oracle, slack) if not deviation.within]
    assert not off, "; ".join(off)


def check_encode(model: NumpyModel, case: Case) -> None:
    """Outputs, ``h_n`` and ``c_n`` of the encoder."""
    model.load(case.parameters)
    assert_equal("encode", answer(model.encode(case.x)), answer(case.oracle().encode(case.x)))


def check_hand_off(model: NumpyModel, case: Case) -> None:
    """What the decoder starts from, for any ``h_n``."""
    assert_equal("encode", {"hand-off": model.hand_off(case.h_n)}, {"hand-off": case.oracle().hand_off(case.h_n)})


def check_decode(model: NumpyModel, case: Case) -> None:
    """Outputs, ``h_n`` and ``c_n`` of the decoder."""
    model.load(case.parameters)
    expected = case.oracle().decode(case.y, case.h_0)
    assert_equal("encode", answer(model.decode(case.y, case.h_0)), answer(expected))


def check_forward(model: NumpyModel, case: Case) -> None:
    """The whole model, on one input and then on another."""
    model.load(case.parameters)
    for inputs in (case, case.other()):
        expected = case.oracle().forward(inputs.x, inputs.y)
        assert_equal("forward", {"output": model.forward(inputs.x, inputs.y)}, {"output": expected})


def check_states(model: NumpyModel, case: Case) -> None:
    """The hidden states of every layer; the last layer's are what ``encode`` and ``decode`` give."""
    offers = isinstance(model.row, LayerStates)
    assert offers, "no states(x, y): offer contract.LayerStates, or say under 'states' in ROW's 'unsupported' why not"
    model.load(case.parameters)
    states = model.states(case.x, case.y)
    assert_equal("encode", answer(states), answer(case.oracle().states(case.x, case.y)))
    encoded = model.encode(case.x)
    decoded = model.decode(case.y, model.hand_off(encoded.h_n))
    last = States(states.encoder[-1], states.decoder[-1])
    assert_equal("encode", answer(last), answer(States(encoded.output, decoded.output)))


def check_gradients(model: NumpyModel, case: Case) -> None:
    """Gradients towards every parameter and both inputs."""
    model.load(case.parameters)
    actual = model.gradients(case.x, case.y, case.d_output)
    expected = case.oracle().gradients(case.x, case.y, case.d_output)
    assert_equal("gradients", answer(actual), answer(expected))


def check_training(model: NumpyModel, case: Case) -> None:
    """Losses and parameters over ten Adam steps, after gradients were taken, and again after the weights are reset."""
    model.load(case.parameters)
    model.gradients(case.x, case.y, case.d_output)  # must leave nothing behind
    for _ in range(2):
        model.load(case.parameters)
        oracle, slack = case.oracle(), TrainingSlack(case.parameters)
        for _ in range(TRAINING_STEPS):
            actual = model.train_step(case.x, case.y, case.target)
            expected = oracle.train_step(case.x, case.y, case.target)
            slack.step(oracle.last_gradients)
            assert_equal("train_step", answer(actual), answer(expected), slack.sizes())
        assert_equal("train_step", model.parameters(), oracle.parameters(), slack.sizes())


def check_parameters(model: NumpyModel, case: Case) -> None:
    """Loaded weights come back bit for bit."""
    model.load(case.parameters)
    parameters = model.parameters()
    assert parameters.keys() == case.parameters.keys()
    for name, array in case.parameters.items():
        assert np.array_equal(parameters[name], array), f"{name} does not come back as it was loaded"


def check_trained_count(model: NumpyModel, case: Case) -> None:
    """The framework counts as many trained numbers as the oracle has, and a training step moves every parameter."""
    model.load(case.parameters)
    count, expected = model.row.trained_count(), case.oracle().trained_count()
    assert count == expected, f"{count} trained numbers, the oracle has {expected}"
    moved = model.train_step(case.x, case.y, case.target).parameters
    assert moved.keys() == case.parameters.keys()
    still = [name for name, array in case.parameters.items() if np.array_equal(array, moved[name])]
    assert not still, f"{still[0]} did not move"


def check_repeat(model: NumpyModel, case: Case) -> None:
    """The same input gives the same result, bit for bit."""
    model.load(case.parameters)
    first, second = (model.forward(case.x, case.y) for _ in range(2))
    assert np.array_equal(first, second), "forward differs on repeat"


def check_repeat_gradients(model: NumpyModel, case: Case) -> None:
    """The same input gives the same gradients, bit for bit."""
    model.load(case.parameters)
    first, second = (answer(model.gradients(case.x, case.y, case.d_output)) for _ in range(2))
    different = [name for name, array in first.items() if not np.array_equal(array, second[name])]
    assert not different, f"{different[0]} differs on repeat"


def check_shapes(model: NumpyModel, case: Case) -> None:
    """Every shape that the notebook prints, and its closing assertion. For the notebook's configuration only."""
    del case
    config = model.config
    one = draw(config, t_x=5, t_y=7, batch=3)
    output, h_n, c_n = model.encode(one.x)
    encoder_output = model.hand_off(h_n)
    decoder_output, h_n_dec, c_n_dec = model.decode(one.y, encoder_output)
    whole = draw(config, t_x=10, t_y=9, batch=2)
    printed = {
        "output": (output, (5, 3, 40)),
        "h_n": (h_n, (4, 3, 20)),
        "c_n": (c_n, (4, 3, 20)),
        "encoder_output": (encoder_output, (3, 40)),
        "decoder_output": (decoder_output, (7, 3, 40)),
        "h_n of the decoder": (h_n_dec, (2, 3, 40)),
        "c_n of the decoder": (c_n_dec, (2, 3, 40)),
        "outputs of the whole model": (model.forward(whole.x, whole.y), (9, 2, config.decoder_hidden_dim)),
    }
    for name, (array, shape) in printed.items():
        assert array.shape == shape, f"{name} has shape {array.shape}, expected {shape}"


CHECKS: dict[str, tuple[Task | Variant, Callable[[NumpyModel, Case], None]]] = {
    "shapes of the notebook": ("forward", check_shapes),
    "encode": ("encode", check_encode),
    "hand-off": ("encode", check_hand_off),
    "decode": ("forward", check_decode),
    "forward": ("forward", check_forward),
    "every layer's hidden states": ("states", check_states),
    "gradients": ("gradients", check_gradients),
    "ten training steps": ("train_step", check_training),
    "parameters": ("encode", check_parameters),
    "every parameter is trained": ("train_step", check_trained_count),
    "equal on repeat": ("forward", check_repeat),
    "equal gradients on repeat": ("gradients", check_repeat_gradients),
}
"""Name to the task or variant that a row must support for it, and the check."""


def solve(row: Any, case: Case, task: Task) -> Answer:
    """The row's answer to the task; for ``train_step``, after ten steps."""
    if task == "train_step":
        for _ in range(TRAINING_STEPS):
            step = row.train_step(case.x, case.y, case.target)
        return answer(step)
    arguments = {"encode": (case.x,), "forward": (case.x, case.y), "gradients": (case.x, case.y, case.d_output)}
    return answer(getattr(row, task)(*arguments[task]))


def slack_of(case: Case, own: Precision) -> Answer:
    oracle, slack = case.oracle(), TrainingSlack(case.parameters, own)
    for _ in range(TRAINING_STEPS):
        oracle.train_step(case.x, case.y, case.target)
        slack.step(oracle.last_gradients)
    return slack.sizes()


def agrees(model: NumpyModel, case: Case, row: Row) -> None:
    """Every value that the row can give equals the oracle's."""
    check_encode(model, case)
    check_decode(model, case)
    check_forward(model, case)
    if "states" not in row.unsupported:
        check_states(model, case)
    if "gradients" not in row.unsupported:
        check_gradients(model, case)
    if "train_step" not in row.unsupported:
        check_training(model, case)


ONE_WAY = Seq2seqConfig(embedding_dim=7, hidden_dim=5, num_encoder_layers=3, num_decoder_layers=1, bidirectional=False)


BOTH_WAYS = Seq2seqConfig(embedding_dim=3, hidden_dim=7, num_encoder_layers=1, num_decoder_layers=3, bidirectional=True)


EDGES = {
    "one of everything": (
        Seq2seqConfig(embedding_dim=1, hidden_dim=1, num_encoder_layers=1, num_decoder_layers=1, bidirectional=False),
        1,
        1,
        1,
    ),
    "both directions, more decoder layers, time 1": (BOTH_WAYS, 1, 4, 3),
    "one-way encoder, more encoder layers, batch 1": (ONE_WAY, 6, 1, 1),
    "both directions, more decoder layers, context at every step": (
        replace(BOTH_WAYS, num_decoder_layers=2, context="every_step"),
        1,
        4,
        3,
    ),
    "one-way encoder, more encoder layers, context at every step": (
        replace(ONE_WAY, num_encoder_layers=2, context="every_step"),
        6,
        2,
        1,
    ),
}
