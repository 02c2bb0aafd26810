"""Where the canonical parameters live in a Flax NNX model of ``RNN``, ``Bidirectional`` and ``OptimizedLSTMCell``.

The cell computes ``dense_i(x) + dense_h(h)`` with kernels ``(in, out)`` and one bias, in ``dense_h``; gate order
i, f, g, o.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

if TYPE_CHECKING:
    from impls.contract import LSTMLayer, Parameters, Seq2seqConfig


def from_canonical(config: Seq2seqConfig, state: nnx.State, parameters: Parameters) -> nnx.State:
    """The state, its variables set to these weights."""
    for layer in (*config.encoder_layers, *config.decoder_layers):
        for name, leaf in _leaves(config, layer).items():
            variable = reduce(lambda tree, key: tree[key], leaf, state)
            variable.set_value(jnp.asarray(parameters[name].T))
    return state


def to_canonical(config: Seq2seqConfig, state: Any) -> Parameters:
    """The weights (or gradients) that a state holds, under canonical names and shapes."""
    return {
        name: np.array(reduce(lambda tree, key: tree[key], leaf, state).get_value()).T.copy()
        for layer in (*config.encoder_layers, *config.decoder_layers)
        for name, leaf in _leaves(config, layer).items()
    }


def _leaves(config: Seq2seqConfig, layer: LSTMLayer) -> dict[str, tuple[str | int, ...]]:
    rnn: tuple[str | int, ...] = (layer.part, layer.index)
    if layer.part == "encoder" and config.bidirectional:
        rnn += ("backward_rnn" if layer.reverse else "forward_rnn",)
    return {
        layer.weight_ih: (*rnn, "cell", "dense_i", "kernel"),
        layer.weight_hh: (*rnn, "cell", "dense_h", "kernel"),
        layer.bias: (*rnn, "cell", "dense_h", "bias"),
    }
