"""Keras 3 on JAX: its stateless API under ``jax.jit``, as Keras's guide to training loops in JAX has it.

For one batch Keras's documentation says to call the model and not ``predict``; in JAX, where a call is slow by itself,
``stateless_call`` under ``jax.jit``. (``predict_on_batch`` and ``train_on_batch`` copy what they give to the host.)
On a GPU it is Keras's own loop and not, as Keras has it by default, cuDNN: that trained wrongly.
"""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import keras

from impls.contract import Gradients, LSTMOutput, States, TrainStep
from impls.jax._arrays import JaxArrays
from impls.keras._adapter import (
    ADAM,
    epsilon,
    from_canonical,
    need_backend,
    to_canonical,
    trained_count,
    trained_variables,
)
from impls.keras._seq2seq import Seq2seqLSTM

if TYPE_CHECKING:
    from jax import Array

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "idiomatic",
    "summary": "Keras 3 on JAX: LSTM and Bidirectional, the stateless API under jax.jit",
    "frameworks": ["keras", "jax"],
    "compiles": True,
    "environment": {"KERAS_BACKEND": "jax"},  # read when Keras is imported
    "multiplies_with": "jax",
}

Weights = list[jax.Array]
"""The trained variables' values, in canonical order."""


class Adam(keras.optimizers.Adam):
    """Keras's Adam, made to follow the paper."""

    @property
    def epsilon(self) -> Array:
        """Epsilon for the step that is being taken."""
        return epsilon(self.iterations + 1)

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        """Take what the constructor sets."""


class JaxRow(JaxArrays):
    """The models with their weights loaded: a ``contract.Implementation``, and a LayerStates too."""

    def __init__(self, config: Seq2seqConfig, parameters: Parameters, device: str) -> None:
        need_backend("jax")
        super().__init__(device)
        with keras.device(device):
            self.seq2seq = Seq2seqLSTM(*astuple(config))
            self._variables = trained_variables(config, self.seq2seq)
            self._optimizer = Adam(**ADAM)
            self._optimizer.build(list(self._variables.values()))
        self._no_step_made = [self.to_numpy(variable.value) for variable in self._optimizer.variables]
        self._loss = keras.losses.MeanSquaredError()
        self._encode = jax.jit(partial(self._call, self.seq2seq.encoder))
        self._decode = jax.jit(partial(self._call, self.seq2seq.decoder))
        self._forward = jax.jit(partial(self._call, self.seq2seq.whole))
        self._states = jax.jit(partial(self._call, self.seq2seq.states))
        self._gradients = jax.jit(self._backward)
        self._train_step = jax.jit(self._update, donate_argnums=(0, 1))
        self.load(parameters)

    def canonical(self, parameters: Weights) -> Parameters:
        """The weights (or gradients), under canonical names and shapes."""
        return to_canonical(self._variables, parameters, self.to_numpy)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a ``keras.optimizers.Adam`` that has made no step."""
        values = from_canonical(self._variables, parameters), self._no_step_made
        self._weights, self._optimizer_state = jax.device_put(values, self.device, may_alias=False)
        self.wait((self._weights, self._optimizer_state))

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._weights)

    def trained_count(self) -> int:
        """How many numbers Keras calls trainable."""
        return trained_count(self.seq2seq)

    def encode(self, x: Array) -> LSTMOutput:
        """The encoder alone."""
        return self._encode(self._weights, x)

    def hand_off(self, h_n: Array) -> Array:
        """``h_0 (B, D)``."""
        return self.seq2seq.hand_off(h_n)

    def decode(self, y: Array, h_0: Array) -> LSTMOutput:
        """The decoder alone."""
        return self._decode(self._weights, y, h_0)

    def forward(self, x: Array, y: Array) -> Array:
        """The decoder's outputs."""
        return self._forward(self._weights, x, y)

    def states(self, x: Array, y: Array) -> States:
        """Every layer's hidden states."""
        return self._states(self._weights, x, y)

    def gradients(self, x: Array, y: Array, d_output: Array) -> Gradients:
        """Forward and backward, towards the parameters and both inputs."""
        return self._gradients(self._weights, x, y, d_output)

    def train_step(self, x: Array, y: Array, target: Array) -> TrainStep:
        """One step of Keras's Adam on the mean squared error; the old weights' memory is given to the new ones."""
        state = self._train_step(self._weights, self._optimizer_state, x, y, target)
        self._weights, self._optimizer_state, loss = state
        return TrainStep(loss, self._weights)

    def _call(self, model: keras.Model, weights: Weights, *inputs: Array) -> Any:
        """What the model gives with these weights in the place of its own."""
        values = {variable.path: value for variable, value in zip(self._variables.values(), weights, strict=True)}
        outputs, _ = model.stateless_call(
            [values[variable.path] for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
            list(inputs),
        )
        return outputs

    def _backward(self, weights: Weights, x: Array, y: Array, d_output: Array) -> Gradients:
        _, pull_back = jax.vjp(partial(self._call, self.seq2seq.whole), weights, x, y)
        return Gradients(*pull_back(d_output))

    def _update(
        self, weights: Weights, optimizer_state: list[Array], x: Array, y: Array, target: Array
    ) -> tuple[Weights, list[Array], Array]:
        def loss_of(weights: Weights) -> Array:
            return self._loss(target, self._call(self.seq2seq.whole, weights, x, y))

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        weights, optimizer_state = self._optimizer.stateless_apply(optimizer_state, gradients, weights)
        return weights, optimizer_state, loss


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> JaxRow:
    """The models with these weights, on the device.

    Raises:
        InvalidInput: Keras has another backend in this process.
    """
    return JaxRow(config, parameters, device)
