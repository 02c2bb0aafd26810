"""How many floating-point operations a call makes, from its shapes: products, and elementwise ones apart. Pure.

Counted, not measured: XLA's own analysis counts the body of a loop once, and PyTorch's counter does not see into
a fused LSTM. Held against the oracle with every product counted (``tests/workloads/test_flops.py``); what
the tasks of a training have besides, against sums by hand (``tests/measure/test_letters.py``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from bench.workloads.symbols import NUM_PHONEMES
from impls.products import Product, products_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bench.workloads.shapes import Workload
    from impls.contract import Device, LSTMLayer, Seq2seqConfig
    from impls.tasks import AnyTask


class BatchSizes(NamedTuple):
    """Sequence lengths and batch size of one of the batches that a call passes over."""

    t_x: int
    t_y: int
    batch: int


FORWARD = 17
"""Elementwise operations a step, for each number of the state: both products and the bias added for four gates (8),
three logistic functions and two tanh (5, one each whatever they cost), and what makes ``c`` and ``h`` of them (4)."""

BACKWARD = 28
"""The same of the backward pass: the state's gradient and tanh(c) again (2), the cell's gradient (6), those of the four
gates (16), and the sums for the four biases (4)."""

ADAM = 14
"""Elementwise operations of an Adam step for each trained number."""


def products(config: Seq2seqConfig, batches: Iterable[BatchSizes], task: AnyTask) -> tuple[Product, ...]:
    """What one call multiplies: the products of all its batches."""
    return tuple(product for sizes in batches for product in _products(config, task, *sizes))


def _products(config: Seq2seqConfig, task: AnyTask, t_x: int, t_y: int, batch: int) -> tuple[Product, ...]:
    width = config.decoder_hidden_dim
    if (
        task == "decode_greedy"
    ):  # what a step reads is what the step before has said: nothing of two steps is one product
        steps = [product for layer in config.decoder_layers for product in _step(layer, batch, t_y)]
        output = Product("output layer", batch, width, NUM_PHONEMES, t_y)
        return (*products_of(config, "encode", t_x, t_y, batch), *steps, output)
    if task == "learn_step":  # towards the sequences as well: embeddings gave them
        return (
            *products_of(config, "gradients", t_x, t_y, batch),
            Product("output layer", t_y * batch, width, NUM_PHONEMES),
            Product("gradient of the output layer", t_y * batch, NUM_PHONEMES, width),
            Product("gradient of the output layer", NUM_PHONEMES, t_y * batch, width),
        )
    return products_of(config, task, t_x, t_y, batch)


def _step(layer: LSTMLayer, batch: int, steps: int) -> Iterator[Product]:
    yield Product("input projection", batch, layer.input_dim, 4 * layer.hidden_dim, steps)
    yield Product("recurrent step", batch, layer.hidden_dim, 4 * layer.hidden_dim, steps)


def tokens(batches: Iterable[BatchSizes], task: AnyTask) -> int:
    """How many steps of how many sequences a call passes over: source and target tokens, where inputs are words."""
    return sum(batch * (t_x + (0 if task == "encode" else t_y)) for t_x, t_y, batch in batches)


def product_flops(config: Seq2seqConfig, batches: Iterable[BatchSizes], task: AnyTask) -> int:
    """Floating-point operations of a call's products: what a rate is of."""
    return sum(product.flops for product in products(config, batches, task))


def elementwise_flops(config: Seq2seqConfig, batches: Iterable[BatchSizes], task: AnyTask) -> int:
    """About how many other operations a call makes. They are in no rate: a tanh is not a multiplication."""
    trains = task in ("gradients", "train_step", "learn_step")
    each = FORWARD + (BACKWARD if trains else 0)
    trained = sum(math.prod(shape) for shape in config.parameter_shapes.values())
    whole = 0
    for t_x, t_y, batch in batches:
        states = t_x * sum(layer.hidden_dim for layer in config.encoder_layers)
        if task != "encode":
            states += t_y * sum(layer.hidden_dim for layer in config.decoder_layers)
        whole += each * batch * states + (ADAM * trained if task in ("train_step", "learn_step") else 0)
    return whole


RATES: dict[Device, float] = {"cpu": 8e10, "gpu": 2e13}
"""Floating-point operations a second that products are expected to have: one core of 2021; a guess for a large GPU."""

STEP_S = 3e-5
"""What a layer and step takes beside its products, on either: on a GPU, to launch its kernels."""


def expected_call_s(workload: Workload, task: AnyTask, device: Device = "cpu") -> float:
    """About how long a call takes, before anything is measured."""
    config = workload.config
    passes = 3.0 if task in ("gradients", "train_step", "learn_step") else 1.0
    lengths = workload.lengths or ((10, 10),) * workload.num_batches
    seconds = 0.0
    for t_x, t_y in lengths:
        for layers, steps in ((config.encoder_layers, t_x), (config.decoder_layers, 0 if task == "encode" else t_y)):
            for layer in layers:
                weights = 4 * layer.hidden_dim * (layer.input_dim + layer.hidden_dim)
                seconds += steps * (2 * workload.batch_size * weights / RATES[device] + STEP_S)
    return passes * seconds
