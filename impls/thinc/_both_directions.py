"""The LSTM layer of ``thinc/tuned``: both directions in one loop, one way to predict and another to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import Model

from impls.contract import LSTMOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from thinc.api import Ops
    from thinc.types import Floats2d, Floats3d


def LSTM(nI: int, nO: int, directions: int, *, ops: Ops) -> Model[Any, LSTMOutput]:
    """One layer, both directions: ``(x, h_0)`` to ``(output, h_n, c_n)``, all ``(…, B, D)``, forward then reverse."""
    halves = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], "f"), nO)  # s(z) = tanh(z / 2) / 2 + 1/2: one tanh for all gates
    return Model(
        "lstm",
        lstm_forward,
        dims={"nI": nI, "nO": nO, "dirs": directions},
        params={"W_ih": None, "W_hh": None, "b": None},  # (dirs, 4H, I), (dirs, 4H, H), (dirs, 4H)
        attrs={"halves": ops.asarray(halves)},
        ops=ops,
    )


def lstm_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B D"]], is_train: bool
) -> tuple[LSTMOutput, Callable[..., Any]]:
    """The layer's hidden states and final states, and the backprop where there will be one."""
    x, h_0 = inputs
    h_0 = apart(h_0, model.get_dim("dirs"))
    return train(model, x, h_0) if is_train else (predict(model, x, h_0), no_backprop)


def predict(model: Model[Any, LSTMOutput], x: Float[Floats3d, "T B I"], h_0: Float[Floats3d, "dirs B H"]) -> LSTMOutput:
    """Nothing kept but the hidden states.

    A sequence is a column: what belongs to a gate then lies together, for one plain loop each: 0.7 at seed, 0.95 at
    braun.
    """
    xp = model.ops.xp
    time, batch, _ = x.shape
    directions, width = model.get_dim("dirs"), model.get_dim("nO")
    halved, W_ih, W_hh, b = weights(model, columns=time * batch)
    halves = model.attrs["halves"][:, None]
    shift = 1 - halves
    given = xp.matmul(W_ih, ways(xp, x, directions).reshape(directions, time * batch, -1).transpose(0, 2, 1))
    given += b[:, :, None]
    if not halved:
        given *= halves
    given = given.reshape(directions, 4 * width, time, batch).transpose(2, 0, 1, 3)
    given = xp.ascontiguousarray(given)  # step by step

    h, c = h_0.transpose(0, 2, 1), xp.zeros((directions, width, batch), "f")
    states = xp.empty((time, directions, width, batch), "f")
    z = xp.empty((directions, 4 * width, batch), "f")
    i, f, g, o = (z[:, gate * width : (gate + 1) * width] for gate in range(4))
    for given_t, h_t in zip(given, states, strict=True):
        xp.matmul(W_hh, h, out=z)
        if not halved:
            z *= halves
        z += given_t
        xp.tanh(z, out=z)
        z *= halves
        z += shift
        c *= f
        i *= g
        c += i
        xp.tanh(c, out=h_t)
        h_t *= o
        h = h_t
    return LSTMOutput(
        in_order(xp, states.transpose(0, 1, 3, 2)), together(h.transpose(0, 2, 1)), together(c.transpose(0, 2, 1))
    )


def train(
    model: Model[Any, LSTMOutput], x: Float[Floats3d, "T B I"], h_0: Float[Floats3d, "dirs B H"]
) -> tuple[LSTMOutput, Callable[[LSTMOutput], tuple[Any, Any]]]:
    """The same with everything kept, and the backprop from its gradients to ``d_x`` and ``d_h_0``.

    A sequence is a row here: the products of all steps that give the weights' gradients want it so.
    """
    xp = model.ops.xp
    time, batch, _ = x.shape
    directions, width = model.get_dim("dirs"), model.get_dim("nO")
    halved, W_ih, W_hh, b = weights(model, columns=time * batch)
    halves = model.attrs["halves"]
    shift = 1 - halves
    both = ways(xp, x, directions).reshape(directions, time * batch, -1)
    gates = xp.empty((time, directions, batch, 4 * width), "f")
    for direction in range(directions):
        product = xp.dot(both[direction], W_ih[direction].T)
        xp.add(product.reshape(time, batch, -1), b[direction], out=gates[:, direction])
    if not halved:
        gates *= halves

    right = W_hh.transpose(0, 2, 1)
    h = xp.empty((time + 1, directions, batch, width), "f")
    c = xp.empty_like(h)
    tanh_c = xp.empty_like(h[1:])
    h[0], c[0] = h_0, 0
    i, f, g, o = by_gate(gates)
    z, new = xp.empty_like(gates[0]), xp.empty_like(h[0])
    # arrays walked through together, not indexed: 0.93 at seed
    for z_t, i_t, f_t, g_t, o_t, h_t, c_t, tanh_t, h_next, c_next in zip(
        gates, i, f, g, o, h[:-1], c[:-1], tanh_c, h[1:], c[1:], strict=True
    ):
        xp.matmul(h_t, right, out=z)
        if not halved:
            z *= halves
        z += z_t
        xp.tanh(z, out=z)
        z *= halves
        xp.add(z, shift, out=z_t)
        xp.multiply(f_t, c_t, out=c_next)
        xp.multiply(i_t, g_t, out=new)
        c_next += new
        xp.tanh(c_next, out=tanh_t)
        xp.multiply(o_t, tanh_t, out=h_next)

    def backprop(d: LSTMOutput) -> tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B D"]]:
        W_ih, W_hh = model.get_param("W_ih"), model.get_param("W_hh")
        # what the gradient of the cell (for i, f, g) and of the state (for o, and on to the cell) is multiplied with
        d_z = xp.empty_like(gates)
        to_i, to_f, to_g, to_o = by_gate(d_z)
        xp.multiply(g * i, 1 - i, out=to_i)
        xp.multiply(c[:-1] * f, 1 - f, out=to_f)
        xp.multiply(i, 1 - g * g, out=to_g)
        xp.multiply(tanh_c * o, 1 - o, out=to_o)
        to_cell = o * (1 - tanh_c * tanh_c)

        d_output = apart_steps(xp, d.output, directions)
        d_h, d_c = (xp.array(apart(own, directions)) for own in (d.h_n, d.c_n))
        of_cell = d_z.reshape(time, directions, batch, 4, width)[:, :, :, :3]
        backwards = (array[::-1] for array in (d_output, to_cell, of_cell, to_o, d_z, f))
        for d_t, to_cell_t, of_cell_t, to_o_t, d_z_t, f_t in zip(*backwards, strict=True):
            d_h += d_t
            xp.multiply(d_h, to_cell_t, out=new)
            d_c += new
            of_cell_t *= d_c[:, :, None]  # in place: each step's factors become its gradients
            to_o_t *= d_h
            xp.matmul(d_z_t, W_hh, out=d_h)
            d_c *= f_t

        flat = xp.ascontiguousarray(d_z.transpose(1, 0, 2, 3)).reshape(directions, time * batch, 4 * width)
        before = xp.ascontiguousarray(h[:-1].transpose(1, 0, 2, 3)).reshape(directions, time * batch, width)
        turned = flat.transpose(0, 2, 1)
        model.inc_grad("W_ih", xp.matmul(turned, both))
        model.inc_grad("W_hh", xp.matmul(turned, before))
        model.inc_grad("b", flat.sum(axis=1))
        d_x = xp.matmul(flat, W_ih).reshape(directions, *x.shape)
        return d_x[0] + d_x[1, ::-1] if directions == 2 else d_x[0], together(d_h)

    return LSTMOutput(in_order(xp, h[1:]), together(h[-1]), together(c[-1])), backprop


def weights(model: Model[Any, LSTMOutput], columns: int) -> tuple[bool, Any, Any, Any]:
    """Whether i, f and o are halved already in the weights, and the weights.

    That is once instead of at every step, 0.93 at braun; but for few sequences and steps it takes longer than it saves,
    1.4 at latency.
    """
    W_ih, W_hh, b = (model.get_param(name) for name in ("W_ih", "W_hh", "b"))
    if columns < model.get_dim("nO"):
        return False, W_ih, W_hh, b
    halves = model.attrs["halves"]
    return True, W_ih * halves[:, None], W_hh * halves[:, None], b * halves


def by_gate(gates: Float[Any, "T dirs B 4H"]) -> Iterator[Float[Any, "T dirs B H"]]:
    """Views of i, f, g and o."""
    width = gates.shape[-1] // 4
    return (gates[..., gate * width : (gate + 1) * width] for gate in range(4))


def ways(xp: Any, x: Float[Floats3d, "T B I"], directions: int) -> Float[Any, "dirs T B I"]:
    """``x`` in the order in which each direction reads it."""
    return xp.stack([x, x[::-1]]) if directions == 2 else x[None]


def in_order(xp: Any, states: Float[Any, "T dirs B H"]) -> Float[Floats3d, "T B D"]:
    """The states in the order of ``x``, directions joined."""
    if states.shape[1] == 1:
        return xp.ascontiguousarray(states[:, 0])
    return xp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)


def apart_steps(xp: Any, states: Float[Floats3d, "T B D"], directions: int) -> Float[Any, "T dirs B H"]:
    """The way back from ``in_order``."""
    if directions == 1:
        return states[:, None]
    width = states.shape[-1] // 2
    return xp.stack([states[..., :width], states[::-1, :, width:]], axis=1)


def apart(state: Float[Floats2d, "B D"], directions: int) -> Float[Floats3d, "dirs B H"]:
    """Each direction's part of a state."""
    return state.reshape(len(state), directions, -1).transpose(1, 0, 2)


def together(state: Float[Floats3d, "dirs B H"]) -> Float[Floats2d, "B D"]:
    """The way back from ``apart``."""
    return state.transpose(1, 0, 2).reshape(state.shape[1], -1)


def no_backprop(*gradients: Any) -> Any:
    """Raise NotImplementedError: nothing was kept for it."""
    raise NotImplementedError("predict keeps nothing for a backward pass; begin_update does")
