"""``jax/tuned``, trained: each program by the library that multiplies faster."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import jax

from impls.jax.training._adapter import JaxTraining
from impls.jax.training.scan import Decoder
from impls.jax.tuned import OLDER, Seq2seqLSTM, older_is_faster

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array
    from jaxtyping import Float

    from impls.jax.scan import Weights
    from impls.training import Recipe, TrainingConfig


class TunedDecoder(Decoder):
    """A step of the decoder; large recurrent weights lie as the row has them, ``(4H, H)``."""

    def step(
        self, weights: Weights, y_t: Float[Array, "B E"], h: list[Array], c: list[Array]
    ) -> tuple[Float[Array, "B D"], list[Array], list[Array]]:
        """The output, and the new ``h`` and ``c`` of each layer."""
        names = [layer.weight_hh for layer in self._layers]
        large = {name: weights[name].T for name in names if len(weights[name]) != h[0].shape[-1]}
        return super().step(weights | large, y_t, h, c)


def load(config: TrainingConfig, recipe: Recipe, device: str) -> JaxTraining:
    """The training, with no state yet."""
    layers = (*config.model.encoder_layers, *config.model.decoder_layers)
    widths = {layer.input_dim for layer in layers}, {layer.hidden_dim for layer in layers}

    def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        newer, older = jax.jit(function, **options), jax.jit(function, compiler_options=OLDER, **options)

        def call(*arguments: Any) -> Any:
            batch = next(own.shape[-1] for own in reversed(arguments) if hasattr(own, "shape"))
            return (older if older_is_faster(batch, *widths) else newer)(*arguments)

        return call if device == "cpu" else jax.jit(function, **options)

    model = Seq2seqLSTM(*astuple(config.model))
    return JaxTraining(model, TunedDecoder(config.model), config, recipe, device, jit)
