"""The LSTM layer of ``thinc/tuned``: both directions in one loop, one way to predict and another to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import Model, NumpyOps

from impls.contract import LSTMOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float
    from thinc.api import Ops
    from thinc.types import Floats2d, Floats3d

CACHED = 2**16
"""So many numbers of the gates, and what is made of them, stay in a processor's own cache."""


def LSTM(nI: int, nO: int, directions: int = 1, *, ops: Ops) -> Model[Any, LSTMOutput]:
    """One layer, both directions: ``(x, h_0)`` to ``(output, h_n, c_n)``, all ``(…, B, D)``, forward then reverse.

    Its weights are as ``to_layer`` makes them. Its backprop is to be called once: see ``train``.
    """
    return Model(
        "lstm",
        lstm_forward,
        dims={"nI": nI, "nO": nO, "dirs": directions},
        params={"W_ih": None, "W_hh": None, "b": None},  # (dirs, 4H, I), (dirs, 4H, H), (dirs, 4H)
        ops=ops,
    )


def to_layer(array: Float[Any, "4H ..."]) -> Float[Any, "4H ..."]:
    """Canonical weights (or gradients) as the layer has them: gates in the order o, i, f, g, all but g negative.

    s(z) = 1 / (1 + exp(-z)) then takes three loops over three gates that lie together. Made of a tanh it would take as
    many, but NumPy's tanh takes twice as long as its exp where a processor has no AVX-512: forward 0.9 at g2p and braun
    there (AMD family 25). Adam moves a negative weight as it would the positive one.
    """
    i, f, g, o = np.split(array, 4)
    return np.concatenate([-o, -i, -f, g])


def from_layer(array: Float[Any, "4H ..."]) -> Float[Any, "4H ..."]:
    """The way back from ``to_layer``."""
    o, i, f, g = np.split(array, 4)
    return np.concatenate([-i, -f, g, -o])


def lstm_forward(
    model: Model[Any, LSTMOutput], inputs: tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B D"]], is_train: bool
) -> tuple[LSTMOutput, Callable[..., Any]]:
    """The layer's hidden states and final states, and the backprop where there will be one."""
    x, h_0 = inputs
    with np.errstate(over="ignore"):  # of exp: 1 / (1 + inf) is 0, as it should be
        return train(model, x, h_0) if is_train else (predict(model, x, h_0), no_backprop)


def predict(model: Model[Any, LSTMOutput], x: Float[Floats3d, "T B I"], h_0: Float[Floats2d, "B D"]) -> LSTMOutput:
    """Nothing kept but the hidden states.

    A sequence is a column: what belongs to a gate then lies together, for one plain loop each: 0.7 at seed, 0.95 at
    braun.
    """
    xp = model.ops.xp
    time, batch, _ = x.shape
    directions, width = model.get_dim("dirs"), model.get_dim("nO")
    W_ih, W_hh, b = (model.get_param(name) for name in ("W_ih", "W_hh", "b"))
    x = ways(xp, x, directions).transpose(2, 3, 0, 1).reshape(directions, -1, time * batch)
    given = xp.matmul(W_ih, x)
    given += b[:, :, None]
    given = given.reshape(directions, 4 * width, time, batch).transpose(2, 0, 1, 3)
    given = xp.ascontiguousarray(given)  # step by step

    h, c = apart(h_0, directions).transpose(1, 2, 0), xp.zeros((directions, width, batch), "f")
    states = xp.empty((time, directions, width, batch), "f")
    z = xp.empty((directions, 4 * width, batch), "f")
    o, i, f, g = (z[:, gate * width : (gate + 1) * width] for gate in range(4))
    sigmoids = z[:, : 3 * width]
    for given_t, h_t in zip(given, states, strict=True):
        xp.matmul(W_hh, h, out=z)
        z += given_t
        xp.exp(sigmoids, out=sigmoids)
        sigmoids += 1
        xp.reciprocal(sigmoids, out=sigmoids)
        xp.tanh(g, out=g)
        c *= f
        i *= g
        c += i
        xp.tanh(c, out=h_t)
        h_t *= o
        h = h_t
    results = in_order(xp, states.transpose(0, 3, 1, 2)), h.transpose(2, 0, 1), c.transpose(2, 0, 1)
    return LSTMOutput(*(xp.ascontiguousarray(together(array)) for array in results))


def train(
    model: Model[Any, LSTMOutput], x: Float[Floats3d, "T B I"], h_0: Float[Floats2d, "B D"]
) -> tuple[LSTMOutput, Callable[[LSTMOutput], tuple[Any, Any]]]:
    """The same with what the backprop needs, and the backprop from its gradients to ``d_x`` and ``d_h_0``.

    A sequence is a row here: the products of all steps that give the weights' gradients want it so. The backprop is to
    be called once: it writes the gates' gradients over the gates, part by part, while these are in the cache: 0.96 at
    braun, on AMD family 25.
    """
    xp = model.ops.xp
    time, batch, _ = x.shape
    directions, width = model.get_dim("dirs"), model.get_dim("nO")
    W_ih, W_hh, b = (model.get_param(name) for name in ("W_ih", "W_hh", "b"))
    right = W_hh.swapaxes(1, 2)
    both = ways(xp, x, directions)
    gates = xp.empty((time, batch, directions, 4 * width), "f")
    xp.matmul(flat(both), W_ih.swapaxes(1, 2), out=flat(gates))
    gates += b

    h = xp.empty((time + 1, batch, directions, width), "f")
    c, tanh_c = xp.empty_like(h), xp.empty_like(h[1:])
    h[0], c[0] = apart(h_0, directions), 0
    z, new = xp.empty_like(gates[0]), xp.empty_like(h[0])
    z_by_direction = z.swapaxes(0, 1)
    sigmoids = gates[..., : 3 * width]
    o, i, f, g = by_gate(gates)
    # arrays walked through together, not indexed: 0.93 at seed
    for h_t, z_t, s_t, o_t, i_t, f_t, g_t, c_t, h_next, c_next, tanh_t in zip(
        h[:-1].swapaxes(1, 2), gates, sigmoids, o, i, f, g, c[:-1], h[1:], c[1:], tanh_c, strict=True
    ):
        xp.matmul(h_t, right, out=z_by_direction)
        z_t += z
        xp.exp(s_t, out=s_t)
        s_t += 1
        xp.reciprocal(s_t, out=s_t)
        xp.tanh(g_t, out=g_t)
        xp.multiply(f_t, c_t, out=c_next)
        xp.multiply(i_t, g_t, out=new)
        c_next += new
        xp.tanh(c_next, out=tanh_t)
        xp.multiply(o_t, tanh_t, out=h_next)

    unused = [gates]

    def backprop(d: LSTMOutput) -> tuple[Float[Floats3d, "T B I"], Float[Floats2d, "B D"]]:
        if not unused:
            raise RuntimeError("this backprop was called before: the gates that it needs are written over")
        d_z = unused.pop()
        d_output = in_order(xp, apart(d.output, directions))
        d_h, d_c = (xp.array(apart(own, directions)) for own in (d.h_n, d.c_n))
        new = xp.empty_like(d_c)
        d_h_by_direction = d_h.swapaxes(0, 1)
        d_by_direction, d_by_gate = d_z.swapaxes(1, 2), d_z.reshape(time, batch, directions, 4, width)
        length = CACHED // gates[0].size if isinstance(model.ops, NumpyOps) else time
        for some in reversed(parts(time, length)):
            to_gates, to_cell = factors(xp, gates[some], c[:-1][some], tanh_c[some])
            d_some = d_by_gate[some]
            backwards = (
                array[::-1]
                for array in (
                    d_output[some],
                    to_cell,
                    to_gates[..., 0, :],
                    to_gates[..., 1:, :],
                    f[some],
                    d_some[..., 0, :],
                    d_some[..., 1:, :],
                    d_by_direction[some],
                )
            )
            for d_t, to_cell_t, to_o_t, of_cell_t, f_t, d_o_t, d_of_cell_t, d_z_t in zip(*backwards, strict=True):
                d_h += d_t
                to_cell_t *= d_h
                d_c += to_cell_t
                xp.multiply(d_c, f_t, out=new)
                xp.multiply(of_cell_t, d_c[:, :, None], out=d_of_cell_t)
                xp.multiply(to_o_t, d_h, out=d_o_t)
                xp.matmul(d_z_t, W_hh, out=d_h_by_direction)
                d_c, new = new, d_c

        left = flat(d_z).swapaxes(1, 2)
        model.inc_grad("W_ih", xp.matmul(left, flat(both)))
        model.inc_grad("W_hh", xp.matmul(left, flat(h[:-1])))
        model.inc_grad("b", d_z.sum(axis=(0, 1)))
        d_x = xp.matmul(flat(d_z), W_ih).reshape(directions, *x.shape)
        return d_x[0] + d_x[1, ::-1] if directions == 2 else d_x[0], together(d_h)

    return LSTMOutput(*(together(array) for array in (in_order(xp, h[1:]), h[-1], c[-1]))), backprop


def factors(
    xp: Any,
    gates: Float[Any, "T B dirs 4H"],
    c_before: Float[Any, "T B dirs H"],
    tanh_c: Float[Any, "T B dirs H"],
) -> tuple[Float[Any, "T B dirs 4 H"], Float[Any, "T B dirs H"]]:
    """What the gradients of the state (for o, and on to the cell) and of the cell (for i, f, g) are multiplied with."""
    width = tanh_c.shape[-1]
    o, i, _, g = by_gate(gates)
    to_gates = xp.empty(gates.shape, "f")
    to_o, to_i, to_f, to_g = by_gate(to_gates)
    sigmoids, to_sigmoids = gates[..., : 3 * width], to_gates[..., : 3 * width]
    xp.subtract(sigmoids, 1, out=to_sigmoids)  # s (s - 1): the exponential is that of -z
    to_sigmoids *= sigmoids
    to_o *= tanh_c
    to_i *= g
    to_f *= c_before
    xp.multiply(g, g, out=to_g)
    xp.subtract(1, to_g, out=to_g)
    to_g *= i
    to_cell = tanh_c * tanh_c
    xp.subtract(1, to_cell, out=to_cell)
    to_cell *= o
    return to_gates.reshape(*tanh_c.shape[:-1], 4, width), to_cell


def parts(time: int, length: int) -> list[slice]:
    """The steps in parts of so many, at least one."""
    length = max(1, length)
    return [slice(start, start + length) for start in range(0, time, length)]


def by_gate(gates: Float[Any, "... 4H"]) -> Iterator[Float[Any, "... H"]]:
    """Views of o, i, f and g."""
    width = gates.shape[-1] // 4
    return (gates[..., gate * width : (gate + 1) * width] for gate in range(4))


def ways(xp: Any, x: Float[Floats3d, "T B I"], directions: int) -> Float[Any, "T B dirs I"]:
    """``x`` in the order in which each direction reads it."""
    return xp.stack([x, x[::-1]], axis=2) if directions == 2 else x[:, :, None]


def in_order(xp: Any, states: Float[Any, "T B dirs H"]) -> Float[Any, "T B dirs H"]:
    """States in the order of each direction, in the order of ``x``; and the way back."""
    if states.shape[2] == 1:
        return states
    return xp.stack([states[:, :, 0], states[::-1, :, 1]], axis=2)


def flat(array: Float[Any, "T B dirs N"]) -> Float[Any, "dirs T*B N"]:
    """A view of each direction's sequences of all steps, one below the other."""
    time, batch, directions, width = array.shape
    return array.reshape(time * batch, directions, width).swapaxes(0, 1)


def apart(state: Float[Any, "... D"], directions: int) -> Float[Any, "... dirs H"]:
    """Each direction's part of a state."""
    return state.reshape(*state.shape[:-1], directions, -1)


def together(state: Float[Any, "... dirs H"]) -> Float[Any, "... D"]:
    """The way back from ``apart``."""
    return state.reshape(*state.shape[:-2], -1)


def no_backprop(*gradients: Any) -> Any:
    """Raise NotImplementedError: nothing was kept for it."""
    raise NotImplementedError("predict keeps nothing for a backward pass; begin_update does")
