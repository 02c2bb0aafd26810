"""Trainings with a fault, which cross-tests and envelope have to tell from right ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from impls.training import NO_TARGET, Recipe, TrainingConfig
from impls.training_reference import TrainingReference


class MaskForgotten(TrainingReference):
    """It learns from what stands behind a word's end."""

    def gradients(self, letters: Any, before: Any, targets: Any) -> Any:
        """As the oracle's, of targets everywhere."""
        return super().gradients(letters, before, np.maximum(targets, 0))


class TimeStepMissing(TrainingReference):
    """The first time step has no part in the gradient of the output layer's weights."""

    def gradients(self, letters: Any, before: Any, targets: Any) -> Any:
        """As the oracle's, but for that."""
        found, first = super().gradients(letters, before, targets), targets.copy()
        first[1:] = NO_TARGET
        share = np.sum(first >= 0) / np.sum(targets >= 0)
        of_first = super().gradients(letters, before, first).parameters["output.weight"]
        found.parameters["output.weight"] -= share * of_first
        return found


class LateRecipe(Recipe):
    """The rate of a step is that of the step before."""

    def learning_rate(self, step: int) -> float:
        """As the recipe's, but for that."""
        return super().learning_rate(step - 1)


class OneStepLate(TrainingReference):
    """Its schedule is one step late."""

    def __init__(self, config: TrainingConfig, recipe: Recipe, dtype: Any = np.float64) -> None:
        super().__init__(config, LateRecipe(**asdict(recipe)), dtype)
