"""Pure functions of a model between embeddings and an output layer, and their training, each step one program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from impls.contract import BETA_1, BETA_2, EPSILON
from impls.jax._arrays import JaxArrays
from impls.training import START, LossAndGradients, TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable

    from jax import Array
    from jaxtyping import Float, Int

    from impls.contract import Parameters
    from impls.jax._adapter import JaxSeq2seq
    from impls.training import Recipe, TrainingConfig


class JaxDecoder(Protocol):
    """What greedy decoding needs of a model besides: a step of its decoder."""

    def step(self, state: Any, y_t: Array, h: list[Array], c: list[Array]) -> tuple[Array, list[Array], list[Array]]:
        """The output ``(B, D)`` for ``y_t (B, E)``, and the new ``h`` and ``c`` of each layer."""


Weights = dict[str, Any]
"""The model's own state under ``seq2seq``, and the four arrays around it."""


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam on the schedule."""
    rate, warm_up, total = recipe.peak_learning_rate, recipe.warmup_steps, recipe.total_steps
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(rate / warm_up, rate, warm_up - 1),
            optax.linear_schedule(rate, 0.0, total - warm_up),
        ],
        [warm_up],
    )
    clip = optax.clip_by_global_norm(recipe.max_norm)
    return optax.chain(clip, optax.adam(schedule, b1=BETA_1, b2=BETA_2, eps=EPSILON))


class JaxTraining(JaxArrays):
    """Pure functions, their weights and an optimiser's state: a ``training.TrainableModel``.

    Args:
        seq2seq: The functions.
        decoder: A step of their decoder.
        config: The sizes of the whole.
        recipe: How it is trained.
        device: ``cpu`` or ``gpu``.
        jit: Compiles what is called with symbols ``(T, B)``.
    """

    def __init__(
        self,
        seq2seq: JaxSeq2seq,
        decoder: JaxDecoder,
        config: TrainingConfig,
        recipe: Recipe,
        device: str,
        jit: Callable[..., Callable[..., Any]] = jax.jit,
    ) -> None:
        super().__init__(device)
        self.seq2seq, self.decoder, self.config = seq2seq, decoder, config
        self._optimizer = optimizer(recipe)
        self._gradients = jit(jax.value_and_grad(self.loss))
        self._train_step = jit(self._update, donate_argnums=(0, 1))
        self._decode_greedy = jit(self._greedy, static_argnums=(2,))

    def loss(
        self,
        weights: Weights,
        letters: Int[Array, "T_x B"],
        before: Int[Array, "T_y B"],
        targets: Int[Array, "T_y B"],
    ) -> Float[Array, ""]:
        """The cross entropy, averaged over the real targets."""
        x, y = weights["letters.weight"][letters], weights["phonemes.weight"][before]
        logits = self.output(weights, self.seq2seq.forward(weights["seq2seq"], x, y))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return jnp.mean(losses, where=targets >= 0)

    def output(self, weights: Weights, states: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """The logits of each phoneme."""
        return states @ weights["output.weight"].T + weights["output.bias"]

    def _update(
        self, weights: Weights, optimizer_state: Any, letters: Array, before: Array, targets: Array
    ) -> tuple[Weights, Any, Array]:
        loss, gradients = jax.value_and_grad(self.loss)(weights, letters, before, targets)
        updates, optimizer_state = self._optimizer.update(gradients, optimizer_state)
        return optax.apply_updates(weights, updates), optimizer_state, loss

    def _greedy(self, weights: Weights, letters: Int[Array, "T_x B"], steps: int) -> Int[Array, "T B"]:
        encoded = self.seq2seq.encode(weights["seq2seq"], weights["letters.weight"][letters])
        h_0 = self.seq2seq.hand_off(encoded.h_n)
        layers = self.config.model.num_decoder_layers

        def step(carry: Any, _: None) -> tuple[Any, Array]:
            phoneme, h, c = carry
            output, h, c = self.decoder.step(weights["seq2seq"], weights["phonemes.weight"][phoneme], h, c)
            phoneme = self.output(weights, output).argmax(axis=-1).astype(letters.dtype)
            return (phoneme, h, c), phoneme

        start = jnp.full_like(letters[0], START), [h_0] * layers, [jnp.zeros_like(h_0)] * layers
        return lax.scan(step, start, length=steps)[1]

    def load(self, state: TrainingState) -> None:
        """Go on from there."""
        self._weights = self._put(state.parameters)
        self._state = jax.device_put(self._optimizer.init(self._weights), self.device)
        clip, (adam, schedule) = self._state
        adam = adam._replace(count=jnp.array(state.step), mu=self._put(state.mean), nu=self._put(state.square))
        schedule = schedule._replace(count=jnp.array(state.step))  # memory of its own: a step gives it all away
        self._state = jax.device_put((clip, (adam, schedule)), self.device)
        jax.block_until_ready((self._weights, self._state))

    def state(self) -> TrainingState:
        """Where it is now."""
        _, (adam, _) = self._state
        return TrainingState(int(adam.count), *map(self._canonical, (self._weights, adam.mu, adam.nu)))

    def gradients(self, letters: Array, before: Array, targets: Array) -> LossAndGradients:
        """The loss and its gradient, before clipping."""
        loss, gradients = self._gradients(self._weights, letters, before, targets)
        return LossAndGradients(np.array(loss), self._canonical(gradients))

    def train_step(self, letters: Array, before: Array, targets: Array) -> Array:
        """One step; the loss before it."""
        self._weights, self._state, loss = self._train_step(self._weights, self._state, letters, before, targets)
        return loss

    def decode_greedy(self, letters: Array, steps: int) -> Array:
        """The likeliest phonemes, one by one."""
        return self._decode_greedy(self._weights, letters, steps)

    def _put(self, parameters: Parameters) -> Weights:
        around = self.config.parameter_shapes.keys() - self.config.model.parameter_shapes.keys()
        inner = {name: parameters[name] for name in self.config.model.parameter_shapes}
        own = {name: jnp.asarray(parameters[name]) for name in sorted(around)}
        weights = {"seq2seq": self.seq2seq.from_canonical(inner), **own}
        return jax.device_put(weights, self.device, may_alias=False)

    def _canonical(self, weights: Weights) -> Parameters:
        inner = self.seq2seq.to_canonical(weights["seq2seq"])
        return {
            name: inner[name] if name in inner else np.array(weights[name]) for name in self.config.parameter_shapes
        }
