"""``jax/scan``, as fast as it is known to go: the same functions, but for what happens in a layer.

Each decision says what it gained: paired ratios to the row without it, on one core of an AMD EPYC with AVX-512
(family 26), jax 0.10.2. Tried, and left out: an unrolled scan (1.1 at seed), input and state joined for one
product (2 at latency), the factors of the gates' gradients worked out for all steps at once (1.1 at latency), layers
side by side on the diagonal (1.04 at seed).
"""

from __future__ import annotations

from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from impls.jax import scan
from impls.jax._adapter import JaxLayersRow

if TYPE_CHECKING:
    from jax import Array
    from jaxtyping import Float

    from impls.contract import LSTMLayer, Parameters, Seq2seqConfig
    from impls.jax.scan import Weights

ROW = {
    "tier": "tuned",
    "summary": "jax/scan with a backward pass of its own; inputs before the loop, directions together, by size",
    "frameworks": ["jax", "optax"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": True,
    "environment": {
        # programs that need more than 32 MiB get them from the system at each call, page by page: in pages of 2 MiB
        # a training step takes 0.77 of the time at braun, 0.86 at tutorial
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        # operations one after the other, since each waits for the one before it: forward takes 0.80 at seed;
        # vectors as wide as the processor's: 0.79 at latency
        "XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=false --xla_cpu_prefer_vector_width=512",
    },
}

MANY = 32
"""With so many sequences a product is as fast for one step as for all of them at once."""

NARROW = 64
"""Up to this ``hidden_dim``, what is called costs more than what is computed: both directions go in one loop."""

State = tuple[Any, Any]
Tape = tuple[Any, Any, Any]


def gates(z: Float[Array, "B 4H"]) -> Float[Array, "B 4H"]:
    """i, f, g, o: one tanh for all four, for ``s(z) = tanh(z / 2) / 2 + 1/2``.

    Split before it instead, XLA reads the inputs that were worked out before the loop four times: 1.4 at g2p.
    """
    half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], z.dtype), z.shape[-1] // 4)
    return jnp.tanh(z * half) * half + (1 - half)


def run(
    x: Float[Array, "T B I"],
    h_0: Float[Array, "B H"],
    w_ih: Float[Array, "I 4H"],
    w_hh: Float[Array, "H 4H"],
    bias: Float[Array, "4H"],
    reverse: bool,
) -> tuple[State, tuple[Float[Array, "T B H"], Tape]]:
    """The final state, the hidden states, and what the backward pass needs (XLA drops what nobody asks for)."""
    time, batch, _ = x.shape
    before_the_loop = (
        batch < MANY
    )  # one product for all steps: 0.65 at latency; of no use to many sequences, 1.1 at braun
    inputs = (x.reshape(time * batch, -1) @ w_ih + bias).reshape(time, batch, -1) if before_the_loop else x

    def step(carry: State, x_t: Array) -> tuple[State, tuple[Array, Tape]]:
        h, c_before = carry
        z = x_t if before_the_loop else x_t @ w_ih + bias
        a = gates(z + h @ w_hh)
        i, f, g, o = jnp.split(a, 4, axis=-1)
        c = f * c_before + i * g
        tanh_c = jnp.tanh(c)
        h = o * tanh_c
        return (h, c), (h, (a, c_before, tanh_c))

    return lax.scan(step, (h_0, jnp.zeros_like(h_0)), inputs, reverse=reverse)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def lstm(
    x: Float[Array, "T B I"],
    h_0: Float[Array, "B H"],
    w_ih: Float[Array, "I 4H"],
    w_hh: Float[Array, "H 4H"],
    bias: Float[Array, "4H"],
    reverse: bool,
) -> tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]:
    """One layer and direction: its hidden states in the order of ``x``, and its final ``h`` and ``c``.

    ``lax.scan``'s own derivative adds to the weights' gradient at each step. Here the gates' gradients of all steps are
    kept, for one product after the loop. A training step takes 0.62 at seed, 0.68 at latency, 0.73 at g2p, 0.87 at
    braun.
    """
    (h, c), (output, _) = run(x, h_0, w_ih, w_hh, bias, reverse)
    return output, h, c


def lstm_forward(x: Array, h_0: Array, w_ih: Array, w_hh: Array, bias: Array, reverse: bool) -> tuple[Any, Any]:
    """The same, and what the backward pass needs."""
    (h, c), (output, tape) = run(x, h_0, w_ih, w_hh, bias, reverse)
    return (output, h, c), (x, h_0, w_ih, w_hh, output, tape)


def lstm_backward(reverse: bool, saved: Any, d: tuple[Array, Array, Array]) -> tuple[Array, ...]:
    """Gradients towards ``x``, ``h_0``, the weights and the bias."""
    x, h_0, w_ih, w_hh, output, tape = saved
    d_output, d_h, d_c = d
    time, batch, width = output.shape

    def step(carry: State, at_t: tuple[Array, Tape]) -> tuple[State, Array]:
        d_h, d_c = carry
        d_output, (a, c_before, tanh_c) = at_t
        i, f, g, o = jnp.split(a, 4, axis=-1)
        d_h = d_h + d_output
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
        d_z = jnp.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * c_before * f * (1 - f),
                d_c * i * (1 - g * g),
                d_h * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_z @ w_hh.T, d_c * f), d_z

    (d_h_0, _), d_z = lax.scan(step, (d_h, d_c), (d_output, tape), reverse=not reverse)
    h_before = jnp.concatenate([output[1:], h_0[None]] if reverse else [h_0[None], output[:-1]])
    d_z = d_z.reshape(time * batch, 4 * width)
    return (
        (d_z @ w_ih.T).reshape(x.shape),
        d_h_0,
        x.reshape(time * batch, -1).T @ d_z,
        h_before.reshape(time * batch, width).T @ d_z,
        d_z.sum(axis=0),
    )


lstm.defvjp(lstm_forward, lstm_backward)


def side_by_side(forward: Float[Array, "N 4H"], reverse: Float[Array, "N 4H"]) -> Float[Array, "2N 8H"]:
    """The weights of an LSTM twice as wide, whose two halves know nothing of each other."""
    rows = len(forward)
    forward, reverse = forward.reshape(rows, 4, -1), reverse.reshape(rows, 4, -1)
    zero = jnp.zeros_like(forward)
    blocks = [[forward, zero], [zero, reverse]]
    return jnp.concatenate([jnp.concatenate(row, axis=-1) for row in blocks]).reshape(2 * rows, -1)


class Seq2seqLSTM(scan.Seq2seqLSTM):
    """Sequence-to-sequence LSTM: pure functions of the weights, which it does not hold."""

    def layer(
        self,
        weights: Weights,
        directions: tuple[LSTMLayer, ...],
        x: Float[Array, "T B I"],
        h_0: Float[Array, "B H"],
    ) -> list[tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]]:
        """Of each direction the hidden states in the order of ``x``, and the final ``h`` and ``c``."""
        each = [[weights[name] for name in direction.parameter_shapes] for direction in directions]
        if len(directions) == 1 or self.config.hidden_dim > NARROW:
            return [lstm(x, h_0, *own, direction.reverse) for direction, own in zip(directions, each, strict=True)]
        # one LSTM of both widths, which reads both ends of x: 0.85 at seed
        (*forward, bias), (*reverse, bias_reverse) = each
        w_ih, w_hh = map(side_by_side, forward, reverse)
        (bias,) = jnp.concatenate([b.reshape(1, 4, -1) for b in (bias, bias_reverse)], axis=-1).reshape(1, -1)
        ends = jnp.concatenate([x, x[::-1]], axis=-1)
        both = lstm(ends, jnp.concatenate([h_0, h_0], axis=-1), w_ih, w_hh, bias, False)
        (output, turned), (h, h_reverse), (c, c_reverse) = (jnp.split(array, 2, axis=-1) for array in both)
        return [(output, h, c), (turned[::-1], h_reverse, c_reverse)]


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> JaxLayersRow:
    """The functions with these weights, on the device."""
    return JaxLayersRow(Seq2seqLSTM(*astuple(config)), parameters, device)
