"""How any row of pure JAX functions is fed, differentiated, stepped and awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import optax

from impls.contract import (
    BETA_1,
    BETA_2,
    EPSILON,
    LEARNING_RATE,
    Gradients,
    LSTMOutput,
    Parameters,
    States,
    TrainStep,
    precision,
)
from impls.jax._arrays import JaxArrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array

OPTIMIZER = optax.adam(LEARNING_RATE, b1=BETA_1, b2=BETA_2, eps=EPSILON)


class JaxSeq2seq(Protocol):
    """What a model of pure functions offers. ``state`` is its weights: any pytree."""

    def from_canonical(self, parameters: Parameters) -> Any:
        """The state that holds these weights."""

    def to_canonical(self, state: Any) -> Parameters:
        """The weights (or gradients) that a state holds."""

    def encode(self, state: Any, x: Array) -> LSTMOutput:
        """Outputs and final states of the encoder."""

    def hand_off(self, h_n: Array) -> Array:
        """The decoder's initial hidden state ``(B, D)``."""

    def decode(self, state: Any, y: Array, h_0: Array) -> LSTMOutput:
        """Outputs and final states of the decoder."""

    def forward(self, state: Any, x: Array, y: Array) -> Array:
        """The decoder's outputs."""


class JaxLayers(JaxSeq2seq, Protocol):
    """A model that has every layer's hidden states."""

    def states(self, state: Any, x: Array, y: Array) -> States:
        """The hidden states of every layer."""


class Lowered:
    """A model whose weights, inputs and states are bfloat16 while it computes; it takes and gives float32."""

    def __init__(self, model: JaxSeq2seq) -> None:
        self._model = model
        self.from_canonical, self.to_canonical, self.hand_off = model.from_canonical, model.to_canonical, model.hand_off

    def __getattr__(self, name: str) -> Any:
        """The model's method, in bfloat16."""
        method = getattr(self._model, name)
        return lambda *arguments: cast(method(*cast(arguments, jnp.bfloat16)), jnp.float32)


def cast(arrays: Any, dtype: Any) -> Any:
    """All the arrays, as this dtype."""
    return jax.tree.map(lambda array: array.astype(dtype), arrays)


class JaxRow(JaxArrays):
    """A model of pure functions with its weights loaded: a ``contract.Implementation``, every call under ``jax.jit``.

    Args:
        model: The functions.
        parameters: Canonical float32 weights.
        device: ``cpu`` or ``gpu``.
    """

    def __init__(self, model: JaxSeq2seq, parameters: Parameters, device: str) -> None:
        super().__init__(device)
        self.model = model = Lowered(model) if precision() == "bfloat16" else model
        self._encode = self.jit(model.encode)
        self._decode = self.jit(model.decode)
        self._forward = self.jit(model.forward)
        self._gradients = self.jit(self._backward)
        self._train_step = self.jit(self._update, donate_argnums=(0, 1))
        self.load(parameters)

    def jit(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """The function compiled: ``jax.jit``."""
        return jax.jit(function, **options)

    def canonical(self, parameters: Any) -> Parameters:
        """The state's weights, under canonical names and shapes."""
        return self.model.to_canonical(parameters)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a fresh ``optax.adam``."""
        self._state = jax.device_put(self.model.from_canonical(parameters), self.device, may_alias=False)
        self._optimizer_state = jax.device_put(OPTIMIZER.init(self._state), self.device)
        jax.block_until_ready((self._state, self._optimizer_state))

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._state)

    def trained_count(self) -> int:
        """How many numbers the state has: the optimiser moves all of them."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._state))

    def encode(self, x: Array) -> LSTMOutput:
        """The encoder alone."""
        return self._encode(self._state, x)

    def hand_off(self, h_n: Array) -> Array:
        """``h_0 (B, D)``."""
        return self.model.hand_off(h_n)

    def decode(self, y: Array, h_0: Array) -> LSTMOutput:
        """The decoder alone."""
        return self._decode(self._state, y, h_0)

    def forward(self, x: Array, y: Array) -> Array:
        """The decoder's outputs."""
        return self._forward(self._state, x, y)

    def gradients(self, x: Array, y: Array, d_output: Array) -> Gradients:
        """Forward and backward, towards the parameters and both inputs."""
        return self._gradients(self._state, x, y, d_output)

    def train_step(self, x: Array, y: Array, target: Array) -> TrainStep:
        """One step of ``optax.adam`` on the mean squared error; the old weights' memory is given to the new ones."""
        self._state, self._optimizer_state, loss = self._train_step(self._state, self._optimizer_state, x, y, target)
        return TrainStep(loss, self._state)

    def _backward(self, state: Any, x: Array, y: Array, d_output: Array) -> Gradients:
        _, pull_back = jax.vjp(self.model.forward, state, x, y)
        return Gradients(*pull_back(d_output))

    def _update(self, state: Any, optimizer_state: Any, x: Array, y: Array, target: Array) -> tuple[Any, Any, Array]:
        def loss_of(state: Any) -> Array:
            return jnp.mean((self.model.forward(state, x, y) - target) ** 2)

        loss, gradients = jax.value_and_grad(loss_of)(state)
        updates, optimizer_state = OPTIMIZER.update(gradients, optimizer_state)
        return optax.apply_updates(state, updates), optimizer_state, loss


class JaxLayersRow(JaxRow):
    """A JaxRow that has every layer's hidden states: a ``contract.LayerStates`` too."""

    def __init__(self, model: JaxLayers, parameters: Parameters, device: str) -> None:
        super().__init__(model, parameters, device)
        self._layers = self.jit(model.states)

    def states(self, x: Array, y: Array) -> States:
        """Every layer's hidden states."""
        return self._layers(self._state, x, y)
