"""What a row's call costs, as a sum of few terms whose coefficients are fitted to measured times. Pure.

    T = call x batches + step x steps + state x numbers of the state + weight x weights + operations / rate + …

A feature follows from the shape (`features`), a coefficient is the row's and at least zero (`Coefficients`). The rate
depends on the number of sequences, for a product of few rows is mostly reading its weights: it has a coefficient at
each of `KNOTS`, and between two knots one in between. Where the shapes do not distinguish two features, one coefficient
may stand for both (`identifiable`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls  # type: ignore[import-untyped]

from bench.analysis.stats import median
from bench.records.schema import Struct
from bench.workloads.flops import BatchSizes, product_flops
from impls.contract import Seq2seqConfig
from impls.tasks import AnyTask

KNOTS = (1, 2, 8, 64)
"""Numbers of sequences at which the products have a coefficient. One sequence is a product with a vector, another
program than one with a matrix, and two may be dearer; beyond the last, the coefficient is the last one's."""

CACHE_BYTES = 2 * 2**20
"""Recurrent weights in float32 that are taken to be kept at hand from step to step: with more, the rest is read again
at each step. Chosen, not fitted."""

FLOAT_BYTES = 4

LEAST_S = 1e-9
"""No call is taken to cost less: a cost has a log."""

HUBER = 1.5
"""A shape that lies further than so many robust standard deviations off is pulled in to there, as in `stats.centre`."""

LEAST_SPREAD = 0.02
"""The robust standard deviation is taken to be at least this: a few per cent are the noise of a few blocks."""

RANK_TOLERANCE = 1e-9
"""What is smaller than this share is rounding."""

ITERATIONS = 60
"""Gauss and Newton's steps: coefficients stand still by then, to more digits than a page shows."""


class Features(NamedTuple):
    """What a call of a task is made of."""

    calls: float
    """How many batches it passes over."""
    steps: float
    """Time steps of all layers and directions: what is done one after the other."""
    states: float
    """Numbers of the hidden states: steps x sequences x ``hidden_dim``. Elementwise operations go with them."""
    weights: float
    """Weights, read once a call, and in a training step moved."""
    far_bytes: float
    """Recurrent weights beyond `CACHE_BYTES`, at each step of the forward pass, as if in float32."""
    flops: tuple[float, ...]
    """Floating-point operations of the products, shared out among the `KNOTS`."""

    @property
    def terms(self) -> tuple[float, ...]:
        """All of it, in the order of the coefficients."""
        return (*self[:-1], *self.flops)


class Coefficients(Struct, frozen=True, omit_defaults=False):
    """What each of the `Features` costs, in seconds."""

    call_s: float
    step_s: float
    state_s: float
    weight_s: float
    far_byte_s: float
    flop_s: tuple[float, ...]
    """At each of the `KNOTS`."""

    @property
    def terms(self) -> tuple[float, ...]:
        """All of them, in the order of the features."""
        return (self.call_s, self.step_s, self.state_s, self.weight_s, self.far_byte_s, *self.flop_s)


def features(config: Seq2seqConfig, batches: Iterable[BatchSizes], task: AnyTask) -> Features:
    """What one call of the task over these batches is made of."""
    batches = tuple(batches)
    encoder, decoder = config.encoder_layers, () if task == "encode" else config.decoder_layers
    weights = sum(math.prod(shape) for layer in (*encoder, *decoder) for shape in layer.parameter_shapes.values())
    steps = states = far_bytes = 0
    flops = np.zeros(len(KNOTS))
    for sizes in batches:
        flops += product_flops(config, [sizes], task) * shares(sizes.batch)
        for layers, length in ((encoder, sizes.t_x), (decoder, sizes.t_y)):
            for layer in layers:
                recurrent_bytes = 4 * FLOAT_BYTES * layer.hidden_dim**2
                steps += length
                states += length * sizes.batch * layer.hidden_dim
                far_bytes += length * max(0, recurrent_bytes - CACHE_BYTES)
    return Features(len(batches), steps, states, len(batches) * weights, far_bytes, tuple(flops.tolist()))


def shares(batch: int) -> np.ndarray:
    """How much each of the `KNOTS` counts for so many sequences: they add up to 1, and at most two are not zero."""
    at = np.interp(np.log2(batch), np.log2(KNOTS), np.arange(len(KNOTS)))
    return np.maximum(0.0, 1.0 - np.abs(np.arange(len(KNOTS)) - at))


def cost_s(coefficients: Coefficients, of: Features) -> float:
    """Seconds that a call of these features takes at these coefficients, at least `LEAST_S`."""
    return max(float(np.dot(coefficients.terms, of.terms)), LEAST_S)


def identifiable(shapes: Sequence[Features]) -> tuple[bool, ...]:
    """For each of the coefficients, in their order: whether these shapes distinguish it from all the others.

    A feature that no shape has does not show, nor one that is a sum of others at every shape, as operations at one
    number of sequences and at another where all shapes have the same: their coefficients may be shared out in any way.
    """
    matrix = np.array([shape.terms for shape in shapes])
    scale = matrix.max(axis=0)
    matrix = matrix / np.where(scale, scale, 1)
    _, sizes, directions = np.linalg.svd(matrix)
    silent = directions[np.count_nonzero(sizes > sizes[0] * RANK_TOLERANCE) :]
    return tuple((np.abs(silent) < RANK_TOLERANCE).all(axis=0).tolist())


def fit(shapes: Sequence[Features], times_s: Sequence[float]) -> Coefficients:
    """The coefficients, none below zero, whose costs are off from the times of these shapes by the smallest factors.

    Least squares of the factor's log, in Gauss and Newton's steps; what lies far off is pulled in.
    """
    matrix, times = np.array([shape.terms for shape in shapes]), np.array(times_s, dtype=np.float64)
    scale = matrix.max(axis=0)
    scale[scale == 0] = np.inf  # a feature that no shape has gets no coefficient
    matrix = matrix / scale
    weights, target = 1 / times, times
    coefficients = np.zeros(matrix.shape[1])
    for _ in range(ITERATIONS):
        coefficients, _ = nnls(matrix * weights[:, None], target * weights)
        costs = np.maximum(matrix @ coefficients, 1e-3 * times)  # above zero, for its log
        off = np.log(times / costs)
        reach = HUBER * max(1.4826 * median(np.abs(off).tolist()), LEAST_SPREAD)
        pull = reach / np.maximum(np.abs(off), reach)
        weights, target = np.sqrt(pull) / costs, costs * (1 + off)
    call_s, step_s, state_s, weight_s, far_byte_s, *flop_s = (coefficients / scale).tolist()
    return Coefficients(call_s, step_s, state_s, weight_s, far_byte_s, tuple(flop_s))


def off_by(coefficients: Coefficients, shape: Features, time_s: float) -> float:
    """The log of the time over what the coefficients make of the shape."""
    return math.log(time_s / cost_s(coefficients, shape))


def leave_one_out(shapes: Sequence[Features], times_s: Sequence[float], one: int) -> float:
    """What one of the shapes is off by from a fit to all the others."""
    others = fit([*shapes[:one], *shapes[one + 1 :]], [*times_s[:one], *times_s[one + 1 :]])
    return off_by(others, shapes[one], times_s[one])
