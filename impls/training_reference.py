"""The oracle of training: ``training.py``'s model, loss, clipping and Adam in NumPy, float64, written to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from impls.reference import Adam, Reference, exactly
from impls.training import START, LossAndGradients, TrainingState

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import DTypeLike

    from impls.contract import Parameters
    from impls.reference import Rounding, Tape
    from impls.training import Recipe, TrainingConfig

    Array = np.ndarray


class TrainingReference:
    """The whole with its weights: a ``training.TrainableModel`` in NumPy.

    ``dtype`` is float64 for the oracle, and nothing is ``rounded``: neither activations, nor gradients, nor weights.
    """

    def __init__(
        self, config: TrainingConfig, recipe: Recipe, dtype: DTypeLike = np.float64, rounded: Rounding = exactly
    ) -> None:
        self.config, self.recipe, self.dtype, self._rounded = config, recipe, np.dtype(dtype), rounded
        self._model = Reference(config.model, {}, dtype, rounded)

    def to_device(self, array: Array) -> Array:
        """The array: NumPy is at home."""
        return array

    def to_numpy(self, array: Array) -> Array:
        """The array: NumPy is at home."""
        return np.asarray(array)

    def wait(self, result: object) -> None:
        """Return: NumPy has computed what it returned."""

    def load(self, state: TrainingState) -> None:
        """Go on from there."""
        self._weights, mean, square = (
            {name: array.astype(self.dtype) for name, array in arrays.items()} for arrays in state[1:]
        )
        self._model.use(self._weights)
        self._optimizer = Adam(self._weights, self._rounded)
        self._optimizer.step_count, self._optimizer.mean, self._optimizer.square = state.step, mean, square

    def state(self) -> TrainingState:
        """Where it is now."""
        adam = self._optimizer
        copies = (
            {name: own.copy() for name, own in arrays.items()} for arrays in (self._weights, adam.mean, adam.square)
        )
        return TrainingState(adam.step_count, *copies)

    def logits(
        self, letters: Int[Array, "T_x B"], before: Int[Array, "T_y B"]
    ) -> tuple[Float[Array, "T_y B V"], Float[Array, "T_y B D"], list[Tape], list[Tape]]:
        """How likely each phoneme is, as logits; the decoder's outputs, and the tapes of both."""
        weights = self._weights
        x, y = weights["letters.weight"][letters], weights["phonemes.weight"][before]
        output, encoder_tapes, decoder_tapes = self._model.forward_with_tapes(x, y)
        logits = self._rounded(output @ weights["output.weight"].T + weights["output.bias"])
        return logits, output, encoder_tapes, decoder_tapes

    def gradients(
        self, letters: Int[Array, "T_x B"], before: Int[Array, "T_y B"], targets: Int[Array, "T_y B"]
    ) -> LossAndGradients:
        """The loss and its gradient, before clipping."""
        logits, output, *tapes = self.logits(letters, before)
        loss, d_logits = cross_entropy(logits, targets)
        d_logits = self._rounded(d_logits)
        inner = self._model.backward(self._rounded(d_logits @ self._weights["output.weight"]), *tapes)
        around = {
            "letters.weight": gathered(inner.x, letters, self._weights["letters.weight"]),
            "phonemes.weight": gathered(inner.y, before, self._weights["phonemes.weight"]),
            "output.weight": np.einsum("tbv,tbd->vd", d_logits, output),
            "output.bias": d_logits.sum(axis=(0, 1)),
        }
        return LossAndGradients(loss, inner.parameters | {name: self._rounded(own) for name, own in around.items()})

    def train_step(self, letters: Array, before: Array, targets: Array) -> Array:
        """One step; the loss before it."""
        loss, gradients = self.gradients(letters, before, targets)
        self.last_gradients = clipped(gradients, self.recipe.max_norm)
        rate = self.recipe.learning_rate(self._optimizer.step_count)
        self._optimizer.step(self._weights, self.last_gradients, rate)
        for arrays in (self._weights, self._optimizer.mean, self._optimizer.square):
            for own in arrays.values():
                own[...] = self._rounded(own)
        return np.asarray(loss)

    def decode_greedy(self, letters: Int[Array, "T_x B"], steps: int) -> Int[Array, "T B"]:
        """The likeliest phonemes, one by one."""
        weights = self._weights
        h_0 = self._model.hand_off(self._model.encode(weights["letters.weight"][letters]).h_n)
        said = np.full((1, letters.shape[1]), START)
        for _ in range(steps):  # all again at each step: the oracle may take its time
            output = self._model.decode(weights["phonemes.weight"][said], h_0).output[-1]
            logits = output @ weights["output.weight"].T + weights["output.bias"]
            said = np.concatenate([said, logits.argmax(axis=-1)[None]])
        codes: Array = said[1:]
        return codes


def cross_entropy(
    logits: Float[Array, "T B V"], targets: Int[Array, "T B"]
) -> tuple[Float[Array, ""], Float[Array, "T B V"]]:
    """The mean over the real targets, and its gradient towards the logits."""
    real = targets >= 0
    count = int(real.sum())
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_likelihoods = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    wanted = np.eye(logits.shape[-1], dtype=logits.dtype)[targets] * real[..., None]
    d_logits = (np.exp(log_likelihoods) * real[..., None] - wanted) / count
    return -np.sum(log_likelihoods * wanted) / count, d_logits


def gathered(
    d_vectors: Float[Array, "T B E"], symbols: Int[Array, "T B"], table: Float[Array, "V E"]
) -> Float[Array, "V E"]:
    """The gradient towards an embedding: the sum of those of each symbol's places."""
    d_table = np.zeros_like(table)
    np.add.at(d_table, symbols, d_vectors)
    return d_table


def clipped(gradients: Parameters, max_norm: float) -> Parameters:
    """The gradients, scaled so that their norm, over all of them together, is at most ``max_norm``."""
    norm = np.sqrt(sum(np.sum(array.astype(np.float64) ** 2) for array in gradients.values()))
    scale = min(1.0, max_norm / norm)
    return {name: array * array.dtype.type(scale) for name, array in gradients.items()}
