"""``thinc/tuned``, trained: its layers, gates in an order of their own, and its Adam in blocks."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from impls.thinc._adapter import find_ops
from impls.thinc._blocked_adam import BlockedAdam
from impls.thinc._both_directions import LSTM, from_layer
from impls.thinc.layers import Seq2seqLSTM, hand_off
from impls.thinc.training._adapter import ThincTraining
from impls.thinc.tuned import Encoder, LayerWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float
    from thinc.api import Model
    from thinc.types import Floats2d

    from impls.contract import Parameters
    from impls.training import Recipe, TrainingConfig


def step(
    decoder: Model[Any, Any], y_t: Float[Floats2d, "B E"], h: list[Any], c: list[Any]
) -> tuple[Float[Floats2d, "B D"], list[Any], list[Any]]:
    """A step of the decoder: the output, and the new ``h`` and ``c`` of each layer; i, f and o come negative."""
    xp, new_h, new_c = decoder.ops.xp, [], []
    for layer, h_t, c_t in zip(decoder.layers, h, c, strict=True):
        W_ih, W_hh, b = (layer.get_param(name)[0] for name in ("W_ih", "W_hh", "b"))
        z = y_t @ W_ih.T
        z += h_t @ W_hh.T
        z += b
        width = h_t.shape[-1]
        sigmoids = z[:, : 3 * width]
        with np.errstate(over="ignore"):  # 1 / (1 + inf) is 0, as it should be
            xp.exp(sigmoids, out=sigmoids)
        sigmoids += 1
        xp.reciprocal(sigmoids, out=sigmoids)
        o, i, f, g = (z[:, gate * width : (gate + 1) * width] for gate in range(4))
        new_c.append(f * c_t + i * xp.tanh(g))
        y_t = o * xp.tanh(new_c[-1])
        new_h.append(y_t)
    return y_t, new_h, new_c


class TunedTraining(ThincTraining):
    """A ThincTraining whose weights lie as the layers of both directions have them."""

    def _canonical(self, arrays: Mapping[str, Any]) -> Parameters:
        """The arrays as NumPy's, gates in canonical order."""
        inner = self.config.model.parameter_shapes
        return {
            name: from_layer(array) if name in inner else array for name, array in super()._canonical(arrays).items()
        }


def load(config: TrainingConfig, recipe: Recipe, device: str) -> TunedTraining:
    """The training, with no state yet."""
    ops = find_ops(device)
    model = Seq2seqLSTM(*astuple(config.model), encoder_type=Encoder, layer_type=LSTM, ops=ops)
    encoder, decoder = model.layers
    return TunedTraining(
        model,
        LayerWeights(config.model, model),
        lambda x: hand_off(encoder.predict(x).h_n, config.model.num_directions),
        partial(step, decoder),
        config,
        recipe,
        ops,
        BlockedAdam,
    )
