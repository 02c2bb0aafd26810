"""Plain JAX functions: the cell written out, ``lax.scan`` over time."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from impls.contract import LSTMOutput, Seq2seqConfig, States
from impls.jax._adapter import JaxLayersRow

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    from impls.contract import Context, LSTMLayer, Parameters

ROW = {
    "tier": "loop",
    "summary": "plain JAX functions, the cell written out under lax.scan",
    "frameworks": ["jax", "optax"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": True,
}

Weights = dict[str, jax.Array]
"""The canonical parameters, as JAX arrays, matrices as ``(in, out)``: ``x @ W`` reads them in order."""


def lstm(
    weights: Weights, layer: LSTMLayer, x: Float[Array, "T B I"], h_0: Float[Array, "B H"]
) -> tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]:
    """One layer and direction: its hidden states in the order of ``x``, and its final ``h`` and ``c``."""
    w_ih, w_hh, bias = (weights[name] for name in (layer.weight_ih, layer.weight_hh, layer.bias))

    def step(carry: tuple[Array, Array], x_t: Float[Array, "B I"]) -> tuple[tuple[Array, Array], Array]:
        h, c = carry
        i, f, g, o = jnp.split(x_t @ w_ih + h @ w_hh + bias, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    (h, c), output = lax.scan(step, (h_0, jnp.zeros_like(h_0)), x, reverse=layer.reverse)
    return output, h, c


class Seq2seqLSTM:
    """Sequence-to-sequence LSTM: pure functions of the weights, which it does not hold."""

    def __init__(
        self,
        embedding_dim: int,
        hidden_dim: int,
        num_encoder_layers: int,
        num_decoder_layers: int,
        bidirectional: bool,
        context: Context = "initial",
    ) -> None:
        self.config = Seq2seqConfig(
            embedding_dim=embedding_dim,
            hidden_dim=hidden_dim,
            num_encoder_layers=num_encoder_layers,
            num_decoder_layers=num_decoder_layers,
            bidirectional=bidirectional,
            context=context,
        )

    def layer(
        self,
        weights: Weights,
        directions: tuple[LSTMLayer, ...],
        x: Float[Array, "T B I"],
        h_0: Float[Array, "B H"],
    ) -> list[tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]]:
        """Of each direction the hidden states in the order of ``x``, and the final ``h`` and ``c``."""
        return [lstm(weights, direction, x, h_0) for direction in directions]

    def encoder_states(
        self, weights: Weights, x: Float[Array, "T_x B E"]
    ) -> tuple[list[Float[Array, "T_x B D"]], Array, Array]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``."""
        zero = jnp.zeros((x.shape[1], self.config.hidden_dim), x.dtype)
        states: list[Array] = []
        h_n: list[Array] = []
        c_n: list[Array] = []
        for directions in self.config.encoder_stack:
            outputs, h, c = zip(*self.layer(weights, directions, x, zero), strict=True)
            x = jnp.concatenate(outputs, axis=-1)
            states.append(x)
            h_n.extend(h)
            c_n.extend(c)
        return states, jnp.stack(h_n), jnp.stack(c_n)

    def decoder_states(
        self, weights: Weights, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]
    ) -> tuple[list[Float[Array, "T_y B D"]], Array, Array]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``; every layer starts from ``h_0``."""
        states, h_n, c_n = [], [], []
        for layer in self.config.decoder_layers:
            if self.config.context == "every_step":
                y = jnp.concatenate([y, jnp.broadcast_to(h_0, (len(y), *h_0.shape))], axis=-1)
            ((y, h, c),) = self.layer(weights, (layer,), y, h_0)
            states.append(y)
            h_n.append(h)
            c_n.append(c)
        return states, jnp.stack(h_n), jnp.stack(c_n)

    def encode(self, weights: Weights, x: Float[Array, "T_x B E"]) -> LSTMOutput:
        """``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``; the initial states are zero."""
        states, h_n, c_n = self.encoder_states(weights, x)
        return LSTMOutput(states[-1], h_n, c_n)

    def hand_off(self, h_n: Float[Array, "L*dirs B H"]) -> Float[Array, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return jnp.concatenate(h_n[-self.config.num_directions :], axis=-1)

    def decode(self, weights: Weights, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]) -> LSTMOutput:
        """``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``; every layer starts from ``h_0``, cells from zero."""
        states, h_n, c_n = self.decoder_states(weights, y, h_0)
        return LSTMOutput(states[-1], h_n, c_n)

    def states(self, weights: Weights, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]) -> States:
        """Every layer's hidden states, ``encoder (L, T_x, B, D)`` and ``decoder (L, T_y, B, D)``."""
        encoder, h_n, _ = self.encoder_states(weights, x)
        decoder, _, _ = self.decoder_states(weights, y, self.hand_off(h_n))
        return States(jnp.stack(encoder), jnp.stack(decoder))

    def forward(
        self, weights: Weights, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]
    ) -> Float[Array, "T_y B D"]:
        """The decoder's outputs for ``y``, started from what the encoder made of ``x``."""
        h_0 = self.hand_off(self.encode(weights, x).h_n)
        return self.decode(weights, y, h_0).output

    def from_canonical(self, parameters: Parameters) -> Weights:
        """The weights as JAX arrays, under the same names, transposed."""
        return {name: jnp.asarray(array.T) for name, array in parameters.items()}

    def to_canonical(self, weights: Weights) -> Parameters:
        """The weights (or gradients) as NumPy arrays, transposed back."""
        return {name: np.array(weights[name]).T.copy() for name in self.config.parameter_shapes}


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> JaxLayersRow:
    """The functions with these weights, on the device."""
    return JaxLayersRow(Seq2seqLSTM(*astuple(config)), parameters, device)
