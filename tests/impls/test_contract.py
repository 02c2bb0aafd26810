"""Bad input from Python: one clear error, which names the culprit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.crosschecks import NOTEBOOK, draw

from impls.contract import InvalidInput, Seq2seqConfig, initial_parameters
from impls.numpy_model import NumpyModel
from impls.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)
MODEL = NumpyModel(lambda config, parameters, device: Reference(config, parameters), NOTEBOOK, CASE.parameters)

BAD_ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "rank": (
        lambda: MODEL.encode(CASE.x[0]),
        r"x has shape \(3, 10\), expected \[sequence length, batch size, embedding dim\]",
    ),
    "not an array": (lambda: MODEL.encode([[1.0]]), "x must be a NumPy array"),
    "width": (lambda: MODEL.encode(CASE.x[..., :9]), "x is 9 wide, expected 10"),
    "no time": (lambda: MODEL.encode(CASE.x[:0]), "x is empty"),
    "no batch": (lambda: MODEL.encode(CASE.x[:, :0]), "x is empty"),
    "dtype": (lambda: MODEL.encode(CASE.x.astype(np.float64)), "x is float64, expected float32"),
    "batches differ": (lambda: MODEL.forward(CASE.x, CASE.y[:, :2]), "y has batch size 2, expected 3"),
    "states": (lambda: MODEL.states(CASE.x, CASE.y[:, :2]), "y has batch size 2, expected 3"),
    "h_0": (lambda: MODEL.decode(CASE.y, CASE.h_0[:2]), r"h_0 has shape \(2, 40\), expected \(3, 40\)"),
    "h_n": (lambda: MODEL.hand_off(CASE.h_n[:3]), r"h_n has shape \(3, 3, 20\), expected \(4, batch size, 20\)"),
    "h_n, a list": (lambda: MODEL.hand_off([1.0]), r"h_n must be a NumPy array of shape \(4, batch size, 20\)"),
    "h_n, no batch": (lambda: MODEL.hand_off(CASE.h_n[:, :0]), "h_n has shape"),
    "h_0, None": (lambda: MODEL.decode(CASE.y, None), "h_0 must be a NumPy array"),
    "h_n rank": (lambda: MODEL.hand_off(CASE.h_n[0]), "h_n has shape"),
    "d_output": (lambda: MODEL.gradients(CASE.x, CASE.y, CASE.d_output[1:]), "d_output has shape"),
    "target": (lambda: MODEL.train_step(CASE.x, CASE.y, CASE.target[..., 1:]), "target has shape"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_a_bad_array_is_named(what: str) -> None:
    call, words = BAD_ARRAYS[what]
    with pytest.raises(InvalidInput, match=words):
        call()


def _without(name: str) -> dict[str, np.ndarray]:
    return {own: array for own, array in CASE.parameters.items() if own != name}


BAD_PARAMETERS = {
    "missing": (_without("encoder.bias_l1"), "missing parameter encoder.bias_l1"),
    "extra": (CASE.parameters | {"encoder.bias_hh_l0": np.zeros(80, "f")}, "unknown parameter encoder.bias_hh_l0"),
    "misshapen": (
        CASE.parameters | {"decoder.bias_l0": np.zeros(80, "f")},
        r"decoder.bias_l0 has shape \(80,\), expected \(160,\)",
    ),
    "a list": (CASE.parameters | {"decoder.bias_l0": [0.0]}, "decoder.bias_l0 must be a NumPy array"),
    "dtype": (CASE.parameters | {"decoder.bias_l0": np.zeros(160)}, "decoder.bias_l0 is float64"),
}


@pytest.mark.parametrize("what", BAD_PARAMETERS)
def test_bad_parameters_are_named(what: str) -> None:
    parameters, words = BAD_PARAMETERS[what]
    with pytest.raises(InvalidInput, match=words):
        MODEL.load(parameters)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_dim": 0}, "hidden_dim must be a whole number of at least 1, not 0"),
        ({"num_encoder_layers": -1}, "num_encoder_layers"),
        ({"embedding_dim": 1.5}, "embedding_dim must be a whole number"),
        ({"num_decoder_layers": True}, "num_decoder_layers"),
        ({"bidirectional": 2}, "bidirectional must be True or False"),
        ({"context": "always"}, "context must be one of initial, every_step, not 'always'"),
        ({"context": None}, "context must be one of initial, every_step, not None"),
    ],
)
def test_a_bad_argument_is_named(change: dict[str, Any], words: str) -> None:
    sizes = {"embedding_dim": 2, "hidden_dim": 3, "num_encoder_layers": 1, "num_decoder_layers": 1}
    with pytest.raises(InvalidInput, match=words):
        Seq2seqConfig(**(sizes | {"bidirectional": False} | change))


def test_initial_parameters_are_the_same_for_the_same_seed() -> None:
    first, second = initial_parameters(NOTEBOOK, 7), initial_parameters(NOTEBOOK, 7)
    assert all(np.array_equal(first[name], second[name]) for name in NOTEBOOK.parameter_shapes)
