"""A training in a process of its own: ``python -m bench.train.worker ASSIGNMENT NEWS``.

It goes on from its checkpoint, or begins. What it says goes, a line of JSON each, into the pipe ``NEWS``. On SIGTERM,
or when its time is up, it ends after the step that it is in, with a checkpoint.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from bench.measure.errors import Invalid, verdict_on
from bench.measure.worker import settle_down
from bench.records.schema import Struct
from bench.train.checkpoint import About, Checkpoint, Evaluation, read_checkpoint, write_checkpoint
from bench.train.presets import PRESET, Preset
from bench.workloads.symbols import Decode
from bench.workloads.task import Batch, Part, Task, read_task
from impls import read_row
from impls.training import TrainableModel, initial_state, load_training, training_file

TELL_S = 0.25
"""At most so often it says how far it is."""


class Assignment(Struct, frozen=True, kw_only=True):
    """What the process has to do."""

    about: About
    """Where it is to begin, if there is no checkpoint."""
    folder: str
    row_path: str
    processors: list[int]
    memory_limit_bytes: int | None
    blocked: list[str]
    until_s: float | None
    """When its time is up, by the system's clock that does not go back."""


class Step(msgspec.Struct, frozen=True, tag=True):
    """How far it is."""

    step: int
    loss: float
    words_per_s: float


class Evaluated(msgspec.Struct, frozen=True, tag=True):
    """The error rates of the validation words; they are in the checkpoint."""

    evaluation: Evaluation


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Why it cannot go on."""

    status: str
    reason: str


class NotWritten(msgspec.Struct, frozen=True, tag=True):
    """A checkpoint cannot be written: the one before is still there."""

    reason: str


class NotSaved(Exception):
    """A checkpoint cannot be written; the message says where, and why."""


class Stopped(Exception):
    """An evaluation is broken off."""


News = Step | Evaluated | Failed | NotWritten


class Training:
    """A model and what becomes of it."""

    def __init__(self, model: TrainableModel, task: Task, checkpoint: Checkpoint, folder: Path) -> None:
        self._model, self._task, self._folder = model, task, folder
        self.about = checkpoint.about
        self.preset: Preset = PRESET[self.about.preset]
        self.step = checkpoint.state.step
        self._losses, self._step_s, self._is_first = (
            list(own) for own in (checkpoint.losses, checkpoint.step_s, checkpoint.is_first)
        )
        self._shapes: set[tuple[int, int]] = set()
        model.load(checkpoint.state)

    def run(self, tell: Callable[[News], None], stop: Callable[[], bool]) -> None:
        """Step until the target is reached, the recipe ends or it is to stop; then a checkpoint is written.

        Before an evaluation there is one, too: to stop breaks an evaluation off, which is made when it goes on.

        Raises:
            NotSaved: a checkpoint cannot be written.
            Invalid: a loss is no number; the checkpoint is that before it.
        """
        batches, told_s = self._task.batches(self.preset.batch_size, self.about.seed, self.step), 0.0
        while self.about.ending is None:
            if self._is_due():
                self.save()
                if not self._evaluate(stop):
                    return
                tell(Evaluated(self.about.evaluations[-1]))
            elif stop():
                break
            else:
                batch = next(batches)
                self._make_step(batch)
                if time.monotonic() - told_s >= TELL_S:
                    told_s = time.monotonic()
                    tell(Step(self.step, self._losses[-1], batch.words / float(np.median(self._step_s[-50:]))))
        self.save()

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            NotSaved: it cannot be written; the one before is still there.
        """
        columns: dict[str, np.ndarray] = {
            "losses": np.array(self._losses, np.float32),
            "step_s": np.array(self._step_s, np.float64),
            "is_first": np.array(self._is_first, np.bool_),
        }
        try:
            write_checkpoint(Checkpoint(self.about, **columns, state=self._model.state()), self._folder)
        except OSError as error:
            raise NotSaved(f"{error.filename or self._folder}: {error.strerror or error}") from error

    def _is_due(self) -> bool:
        """Whether it is to be evaluated before the next step."""
        last = self.about.evaluations[-1].step if self.about.evaluations else 0
        is_time = self.step % self.preset.evaluate_every == 0 or self.step == self.preset.recipe.total_steps
        return is_time and self.step > last

    def _make_step(self, batch: Batch) -> None:
        """One step, by the clock: from symbols on the device to the loss."""
        symbols = [self._model.to_device(own) for own in (batch.letters, batch.before, batch.targets)]
        self._model.wait(symbols)
        start = time.perf_counter()
        loss = self._model.train_step(*symbols)
        self._model.wait(loss)
        self._step_s.append(time.perf_counter() - start)
        self._losses.append(float(self._model.to_numpy(loss)))
        self._is_first.append(batch.shape not in self._shapes)
        self._shapes.add(batch.shape)
        self.step += 1
        if not math.isfinite(self._losses[-1]):
            raise Invalid(f"the loss of step {self.step} is {self._losses[-1]}")

    def _evaluate(self, stop: Callable[[], bool]) -> bool:
        """Look at the validation words; where that ends the training, at the test words. False where it is to stop."""
        try:
            found = self._errors("validation", stop)
            about = msgspec.structs.replace(self.about, evaluations=(*self.about.evaluations, found))
            reached = found.phoneme_error <= about.target
            if reached or self.step == self.preset.recipe.total_steps:
                ending = "reached" if reached else "missed"
                about = msgspec.structs.replace(about, ending=ending, test=self._errors("test", stop))
        except Stopped:
            return False
        self.about = about
        return True

    def _errors(self, part: Part, stop: Callable[[], bool]) -> Evaluation:
        def decode(letters: np.ndarray, steps: int) -> np.ndarray:
            if stop():
                raise Stopped
            return decoder_of(self._model)(letters, steps)

        found = self._task.errors(self._task.parts[part][: self.preset.most_evaluated], decode)
        return Evaluation(step=self.step, phoneme_error=found.phoneme, word_error=found.word)


def decoder_of(model: TrainableModel) -> Decode:
    """The model's greedy decoding, from and to NumPy."""

    def decode(letters: np.ndarray, steps: int) -> np.ndarray:
        return model.to_numpy(model.decode_greedy(model.to_device(letters), steps))

    return decode


def beginning(about: About) -> Checkpoint:
    """A training of which no step is made."""
    state = initial_state(about.config, about.seed)
    return Checkpoint(about, np.empty(0, np.float32), np.empty(0), np.empty(0, np.bool_), state)


def main(arguments: Sequence[str]) -> int:
    """Train as assigned. 0, also where it is told to stop; 1 where the training or its checkpoint fails."""
    assigned = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Assignment)
    news = int(arguments[1])
    os.set_inheritable(news, False)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, lambda number, _: stopped.append(number))

    def tell(what: News) -> None:
        with suppress(BrokenPipeError):  # who listened has gone: the work goes on to its checkpoint
            os.write(news, msgspec.json.encode(what) + b"\n")

    def stop() -> bool:
        return bool(stopped) or (assigned.until_s is not None and time.monotonic() >= assigned.until_s)

    row, folder, about = read_row(Path(assigned.row_path)), Path(assigned.folder), assigned.about
    try:
        settle_down(assigned.processors, assigned.memory_limit_bytes, assigned.blocked)
        path, preset = folder / about.name, PRESET[about.preset]
        checkpoint = read_checkpoint(path) if path.exists() else beginning(about)
        model = load_training(row, about.config, preset.recipe)
        Training(model, read_task(preset.lengths, stress=preset.stress), checkpoint, folder).run(tell, stop)
    except NotSaved as error:
        tell(NotWritten(f"{error}"))
        return 1
    except Exception as error:
        tell(Failed(*verdict_on(error, training_file(row), assigned.blocked)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
