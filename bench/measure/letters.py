"""What a worker times of a row's training: greedy decoding, and a step; with the methods of ``subjects.Model``."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure.errors import Invalid
from bench.measure.proof import LEAST_MOVE, SEEN, WHEN, check_late, moved
from bench.workloads import letters as letter_problems
from bench.workloads.letters import RECIPE, path_beside
from bench.workloads.task import Batch
from impls.equality import LIMITS, Deviation, deviations, relative_error, wrong_dtype, wrong_shape
from impls.training import START, load_training
from impls.training_reference import TrainingReference, cross_entropy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure.messages import ProblemFile
    from bench.records.schema import Cell
    from bench.workloads.letters import LetterProblem
    from impls import Row
    from impls.contract import Device
    from impls.training import TrainableModel, TrainingState


class Trained:
    """A row's training with its weights, and the words that it is fed."""

    square_size: int | None = None

    def __init__(self, row: Row, source: ProblemFile, device: Device, *, blank: bool = False) -> None:
        """Load it. ``blank``: with zeros for words."""
        if blank:
            self._problem = letter_problems.blank(source.config, source.batches)
        else:
            self._problem = letter_problems.load(source.config, path_beside(source.path))
        start = time.perf_counter()
        self.row: TrainableModel = load_training(row, self._problem.config, RECIPE, device)
        self.row.load(self._problem.state)
        self.build_s = time.perf_counter() - start

    def reset(self) -> None:
        """Forget what steps have learnt: load the weights again."""
        self.row.load(self._problem.state)

    def body(self, cell: Cell) -> Callable[[], Any]:
        """The timed call on the words of the first input set; it gives its last result."""
        return partial(timed_call(self.row, cell), placed(self.row, cell, self._problem.batches[0]))

    def validate(self, cell: Cell, input_set: int) -> float:
        """The worst error on one of the input sets, from a fresh start; Invalid where beyond its limit."""
        self.reset()
        when = "after timing, on words not seen before" if input_set else "before timing"
        call = timed_call(self.row, cell)
        if cell.task == "learn_step":
            losses = [self.row.to_numpy(call(placed(self.row, cell, [own]))) for own in self._problem.steps(input_set)]
            error = loss_error("losses", np.array(losses), self._problem.losses[input_set], when)
            return max(error, self._mean_error(input_set, when))
        oracle = oracle_at(self._problem, self._problem.state)
        return max(
            likeliest(
                oracle, own.letters, len(own.targets), self.row.to_numpy(call(placed(self.row, cell, [own]))), when
            )
            for own in self._problem.batches[input_set]
        )

    def _mean_error(self, input_set: int, when: str) -> float:
        """How far Adam's average of the gradients is from the oracle's; its weights are float32."""
        state, expected = self.row.state(), self._problem.means[input_set]
        if wrong := wrong_shape(state.mean, expected) or wrong_dtype(state.parameters):
            raise Invalid(f"{wrong} ({when})")
        (worst, *_) = deviations("gradients", state.mean, expected)
        if not worst.within:
            raise Invalid(f"the average of the gradients of {worst} ({when})")
        return worst.error

    def turns(self, cell: Cell, seed: Sequence[int]) -> LetterTurns:
        """What its turns on the cell are fed, and what is learnt from each; ``seed`` draws the words."""
        return LetterTurns(self.row, cell, self._problem, seed)

    def compiled(self) -> None:
        """Nothing: where a row compiles, both are one program each."""

    def squares_s(self) -> list[float]:
        """Nothing: it is no bound."""
        return []


def placed(row: TrainableModel, cell: Cell, batches: Sequence[Batch]) -> list[tuple[Any, ...]]:
    """What the task takes of each batch, on the device."""
    if cell.task == "decode_greedy":
        found: list[tuple[Any, ...]] = [(row.to_device(own.letters), len(own.targets)) for own in batches]
    else:
        found = [tuple(map(row.to_device, (own.letters, own.before, own.targets))) for own in batches]
    row.wait([arrays[0] for arrays in found])
    return found


def timed_call(row: TrainableModel, cell: Cell) -> Callable[[Sequence[tuple[Any, ...]]], Any]:
    """The timed call: the task on every batch that it is given, each result awaited; the last result."""
    run: Callable[..., Any] = row.decode_greedy if cell.task == "decode_greedy" else row.train_step

    def call(batches: Sequence[tuple[Any, ...]]) -> Any:
        for batch in batches:
            result = run(*batch)
            row.wait(result)
        return result

    return call


def oracle_at(problem: LetterProblem, state: TrainingState) -> TrainingReference:
    """The oracle with these weights."""
    oracle = TrainingReference(problem.config, RECIPE)
    oracle.load(state)
    return oracle


def likeliest(oracle: TrainingReference, letters: np.ndarray, steps: int, said: np.ndarray, when: str) -> float:
    """How far what was said is from what is likeliest, after what was said before: 0 where it is that, everywhere.

    Where two phonemes are as likely as each other but for rounding, either is right, and what follows is another word:
    so each is judged by the oracle's logits after those before it. Raises Invalid beyond the limit.
    """
    if said.shape != (steps, letters.shape[1]) or not np.issubdtype(said.dtype, np.integer):
        raise Invalid(f"what was said has shape {said.shape} and is {said.dtype} ({when})")
    if said.min() < 0 or said.max() >= oracle.config.num_phonemes:
        raise Invalid(f"what was said is no phoneme ({when})")
    before = np.concatenate([np.full((1, said.shape[1]), START), said[:-1]])
    logits = oracle.logits(letters, before)[0]
    chosen = np.take_along_axis(logits, said[..., None].astype(np.int64), axis=-1)[..., 0]
    error = relative_error(chosen, logits.max(axis=-1))
    return within(Deviation("the logit of what was said", error, LIMITS["decode_greedy"]), when)


def loss_error(quantity: str, found: np.ndarray, expected: np.ndarray, when: str) -> float:
    """How far losses are from those expected, relative to these or to 1: a small one is a difference of large numbers.

    Raises Invalid beyond the limit.
    """
    error = float(np.max(np.abs(found.astype(np.float64) - expected) / np.maximum(1.0, expected)))
    return within(Deviation(quantity, error, LIMITS["learn_step"]), when)


def within(deviation: Deviation, when: str) -> float:
    """The error; Invalid beyond the limit."""
    if not deviation.within:
        raise Invalid(f"{deviation} ({when})")
    return deviation.error


class LetterTurns:
    """What the turns of a training on a cell are fed, and what is learnt from each: as ``proof.ModelTurns``."""

    def __init__(self, row: TrainableModel, cell: Cell, problem: LetterProblem, seed: Sequence[int]) -> None:
        self._row, self._cell, self._problem = row, cell, problem
        self._rng = np.random.default_rng(seed)
        self._drawn: list[list[Batch]] = []
        self._result: Any = None
        self._state = problem.state
        self._late_s: list[float] = []
        self.call = timed_call(row, cell)
        """One call, on what ``place`` gave for it."""

    def place(self, count: int) -> list[list[tuple[Any, ...]]]:
        """Words for so many calls, on the device: other letters each time.

        Long before its schedule ends, the training begins again.
        """
        if self._state.step > RECIPE.total_steps // 2:
            self._row.load(self._problem.state)
            self._state = self._problem.state
        self._drawn = [[self._other(own) for own in self._problem.batches[0]] for _ in range(count)]
        return [placed(self._row, self._cell, batches) for batches in self._drawn]

    def _other(self, batch: Batch) -> Batch:
        letters = self._rng.integers(0, self._problem.config.num_letters, batch.letters.shape, np.int32)
        return Batch(letters, batch.before, batch.targets)

    def look(self, result: Any) -> None:
        """Read what a turn's last call gave, and note how long that took and whether steps moved the weights."""
        row = self._row
        start = time.perf_counter()
        self._result = row.to_numpy(result)
        state = row.state() if self._learns else self._state
        read_s = time.perf_counter() - start
        ready = row.to_device(np.zeros((1, 1), np.int32) if self._learns else self._result)
        row.wait(ready)
        start = time.perf_counter()
        row.to_numpy(ready)
        if self._learns:
            row.state()
        self._late_s.append(read_s - (time.perf_counter() - start))
        if self._learns:
            steps = range(self._state.step, state.step)
            if len(steps) != len(self._drawn) * len(self._drawn[0]):
                raise Invalid(f"{len(steps)} steps were made where {len(self._drawn) * len(self._drawn[0])} were timed")
            rates = np.array([RECIPE.learning_rate(step) for step in steps])
            share = moved(self._state.parameters, state.parameters) / float(np.sqrt(np.sum(rates**2)))
            if not share >= LEAST_MOVE:  # NaN compares false
                raise Invalid(f"training stands still: the weights moved by {share:.2g} of what such steps move them")
            self._state = state

    @property
    def _learns(self) -> bool:
        return self._cell.task == "learn_step"

    def verify(self, call_s: float) -> float:
        """The worst error of what the last turn gave; ``call_s`` is what a call was timed at.

        Raises:
            Invalid: that is beyond its limit, or work was left undone when the calls had ended.
        """
        oracle, last = oracle_at(self._problem, self._state), self._drawn[-1][-1]
        if self._learns:
            error = self._next_loss(oracle, last)
        else:
            steps, seen = len(last.targets), np.sort(self._rng.permutation(last.words)[:SEEN])
            if self._result.shape != (steps, last.words):
                raise Invalid(f"what was said has shape {self._result.shape} ({WHEN})")
            error = likeliest(oracle, last.letters[:, seen], steps, self._result[:, seen], WHEN)
        check_late(self, self._late_s, call_s, len(self._drawn))
        return error

    def _next_loss(self, oracle: TrainingReference, batch: Batch) -> float:
        """One more step: its loss must be that of the weights which the last timed one left."""
        few = np.arange(min(SEEN, batch.words))  # so many words the oracle works out, and the row each time and again
        repeated = np.arange(batch.words) % len(few)
        some, again = batch.of(few), batch.of(repeated)
        loss = self._row.to_numpy(self.call(placed(self._row, self._cell, [again])))
        self._state = self._row.state()
        logits = oracle.logits(some.letters, some.before)[0]
        expected, _ = cross_entropy(logits[:, repeated], again.targets)
        when = "of the step after those that were timed, by the weights that these left"
        return loss_error("loss", np.asarray(loss), np.asarray(expected), when)
