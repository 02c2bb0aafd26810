"""The losses of every row stay where rounding alone could bring them; what is wrong leaves."""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.processes import ROOT
from support.training_cases import norm_of
from support.wrong_trainings import MaskForgotten, OneStepLate, TimeStepMissing

from bench.train.envelope import SEED, STEPS, Stored, at_random, curve_of, fit, losses_of, oracle_losses
from bench.workloads.task import Task, read_task
from impls.training import find_trainable, initial_state, load_training
from impls.training_reference import TrainingReference, clipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.train.presets import PresetName
    from impls import Row
    from impls.training import TrainableModel

CURVE = curve_of("smoke")


@cache
def stored(preset: PresetName = "smoke") -> Stored:
    return msgspec.json.decode((ROOT / "results" / "method" / f"envelope-{preset}.json").read_bytes(), type=Stored)


@cache
def task(preset: PresetName = "smoke") -> Task:
    return read_task(curve_of(preset).lengths)


def losses(model: TrainableModel, steps: int = STEPS, preset: PresetName = "smoke") -> np.ndarray:
    return np.array([*islice(losses_of(model, curve_of(preset), task(preset), SEED), steps)])


@pytest.mark.parametrize("preset", ["smoke", pytest.param("default", marks=pytest.mark.thorough)])
def test_the_envelope_is_of_the_oracle_as_it_is(preset: PresetName) -> None:
    kept, curve = stored(preset), curve_of(preset)
    assert kept.settings == curve and kept.seed == SEED
    assert len(kept.losses) == len(kept.limits) == STEPS
    assert oracle_losses(curve, task(preset), SEED, steps=10) == pytest.approx(kept.losses[:10], rel=1e-12)


@pytest.mark.parametrize("preset", ["smoke", "default"])
def test_twins_that_had_no_part_in_it_are_within(preset: PresetName) -> None:
    assert stored(preset).twins >= 20 and len(stored(preset).held_out) >= 20
    assert max(stored(preset).held_out) < 1


def test_another_twin_is_within() -> None:
    another = oracle_losses(CURVE, task(), SEED, twin=1_000_000, steps=30)
    assert stored().envelope.first_outside(another) is None
    assert not np.array_equal(another, np.array(stored().losses[:30])), "it rounds"


@pytest.mark.parametrize(
    ("name", "preset"),
    [(name, "smoke") for name in find_trainable()]
    + [pytest.param(f"{own}/tuned", "default", marks=pytest.mark.thorough) for own in ("torch", "jax", "thinc")],
)
def test_the_losses_of_a_row_stay_within_it(name: str, preset: PresetName, require: Callable[[Row], None]) -> None:
    row, curve = find_trainable()[name], curve_of(preset)
    require(row)
    found = losses(load_training(row, curve.config(task(preset).symbols), curve.recipe), preset=preset)
    assert stored(preset).envelope.first_outside(found) is None


class ClippedBeforeAveraging(TrainingReference):
    def gradients(self, letters: Any, before: Any, targets: Any) -> Any:
        found, count = super().gradients(letters, before, targets), int(np.sum(targets >= 0))
        summed = clipped({name: count * own for name, own in found.parameters.items()}, self.recipe.max_norm)
        return found._replace(parameters={name: own / count for name, own in summed.items()})


@pytest.mark.parametrize("kind", [TimeStepMissing, MaskForgotten, ClippedBeforeAveraging, OneStepLate])
@pytest.mark.parametrize(("preset", "steps"), [("smoke", 30), pytest.param("default", 5, marks=pytest.mark.thorough)])
def test_what_is_wrong_leaves_it(kind: Callable[..., TrainingReference], preset: PresetName, steps: int) -> None:
    curve = curve_of(preset)
    wrong = kind(curve.config(task(preset).symbols), curve.recipe)
    assert stored(preset).envelope.first_outside(losses(wrong, steps, preset)) is not None


@pytest.mark.parametrize(("preset", "steps"), [("smoke", STEPS), ("default", 120)])
def test_its_limits_are_near_for_so_many_steps(preset: PresetName, steps: int) -> None:
    near = np.array(stored(preset).limits) / np.array(stored(preset).losses)
    assert np.all(near[:steps] < 2e-3)


def test_most_of_the_first_steps_clip() -> None:
    model = TrainingReference(CURVE.config(task().symbols), CURVE.recipe)
    model.load(initial_state(CURVE.config(task().symbols), SEED))
    norms = []
    for batch in islice(task().batches(CURVE.batch_size, SEED), 40):
        symbols = batch.letters, batch.before, batch.targets
        norms.append(norm_of(model.gradients(*symbols).parameters))
        model.train_step(*symbols)
    assert np.mean(np.array(norms) > CURVE.recipe.max_norm) > 0.5


Numbers = arrays(np.float64, 20, elements=st.floats(-1e6, 1e6))


@given(Numbers, st.integers(0, 100))
def test_rounding_at_random_gives_a_float32_next_to_the_number(numbers: np.ndarray, seed: int) -> None:
    found = at_random((seed,))(numbers)
    assert found.dtype == np.float64 and np.array_equal(found, found.astype(np.float32))
    assert np.all(np.abs(found - numbers) <= np.maximum(np.spacing(np.abs(numbers).astype(np.float32)), 1e-44))


def test_either_neighbour_is_as_likely() -> None:
    numbers = np.full(10_000, 1 + 2.0**-25)
    found = at_random((0,))(numbers)
    assert set(found) == {1.0, 1 + 2.0**-23}
    assert np.mean(found == 1.0) == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(at_random((0,))(np.ones(10)), np.ones(10)), "what is a float32 stays"


@given(arrays(np.float64, (5, 8), elements=st.floats(0.5, 2.0)), st.integers(0, 7))
def test_an_envelope_holds_its_twins_and_no_nan(twins: np.ndarray, place: int) -> None:
    envelope = fit(np.ones(8), [*twins])
    for twin in twins:
        assert envelope.first_outside(twin) is None and envelope.reach(twin) <= 1
    assert envelope.first_outside(np.ones(8)) is None
    broken = np.ones(8)
    broken[place] = np.nan
    assert envelope.first_outside(broken) == place + 1
