"""Letters and phonemes for the cross-tests of training, and the checks, as in ``crosschecks``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from support.crosschecks import NOTEBOOK

from impls.equality import LIMITS, Deviation, relative_error
from impls.reference import TrainingSlack
from impls.training import END, NO_TARGET, START, Recipe, TrainingConfig, initial_state
from impls.training_reference import TrainingReference, clipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from impls.contract import Parameters
    from impls.training import TrainableModel, TrainingState

CONFIG = TrainingConfig(NOTEBOOK, num_letters=27, num_phonemes=12)
RECIPE = Recipe(peak_learning_rate=5e-3, warmup_steps=4, total_steps=20, max_norm=1.0)
STEPS = 10

Symbols = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class TrainingCase:
    """A configuration with weights, and a batch for each of its steps."""

    config: TrainingConfig
    recipe: Recipe
    state: TrainingState
    batches: list[Symbols]

    def oracle(self) -> TrainingReference:
        """The oracle in this case's state."""
        reference = TrainingReference(self.config, self.recipe)
        reference.load(self.state)
        return reference

    def with_norm(self, max_norm: float) -> TrainingCase:
        """The same, clipped to another norm."""
        return replace(self, recipe=replace(self.recipe, max_norm=max_norm))


def draw_batch(rng: np.random.Generator, config: TrainingConfig, t_x: int, t_y: int, batch: int) -> Symbols:
    """Letters; words of one to ``t_y - 1`` phonemes, as the decoder reads them and is to say them."""
    letters = rng.integers(0, config.num_letters, (t_x, batch)).astype(np.int32)
    before, targets = np.full((t_y, batch), END, np.int32), np.full((t_y, batch), NO_TARGET, np.int32)
    before[0] = START
    for word, length in enumerate(rng.integers(1, t_y, batch)):
        phonemes = rng.integers(2, config.num_phonemes, length)
        before[1 : length + 1, word] = targets[:length, word] = phonemes
        targets[length, word] = END
    return letters, before, targets


def draw_training(config: TrainingConfig = CONFIG, t_x: int = 5, t_y: int = 6, batch: int = 4) -> TrainingCase:
    """A case of these sizes, all its batches different."""
    rng = np.random.default_rng(0)
    batches = [draw_batch(rng, config, t_x, t_y, batch) for _ in range(STEPS)]
    return TrainingCase(config, RECIPE, initial_state(config, seed=3), batches)


def norm_of(gradients: Mapping[str, np.ndarray]) -> float:
    """Of all of them together."""
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in gradients.values())))


def within(found: Mapping[str, np.ndarray], oracle: Parameters, limit: float, slack: Parameters | None = None) -> None:
    """Fail unless every array is as near to the oracle's as that, naming the first that is not."""
    for name, expected in oracle.items():
        off = relative_error(np.asarray(found[name]), np.asarray(expected), (slack or {}).get(name, 0.0))
        deviation = Deviation(name, off, limit)
        assert deviation.within, str(deviation)


def fed(model: TrainableModel, batch: Symbols) -> tuple[Any, ...]:
    """The batch, where the model wants it."""
    return tuple(map(model.to_device, batch))


def check_loss_and_gradients(model: TrainableModel, case: TrainingCase) -> None:
    """Loss and gradients, before clipping; and nothing is changed by asking for them."""
    model.load(case.state)
    for batch in case.batches[:2]:
        expected, found = case.oracle().gradients(*batch), model.gradients(*fed(model, batch))
        within({"loss": found.loss}, {"loss": expected.loss}, LIMITS["forward"])
        within(found.parameters, expected.parameters, LIMITS["gradients"])
    same_state(model.state(), case.state)


def check_steps(model: TrainableModel, case: TrainingCase, steps: int) -> None:
    """So many steps: each loss, the weights after the last, and Adam's averages."""
    model.load(case.state)
    oracle, slack = case.oracle(), TrainingSlack(case.state.parameters)
    for number, batch in enumerate(case.batches[:steps]):
        expected, loss = oracle.train_step(*batch), model.train_step(*fed(model, batch))
        model.wait(loss)
        within({"loss": model.to_numpy(loss)}, {"loss": expected}, LIMITS["train_step"])
        slack.step(oracle.last_gradients, case.recipe.learning_rate(number))
    found, wanted = model.state(), oracle.state()
    assert found.step == steps
    within(found.parameters, wanted.parameters, LIMITS["train_step"], slack.sizes())
    within(found.mean, wanted.mean, LIMITS["gradients"])
    within(found.square, wanted.square, LIMITS["gradients"])


def check_clipping(model_of: Callable[[Recipe], TrainableModel], case: TrainingCase) -> None:
    """A gradient above the norm is scaled down to it, all its arrays together; one below is left as it is."""
    gradients = case.oracle().gradients(*case.batches[0]).parameters
    for share in (0.1, 10.0):
        clipping = case.with_norm(share * norm_of(gradients))
        model = model_of(clipping.recipe)
        model.load(case.state)
        model.wait(model.train_step(*fed(model, case.batches[0])))
        within(model.state().mean, scaled(clipped(gradients, clipping.recipe.max_norm), 0.1), LIMITS["gradients"])


def scaled(arrays: Parameters, factor: float) -> Parameters:
    """Each of the arrays times the factor: after one step, a tenth of the gradient is Adam's mean."""
    return {name: factor * array for name, array in arrays.items()}


def check_decoding(model: TrainableModel, case: TrainingCase) -> None:
    """The phonemes of greedy decoding, all of them, before and after training."""
    oracle = case.oracle()
    model.load(case.state)
    for letters, before, targets in case.batches[:3]:
        found = model.to_numpy(model.decode_greedy(model.to_device(letters), 7))
        assert np.array_equal(found, oracle.decode_greedy(letters, 7))
        oracle.train_step(letters, before, targets)
        model.train_step(*fed(model, (letters, before, targets)))


def same_state(one: TrainingState, other: TrainingState) -> None:
    """Fail unless both are the same to the last bit."""
    assert one.step == other.step
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        for name, array in theirs.items():
            assert np.array_equal(mine[name], array), name
