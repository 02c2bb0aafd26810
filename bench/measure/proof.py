"""Proof that a row's values are right, and of each turn that the work of its calls was done by their end.

A row may give right values and still be timed wrongly: it returns before its work is done and does it when the result
is read (deferred or asynchronous execution without a wait), it remembers what it gave for an input, it stops training.
So no call is fed what an earlier one was, neither in content nor in place; what a turn gave is read at once, which may
take no longer than reading what is ready; training must have moved the weights; and the last result is held against
the oracle.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.measure.errors import Invalid
from impls.contract import LEARNING_RATE, Gradients, TrainStep
from impls.equality import PRECISION_LIMITS, answer, deviations, wrong_dtype, wrong_shape
from impls.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.records.schema import Cell
    from bench.workloads.reference_outputs import Batch, Problem
    from impls.equality import Answer
    from impls.numpy_model import NumpyModel
    from impls.products import Made, Product
    from impls.tasks import AnyTask

    Arrays = tuple[np.ndarray, ...]

LATE = 0.25
"""Reading a turn's result may take this share of a call longer than reading what is ready: the rest is noise."""

LATE_FLOOR_S = 100e-6
"""Less is noise over many turns: the first of two readings of a few small arrays finds colder caches. The medians of a
right row's turns were up to 46 µs for short calls forward and 190 µs of a training step of 2.1 ms; on a slower machine
154 µs of 1.5 ms, and in a busy hour 403 µs of 1.4 ms: between two of its turns all others have theirs."""

FEW_TURNS = 10
"""So many turns have twice the floor, and fewer more: of two turns a right row was once 720 µs late in both."""

AGAIN_S = 1.0
"""For at most so long a cell takes more turns if its readings were late: `FEW_TURNS` of them, one after the other,
decide alone, for nobody else has used the caches in between (the cell above: a median of 4 to 11 µs)."""

LEAST_MOVE = 0.05
"""How far a turn's steps must move the weights, root mean square over all numbers, as a share of ``learning rate x
sqrt(steps)``. Adam's steps are about as long as the learning rate while gradients agree, and a quarter of it where they
are mere noise; a random walk of n of them goes sqrt(n) times as far. Measured: 0.17 to 1.9, alike in all frameworks."""

SEEN = 4
"""How many sequences of the last timed batch are held against the oracle: each is a computation of its own."""

SLICE = 16
"""How many sequences the oracle takes at a time where it needs all: its states are float64, and all are kept."""

WHEN = "while it was timed"


def worst_error(cell: Cell, solved: Answer, expected: Answer, when: str, slack: Answer | None) -> float:
    """The worst relative error of an answer; Invalid beyond its limit, or of another shape, or where not float32."""
    if wrong := wrong_shape(solved, expected) or wrong_dtype(solved):
        raise Invalid(f"{wrong} ({when})")
    worst = deviations(cell.task, solved, expected, slack, precision=cell.precision)[0]
    if not worst.within:
        raise Invalid(f"{worst} ({when})")
    return worst.error


def product_error(cell: Cell, product: Product, made: Made, left: np.ndarray, right: np.ndarray, when: str) -> float:
    """The worst relative error of what a Product came to, against NumPy in float64.

    The last product is seen whole and of each other one a row, through a random vector (Freivalds): ``made v`` is held
    against ``left (right v)``, which costs a small part of the product itself and lets no wrong number through. Errors
    are relative to the size that such a sum has, so that one that happens to vanish is no accident. Raises Invalid as
    `worst_error` does.
    """
    found, counts = {"last": made.last, "rows": made.rows}, {"last": product.m, "rows": product.count}
    whole = {name: np.broadcast_to(0.0, (count, product.n)) for name, count in counts.items()}
    if wrong := wrong_shape(found, whole) or wrong_dtype(found):
        raise Invalid(f"{product.kind}: {wrong} ({when})")
    vector = np.random.default_rng(product.n).standard_normal(product.n)
    factor = right @ vector
    errors = []
    for ours, lefts in ((made.last, left[-1]), (made.rows, left[:, -1])):
        size = np.sqrt(np.max(lefts.astype(np.float64) ** 2 @ factor**2))
        errors.append(np.max(np.abs(ours @ vector - lefts @ factor)) / size)
    worst = float(np.max(errors))
    limit = PRECISION_LIMITS[cell.precision]["forward"]
    if not worst <= limit:  # NaN compares false
        raise Invalid(f"{product.kind} is off by {worst:.2e}, limit {limit:.0e} ({when})")
    return worst


def fresh(batches: Sequence[Batch], task: AnyTask, rng: np.random.Generator) -> list[Arrays]:
    """The arguments of a call on these batches, as no call has had them: every feature times a factor drawn again.

    Factors lie between 0.8 and 1.25 and have either sign, so that the numbers keep their size.
    """
    return [tuple(array * _factors(array.shape[-1], rng) for array in batch.arguments(task)) for batch in batches]


def _factors(width: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.uniform(-0.45, 0.45, width)
    return np.copysign(0.8 + np.abs(drawn), drawn).astype(np.float32)


def timed_call(model: NumpyModel, task: AnyTask) -> Callable[[Sequence[tuple[Any, ...]]], Any]:
    """The timed call of a model: the task on every batch that it is given, each result awaited; the last result."""
    row = model.row
    run: Callable[..., Any] = getattr(row, task)
    wait = row.wait

    def call(batches: Sequence[tuple[Any, ...]]) -> Any:
        for batch in batches:
            result = run(*batch)
            wait(result)
        return result

    return call


def late_by_s(readings_s: Sequence[float], call_s: float) -> float | None:
    """How much longer it took to read a turn's result than one that is ready; None where that may be noise.

    ``readings_s``: that of each turn. Of two the shorter counts, of more the median: in one it may have been preempted.
    """
    turns = len(readings_s)
    late_s = sorted(readings_s)[turns // 2 if turns > 2 else 0]
    return late_s if late_s > max(LATE * call_s, LATE_FLOOR_S * (1 + FEW_TURNS / turns)) else None


class Again(Protocol):
    """Turns that can be taken again."""

    call: Callable[[Any], Any]

    def place(self, count: int) -> Sequence[Any]:
        """Inputs for so many calls."""

    def look(self, result: Any) -> None:
        """Read what a turn's last call gave, and note how long that took."""


def check_late(turns: Again, late_s: list[float], call_s: float, calls: int) -> None:
    """Raise Invalid where work was left undone when the ``calls`` of a turn had ended; each turn notes one ``late_s``.

    Where turns are short, more readings decide what a few of them say: in these it may have been preempted.
    """
    late = late_by_s(late_s, call_s)
    if late is not None:
        again = min(FEW_TURNS, int(AGAIN_S / (call_s * calls)))
        for _ in range(again):
            for inputs in turns.place(calls):
                result = turns.call(inputs)
            turns.look(result)
        late = late_by_s(late_s[-again:] if again == FEW_TURNS else late_s, call_s)
    if late is not None:
        raise Invalid(
            "the work is not done when the call returns:"
            f" to read its result took {1e3 * late:,.3f} ms longer than to read one that is ready,"
            f" beside {1e3 * call_s:,.3f} ms for the call; wait() must wait for it"
        )


class ModelTurns:
    """What the turns of a model on a cell are fed, and what is learnt from each."""

    def __init__(self, model: NumpyModel, cell: Cell, problem: Problem, seed: Sequence[int]) -> None:
        """``seed`` draws the inputs: those who compete are given the same."""
        self._model, self._cell = model, cell
        self._batches = problem.batches[0]
        self._rng = np.random.default_rng(seed)
        self._drawn: list[list[Arrays]] = []
        self._solved: Any = None
        self._weights = problem.parameters
        self._late_s: list[float] = []
        self._moves: list[float] = []
        self.call = timed_call(model, cell.task)
        """One call, on what ``place`` gave for it."""

    def place(self, count: int) -> list[list[tuple[Any, ...]]]:
        """Inputs for so many calls, on the device."""
        row = self._model.row
        self._drawn = [fresh(self._batches, self._cell.task, self._rng) for _ in range(count)]
        placed = [[tuple(map(row.to_device, arrays)) for arrays in batches] for batches in self._drawn]
        for batches in placed:
            row.wait(batches)
        return placed

    def look(self, result: Any) -> None:
        """Read what a turn's last call gave, and note how long that took and how far training moved the weights."""
        start = time.perf_counter()
        solved = self._model.convert(result)
        read_s = time.perf_counter() - start
        self._late_s.append(read_s - self._ready_s(solved))
        self._solved = solved
        if isinstance(solved, TrainStep):
            steps = len(self._drawn) * len(self._batches)
            after = {name: np.array(array) for name, array in solved.parameters.items()}  # a row may move them in place
            self._moves.append(moved(self._weights, after) / (LEARNING_RATE * steps**0.5))
            self._weights = after

    def _ready_s(self, solved: Any) -> float:
        """Seconds that reading as much takes that is ready: copies on the device, and the weights as the row has them.

        Weights alone would not do: JAX keeps what it has once brought from a GPU.
        """
        row, arrays = self._model.row, [*answer(solved).values()]
        placed = [row.to_device(np.ascontiguousarray(array)) for array in arrays if array.ndim]
        row.wait(placed)
        start = time.perf_counter()
        for array in placed:
            row.to_numpy(array)
        if isinstance(solved, TrainStep | Gradients):
            row.parameters()
        return time.perf_counter() - start

    def verify(self, call_s: float) -> float:
        """The worst relative error of what the last turn gave; ``call_s`` is what a call was timed at.

        Raises:
            Invalid: that is beyond its limit, or work was left undone when the calls had ended.
        """
        self._check_moves()
        if self._cell.task == "train_step":
            error = self._verify_training()
        else:
            error = worst_error(self._cell, *self._seen(), WHEN, None)
        check_late(self, self._late_s, call_s, len(self._drawn))
        return error

    def _seen(self) -> tuple[Answer, Answer]:
        """Of some sequences of the last batch, what the row gave and what the oracle gives."""
        task, arguments = self._cell.task, self._drawn[-1][-1]
        solved = answer(self._solved)
        batch = arguments[0].shape[1]
        seen = np.sort(self._rng.permutation(batch)[:SEEN])
        oracle = Reference(self._model.config, self._weights)
        expected = answer(getattr(oracle, task)(*(array[:, seen] for array in arguments)))
        sums: Answer = {}
        if task == "gradients":  # those towards the weights are sums over all sequences
            expected = {name: expected[name] for name in ("d x", "d y")}
            sums = _weight_gradients(oracle, *arguments)
        whole = {name: np.broadcast_to(0.0, (len(own), batch, *own.shape[2:])) for name, own in expected.items()}
        if wrong := wrong_shape(solved, whole | sums):
            raise Invalid(f"{wrong} ({WHEN})")
        found = {name: solved[name][:, seen] for name in expected} | {name: solved[name] for name in sums}
        return found, expected | sums

    def _verify_training(self) -> float:
        """One more step: its loss must be that of the weights which the last timed one left."""
        row, (arguments,) = self._model.row, fresh(self._batches[:1], "train_step", self._rng)
        repeated = np.arange(arguments[0].shape[1]) % SEEN  # so that the oracle has few sequences to work out
        x, y, target = (np.ascontiguousarray(array[:, repeated]) for array in arguments)
        step = self._model.convert(row.train_step(*map(row.to_device, (x, y, target))))
        assert isinstance(step, TrainStep)
        output = Reference(self._model.config, self._weights).forward(x[:, :SEEN], y[:, :SEEN])
        expected = np.mean(((output - target[:, :SEEN]) ** 2)[:, repeated])
        self._moves.append(moved(self._weights, step.parameters) / LEARNING_RATE)
        self._check_moves()
        when = "of the step after those that were timed, by the weights that these left"
        return worst_error(self._cell, {"loss": step.loss}, {"loss": np.asarray(expected)}, when, None)

    def _check_moves(self) -> None:
        moved = next((move for move in self._moves if not move >= LEAST_MOVE), None)  # NaN compares false
        if moved is not None:
            raise Invalid(
                f"training stands still: in one of its turns the weights moved by {moved:.2g} of what so many steps of"
                f" Adam move them, at least {LEAST_MOVE:g} is expected"
            )


def moved(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> float:
    """Root mean square over all numbers of how far they moved."""
    moved = [(after[name] - array).ravel() for name, array in before.items()]
    return float((sum(float(own @ own) for own in moved) / sum(own.size for own in moved)) ** 0.5)


def _weight_gradients(oracle: Reference, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Answer:
    """The oracle's gradients towards the weights, ``SLICE`` sequences at a time."""
    sums: Answer = {}
    for start in range(0, x.shape[1], SLICE):
        some = slice(start, start + SLICE)
        for name, array in oracle.gradients(x[:, some], y[:, some], d_output[:, some]).parameters.items():
            sums[f"d {name}"] = sums.get(f"d {name}", 0.0) + array
    return sums
