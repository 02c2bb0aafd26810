"""The module of ``jax/nnx``, split once into structure and state; ``jax.jit`` on the state.

``nnx.jit`` takes the module apart and puts it together at every call, in Python. Split once, a call is a plain
``jax.jit`` call on a pytree of arrays: about 30 times less overhead at the notebook's shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flax import nnx

from impls.jax import _nnx_weights
from impls.jax._adapter import JaxLayersRow
from impls.jax.nnx import Seq2seqLSTM, abstract

if TYPE_CHECKING:
    from jax import Array

    from impls.contract import LSTMOutput, Parameters, Seq2seqConfig, States

ROW = {
    "tier": "tuned",
    "summary": "the module of jax/nnx, split once, jax.jit on its state",
    "frameworks": ["jax", "flax", "optax"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": True,
}


class SplitSeq2seqLSTM:
    """The module's methods as pure functions of its state."""

    def __init__(self, config: Seq2seqConfig) -> None:
        self.config = config
        module = abstract(config)
        self.hand_off = module.hand_off
        self._structure, self._state = nnx.split(module, nnx.Param)

    def encode(self, state: nnx.State, x: Array) -> LSTMOutput:
        """The encoder's outputs and final states."""
        return self._module(state).encode(x)

    def decode(self, state: nnx.State, y: Array, h_0: Array) -> LSTMOutput:
        """The decoder's outputs and final states."""
        return self._module(state).decode(y, h_0)

    def forward(self, state: nnx.State, x: Array, y: Array) -> Array:
        """The decoder's outputs."""
        return self._module(state)(x, y)

    def states(self, state: nnx.State, x: Array, y: Array) -> States:
        """Every layer's hidden states."""
        return self._module(state).states(x, y)

    def from_canonical(self, parameters: Parameters) -> nnx.State:
        """A state that holds these weights."""
        return _nnx_weights.from_canonical(self.config, self._state, parameters)

    def to_canonical(self, state: nnx.State) -> Parameters:
        """The weights (or gradients) that a state holds."""
        return _nnx_weights.to_canonical(self.config, state)

    def _module(self, state: nnx.State) -> Seq2seqLSTM:
        return nnx.merge(self._structure, state)


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> JaxLayersRow:
    """The split module with these weights, on the device."""
    return JaxLayersRow(SplitSeq2seqLSTM(config), parameters, device)
