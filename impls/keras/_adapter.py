"""What both Keras rows need: the right backend, canonical weights, and Adam as the paper has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

from impls.contract import BETA_1, BETA_2, EPSILON, LEARNING_RATE, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from impls.contract import Parameters, Seq2seqConfig
    from impls.keras._seq2seq import Seq2seqLSTM

ADAM = {"learning_rate": LEARNING_RATE, "beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON}
"""The arguments of ``keras.optimizers.Adam``, but for what ``epsilon`` says."""


def need_backend(name: str) -> None:
    """Make sure that Keras computes with the backend, in float32.

    Raises:
        InvalidInput: it computes with another.
    """
    if (loaded := keras.backend.backend()) != name:
        raise InvalidInput(
            f"keras/{name} needs KERAS_BACKEND={name} before Keras is imported; in this process Keras has {loaded}"
        )
    keras.config.set_floatx("float32")  # a person's keras.json may have another


def trained_variables(config: Seq2seqConfig, seq2seq: Seq2seqLSTM) -> dict[str, keras.Variable]:
    """Canonical name to the variable, in canonical order."""
    cells = [
        direction.cell
        for layer in (*seq2seq.encoder_layers, *seq2seq.decoder_layers)
        for direction in (
            (layer.forward_layer, layer.backward_layer) if isinstance(layer, keras.layers.Bidirectional) else (layer,)
        )
    ]
    variables = {}
    for layer, cell in zip((*config.encoder_layers, *config.decoder_layers), cells, strict=True):
        variables[layer.weight_ih] = cell.kernel
        variables[layer.weight_hh] = cell.recurrent_kernel
        variables[layer.bias] = cell.bias
    return variables


def from_canonical(names: Iterable[str], parameters: Parameters) -> list[np.ndarray]:
    """The arrays of these names in Keras's layout: matrices are ``(in, out)``, gates in the canonical order."""
    return [parameters[name].T for name in names]


def to_canonical(names: Iterable[str], arrays: Sequence[Any], to_numpy: Callable[[Any], np.ndarray]) -> Parameters:
    """The backend's arrays, in the order of the names, as canonical ones."""
    return {name: to_numpy(array).T.copy() for name, array in zip(names, arrays, strict=True)}


def trained_count(seq2seq: Seq2seqLSTM) -> int:
    """How many numbers Keras calls trainable."""
    return sum(math.prod(variable.shape) for variable in seq2seq.whole.trainable_variables)


def epsilon(step: Any) -> Any:
    """What has to be given for epsilon at a step, counted from 1.

    Keras adds it *before* the bias correction ("epsilon hat" in the paper): scaled so, it is the paper's epsilon.
    """
    return EPSILON * (1 - BETA_2**step) ** 0.5
