"""Thinc ``Model``s with hand-written backprop, on Thinc's operations: NumPy on the CPU, CuPy on the GPU.

Thinc's own LSTM layer cannot stand here: its gradient is wrong, and its initial state has no batch axis, so that no
encoder can hand its state over (``tests/impls/test_thinc_defects.py``).
"""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

from thinc.api import Model, glorot_uniform_init

from impls.contract import LSTMOutput, States
from impls.thinc._adapter import NodeWeights, ThincRow, find_ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from thinc.api import Ops
    from thinc.types import Floats2d, Floats3d, Floats4d

    from impls.contract import Parameters, Seq2seqConfig
    from impls.thinc._adapter import Weights

ROW = {
    "tier": "idiomatic",
    "summary": "Thinc Models with hand-written backprop on Thinc's ops",
    "frameworks": ["thinc"],
}


def LSTM(nI: int, nO: int, *, reverse: bool = False, ops: Ops) -> Model[Any, LSTMOutput]:
    """One layer and direction: ``(x, h_0)`` to ``(output, h_n, c_n)``, the output in the order of ``x``."""
    return Model(
        "lstm",
        lstm_forward,
        init=lstm_init,
        dims={"nI": nI, "nO": nO},
        params={"W_ih": None, "W_hh": None, "b": None},
        attrs={"reverse": reverse},
        ops=ops,
    )


def lstm_init(model: Model[Any, LSTMOutput], X: Any = None, Y: Any = None) -> None:
    """Fresh weights, for ``model.initialize()``."""
    nI, nO = model.get_dim("nI"), model.get_dim("nO")
    model.set_param("W_ih", glorot_uniform_init(model.ops, (4 * nO, nI)))
    model.set_param("W_hh", glorot_uniform_init(model.ops, (4 * nO, nO)))
    model.set_param("b", model.ops.alloc1f(4 * nO))


def lstm_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B H"]], is_train: bool
) -> tuple[LSTMOutput, Callable[[LSTMOutput], tuple[Any, Any]]]:
    """The layer's outputs and final states, and the backprop from their gradients to ``d_x`` and ``d_h_0``.

    The input product of all steps stands before the loop.
    """
    ops, xp = model.ops, model.ops.xp
    W_ih, W_hh, b = (model.get_param(name) for name in ("W_ih", "W_hh", "b"))
    width = model.get_dim("nO")
    flip = slice(None, None, -1 if model.attrs["reverse"] else 1)
    x, h_0 = inputs
    x = x[flip]
    time, batch, _ = x.shape

    # s(z) = tanh(z / 2) / 2 + 1/2: with the i, f and o gates halved before and after, one tanh serves all four
    half = xp.full((4, 1), 0.5, dtype="f")
    half[2] = 1
    shift = 1 - half
    half, shift = (xp.repeat(scale, width, axis=1).ravel() for scale in (half, shift))

    gates = ops.gemm(x.reshape(time * batch, -1), W_ih, trans2=True).reshape(time, batch, 4 * width)
    gates += b
    h = ops.alloc3f(time + 1, batch, width, zeros=False)
    c = ops.alloc3f(time + 1, batch, width, zeros=False)
    tanh_c = ops.alloc3f(time, batch, width, zeros=False)
    h[0], c[0] = h_0, 0
    for t in range(time):
        z = gates[t]
        z += ops.gemm(h[t], W_hh, trans2=True)
        z *= half
        xp.tanh(z, out=z)
        z *= half
        z += shift
        i, f, g, o = (z[:, gate * width : (gate + 1) * width] for gate in range(4))
        xp.multiply(f, c[t], out=c[t + 1])
        c[t + 1] += i * g
        xp.tanh(c[t + 1], out=tanh_c[t])
        xp.multiply(o, tanh_c[t], out=h[t + 1])

    def backprop(d: LSTMOutput) -> tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B H"]]:
        i, f, g, o = (gates[..., gate * width : (gate + 1) * width] for gate in range(4))
        # what the gradient of the cell (for i, f, g) and of the state (for o, and on to the cell) is multiplied with
        to_gates = ops.alloc4f(time, batch, 4, width, zeros=False)
        xp.multiply(g * i, 1 - i, out=to_gates[:, :, 0])
        xp.multiply(c[:-1] * f, 1 - f, out=to_gates[:, :, 1])
        xp.multiply(i, 1 - g * g, out=to_gates[:, :, 2])
        xp.multiply(tanh_c * o, 1 - o, out=to_gates[:, :, 3])
        to_cell = o * (1 - tanh_c * tanh_c)

        d_output = d.output[flip]
        d_z = to_gates  # in place: each step's factors become its gradients
        d_h, d_c = d.h_n, d.c_n.copy()
        for t in reversed(range(time)):
            d_h = d_h + d_output[t]
            d_c += d_h * to_cell[t]
            d_z[t, :, :3] *= d_c[:, None]
            d_z[t, :, 3] *= d_h
            d_h = ops.gemm(d_z[t].reshape(batch, 4 * width), W_hh)
            d_c *= f[t]

        d_z = d_z.reshape(time * batch, 4 * width)
        model.inc_grad("W_ih", ops.gemm(d_z, x.reshape(time * batch, -1), trans1=True))
        model.inc_grad("W_hh", ops.gemm(d_z, h[:-1].reshape(time * batch, width), trans1=True))
        model.inc_grad("b", d_z.sum(axis=0))
        d_x = ops.gemm(d_z, W_ih).reshape(x.shape)
        return d_x[flip], d_h

    return LSTMOutput(h[1:][flip], h[-1], c[-1]), backprop


def Encoder(
    embedding_dim: int, hidden_dim: int, num_layers: int, num_directions: int, *, ops: Ops
) -> Model[Floats3d, LSTMOutput]:
    """The stacked encoder: ``x`` to ``(output, h_n, c_n)``."""
    width = num_directions * hidden_dim
    layers = [
        LSTM(embedding_dim if layer == 0 else width, hidden_dim, reverse=reverse, ops=ops)
        for layer in range(num_layers)
        for reverse in (False, True)[:num_directions]
    ]
    return Model("encoder", encoder_forward, layers=layers, dims={"dirs": num_directions, "nO": hidden_dim}, ops=ops)


def encoder_forward(
    model: Model[Floats3d, LSTMOutput], x: Float[Floats3d, "T_x B E"], is_train: bool
) -> tuple[LSTMOutput, Callable[[LSTMOutput], Floats3d]]:
    """Outputs and final states from states of zero, and the backprop from their gradients to ``d_x``."""
    xp = model.ops.xp
    directions = model.get_dim("dirs")
    zero = model.ops.alloc2f(x.shape[1], model.get_dim("nO"))
    results: list[LSTMOutput] = []
    backprops = []
    for first in range(0, len(model.layers), directions):
        both, back = zip(
            *(layer((x, zero), is_train) for layer in model.layers[first : first + directions]), strict=True
        )
        x = xp.concatenate([result.output for result in both], axis=-1)
        results.extend(both)
        backprops.append(back)

    def backprop(d: LSTMOutput) -> Float[Floats3d, "T_x B E"]:
        d_x = d.output
        for index in reversed(range(len(backprops))):
            here = slice(index * directions, (index + 1) * directions)
            gradients = map(LSTMOutput, xp.split(d_x, directions, axis=-1), d.h_n[here], d.c_n[here])
            d_x, *others = (back(own)[0] for back, own in zip(backprops[index], gradients, strict=True))
            for other in others:
                d_x = d_x + other
        return d_x

    h_n, c_n = (xp.stack([result[state] for result in results]) for state in (1, 2))
    return LSTMOutput(x, h_n, c_n), backprop


def with_context(layer: Model[Any, LSTMOutput]) -> Model[Any, LSTMOutput]:
    """The layer, which reads ``(x, h_0)``, fed ``h_0`` beside each step of ``x`` as well."""
    return Model("with_context", with_context_forward, layers=[layer], ops=layer.ops)


def with_context_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B H"]], is_train: bool
) -> tuple[LSTMOutput, Callable[[LSTMOutput], tuple[Any, Any]]]:
    """What the layer gives, and the backprop to ``d_x`` and ``d_h_0``."""
    xp = model.ops.xp
    x, h_0 = inputs
    joined = xp.concatenate([x, xp.broadcast_to(h_0, (len(x), *h_0.shape))], axis=-1)
    result, back = model.layers[0]((joined, h_0), is_train)

    def backprop(d: LSTMOutput) -> tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B H"]]:
        d_joined, d_h_0 = back(d)
        d_x, d_context = xp.split(d_joined, [x.shape[-1]], axis=-1)
        return d_x, d_h_0 + d_context.sum(axis=0)

    return result, backprop


def Decoder(
    embedding_dim: int,
    hidden_dim: int,
    num_layers: int,
    context: str,
    *,
    layer_type: Callable[..., Model[Any, LSTMOutput]] = LSTM,
    ops: Ops,
) -> Model[Any, LSTMOutput]:
    """The stacked decoder: ``(y, h_0)`` to ``(output, h_n, c_n)``, every layer started from ``h_0``."""
    sizes = [embedding_dim] + [hidden_dim] * (num_layers - 1)
    if context == "every_step":
        layers = [with_context(layer_type(size + hidden_dim, hidden_dim, ops=ops)) for size in sizes]
    else:
        layers = [layer_type(size, hidden_dim, ops=ops) for size in sizes]
    return Model("decoder", decoder_forward, layers=layers, ops=ops)


def decoder_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T_y B E"], Float[Floats2d, "B D"]], is_train: bool
) -> tuple[LSTMOutput, Callable[[LSTMOutput], tuple[Floats3d, Floats2d]]]:
    """Outputs and final states, and the backprop from their gradients to ``d_y`` and ``d_h_0``."""
    xp = model.ops.xp
    y, h_0 = inputs
    results, backprops = [], []
    for layer in model.layers:
        result, back = layer((y, h_0), is_train)
        y = result.output
        results.append(result)
        backprops.append(back)

    def backprop(d: LSTMOutput) -> tuple[Float[Floats3d, "T_y B E"], Float[Floats2d, "B D"]]:
        d_y, d_h_0 = d.output, xp.zeros_like(h_0)
        for index in reversed(range(len(backprops))):
            d_y, d_initial = backprops[index](LSTMOutput(d_y, d.h_n[index], d.c_n[index]))
            d_h_0 += d_initial  # every layer started from the same h_0
        return d_y, d_h_0

    h_n, c_n = (xp.stack([result[state] for result in results]) for state in (1, 2))
    return LSTMOutput(y, h_n, c_n), backprop


def hand_off(h_n: Float[Floats3d, "L*dirs B H"], num_directions: int) -> Float[Floats2d, "B D"]:
    """The last layer's final hidden states, forward then reverse, joined."""
    _, batch, width = h_n.shape
    return h_n[-num_directions:].transpose(1, 0, 2).reshape(batch, num_directions * width)


def Seq2seqLSTM(
    embedding_dim: int,
    hidden_dim: int,
    num_encoder_layers: int,
    num_decoder_layers: int,
    bidirectional: bool,
    context: str = "initial",
    *,
    encoder_type: Callable[..., Model[Floats3d, LSTMOutput]] = Encoder,
    layer_type: Callable[..., Model[Any, LSTMOutput]] = LSTM,
    ops: Ops,
) -> Model[Any, Floats3d]:
    """Sequence-to-sequence LSTM: ``(x, y)`` to the decoder's outputs. Another row has another encoder and layer."""
    directions = 2 if bidirectional else 1
    encoder = encoder_type(embedding_dim, hidden_dim, num_encoder_layers, directions, ops=ops)
    decoder = Decoder(
        embedding_dim, directions * hidden_dim, num_decoder_layers, context, layer_type=layer_type, ops=ops
    )
    return Model("seq2seq", seq2seq_forward, layers=[encoder, decoder], attrs={"directions": directions}, ops=ops)


def seq2seq_forward(
    model: Model[Any, Floats3d], inputs: tuple[Float[Floats3d, "T_x B E"], Float[Floats3d, "T_y B E"]], is_train: bool
) -> tuple[Floats3d, Callable[[Floats3d], tuple[Floats3d, Floats3d]]]:
    """The decoder's outputs for ``y``, started from what the encoder made of ``x``; and the backprop to both."""
    xp = model.ops.xp
    encoder, decoder = model.layers
    directions = model.attrs["directions"]
    x, y = inputs
    encoded, encoder_backprop = encoder(x, is_train)
    decoded, decoder_backprop = decoder((y, hand_off(encoded.h_n, directions)), is_train)

    def backprop(d_output: Float[Floats3d, "T_y B D"]) -> tuple[Floats3d, Floats3d]:
        d_y, d_h_0 = decoder_backprop(LSTMOutput(d_output, xp.zeros_like(decoded.h_n), xp.zeros_like(decoded.c_n)))
        d_h_n = xp.zeros_like(encoded.h_n)  # only the last layer's hidden states were handed off
        d_h_n[-directions:] = xp.stack(xp.split(d_h_0, directions, axis=-1))
        d_x = encoder_backprop(LSTMOutput(xp.zeros_like(encoded.output), d_h_n, xp.zeros_like(encoded.c_n)))
        return d_x, d_y

    return decoded.output, backprop


def encoder_states(
    encoder: Model[Floats3d, LSTMOutput], x: Float[Floats3d, "T_x B E"]
) -> tuple[Float[Floats4d, "L T_x B D"], Float[Floats3d, "L*dirs B H"]]:
    """Every layer's hidden states, first layer first, and ``h_n``."""
    xp, directions = encoder.ops.xp, encoder.get_dim("dirs")
    zero = encoder.ops.alloc2f(x.shape[1], encoder.get_dim("nO"))
    states: list[Any] = []
    h_n: list[Any] = []
    for first in range(0, len(encoder.layers), directions):
        results = [layer.predict((x, zero)) for layer in encoder.layers[first : first + directions]]
        x = xp.concatenate([result.output for result in results], axis=-1)
        states.append(x)
        h_n.extend(result.h_n for result in results)
    return xp.stack(states), xp.stack(h_n)


def stack_states(
    stack: Model[Any, LSTMOutput], x: Float[Floats3d, "T B I"], h_0: Float[Floats2d, "B D"]
) -> tuple[Float[Floats4d, "L T B D"], Float[Floats2d, "B D"]]:
    """Every layer's hidden states, first layer first, and the last one's final ones; each is started from ``h_0``."""
    states: list[Any] = []
    for layer in stack.layers:
        result = layer.predict((x, h_0))
        x = result.output
        states.append(x)
    return stack.ops.xp.stack(states), result.h_n


class LayersRow(ThincRow):
    """A ThincRow of an encoder and a decoder, with every layer's hidden states: a ``contract.LayerStates`` too."""

    def __init__(self, model: Model[Any, Any], weights: Weights, parameters: Parameters) -> None:
        encoder, decoder = model.layers
        super().__init__(
            model=model,
            encoder=encoder,
            decoder=decoder,
            hand_off=partial(hand_off, num_directions=model.attrs["directions"]),
            weights=weights,
            parameters=parameters,
            ops=model.ops,
        )

    def states(self, x: Any, y: Any) -> States:
        """Every layer's hidden states, ``predict``."""
        encoder, h_0 = self.encoder_states(x)
        decoder, _ = stack_states(self.decoder, y, h_0)
        return States(encoder, decoder)

    def encoder_states(self, x: Any) -> tuple[Any, Any]:
        """Every layer's hidden states ``(L, T_x, B, D)``, and ``h_0``."""
        states, h_n = encoder_states(self.encoder, x)
        return states, self.hand_off(h_n)


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> LayersRow:
    """The model with these weights, on the device."""
    model = Seq2seqLSTM(*astuple(config), ops=find_ops(device))
    return LayersRow(model, NodeWeights(config, model), parameters)
