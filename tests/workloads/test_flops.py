"""What is counted from the shapes is what the oracle really multiplies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.any_sizes import Sizes, any_sizes
from support.crosschecks import NOTEBOOK, Case, draw

from bench.workloads import reference_outputs
from bench.workloads.flops import BatchSizes, elementwise_flops, product_flops, products, tokens
from bench.workloads.shapes import WORDS, WORKLOADS, trimmed
from impls.contract import CONTEXTS, TASKS, Task
from impls.products import products_of
from impls.reference import Reference


class Counted(np.ndarray):
    """An array that counts what it is multiplied with: a pair of operations for all numbers that meet."""

    flops = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **how: Any) -> Any:
        plain = [one.view(np.ndarray) if isinstance(one, Counted) else one for one in inputs]
        how["out"] = tuple(one.view(np.ndarray) if isinstance(one, Counted) else one for one in how.get("out", ()))
        result = getattr(ufunc, method)(*plain, **(how if how["out"] else {k: v for k, v in how.items() if k != "out"}))
        if ufunc is np.matmul:
            Counted.flops += 2 * result.size * plain[0].shape[-1]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def counted(case: Case, task: Task) -> int:
    """Operations of the products that the oracle makes."""
    oracle = Reference(case.config, {name: array.view(Counted) for name, array in case.parameters.items()})
    arguments = {
        "encode": (case.x,),
        "forward": (case.x, case.y),
        "gradients": (case.x, case.y, case.d_output),
        "train_step": (case.x, case.y, case.target),
    }[task]
    Counted.flops = 0
    getattr(oracle, task)(*arguments)
    return Counted.flops


@settings(max_examples=50)
@given(sizes=any_sizes(CONTEXTS), task=st.sampled_from(TASKS))
def test_the_products_are_those_that_the_oracle_makes(sizes: Sizes, task: Task) -> None:
    case = draw(*sizes)
    config, (t_x, batch, _), t_y = case.config, case.x.shape, case.y.shape[0]
    expected = sum(product.flops for product in products_of(config, task, t_x, t_y, batch))
    if task == "train_step":  # the oracle works out the gradients towards its inputs, which no training needs
        first = [(layer, t_x) for layer in config.encoder_layers if layer.index == 0]
        first += [(layer, t_y) for layer in config.decoder_layers if layer.index == 0]
        expected += sum(2 * steps * batch * 4 * layer.hidden_dim * config.embedding_dim for layer, steps in first)
    assert counted(case, task) == expected


def test_the_notebooks_forward_pass_is_the_sum_by_hand() -> None:
    projections = 2 * 2 * (10 * 10 * 80 + 10 * 40 * 80) * 2 + 2 * 2 * (9 * 10 * 160 + 9 * 40 * 160)
    steps = 2 * 2 * 10 * 20 * 80 * 4 + 2 * 2 * 9 * 40 * 160 * 2
    assert product_flops(NOTEBOOK, [BatchSizes(10, 9, 2)], "forward") == projections + steps


def test_tokens_are_the_steps_of_all_sequences_on_both_sides() -> None:
    batches = [BatchSizes(10, 9, 2), BatchSizes(3, 4, 5)]
    assert tokens(batches, "train_step") == 2 * 19 + 5 * 7
    assert tokens(batches, "encode") == 2 * 10 + 5 * 3


def test_a_call_passes_over_all_batches_of_real_words() -> None:
    sizes = reference_outputs.sizes_of(WORDS)
    batches = reference_outputs.draw_batches(WORDS)
    for input_set in batches:
        assert [(one.x.shape[0], one.y.shape[0], one.x.shape[1]) for one in input_set] == list(sizes)
    assert reference_outputs.sizes_of(trimmed(WORDS, "smoke")) == sizes[1:3]
    each = [product_flops(WORDS.config, [one], "forward") for one in sizes]
    assert product_flops(WORDS.config, sizes, "forward") == sum(each)
    assert len(products(WORDS.config, sizes, "forward")) == 4 * len(products(WORDS.config, sizes[:1], "forward"))


@pytest.mark.parametrize("name", [name for name, one in WORKLOADS.items() if not one.is_words])
def test_training_is_about_three_forward_passes_and_elementwise_operations_are_few(name: str) -> None:
    workload = WORKLOADS[name]
    sizes = reference_outputs.sizes_of(workload)
    forward, gradients, training = (
        product_flops(workload.config, sizes, task) for task in ("forward", "gradients", "train_step")
    )
    assert gradients == 3 * forward
    assert 2 * forward < training < gradients
    for task in TASKS:
        others = elementwise_flops(workload.config, sizes, task)
        assert 0 < others < 0.2 * product_flops(workload.config, sizes, task)
