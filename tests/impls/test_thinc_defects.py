"""What is wrong with Thinc's own LSTM, as tests that fail: when Thinc mends it, they turn red, and rows can change.

``thinc/native`` therefore has no training, ``thinc/layers`` writes its own layer, and the kernel row has no GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.crosschecks import draw
from support.frameworks import need

from impls.contract import Seq2seqConfig
from impls.equality import LIMITS, relative_error
from impls.reference import Tape, Weights, lstm, lstm_backward

need("thinc")
import thinc.api as thinc  # noqa: E402

TIME, BATCH, WIDTH = 5, 3, 4
CASE = draw(
    Seq2seqConfig(embedding_dim=6, hidden_dim=WIDTH, num_encoder_layers=1, num_decoder_layers=1, bidirectional=False),
    TIME,
    TIME,
    BATCH,
)
LENGTHS = np.full(TIME, BATCH, dtype="i")
ZERO = np.zeros((1, 1, WIDTH), dtype="f")


def thinc_order(array: np.ndarray) -> np.ndarray:
    """Gate order f, i, o, g from i, f, g, o."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([f, i, o, g])


def flat_weights() -> np.ndarray:
    """The encoder's weights as Thinc's kernel takes them: ``W_ih, b, W_hh, 0``."""
    w_ih, w_hh, bias = (
        thinc_order(CASE.parameters[f"encoder.{name}_l0"]) for name in ("weight_ih", "weight_hh", "bias")
    )
    return np.concatenate([w_ih.ravel(), bias, w_hh.ravel(), np.zeros_like(bias)])


def oracle_tape(h_0: np.ndarray | None = None) -> Tape:
    """The oracle's run of the same layer."""
    names = ("encoder.weight_ih_l0", "encoder.weight_hh_l0", "encoder.bias_l0")
    weights = Weights(*(CASE.parameters[name].astype(np.float64) for name in names))
    start = np.zeros((BATCH, WIDTH)) if h_0 is None else h_0
    return lstm(CASE.x.astype(np.float64), start, weights)


def thinc_forward(ops: Any, first: np.ndarray = ZERO, second: np.ndarray = ZERO) -> tuple[np.ndarray, Any]:
    """The kernel's hidden states ``(T, B, H)``, and what it keeps for its backward."""
    output, state = ops.lstm_forward_training(flat_weights(), first, second, CASE.x.reshape(TIME * BATCH, -1), LENGTHS)
    return output.reshape(TIME, BATCH, WIDTH), state


def thinc_backward(d_output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thinc's ``dX (T, B, I)`` and flat weight gradient."""
    ops = thinc.NumpyOps()
    _, state = thinc_forward(ops)
    d_x, d_weights = ops.backprop_lstm(d_output.reshape(TIME * BATCH, -1), LENGTHS, flat_weights(), state)
    return d_x.reshape(TIME, BATCH, -1), d_weights


def test_the_forward_kernel_is_right() -> None:
    output, _ = thinc_forward(thinc.NumpyOps())
    assert relative_error(output, oracle_tape().h[1:]) < LIMITS["encode"]


@pytest.mark.xfail(raises=AssertionError, reason="backprop_lstm uses the weights themselves as gradient buffers")
def test_no_gradient_coming_in_means_no_gradient_going_out() -> None:
    _, d_weights = thinc_backward(np.zeros((TIME, BATCH, WIDTH), dtype="f"))
    assert np.abs(d_weights).max() == 0


@pytest.mark.xfail(raises=AssertionError, reason="backprop_lstm leaves out the first time step")
def test_the_first_time_step_gets_a_gradient() -> None:
    d_x, _ = thinc_backward(CASE.d_output)
    assert np.abs(d_x[0]).max() > 0


@pytest.mark.xfail(raises=AssertionError, reason="backprop_lstm is wrong")
def test_gradients_towards_the_input_equal_the_oracle() -> None:
    d_x, _ = thinc_backward(CASE.d_output)
    expected, _, _ = lstm_backward(CASE.d_output.astype(np.float64), np.zeros((BATCH, WIDTH)), oracle_tape())
    assert relative_error(d_x, expected) < LIMITS["gradients"]


@pytest.mark.xfail(raises=AssertionError, reason="backprop_lstm is wrong")
def test_gradients_towards_the_weights_equal_the_oracle() -> None:
    _, d_weights = thinc_backward(CASE.d_output)
    _, _, expected = lstm_backward(CASE.d_output.astype(np.float64), np.zeros((BATCH, WIDTH)), oracle_tape())
    size = expected.ih.size
    assert relative_error(d_weights[:size], thinc_order(expected.ih).ravel()) < LIMITS["gradients"]


@pytest.mark.xfail(raises=AssertionError, reason="(H0, C0) is passed on to a function that takes (c_init, h_init)")
def test_the_first_initial_state_is_the_hidden_one() -> None:
    h_0 = np.full((1, 1, WIDTH), 0.5, dtype="f")
    output, _ = thinc_forward(thinc.NumpyOps(), first=h_0)
    expected = oracle_tape(np.full((BATCH, WIDTH), 0.5)).h[1:]
    assert relative_error(output, expected) < LIMITS["encode"]


@pytest.mark.xfail(raises=AssertionError, reason="the generic kernel, which CupyOps inherits, reads one row of a batch")
def test_the_generic_kernel_computes_every_sequence_of_a_batch() -> None:
    ops = thinc.NumpyOps()
    output, _ = thinc.Ops.lstm_forward_training(
        ops, flat_weights(), ZERO, ZERO, CASE.x.reshape(TIME * BATCH, -1), LENGTHS
    )
    assert relative_error(output.reshape(TIME, BATCH, WIDTH), oracle_tape().h[1:]) < LIMITS["encode"]
