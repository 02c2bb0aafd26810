"""Flax NNX as its documentation has it: ``RNN``, ``Bidirectional``, ``OptimizedLSTMCell``, called under ``nnx.jit``."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from impls.contract import Gradients, LSTMOutput, States, TrainStep
from impls.jax import _nnx_weights
from impls.jax._adapter import OPTIMIZER
from impls.jax._arrays import JaxArrays

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "idiomatic",
    "summary": "Flax NNX RNN, Bidirectional and OptimizedLSTMCell, called the documented way (nnx.jit)",
    "frameworks": ["jax", "flax", "optax"],
    "compiles": True,
}


class ContextRNN(nnx.RNN):
    """An ``RNN`` whose cell also sees the initial hidden state at every step."""

    def __call__(
        self, inputs: Float[Array, "T B I"], *, initial_carry: tuple[Float[Array, "B H"], Float[Array, "B H"]]
    ) -> tuple[tuple[Float[Array, "B H"], Float[Array, "B H"]], Float[Array, "T B H"]]:
        """The final carry, and the hidden states; a carry is ``(c, h)``."""
        _, h_0 = initial_carry
        context = jnp.broadcast_to(h_0, (len(inputs), *h_0.shape))
        return super().__call__(jnp.concatenate([inputs, context], axis=-1), initial_carry=initial_carry)


class Seq2seqLSTM(nnx.Module):
    """Sequence-to-sequence LSTM."""

    def __init__(
        self,
        embedding_dim: int,
        hidden_dim: int,
        num_encoder_layers: int,
        num_decoder_layers: int,
        bidirectional: bool,
        context: str = "initial",
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.num_directions = 2 if bidirectional else 1
        self.hidden_dim = hidden_dim
        width = self.num_directions * hidden_dim
        seen = width if context == "every_step" else 0

        def rnn(layer: int, hidden_dim: int, seen: int = 0) -> nnx.RNN:
            cell = nnx.OptimizedLSTMCell((embedding_dim if layer == 0 else width) + seen, hidden_dim, rngs=rngs)
            # rngs=False: every call gives the initial carry, which would else be drawn from random numbers under jit
            kind = ContextRNN if seen else nnx.RNN
            return kind(cell, time_major=True, return_carry=True, rngs=False)

        def encoder_layer(layer: int) -> nnx.RNN | nnx.Bidirectional:
            if not bidirectional:
                return rnn(layer, hidden_dim)
            directions = rnn(layer, hidden_dim), rnn(layer, hidden_dim)
            return nnx.Bidirectional(*directions, time_major=True, return_carry=True, rngs=False)

        self.encoder = nnx.List([encoder_layer(layer) for layer in range(num_encoder_layers)])
        self.decoder = nnx.List([rnn(layer, width, seen) for layer in range(num_decoder_layers)])

    def encoder_states(self, x: Float[Array, "T_x B E"]) -> tuple[list[Float[Array, "T_x B D"]], Array, Array]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``."""
        zero = jnp.zeros((x.shape[1], self.hidden_dim), x.dtype)
        states, carries = [], []
        for layer in self.encoder:
            if self.num_directions == 2:
                both, x = layer(x, initial_carry=((zero, zero), (zero, zero)))
                carries.extend(both)
            else:
                carry, x = layer(x, initial_carry=(zero, zero))
                carries.append(carry)
            states.append(x)
        c_n, h_n = zip(*carries, strict=True)
        return states, jnp.stack(h_n), jnp.stack(c_n)

    def decoder_states(
        self, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]
    ) -> tuple[list[Float[Array, "T_y B D"]], Array, Array]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``; every layer starts from ``h_0``."""
        states, carries = [], []
        for layer in self.decoder:
            carry, y = layer(y, initial_carry=(jnp.zeros_like(h_0), h_0))
            carries.append(carry)
            states.append(y)
        c_n, h_n = zip(*carries, strict=True)
        return states, jnp.stack(h_n), jnp.stack(c_n)

    def encode(self, x: Float[Array, "T_x B E"]) -> LSTMOutput:
        """``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``; the initial states are zero."""
        states, h_n, c_n = self.encoder_states(x)
        return LSTMOutput(states[-1], h_n, c_n)

    def hand_off(self, h_n: Float[Array, "L*dirs B H"]) -> Float[Array, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return jnp.concatenate(h_n[-self.num_directions :], axis=-1)

    def decode(self, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]) -> LSTMOutput:
        """``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``; every layer starts from ``h_0``, cells from zero."""
        states, h_n, c_n = self.decoder_states(y, h_0)
        return LSTMOutput(states[-1], h_n, c_n)

    def states(self, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]) -> States:
        """Every layer's hidden states, ``encoder (L, T_x, B, D)`` and ``decoder (L, T_y, B, D)``."""
        encoder, h_n, _ = self.encoder_states(x)
        decoder, _, _ = self.decoder_states(y, self.hand_off(h_n))
        return States(jnp.stack(encoder), jnp.stack(decoder))

    def __call__(self, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]) -> Float[Array, "T_y B D"]:
        """The decoder's outputs for ``y``, started from what the encoder made of ``x``."""
        h_0 = self.hand_off(self.encode(x).h_n)
        return self.decode(y, h_0).output


def abstract(config: Seq2seqConfig) -> Seq2seqLSTM:
    """The module without weights, as one restores a checkpoint into: its initialisers, which compile, do not run."""
    return nnx.eval_shape(lambda: Seq2seqLSTM(*astuple(config), rngs=nnx.Rngs(0)))


@nnx.jit
def encode(model: Seq2seqLSTM, x: Array) -> LSTMOutput:
    """The encoder alone."""
    return model.encode(x)


@nnx.jit
def decode(model: Seq2seqLSTM, y: Array, h_0: Array) -> LSTMOutput:
    """The decoder alone."""
    return model.decode(y, h_0)


@nnx.jit
def forward(model: Seq2seqLSTM, x: Array, y: Array) -> Array:
    """The decoder's outputs."""
    return model(x, y)


@nnx.jit
def states(model: Seq2seqLSTM, x: Array, y: Array) -> States:
    """Every layer's hidden states."""
    return model.states(x, y)


@nnx.jit
def gradients(model: Seq2seqLSTM, x: Array, y: Array, d_output: Array) -> Gradients:
    """Forward and backward, towards the parameters and both inputs."""

    def weighted(model: Seq2seqLSTM, x: Array, y: Array) -> Array:
        return jnp.vdot(model(x, y), d_output)

    return Gradients(*nnx.grad(weighted, argnums=(0, 1, 2))(model, x, y))


@nnx.jit
def train_step(model: Seq2seqLSTM, optimizer: nnx.Optimizer[Any], x: Array, y: Array, target: Array) -> Array:
    """The loss before one optimiser step, which changes the model and the optimiser in place."""

    def loss_of(model: Seq2seqLSTM) -> Array:
        return jnp.mean((model(x, y) - target) ** 2)

    loss, grads = nnx.value_and_grad(loss_of)(model)
    optimizer.update(model, grads)
    return loss


class NnxRow(JaxArrays):
    """The module with its weights loaded, called as Flax's documentation shows.

    A ``contract.Implementation``, and a LayerStates too.
    """

    def __init__(self, config: Seq2seqConfig, parameters: Parameters, device: str) -> None:
        super().__init__(device)
        self.config = config
        self.model = abstract(config)
        self.load(parameters)

    def canonical(self, parameters: Any) -> Parameters:
        """The weights (or gradients), under canonical names and shapes."""
        return _nnx_weights.to_canonical(self.config, parameters)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a fresh ``nnx.Optimizer``."""
        state = _nnx_weights.from_canonical(self.config, nnx.state(self.model, nnx.Param), parameters)
        nnx.update(self.model, jax.device_put(state, self.device))
        self.optimizer = nnx.Optimizer(self.model, OPTIMIZER, wrt=nnx.Param)
        # put there by name, as every later state is: else the second step would compile again
        nnx.update(self.optimizer, jax.device_put(nnx.state(self.optimizer), self.device))
        self._state = nnx.state(self.model, nnx.Param)  # the model's own variables: it changes with the model
        jax.block_until_ready((self._state, nnx.state(self.optimizer)))

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(nnx.state(self.model, nnx.Param))

    def trained_count(self) -> int:
        """How many numbers the module's parameters have."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self.model, nnx.Param)))

    def encode(self, x: Array) -> LSTMOutput:
        """The encoder alone."""
        return encode(self.model, x)

    def hand_off(self, h_n: Array) -> Array:
        """``h_0 (B, D)``."""
        return self.model.hand_off(h_n)

    def decode(self, y: Array, h_0: Array) -> LSTMOutput:
        """The decoder alone."""
        return decode(self.model, y, h_0)

    def forward(self, x: Array, y: Array) -> Array:
        """The decoder's outputs."""
        return forward(self.model, x, y)

    def states(self, x: Array, y: Array) -> States:
        """Every layer's hidden states."""
        return states(self.model, x, y)

    def gradients(self, x: Array, y: Array, d_output: Array) -> Gradients:
        """Forward and backward, towards the parameters and both inputs."""
        return gradients(self.model, x, y, d_output)

    def train_step(self, x: Array, y: Array, target: Array) -> TrainStep:
        """One step of ``nnx.Optimizer`` with ``optax.adam`` on the mean squared error."""
        loss = train_step(self.model, self.optimizer, x, y, target)
        return TrainStep(loss, self._state)


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> NnxRow:
    """The module with these weights, on the device."""
    return NnxRow(config, parameters, device)
