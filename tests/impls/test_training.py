"""Training: the oracle by finite differences, every row against the oracle, and wrong ones told."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.crosschecks import NOTEBOOK
from support.training_cases import (
    CONFIG,
    RECIPE,
    STEPS,
    check_clipping,
    check_decoding,
    check_loss_and_gradients,
    check_steps,
    draw_training,
    fed,
    norm_of,
    same_state,
)
from support.wrong_trainings import MaskForgotten, OneStepLate, TimeStepMissing

from impls import find_rows
from impls.contract import InvalidInput
from impls.training import (
    NO_TARGET,
    Recipe,
    TrainingConfig,
    check_state,
    find_trainable,
    initial_state,
    load_training,
)
from impls.training_reference import TrainingReference, clipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row
    from impls.training import TrainableModel

CASE = draw_training()
TRAINABLE = find_trainable()


def test_the_rows_of_every_framework_can_be_trained() -> None:
    assert {row.framework for row in TRAINABLE.values()} == {"torch", "jax", "thinc"}
    assert {"torch/module", "torch/tuned", "jax/tuned", "thinc/layers", "thinc/pytorch"} <= TRAINABLE.keys()
    assert TRAINABLE.keys() <= find_rows().keys()


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_oracle_equals_finite_differences_in_any_direction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    oracle, batch, step = CASE.oracle(), CASE.batches[seed % STEPS], 1e-6
    gradients = oracle.gradients(*batch).parameters
    direction = {name: rng.standard_normal(array.shape) for name, array in gradients.items()}

    def loss(sign: int) -> float:
        moved = {name: array + sign * step * direction[name] for name, array in CASE.state.parameters.items()}
        oracle.load(CASE.state._replace(parameters=moved))
        return float(oracle.gradients(*batch).loss)

    along = sum(np.sum(gradients[name] * direction[name]) for name in gradients)
    assert along == pytest.approx((loss(+1) - loss(-1)) / (2 * step), rel=1e-6, abs=1e-7)


def test_what_stands_where_there_is_no_target_has_no_part() -> None:
    letters, before, targets = CASE.batches[0]
    loss, gradients = CASE.oracle().gradients(letters, before, targets)
    ended = np.roll(targets, 1, axis=0) == NO_TARGET  # the decoder reads there what comes after a word's last target
    ended[0] = False
    other = np.where(ended, 7, before)
    assert ended.any() and not np.array_equal(other, before)
    again = CASE.oracle().gradients(letters, other, targets)
    assert again.loss == loss
    assert all(np.array_equal(again.parameters[name], gradients[name]) for name in gradients)


@given(warmup=st.integers(2, 50), more=st.integers(1, 500), peak=st.floats(1e-5, 1e-1), step=st.integers(0, 600))
def test_the_rate_rises_in_a_line_and_falls_in_a_line(warmup: int, more: int, peak: float, step: int) -> None:
    recipe = Recipe(peak_learning_rate=peak, warmup_steps=warmup, total_steps=warmup + more, max_norm=1.0)
    rate = recipe.learning_rate(step)
    assert 0 <= rate <= peak
    assert recipe.learning_rate(0) == pytest.approx(peak / warmup)
    assert recipe.learning_rate(warmup - 1) == recipe.learning_rate(warmup) == peak
    assert recipe.learning_rate(warmup + more) == 0.0
    assert (rate > 0) == (step < warmup + more)


@given(norm=st.floats(1e-3, 1e3))
def test_clipping_leaves_the_direction(norm: float) -> None:
    gradients = CASE.oracle().gradients(*CASE.batches[0]).parameters
    found = clipped(gradients, norm)
    assert norm_of(found) == pytest.approx(min(norm, norm_of(gradients)))
    share = norm_of(found) / norm_of(gradients)
    assert all(np.allclose(found[name], share * array) for name, array in gradients.items())


@cache
def training_of(name: str, recipe: Recipe = RECIPE) -> TrainableModel:
    return load_training(TRAINABLE[name], CONFIG, recipe)


CHECKS: dict[str, Callable[[TrainableModel], None]] = {
    "loss and gradients": lambda model: check_loss_and_gradients(model, CASE),
    "one step": lambda model: check_steps(model, CASE, 1),
    "ten steps": lambda model: check_steps(model, CASE, STEPS),
    "greedy decoding": lambda model: check_decoding(model, CASE),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", TRAINABLE)
def test_training_equals_the_oracle(name: str, check: str, require: Callable[[Row], None]) -> None:
    require(TRAINABLE[name])
    CHECKS[check](training_of(name))


@pytest.mark.parametrize("name", TRAINABLE)
def test_all_gradients_are_clipped_together(name: str, require: Callable[[Row], None]) -> None:
    require(TRAINABLE[name])
    check_clipping(lambda recipe: training_of(name, recipe), CASE)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_training_goes_on_from_its_state_as_if_nothing_had_been(name: str, require: Callable[[Row], None]) -> None:
    require(TRAINABLE[name])
    model = training_of(name)
    model.load(CASE.state)
    for batch in CASE.batches[:4]:
        model.train_step(*fed(model, batch))
    between = model.state()
    check_state(CONFIG, between)
    for batch in CASE.batches[4:]:
        model.train_step(*fed(model, batch))
    uninterrupted = model.state()
    model.load(between)
    same_state(model.state(), between)
    for batch in CASE.batches[4:]:
        model.train_step(*fed(model, batch))
    same_state(model.state(), uninterrupted)


class GradientScaled(TrainingReference):
    def gradients(self, letters: Any, before: Any, targets: Any) -> Any:
        found = super().gradients(letters, before, targets)
        return found._replace(parameters={name: 1.001 * array for name, array in found.parameters.items()})


class SummedBeforeClipping(TrainingReference):
    def gradients(self, letters: Any, before: Any, targets: Any) -> Any:
        found = super().gradients(letters, before, targets)
        count = np.sum(targets >= 0)
        return found._replace(parameters={name: count * array for name, array in found.parameters.items()})


class EachClippedByItself(TrainingReference):
    def train_step(self, *batch: Any) -> Any:
        found = self.gradients(*batch)
        norm = self.recipe.max_norm
        each = {name: clipped({name: array}, norm)[name] for name, array in found.parameters.items()}
        self._optimizer.step(self._weights, each, self.recipe.learning_rate(self._optimizer.step_count))
        return found.loss


class SecondBest(TrainingReference):
    def decode_greedy(self, letters: Any, steps: int) -> Any:
        found = super().decode_greedy(letters, steps)
        found[-1, 0] = (found[-1, 0] + 1) % CONFIG.num_phonemes
        return found


def wrong(kind: type[TrainingReference], recipe: Recipe = RECIPE) -> Any:
    model = kind(CONFIG, recipe, np.float32)
    model.load(CASE.state)
    return model


def test_a_right_one_passes_every_check() -> None:
    for check in CHECKS.values():
        check(wrong(TrainingReference))
    check_clipping(lambda recipe: wrong(TrainingReference, recipe), CASE)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (MaskForgotten, "loss and gradients"),
        (TimeStepMissing, "loss and gradients"),
        (GradientScaled, "loss and gradients"),
        (SummedBeforeClipping, "loss and gradients"),
        (OneStepLate, "one step"),
        (SecondBest, "greedy decoding"),
    ],
)
def test_a_wrong_one_is_told(kind: type[TrainingReference], check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](wrong(kind))


def test_gradients_clipped_one_by_one_are_told() -> None:
    with pytest.raises(AssertionError):
        check_clipping(lambda recipe: wrong(EachClippedByItself, recipe), CASE)


def test_a_state_of_another_configuration_is_refused() -> None:
    check_state(CONFIG, CASE.state)
    other = initial_state(TrainingConfig(NOTEBOOK, num_letters=26, num_phonemes=12), 0)
    with pytest.raises(InvalidInput, match=r"parameter letters\.weight has shape \(26, 10\), expected \(27, 10\)"):
        check_state(CONFIG, other)
    del other.parameters["output.bias"]
    with pytest.raises(InvalidInput, match=r"parameter output\.bias is missing"):
        check_state(CONFIG, other)


def test_a_warm_up_that_never_ends_is_refused() -> None:
    with pytest.raises(InvalidInput, match="warmup_steps"):
        Recipe(peak_learning_rate=1e-3, warmup_steps=10, total_steps=10, max_norm=1.0)
