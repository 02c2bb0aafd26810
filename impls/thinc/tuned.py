"""``thinc/layers``, as fast as it is known to go: both directions of a layer in one loop, less for each step to do.

Each decision says what it gained: paired ratios to the row without it, on one core of an AMD EPYC with AVX-512
(family 26), NumPy 2.4.6, thinc 8.3.14. Tried, and left out: Thinc's own LSTM kernel for inference (1.1 at seed, 6 at
g2p: its products are BLIS's), input and state joined for one product (1.2 at braun).
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import Model

from impls.contract import LSTMOutput
from impls.thinc._adapter import adam, find_ops
from impls.thinc._blocked_adam import BlockedAdam
from impls.thinc._both_directions import LSTM, apart, from_layer, to_layer, together
from impls.thinc.layers import LayersRow, Seq2seqLSTM, stack_states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Float
    from thinc.api import Ops, Optimizer
    from thinc.types import Floats3d

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "tuned",
    "summary": "thinc/layers with both directions in one loop, gates in an order of their own, inference in place",
    "frameworks": ["thinc"],
    # pages of 2 MiB for large arrays: 0.8 at braun
    "environment": ["memory kept"],
    # OpenBLAS knows this processor by its older instructions only: 0.7 at braun
    "environment_with": {"avx512f": {"OPENBLAS_CORETYPE": "SkylakeX"}},
}


def Encoder(
    embedding_dim: int, hidden_dim: int, num_layers: int, num_directions: int, *, ops: Ops
) -> Model[Floats3d, LSTMOutput]:
    """The stacked encoder: ``x`` to ``(output, h_n, c_n)``."""
    sizes = [embedding_dim] + [num_directions * hidden_dim] * (num_layers - 1)
    return Model(
        "encoder",
        encoder_forward,
        layers=[LSTM(size, hidden_dim, num_directions, ops=ops) for size in sizes],
        dims={"dirs": num_directions, "nO": hidden_dim},
        ops=ops,
    )


def encoder_forward(
    model: Model[Floats3d, LSTMOutput], x: Float[Floats3d, "T_x B E"], is_train: bool
) -> tuple[LSTMOutput, Callable[[LSTMOutput], Floats3d]]:
    """Outputs and final states from states of zero, and the backprop from their gradients to ``d_x``."""
    xp, directions = model.ops.xp, model.get_dim("dirs")
    zero = model.ops.alloc2f(x.shape[1], directions * model.get_dim("nO"))
    results, backprops = [], []
    for layer in model.layers:
        result, back = layer((x, zero), is_train)
        x = result.output
        results.append(result)
        backprops.append(back)

    def backprop(d: LSTMOutput) -> Float[Floats3d, "T_x B E"]:
        d_x = d.output
        for index in reversed(range(len(backprops))):
            here = slice(index * directions, (index + 1) * directions)
            d_x, _ = backprops[index](LSTMOutput(d_x, *(together(own[here].swapaxes(0, 1)) for own in (d.h_n, d.c_n))))
        return d_x

    h_n, c_n = (
        xp.concatenate([apart(result[state], directions).swapaxes(0, 1) for result in results]) for state in (1, 2)
    )
    return LSTMOutput(x, h_n, c_n), backprop


class LayerWeights:
    """Weights that stand in nodes of whole layers, both directions in one array."""

    def __init__(self, config: Seq2seqConfig, model: Model[Any, Any]) -> None:
        stack = [*config.encoder_stack, *((layer,) for layer in config.decoder_layers)]
        nodes = [node for node in model.walk(order="dfs_pre") if "W_ih" in node.param_names]
        self._places = {
            (node, param): [list(direction.parameter_shapes)[position] for direction in directions]
            for directions, node in zip(stack, nodes, strict=True)
            for position, param in enumerate(("W_ih", "W_hh", "b"))
        }

    def read(self) -> Mapping[str, Any]:
        """Canonical name to the array that the model computes with."""
        return self._by_name(lambda node, param: node.get_param(param))

    def write(self, parameters: Parameters) -> None:
        """Set every node's parameters."""
        for (node, param), names in self._places.items():
            node.set_param(param, node.ops.asarray(np.stack([to_layer(parameters[name]) for name in names])))

    def gradients(self) -> Mapping[str, Any]:
        """Canonical name to the gradient gathered."""
        return self._by_name(lambda node, param: node.get_grad(param))

    def clear_gradients(self) -> None:
        """Give every node fresh zeros to gather into."""
        for node, param in self._places:
            node.set_grad(param, node.ops.alloc(node.get_param(param).shape))

    def trained_count(self) -> int:
        """How many numbers the nodes have in all their parameters."""
        return sum(node.get_param(param).size for node, param in self._places)

    def _by_name(self, get: Callable[[Model[Any, Any], str], Any]) -> Mapping[str, Any]:
        return {
            name: own
            for (node, param), names in self._places.items()
            for name, own in zip(names, get(node, param), strict=True)
        }


class TunedRow(LayersRow):
    """A LayersRow whose nodes have both directions, and whose Adam goes through the weights in blocks."""

    def canonical(self, parameters: Mapping[str, Any]) -> Parameters:
        """The arrays as NumPy's, gates in canonical order."""
        return {name: from_layer(array) for name, array in super().canonical(parameters).items()}

    def encoder_states(self, x: Any) -> tuple[Any, Any]:
        """Every layer's hidden states ``(L, T_x, B, D)``, and ``h_0``."""
        zero = self.ops.alloc2f(x.shape[1], self.encoder.get_dim("dirs") * self.encoder.get_dim("nO"))
        return stack_states(self.encoder, x, zero)

    def _fresh_optimizer(self) -> Optimizer:
        return adam(BlockedAdam)


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> TunedRow:
    """The model with these weights, on the device."""
    model = Seq2seqLSTM(*astuple(config), encoder_type=Encoder, layer_type=LSTM, ops=find_ops(device))
    return TunedRow(model, LayerWeights(config, model), parameters)
