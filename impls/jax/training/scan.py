"""``jax/scan``, trained: plain functions, the whole step under ``jax.jit``."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from impls.jax.scan import Seq2seqLSTM
from impls.jax.training._adapter import JaxTraining

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    from impls.contract import Seq2seqConfig
    from impls.jax.scan import Weights
    from impls.training import Recipe, TrainingConfig


class Decoder:
    """A step of the decoder, the cell written out."""

    def __init__(self, config: Seq2seqConfig) -> None:
        self._layers = config.decoder_layers

    def step(
        self, weights: Weights, y_t: Float[Array, "B E"], h: list[Array], c: list[Array]
    ) -> tuple[Float[Array, "B D"], list[Array], list[Array]]:
        """The output, and the new ``h`` and ``c`` of each layer."""
        new_h, new_c = [], []
        for layer, h_t, c_t in zip(self._layers, h, c, strict=True):
            w_ih, w_hh, bias = (weights[name] for name in layer.parameter_shapes)
            i, f, g, o = jnp.split(y_t @ w_ih + h_t @ w_hh + bias, 4, axis=-1)
            new_c.append(jax.nn.sigmoid(f) * c_t + jax.nn.sigmoid(i) * jnp.tanh(g))
            y_t = jax.nn.sigmoid(o) * jnp.tanh(new_c[-1])
            new_h.append(y_t)
        return y_t, new_h, new_c


def load(config: TrainingConfig, recipe: Recipe, device: str) -> JaxTraining:
    """The training, with no state yet."""
    return JaxTraining(Seq2seqLSTM(*astuple(config.model)), Decoder(config.model), config, recipe, device)
