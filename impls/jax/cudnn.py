"""``jax.experimental.rnn.lstm``: cuDNN's LSTM, the kernel that PyTorch's ``nn.LSTM`` runs on an NVIDIA GPU too.

cuDNN takes batch-first arrays, and all weights of a stack in one flat vector: every matrix of every layer and
direction, then every bias, two a gate. The second is zero here and not trained.

JAX does not tell XLA that cuDNN reads its arrays in the order of their axes: a ``swapaxes`` beside it may become
another reading of the same memory, and cuDNN then takes time for batch, without an error (seen with jax 0.11.2 on an
H200; the call of 0.10.2 is the same). So the order is asked for here.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn
from jax.experimental.layout import Layout, with_layout_constraint

from impls.contract import LSTMOutput
from impls.jax import scan
from impls.jax._adapter import JaxRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import Array
    from jaxtyping import Float

    from impls.contract import LSTMLayer, Parameters, Seq2seqConfig
    from impls.jax.scan import Weights

ROW = {
    "tier": "kernel",
    "summary": "cuDNN's LSTM, through jax.experimental.rnn",
    "frameworks": ["jax", "optax"],
    "devices": ["gpu"],
    "unsupported": {
        "cpu": "cuDNN runs on NVIDIA GPUs",
        "states": "cuDNN gives the hidden states of its last layer only",
    },
    "compiles": True,
}

kernel = rnn.lstm


def flat(weights: Weights, layers: Sequence[LSTMLayer]) -> Float[Array, " N"]:
    """The weights of a stack as cuDNN takes them: gate order i, f, g, o, as in the canonical form."""
    matrices = [weights[name] for layer in layers for name in (layer.weight_ih, layer.weight_hh)]
    biases = [bias for layer in layers for bias in (weights[layer.bias], jnp.zeros_like(weights[layer.bias]))]
    return jnp.concatenate([array.ravel() for array in (*matrices, *biases)])


def in_order(array: Array) -> Array:
    """The array, and its gradient, row-major: the last axis varies fastest."""
    return with_layout_constraint(array, Layout(tuple(range(array.ndim))))


def stack(
    weights: Weights, layers: Sequence[LSTMLayer], x: Float[Array, "T B I"], h_0: Float[Array, "L B H"]
) -> LSTMOutput:
    """A stack of layers run over ``x`` from these hidden states, and cells of zero."""
    time, batch, _ = x.shape
    directions = 1 + any(layer.reverse for layer in layers)
    output, h_n, c_n = kernel(
        in_order(jnp.swapaxes(x, 0, 1)),
        in_order(h_0),
        jnp.zeros_like(h_0),
        flat(weights, layers),
        jnp.full(batch, time, jnp.int32),
        layers[0].input_dim,
        layers[0].hidden_dim,
        len(layers) // directions,
        0.0,  # dropout
        directions == 2,
    )
    return LSTMOutput(jnp.swapaxes(in_order(output), 0, 1), in_order(h_n), in_order(c_n))


class Seq2seqLSTM(scan.Seq2seqLSTM):
    """The functions of ``jax/scan``, with cuDNN for its encoder and its decoder; matrices as in the canonical form."""

    def encode(self, weights: Weights, x: Float[Array, "T_x B E"]) -> LSTMOutput:
        """``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``; the initial states are zero."""
        layers = self.config.encoder_layers
        return stack(weights, layers, x, jnp.zeros((len(layers), x.shape[1], self.config.hidden_dim), x.dtype))

    def decode(self, weights: Weights, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]) -> LSTMOutput:
        """``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``; every layer starts from ``h_0``, cells from zero."""
        layers = self.config.decoder_layers
        if self.config.context == "initial":
            return stack(weights, layers, y, jnp.stack([h_0] * len(layers)))
        h_n, c_n = [], []
        for layer in layers:  # cuDNN lets nothing in between its layers
            y = jnp.concatenate([y, jnp.broadcast_to(h_0, (len(y), *h_0.shape))], axis=-1)
            y, h, c = stack(weights, [layer], y, h_0[None])
            h_n.append(h)
            c_n.append(c)
        return LSTMOutput(y, jnp.concatenate(h_n), jnp.concatenate(c_n))

    def from_canonical(self, parameters: Parameters) -> Weights:
        """The weights as JAX arrays."""
        return {name: jnp.asarray(array) for name, array in parameters.items()}

    def to_canonical(self, weights: Weights) -> Parameters:
        """The weights (or gradients) as NumPy arrays."""
        return {name: np.array(weights[name]) for name in self.config.parameter_shapes}


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> JaxRow:
    """The functions with these weights, on the device."""
    return JaxRow(Seq2seqLSTM(*astuple(config)), parameters, device)
