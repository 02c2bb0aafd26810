"""How far the losses of a right row may stray from the oracle's: as far as those of twins who round at random.

Float32 makes every net its own: rounding moves the first loss by 2e-7, and Adam, which divides a gradient by its own
size, turns that into another path. So no fixed number will do. A twin is the float64 oracle whose weights, activations,
gradients and moments are rounded to float32 at every step, and Adam's constants once, up or down at random. What many
of them do, step by step, is what rounding alone can do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from bench.records.schema import Struct
from bench.train.presets import PRESET, Preset, PresetName
from impls.reference import exactly
from impls.training import Recipe, initial_state
from impls.training_reference import TrainingReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxtyping import Float

    from bench.workloads.task import Task
    from impls.training import TrainableModel

    Losses = Float[np.ndarray, "steps"]

STEPS = 200
"""How many losses a row has to stay within it."""

SEED = 0

CLIPPING = Recipe(peak_learning_rate=1e-2, warmup_steps=STEPS, total_steps=4000, max_norm=0.2)
"""The recipe of all envelopes: most of its first steps clip, so that one that clips otherwise is told."""

MARGIN = 3.0
"""How many times as far as the twin that strays the most, measured by what all of them stray at that step."""


FEW_WORDS = 16
"""In a batch of the envelope of a large model: a step of the oracle takes two seconds with all its 128 words."""


def curve_of(preset: PresetName) -> Preset:
    """What an envelope is of: the preset with CLIPPING for a recipe; a large model with FEW_WORDS in a batch."""
    own = PRESET[preset]
    words = own.batch_size if preset == "smoke" else FEW_WORDS
    return replace(own, recipe=CLIPPING, batch_size=words)


@dataclass(frozen=True, slots=True)
class Envelope:
    """The oracle's losses, and how far others may be from them."""

    losses: Losses
    limits: Losses

    def reach(self, losses: Losses) -> float:
        """How near the losses come to the limits: 1 at a limit, beyond it more."""
        return float(np.max(np.abs(losses - self.losses[: len(losses)]) / self.limits[: len(losses)]))

    def first_outside(self, losses: Losses) -> int | None:
        """The first step, counted from 1, whose loss is too far off, or None."""
        outside = ~(np.abs(losses - self.losses[: len(losses)]) <= self.limits[: len(losses)])  # NaN compares false
        return int(np.argmax(outside)) + 1 if outside.any() else None


class Stored(Struct, frozen=True, kw_only=True):
    """An envelope as it is kept, with what it was made of and how twins that had no part in it lie in it."""

    settings: Preset
    seed: int
    twins: int
    """So many it was fitted to."""
    held_out: tuple[float, ...]
    """Of each of the others, how near it comes to the limits: 1 at a limit."""
    losses: tuple[float, ...]
    limits: tuple[float, ...]
    code: str
    """SHA-256 of the oracle that made it, with what that imports."""
    command: str

    @property
    def envelope(self) -> Envelope:
        """The envelope."""
        return Envelope(np.array(self.losses), np.array(self.limits))


def fit(losses: Losses, twins: Sequence[Losses]) -> Envelope:
    """The envelope around the oracle's losses that these twins' show.

    Its width at a step is the root mean square of how far they are off by then: of the largest so far, for paths that
    part do not come back, and no less than a float32 loss can show. It is widened until each twin is within it at all
    steps, and then by MARGIN.
    """
    off = np.abs(np.stack(twins) - losses)
    visible = np.finfo(np.float32).eps * np.abs(losses)
    width = np.maximum(np.maximum.accumulate(np.sqrt(np.mean(off**2, axis=0))), visible)
    return Envelope(losses, MARGIN * max(1.0, float(np.max(off / width))) * width)


def at_random(seed: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Rounds to one of the two nearest float32 numbers, either as likely, however near."""
    rng = np.random.default_rng(seed)

    def rounded(array: np.ndarray) -> np.ndarray:
        near = array.astype(np.float32)
        other = np.nextafter(near, np.where(array > near, np.float32(np.inf), np.float32(-np.inf)))
        takes_other = (array != near) & (rng.random(array.shape) < 0.5)
        return np.where(takes_other, other, near).astype(array.dtype)

    return rounded


def losses_of(model: TrainableModel, preset: Preset, task: Task, seed: int) -> Iterator[float]:
    """A model's losses from the seed's weights on, step by step, without end."""
    model.load(initial_state(preset.config(task.symbols), seed))
    for batch in task.batches(preset.batch_size, seed):
        symbols = (model.to_device(own) for own in (batch.letters, batch.before, batch.targets))
        loss = model.train_step(*symbols)
        model.wait(loss)
        yield float(model.to_numpy(loss))


def oracle_losses(preset: Preset, task: Task, seed: int, twin: int | None = None, steps: int = STEPS) -> Losses:
    """The oracle's, or those of one of its twins."""
    rounded = exactly if twin is None else at_random((seed, twin))
    model = TrainingReference(preset.config(task.symbols), preset.recipe, rounded=rounded)
    return np.array([*islice(losses_of(model, preset, task, seed), steps)])
