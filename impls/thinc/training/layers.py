"""``thinc/layers``, trained: ``begin_update``, backprop, ``finish_update``."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

from impls.thinc._adapter import NodeWeights, find_ops
from impls.thinc.layers import Seq2seqLSTM, hand_off
from impls.thinc.training._adapter import ThincTraining

if TYPE_CHECKING:
    from jaxtyping import Float
    from thinc.api import Model
    from thinc.types import Floats2d

    from impls.training import Recipe, TrainingConfig


def step(
    decoder: Model[Any, Any], y_t: Float[Floats2d, "B E"], h: list[Any], c: list[Any]
) -> tuple[Float[Floats2d, "B D"], list[Any], list[Any]]:
    """A step of the decoder: the output, and the new ``h`` and ``c`` of each layer."""
    ops, new_h, new_c = decoder.ops, [], []
    for layer, h_t, c_t in zip(decoder.layers, h, c, strict=True):
        W_ih, W_hh, b = (layer.get_param(name) for name in ("W_ih", "W_hh", "b"))
        z = ops.gemm(y_t, W_ih, trans2=True) + ops.gemm(h_t, W_hh, trans2=True) + b
        i, f, g, o = ops.xp.split(z, 4, axis=-1)
        new_c.append(ops.sigmoid(f) * c_t + ops.sigmoid(i) * ops.xp.tanh(g))
        y_t = ops.sigmoid(o) * ops.xp.tanh(new_c[-1])
        new_h.append(y_t)
    return y_t, new_h, new_c


def load(config: TrainingConfig, recipe: Recipe, device: str) -> ThincTraining:
    """The training, with no state yet."""
    ops = find_ops(device)
    model = Seq2seqLSTM(*astuple(config.model), ops=ops)
    encoder, decoder = model.layers
    return ThincTraining(
        model,
        NodeWeights(config.model, model),
        lambda x: hand_off(encoder.predict(x).h_n, config.model.num_directions),
        partial(step, decoder),
        config,
        recipe,
        ops,
    )
