"""Thinc's own LSTM kernel, ``ops.lstm_forward_training``, which the notebook imports.

Thinc has no other: its ``lstm_forward_inference`` calls the same and throws away what a backward pass would need; here
``h_n`` and ``c_n`` are read from that.

``encode`` is one plain call. The decoder needs an initial state for each sequence of the batch, which the kernel cannot
take (its own has no batch axis), so ``h_0`` enters through the input: each layer gets ``D`` more input features, which
hold ``h_0`` at the first step and zero after it, with ``W_hh`` beside ``W_ih`` as their weights. That is exact, since
the cell state starts from zero. Its price: the input product of a decoder layer is ``D`` wider than it need be.
"""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import Model

from impls.contract import LSTMOutput
from impls.thinc._adapter import find_ops
from impls.thinc.layers import LayersRow, Seq2seqLSTM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jaxtyping import Float
    from thinc.api import Ops
    from thinc.types import Floats2d, Floats3d

    from impls.contract import LSTMLayer, Parameters, Seq2seqConfig

_BACKWARD_IS_WRONG = "Thinc's backprop_lstm gives wrong gradients"

ROW = {
    "tier": "kernel",
    "summary": "Thinc's own LSTM kernel; the decoder's initial state enters through widened inputs",
    "frameworks": ["thinc"],
    "devices": ["cpu"],
    "unsupported": {
        "gradients": "Thinc's backprop_lstm gives wrong gradients",
        "train_step": "Thinc's backprop_lstm gives wrong gradients",
        "gpu": "Thinc's generic LSTM, which CupyOps inherits, computes only the first sequence of a batch",
    },
}


def kernel(
    ops: Ops, weights: Any, x: Float[Floats3d, "T B I"], depth: int, directions: int, width: int
) -> tuple[Floats3d, Floats3d, Floats3d, Float[Any, "L dirs T B H"]]:
    """Outputs and final states of a stack of layers run over ``x`` from states of zero; and all hidden states."""
    time, batch, _ = x.shape
    zero = ops.alloc3f(depth, directions, width)
    lengths = np.full(time, batch, dtype="i")  # every sequence is as long as the batch's longest: nothing is padded
    output, (h, _, c, _) = ops.lstm_forward_training(weights, zero, zero, x.reshape(time * batch, -1), lengths)
    h = h.reshape(depth, directions, time, batch, width)
    c = c.reshape(depth, directions, time, batch, width)
    last = [-1, 0][:directions]  # forward ends at the last step, reverse at the first
    h_n, c_n = (
        np.stack([states[layer, way, end] for layer in range(depth) for way, end in enumerate(last)])
        for states in (h, c)
    )
    return output.reshape(time, batch, directions * width), h_n, c_n, h


def Encoder(
    embedding_dim: int, hidden_dim: int, num_layers: int, num_directions: int, *, ops: Ops
) -> Model[Floats3d, LSTMOutput]:
    """The stacked encoder: ``x`` to ``(output, h_n, c_n)``."""
    return Model(
        "encoder",
        encoder_forward,
        dims={"nI": embedding_dim, "nO": hidden_dim, "depth": num_layers, "dirs": num_directions},
        params={"LSTM": None},
        ops=ops,
    )


def encoder_forward(
    model: Model[Floats3d, LSTMOutput], x: Float[Floats3d, "T_x B E"], is_train: bool
) -> tuple[LSTMOutput, Callable[..., Any]]:
    """One call of the kernel."""
    depth, directions, width = (model.get_dim(name) for name in ("depth", "dirs", "nO"))
    return LSTMOutput(*kernel(model.ops, model.get_param("LSTM"), x, depth, directions, width)[:3]), no_backprop


def DecoderLayer(nI: int, nO: int, *, ops: Ops) -> Model[Any, LSTMOutput]:
    """One layer: ``(y, h_0)`` to ``(output, h_n, c_n)``."""
    return Model("decoder_layer", decoder_layer_forward, dims={"nI": nI, "nO": nO}, params={"LSTM": None}, ops=ops)


def decoder_layer_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T_y B I"], Float[Floats2d, "B D"]], is_train: bool
) -> tuple[LSTMOutput, Callable[..., Any]]:
    """One call of the kernel, ``h_0`` in the inputs of the first step."""
    y, h_0 = inputs
    time, batch, features = y.shape
    width = model.get_dim("nO")
    widened = model.ops.alloc3f(time, batch, features + width)
    widened[:, :, :features] = y
    widened[0, :, features:] = h_0
    output, h_n, c_n, _ = kernel(model.ops, model.get_param("LSTM"), widened, 1, 1, width)
    return LSTMOutput(output, h_n[0], c_n[0]), no_backprop


def no_backprop(*gradients: Any) -> Any:
    """Raise NotImplementedError: the kernel's own backward is wrong."""
    raise NotImplementedError(_BACKWARD_IS_WRONG)


class KernelWeights:
    """The flat vectors of weights that the kernel takes, and the canonical weights they were made of."""

    def __init__(self, config: Seq2seqConfig, model: Model[Any, Any]) -> None:
        self._config = config
        self._encoder, self._decoder = model.layers

    def read(self) -> Mapping[str, Any]:
        """The canonical weights."""
        return self._canonical

    def write(self, parameters: Parameters) -> None:
        """Pack the weights: for each layer ``W_ih, b, W_hh, 0``, gate order f, i, o, g."""
        self._canonical = {name: array.copy() for name, array in parameters.items()}

        def pack(layers: Iterable[LSTMLayer], *, widen: bool) -> Any:
            flat = []
            for layer in layers:
                w_ih, w_hh, bias = (_reorder(parameters[name]) for name in layer.parameter_shapes)
                w_in = np.concatenate([w_ih, w_hh], axis=1) if widen else w_ih
                flat += [w_in.ravel(), bias, w_hh.ravel(), np.zeros_like(bias)]
            return np.concatenate(flat)

        self._encoder.set_param("LSTM", pack(self._config.encoder_layers, widen=False))
        nodes = [node for node in self._decoder.walk() if "LSTM" in node.param_names]
        for layer, node in zip(self._config.decoder_layers, nodes, strict=True):
            node.set_param("LSTM", pack([layer], widen=True))

    def gradients(self) -> Mapping[str, Any]:
        """Raise NotImplementedError: the kernel's own backward is wrong."""
        raise NotImplementedError(_BACKWARD_IS_WRONG)

    def clear_gradients(self) -> None:
        """Nothing is gathered."""

    def trained_count(self) -> int:
        """None: nothing is trained."""
        return 0


def _reorder(array: np.ndarray) -> np.ndarray:
    i, f, g, o = np.split(array, 4)
    return np.concatenate([f, i, o, g])


class NativeRow(LayersRow):
    """A LayersRow whose encoder is the kernel, which keeps all hidden states for a backward pass."""

    def encoder_states(self, x: Any) -> tuple[Any, Any]:
        """Every layer's hidden states ``(L, T_x, B, D)``, and ``h_0``."""
        depth, directions, width = (self.encoder.get_dim(name) for name in ("depth", "dirs", "nO"))
        _, h_n, _, h = kernel(self.ops, self.encoder.get_param("LSTM"), x, depth, directions, width)
        return h.transpose(0, 2, 3, 1, 4).reshape(depth, *x.shape[:2], directions * width), self.hand_off(h_n)


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> NativeRow:
    """The model with these weights."""
    model = Seq2seqLSTM(*astuple(config), encoder_type=Encoder, layer_type=DecoderLayer, ops=find_ops(device))
    return NativeRow(model, KernelWeights(config, model), parameters)
