"""``jax/nnx_split``, trained: the module's state is part of the weights, and a step of its decoder calls its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flax import nnx

from impls.jax.nnx import abstract
from impls.jax.nnx_split import SplitSeq2seqLSTM
from impls.jax.training._adapter import JaxTraining

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    from impls.contract import Seq2seqConfig
    from impls.training import Recipe, TrainingConfig


class Decoder:
    """A step of the module's decoder."""

    def __init__(self, config: Seq2seqConfig) -> None:
        self._structure = nnx.graphdef(abstract(config))

    def step(
        self, state: nnx.State, y_t: Float[Array, "B E"], h: list[Array], c: list[Array]
    ) -> tuple[Float[Array, "B D"], list[Array], list[Array]]:
        """The output, and the new ``h`` and ``c`` of each layer."""
        new_h, new_c = [], []
        for layer, h_t, c_t in zip(nnx.merge(self._structure, state).decoder, h, c, strict=True):
            (c_new, h_new), y_t = layer.cell((c_t, h_t), y_t)
            new_h.append(h_new)
            new_c.append(c_new)
        return y_t, new_h, new_c


def load(config: TrainingConfig, recipe: Recipe, device: str) -> JaxTraining:
    """The training, with no state yet."""
    return JaxTraining(SplitSeq2seqLSTM(config.model), Decoder(config.model), config, recipe, device)
