"""``jax/scan``, as fast as it is known to go: the same functions, a backward pass of their own, and settings of XLA.

Each decision says what it gained: paired ratios to the row without it, on one core of an AMD EPYC with AVX-512
(family 26), jax 0.10.2. Tried, and left out: an unrolled scan (1.1 at seed), both directions in one loop (1.2 at
seed), input and state joined for one product (2 at latency), one tanh for all four gates (1.1 in training at braun),
layers side by side on the diagonal (1.04 at seed).
"""

from __future__ import annotations

import os
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
    from collections.abc import Callable, Collection

    from jax import Array
    from jaxtyping import Float

    from impls.contract import LSTMLayer, Parameters, Seq2seqConfig
    from impls.jax.scan import Weights

ROW = {
    "tier": "tuned",
    "summary": "jax/scan with a backward pass of its own, inputs multiplied before the loop by size, settings of XLA",
    "frameworks": ["jax", "optax"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": True,
    "environment": [
        "memory kept",  # pages of 2 MiB for what is over 32 MiB: a training step takes 0.77 at braun
        # forward: one operation after the other, 0.8 at seed; wide vectors, 0.8 at latency; small loops, 0.5 at seed
        "xla for recurrences",
    ],
}

FEW = 32
"""With so many sequences a product is as fast for one step as for all of them at once."""

LARGE = 2**18
"""More weights than these take long to read at each step."""

TINY = 40
"""Up to this width of inputs and states XLA writes products out, and calls no library, if it has not the newer one."""

WIDE = 256
"""States wider than this are multiplied faster by XLA's newer library where several processors share a product."""

SEVERAL = len(os.sched_getaffinity(0)) > 1
"""JAX takes all processors that the process may run on."""

NARROW = 64
"""Up to this width a loop is one function, in which a product costs no call of its own."""

OLDER = {"xla_cpu_experimental_ynn_fusion_type": ""}
"""Options of a program whose products are made by XLA's older library, ``older_is_faster``."""

CLASH, PAD = 512, 16
"""Rows a multiple of ``CLASH`` numbers long begin at places that share a few sets of the cache; ``PAD`` moves them."""

State = tuple[Any, Any]
Gates = tuple[Any, Any, Any, Any]
Tape = tuple[Gates, Any, Any]
"""What the backward pass needs of a step: the gates, the cell before it, tanh of the cell after it."""


def run(
    x: Float[Array, "T B I"],
    h_0: Float[Array, "B H"],
    w_ih: Float[Array, "I 4H"],
    w_hh: Float[Array, "4H H"] | Float[Array, "H 4H"],
    bias: Float[Array, "4H"],
    reverse: bool,
    keep: bool,
) -> tuple[State, Any]:
    """The final state, and of every step the hidden state; with ``keep``, its tape as well."""
    time, batch, _ = x.shape
    width = h_0.shape[1]
    many, as_given = batch >= FEW, len(w_hh) != width
    if as_given and batch > 1:
        w_hh = transposed(w_hh)
    # at two processors the newer library has no use for it in forward: 1.06 at tutorial
    if many and (keep or older_is_faster(batch, {x.shape[2]}, {width})):
        w_ih, w_hh, bias = padded(w_ih, 1), padded(w_hh, 1), padded(bias, 0)
    # one product for all steps: 0.65 at latency; where it is of no use, it takes longer: 1.1 at braun, 1.2 at seed
    before_the_loop = width > NARROW and not many and (batch == 1 or w_ih.size > LARGE)
    inputs = (x.reshape(time * batch, -1) @ w_ih).reshape(time, batch, -1) if before_the_loop else x

    def step(carry: State, x_t: Array) -> tuple[State, Any]:
        h, c_before = carry
        given = x_t if before_the_loop else x_t @ w_ih
        kept = (w_hh @ h[0])[None] if as_given and batch == 1 else h @ w_hh
        i, f, g, o = jnp.split((given + kept + bias)[:, : 4 * width], 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        c = f * c_before + i * g
        tanh_c = jnp.tanh(c)
        h = o * tanh_c
        return (h, c), (h, ((i, f, g, o), c_before, tanh_c)) if keep else h

    return lax.scan(step, (h_0, jnp.zeros_like(h_0)), inputs, reverse=reverse)


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def lstm(
    x: Float[Array, "T B I"],
    h_0: Float[Array, "B H"],
    w_ih: Float[Array, "I 4H"],
    w_hh: Float[Array, "4H H"] | Float[Array, "H 4H"],
    bias: Float[Array, "4H"],
    reverse: bool,
) -> tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]:
    """One layer and direction: its hidden states in the order of ``x``, and its final ``h`` and ``c``.

    ``lax.scan``'s own derivative adds to the weights' gradient at each step. Here the gates' gradients of all steps are
    kept, for one product after the loop: a training step takes 0.8 at seed, 0.6 at latency, g2p and braun.
    """
    (h, c), output = run(x, h_0, w_ih, w_hh, bias, reverse, keep=False)
    return output, h, c


def lstm_forward(x: Array, h_0: Array, w_ih: Array, w_hh: Array, bias: Array, reverse: bool) -> tuple[Any, Any]:
    """The same, and what the backward pass needs."""
    (h, c), (output, tape) = run(x, h_0, w_ih, w_hh, bias, reverse, keep=True)
    return (output, h, c), (x, h_0, w_ih, w_hh, output, tape)


def lstm_backward(reverse: bool, saved: Any, d: tuple[Array, Array, Array]) -> tuple[Array, ...]:
    """Gradients towards ``x``, ``h_0``, the weights and the bias."""
    x, h_0, w_ih, w_hh, output, tape = saved
    d_output, d_h, d_c = d
    time, batch, width = output.shape
    as_given = len(w_hh) != width
    towards_x, towards_h = transposed(w_ih), w_hh if as_given else transposed(w_hh)
    if batch >= FEW:
        towards_x, towards_h = padded(towards_x, 0, 1), padded(towards_h, 0, 1)
    gates = len(towards_h)
    pad = jnp.zeros((batch, gates - 4 * width), output.dtype)

    def step(carry: State, at_t: tuple[Array, Tape]) -> tuple[State, Array]:
        d_h, d_c = carry
        d_output, ((i, f, g, o), c_before, tanh_c) = at_t
        d_h = d_h + d_output
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
        d_z = jnp.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * c_before * f * (1 - f),
                d_c * i * (1 - g * g),
                d_h * tanh_c * o * (1 - o),
                pad,
            ],
            axis=-1,
        )
        return ((d_z @ towards_h)[:, :width], d_c * f), d_z

    (d_h_0, _), d_z = lax.scan(step, (d_h, d_c), (d_output, tape), reverse=not reverse)
    h_before = jnp.concatenate([output[1:], h_0[None]] if reverse else [h_0[None], output[:-1]])
    d_z = d_z.reshape(time * batch, gates)
    d_w_ih, d_w_hh = (transposed(left.reshape(time * batch, -1)) @ d_z for left in (x, h_before))
    return (
        (d_z @ towards_x)[:, : x.shape[2]].reshape(x.shape),
        d_h_0,
        d_w_ih[:, : 4 * width],
        d_w_hh[:, : 4 * width].T if as_given else d_w_hh[:, : 4 * width],
        d_z.sum(axis=0)[: 4 * width],
    )


lstm.defvjp(lstm_forward, lstm_backward)


def older_is_faster(batch: int, inputs: Collection[int], states: Collection[int]) -> bool:
    """Whether XLA's older library multiplies faster, in layers with inputs and states of these widths.

    It does where all are tiny, 0.7 of the newer one's time in forward at seed, and where no state is narrow and there
    are many sequences or one, 0.9 at g2p, braun and latency; but two processors share the products of many sequences
    and wide states as well or better by the newer one, 0.95 in forward at tutorial, 1.0 at braun and fastrnns.
    Elsewhere the older one takes up to six times as long. (Measured on AMD family 25, without AVX-512.)
    """
    tiny = max(*inputs, *states) <= TINY
    many = batch >= FEW and not (SEVERAL and min(states) > WIDE)
    return tiny or (min(states) > NARROW and (batch == 1 or many))


def transposed(matrix: Float[Array, "N M"]) -> Float[Array, "M N"]:
    """The matrix transposed in memory, and not by the product that reads it: 0.65 in training at g2p, 0.75 at braun."""
    return lax.optimization_barrier(matrix.T)


def padded(array: Array, *axes: int) -> Array:
    """The array with ``PAD`` more zeros along those of the axes whose length would make rows clash.

    At tutorial (512 wide, 128 sequences), on a processor without AVX-512: 0.5 in forward, 0.58 in training.
    """
    more = [PAD if axis in axes and size % CLASH == 0 else 0 for axis, size in enumerate(array.shape)]
    return lax.optimization_barrier(jnp.pad(array, [(0, count) for count in more])) if any(more) else array


class Seq2seqLSTM(scan.Seq2seqLSTM):
    """Sequence-to-sequence LSTM: pure functions of the weights, which it does not hold.

    A large ``w_hh`` is ``(4H, H)``: the product with a single state reads it row by row, 0.95 at latency, and the
    backward pass has no need to transpose it: 0.8 in training there.
    """

    def layer(
        self,
        weights: Weights,
        directions: tuple[LSTMLayer, ...],
        x: Float[Array, "T B I"],
        h_0: Float[Array, "B H"],
    ) -> list[tuple[Float[Array, "T B H"], Float[Array, "B H"], Float[Array, "B H"]]]:
        """Of each direction the hidden states in the order of ``x``, and the final ``h`` and ``c``."""
        return [
            lstm(x, h_0, *(weights[name] for name in direction.parameter_shapes), direction.reverse)
            for direction in directions
        ]

    def from_canonical(self, parameters: Parameters) -> Weights:
        """The weights as JAX arrays, under the same names, transposed but for large recurrent ones."""
        return super().from_canonical(parameters) | {name: jnp.asarray(parameters[name]) for name in self._as_given()}

    def to_canonical(self, weights: Weights) -> Parameters:
        """The weights (or gradients) as NumPy arrays, transposed back."""
        return super().to_canonical(weights) | {name: np.array(weights[name]) for name in self._as_given()}

    def _as_given(self) -> list[str]:
        layers = (*self.config.encoder_layers, *self.config.decoder_layers)
        return [layer.weight_hh for layer in layers if 4 * layer.hidden_dim**2 > LARGE]


class TunedRow(JaxLayersRow):
    """A JaxLayersRow with two programs for each call on a CPU, by which library multiplies faster."""

    def __init__(self, config: Seq2seqConfig, parameters: Parameters, device: str) -> None:
        layers = (*config.encoder_layers, *config.decoder_layers)
        self._widths = {layer.input_dim for layer in layers}, {layer.hidden_dim for layer in layers}
        super().__init__(Seq2seqLSTM(*astuple(config)), parameters, device)

    def jit(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """The function compiled, either way when it is first called so."""
        if self.device.platform != "cpu":
            return super().jit(function, **options)
        newer, older = jax.jit(function, **options), jax.jit(function, compiler_options=OLDER, **options)

        def call(*arguments: Any) -> Any:
            batch = arguments[-1].shape[-2]  # of (T, B, D) or (B, D)
            return (older if older_is_faster(batch, *self._widths) else newer)(*arguments)

        return call


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> TunedRow:
    """The functions with these weights, on the device."""
    return TunedRow(config, parameters, device)
