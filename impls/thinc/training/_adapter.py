"""A Thinc model between embeddings and an output layer, and its training loop's body."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from thinc.api import Adam, CategoricalCrossentropy, Embed, Model, NumpyOps, Softmax_v2

from impls.contract import BETA_1, BETA_2, EPSILON
from impls.training import NO_TARGET, START, LossAndGradients, TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jaxtyping import Float, Int
    from thinc.api import Ops, Optimizer

    from impls.contract import Parameters
    from impls.thinc._adapter import Weights
    from impls.training import Recipe, TrainingConfig


class Step(Protocol):
    """A step of a decoder."""

    def __call__(self, y_t: Any, h: list[Any], c: list[Any], /) -> tuple[Any, list[Any], list[Any]]:
        """The output ``(B, D)`` for ``y_t (B, E)``, and the new ``h`` and ``c`` of each layer."""


def LettersToPhonemes(seq2seq: Model[Any, Any], config: TrainingConfig, ops: Ops) -> Model[Any, Any]:
    """The model between two embeddings and an output layer: ``(letters, before)`` to probabilities ``(T_y * B, V)``."""
    letters = Embed(config.model.embedding_dim, config.num_letters)
    phonemes = Embed(config.model.embedding_dim, config.num_phonemes)
    output = Softmax_v2(config.num_phonemes, config.model.decoder_hidden_dim)
    for layer in (letters, phonemes, output):
        layer.ops = ops
    return Model("letters_to_phonemes", forward, layers=[letters, seq2seq, phonemes, output], ops=ops)


def forward(
    model: Model[Any, Any], inputs: tuple[Int[Any, "T_x B"], Int[Any, "T_y B"]], is_train: bool
) -> tuple[Float[Any, "T_y*B V"], Callable[[Float[Any, "T_y*B V"]], None]]:
    """The probabilities, and the backprop from the gradient towards their logits."""
    letters, seq2seq, phonemes, output = model.layers
    (x, back_x), (y, back_y) = (
        embedding(symbols.ravel(), is_train) for embedding, symbols in zip((letters, phonemes), inputs, strict=True)
    )
    decoded, back = seq2seq(
        tuple(own.reshape(*symbols.shape, -1) for own, symbols in zip((x, y), inputs, strict=True)), is_train
    )
    probabilities, back_output = output(decoded.reshape(-1, decoded.shape[-1]), is_train)

    def backprop(d_logits: Float[Any, "T_y*B V"]) -> None:
        d_x, d_y = back(back_output(d_logits).reshape(decoded.shape))
        back_x(d_x.reshape(x.shape))
        back_y(d_y.reshape(y.shape))

    return probabilities, backprop


class ThincTraining:
    """A Thinc model and its optimiser: a ``training.TrainableModel``.

    Args:
        seq2seq: ``(x, y)`` to the decoder's outputs.
        weights: Where it keeps its weights.
        hand_off: From ``x`` to ``h_0``.
        step: A step of its decoder.
        config: The sizes of the whole.
        recipe: How it is trained.
        ops: Thinc's operations of the device.
        adam: Makes the optimiser.
    """

    def __init__(
        self,
        seq2seq: Model[Any, Any],
        weights: Weights,
        hand_off: Callable[[Any], Any],
        step: Step,
        config: TrainingConfig,
        recipe: Recipe,
        ops: Ops,
        adam: Callable[..., Optimizer] = Adam,
    ) -> None:
        self.model = LettersToPhonemes(seq2seq, config, ops)
        self.ops, self.config = ops, config
        self._seq2seq_weights, self._hand_off, self._step = weights, hand_off, step
        self._recipe, self._adam = recipe, adam
        self._loss = CategoricalCrossentropy(normalize=False, missing_value=NO_TARGET)
        letters, _, phonemes, output = self.model.layers
        self._around = {
            "letters.weight": (letters, "E"),
            "phonemes.weight": (phonemes, "E"),
            "output.weight": (output, "W"),
            "output.bias": (output, "b"),
        }

    def to_device(self, array: np.ndarray) -> Any:
        """The symbols, on the device."""
        return self.ops.asarray(array.astype(np.int32))

    def to_numpy(self, array: Any) -> np.ndarray:
        """The array, as NumPy's own memory."""
        return np.array(array if isinstance(self.ops, NumpyOps) else self.ops.to_numpy(array))

    def wait(self, result: Any) -> None:  # noqa: ARG002
        """Return when the device is idle."""
        if not isinstance(self.ops, NumpyOps):
            self.ops.xp.cuda.Device().synchronize()

    def load(self, state: TrainingState) -> None:
        """Go on from there: an Adam whose schedules have made so many steps.

        Thinc adds eps before the bias correction: an eps that is scaled at every step cancels that. It clips each
        parameter's gradient by itself, unless told not to: ``train_step`` clips them together.
        """
        self._optimizer = self._adam(
            (self._recipe.learning_rate(step) for step in count(state.step)),
            beta1=BETA_1,
            beta2=BETA_2,
            eps=(EPSILON * (1 - BETA_2**step) ** 0.5 for step in count(state.step + 1)),
            grad_clip=0.0,
            L2=0.0,
            use_averages=False,
        )
        # moments lie as the parameters do, but that a square has no sign
        self._write(state.mean)
        self._optimizer.mom1 = {key: self.ops.xp.array(own).ravel() for key, own in self._arrays()}
        self._write(state.square)
        self._optimizer.mom2 = {key: abs(self.ops.xp.array(own).ravel()) for key, own in self._arrays()}
        self._write(state.parameters)
        self._clear_gradients()
        self._optimizer.nr_update.update({key: state.step for key, _ in self._arrays()})

    def state(self) -> TrainingState:
        """Where it is now."""
        adam, parameters, moments = self._optimizer, self._read(), []
        for of_key in (adam.mom1, adam.mom2):
            for key, own in self._arrays():
                own[...] = of_key[key].reshape(own.shape)
            moments.append(self._read())
        self._write(parameters)
        mean, square = moments
        step = max(adam.nr_update.values())
        return TrainingState(step, parameters, mean, {name: abs(array) for name, array in square.items()})

    def gradients(self, letters: Any, before: Any, targets: Any) -> LossAndGradients:
        """The loss and its gradient, before clipping."""
        loss = self._backward(letters, before, targets)
        found = {name: array.copy() for name, array in self._canonical(self._gradients()).items()}
        self._clear_gradients()
        return LossAndGradients(np.asarray(loss, np.float32), found)

    def train_step(self, letters: Any, before: Any, targets: Any) -> Any:
        """One step; the loss before it."""
        loss = self._backward(letters, before, targets)
        gradients = list(self._gradients().values())
        norm = sum(float((own * own).sum()) for own in gradients) ** 0.5
        if norm > self._recipe.max_norm:
            for own in gradients:
                own *= self._recipe.max_norm / norm
        self.model.finish_update(self._optimizer)
        self._optimizer.step_schedules()
        return loss

    def _backward(self, letters: Any, before: Any, targets: Any) -> Any:
        """The cross entropy, averaged over the real targets; its gradients are in the nodes afterwards."""
        probabilities, backprop = self.model.begin_update((letters, before))
        targets = targets.ravel()
        real = self.ops.xp.flatnonzero(targets != NO_TARGET)
        backprop(self._loss.get_grad(probabilities, targets) / self.ops.xp.float32(len(real)))
        return -self.ops.xp.log(probabilities[real, targets[real]]).mean()

    def decode_greedy(self, letters: Any, steps: int) -> Any:
        """The likeliest phonemes, one by one."""
        embed_letters, _, embed_phonemes, output = self.model.layers
        xp = self.ops.xp
        h_0 = self._hand_off(embed_letters.predict(letters.ravel()).reshape(*letters.shape, -1))
        layers = self.config.model.num_decoder_layers
        h, c = [h_0] * layers, [xp.zeros_like(h_0)] * layers
        phoneme = xp.full_like(letters[0], START)
        said = []
        for _ in range(steps):
            decoded, h, c = self._step(embed_phonemes.predict(phoneme), h, c)
            phoneme = output.predict(decoded).argmax(axis=-1).astype(letters.dtype)
            said.append(phoneme)
        return xp.stack(said)

    def _arrays(self) -> Iterator[tuple[tuple[int, str], Any]]:
        """Every trained array under the key that the optimiser has for it; those of a wrapped module as well."""
        for node in self.model.walk():
            for shim in node.shims:
                for name, parameter in shim._model.named_parameters():
                    if parameter.requires_grad:
                        yield (shim.id, name), parameter.detach().numpy()
            for name in node.param_names:
                yield (node.id, name), node.get_param(name)

    def _read(self) -> Parameters:
        around = {name: node.get_param(param) for name, (node, param) in self._around.items()}
        return self._canonical({**self._seq2seq_weights.read(), **around})

    def _write(self, parameters: Parameters) -> None:
        self._seq2seq_weights.write(parameters)
        for name, (node, param) in self._around.items():
            node.set_param(param, self.ops.asarray(parameters[name].copy()))

    def _gradients(self) -> Mapping[str, Any]:
        around = {name: node.get_grad(param) for name, (node, param) in self._around.items()}
        return {**self._seq2seq_weights.gradients(), **around}

    def _clear_gradients(self) -> None:
        self._seq2seq_weights.clear_gradients()
        for node, param in self._around.values():
            node.set_grad(param, self.ops.alloc(node.get_param(param).shape))

    def _canonical(self, arrays: Mapping[str, Any]) -> Parameters:
        """The arrays as NumPy's own memory, under canonical names and in canonical order."""
        return {name: self.to_numpy(arrays[name]) for name in self.config.parameter_shapes}
