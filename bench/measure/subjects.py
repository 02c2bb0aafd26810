"""What a worker times: a model at a workload, or the products alone that it needs; checked and awaited alike."""

from __future__ import annotations

import inspect
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.measure.error_location import words_of
from bench.measure.proof import WHEN, ModelTurns, timed_call
from bench.measure.validate import Invalid, product_error, validate, validate_timed
from bench.workloads import reference_outputs
from bench.workloads.flops import products
from impls.contract import Compiled
from impls.numpy_model import NumpyModel
from impls.products import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure.messages import ProblemFile
    from bench.records.schema import Cell
    from impls.contract import Device
    from impls.products import Multiplier

SQUARE_SIZE: dict[Device, int] = {"cpu": 1024, "gpu": 8192}
"""Rows and columns of the product that shows what a device can do: some 20 ms on one core, or on a large GPU."""

SQUARES = 3
"""How often it is made before the turns of a cell."""


class SubjectTurns(Protocol):
    """What the turns of a subject on a cell are fed, and what is learnt from each."""

    call: Callable[[Any], Any]
    """One call, on what ``place`` gave for it."""

    def place(self, count: int) -> Sequence[Any]:
        """What so many calls are fed."""

    def look(self, result: Any) -> None:
        """Look at what a turn's last call gave, right after it."""

    def verify(self, call_s: float) -> float:
        """The worst relative error of what was timed; ``call_s`` is what a call was timed at.

        Raises:
            Invalid: that is beyond its limit, or work was left undone when the calls had ended.
        """


class Unsupported(Exception):
    """A row's ``load`` does not take the shape of a workload; the message is the row's own."""


class Subject(Protocol):
    """A row that is loaded at a workload."""

    row: Any
    """What the row's ``load`` gave: on a GPU it may count memory."""
    build_s: float
    """How long that took, until the device had all that it needs."""

    def reset(self) -> None:
        """Forget what calls have left behind."""

    def body(self, cell: Cell) -> Callable[[], Any]:
        """The timed call: the task on every batch of the workload, awaited; it gives its last result."""

    def validate(self, cell: Cell, input_set: int) -> float:
        """The worst relative error on one of ``reference_outputs.INPUT_SETS``, from a fresh start.

        Raises:
            Invalid: it is beyond its limit.
        """

    def turns(self, cell: Cell, seed: Sequence[int]) -> SubjectTurns:
        """What its turns on the cell are fed, and what is learnt from each; ``seed`` draws the inputs."""

    def compiled(self) -> str | None:
        """What the row says that it has compiled."""

    def squares_s(self) -> list[float]:
        """Seconds of a product of two square matrices, several times; nothing where the row is a model."""

    @property
    def square_size(self) -> int | None:
        """Rows and columns of those."""


class Model:
    """A model with its weights, and the numbers that it is fed and held against."""

    def __init__(self, build: Callable[..., Any], source: ProblemFile, device: Device) -> None:
        """Load the model.

        Raises:
            Unsupported: the row does not take this shape.
        """
        self._problem = reference_outputs.load(Path(source.path))
        start = time.perf_counter()
        try:
            self._model = NumpyModel(build, source.config, self._problem.parameters, device)
        except NotImplementedError as error:
            if _raised_beside(build, error):
                raise Unsupported(words_of(error)) from error
            raise
        self.build_s = time.perf_counter() - start
        self.row: Any = self._model.row

    def reset(self) -> None:
        """Load the weights anew."""
        self._model.load(self._problem.parameters)

    def body(self, cell: Cell) -> Callable[[], Any]:
        """The task on every batch, each result awaited."""
        return body(self._model, cell, self._problem)

    def validate(self, cell: Cell, input_set: int) -> float:
        """The error against the oracle, from freshly loaded weights."""
        return validate(self._model, cell, self._problem, input_set=input_set)

    def validate_timed(self, cell: Cell, result: Any) -> float:
        """The error against the oracle of a result of ``body``.

        Raises:
            Invalid: it is beyond its limit.
        """
        return validate_timed(self._model, cell, self._problem, result)

    def turns(self, cell: Cell, seed: Sequence[int]) -> ModelTurns:
        """Each call has inputs of its own."""
        return ModelTurns(self._model, cell, self._problem, seed)

    def compiled(self) -> str | None:
        """What it says, if it says anything."""
        return (self.row.compiled() or None) if isinstance(self.row, Compiled) else None

    def squares_s(self) -> list[float]:
        """Nothing."""
        return []

    @property
    def square_size(self) -> None:
        """Nothing."""
        return None


def _raised_beside(build: Callable[..., Any], error: BaseException) -> bool:
    """Whether the row's own file, or one beside it, raised the error: a framework's is no declaration."""
    raised = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised).parent == Path(inspect.getfile(build)).parent


class BoundTurns:
    """The turns of a bound."""

    def __init__(self, call: Callable[[], Any], worst: Callable[[Any], float]) -> None:
        """``worst``: the error of a result."""
        self._worst = worst
        self._result: Any = None
        self.call: Callable[[Any], Any] = lambda _: call()

    def place(self, count: int) -> Sequence[None]:
        """Nothing: the factors are placed already."""
        return [None] * count

    def look(self, result: Any) -> None:
        """Keep it."""
        self._result = result

    def verify(self, call_s: float) -> float:  # noqa: ARG002
        """The error of the products that were made last.

        Raises:
            Invalid: it is beyond its limit.
        """
        return self._worst(self._result)


class Bound:
    """A framework's products of random factors: the same ones in every run, drawn again wherever they are needed."""

    def __init__(self, build: Callable[[str], Multiplier], source: ProblemFile, device: Device) -> None:
        self._source = source
        self._square = Product("square", *[SQUARE_SIZE[device]] * 3)
        start = time.perf_counter()
        self.row = build(device)
        self._multiply_square = self._call([self._square], 0)
        self._multiply_square()
        self.build_s = time.perf_counter() - start

    def reset(self) -> None:
        """Do nothing: a product leaves nothing behind."""

    def body(self, cell: Cell) -> Callable[[], Any]:
        """All products of the task on every batch, awaited."""
        return self._call(self._products(cell), 0)

    def validate(self, cell: Cell, input_set: int) -> float:
        """The error of the task's products, and of the square one, each made of the set's factors."""
        when = "after timing, with factors not seen before" if input_set else "before timing"
        return max(
            self._worst(cell, wanted, input_set, self._call(wanted, input_set)(), when)
            for wanted in ([self._square], self._products(cell))
        )

    def turns(self, cell: Cell, seed: Sequence[int]) -> BoundTurns:  # noqa: ARG002
        """The same products in each call: they are the harness's own, and remember nothing."""
        wanted = self._products(cell)
        return BoundTurns(self._call(wanted, 0), lambda result: self._worst(cell, wanted, 0, result, WHEN))

    def compiled(self) -> None:
        """Nothing."""

    def squares_s(self) -> list[float]:
        """Seconds of the square product, `SQUARES` times."""
        return [wall_s(self._multiply_square) for _ in range(SQUARES)]

    @property
    def square_size(self) -> int:
        """Rows and columns of the factors of the square product."""
        return self._square.n

    def _products(self, cell: Cell) -> Sequence[Product]:
        return products(self._source.config, self._source.batches, cell.task)

    def _call(self, wanted: Sequence[Product], input_set: int) -> Callable[[], Any]:
        multiplier = self.row
        placed = [
            multiplier.place(product, *factors(product, input_set, number)) for number, product in enumerate(wanted)
        ]

        def call() -> Any:
            result = multiplier.multiply(placed)
            multiplier.wait(result)
            return result

        return call

    def _worst(self, cell: Cell, wanted: Sequence[Product], input_set: int, result: Any, when: str) -> float:
        made = self.row.to_numpy(result)
        if len(made) != len(wanted):
            raise Invalid(f"{len(made)} products of {len(wanted)} were made ({when})")
        return max(
            product_error(cell, product, own, *factors(product, input_set, number), when)
            for number, (product, own) in enumerate(zip(wanted, made, strict=True))
        )


def factors(product: Product, input_set: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Random factors of a product, ``(count, m, k)`` and ``(k, n)``, uniform from -1 to 1; ``number``: its place."""
    rng = np.random.default_rng([reference_outputs.SEED, input_set, number])

    def uniform(*shape: int) -> np.ndarray:
        drawn = rng.random(shape, dtype=np.float32)
        drawn *= 2
        drawn -= 1
        return drawn

    return uniform(product.count, product.m, product.k), uniform(product.k, product.n)


def body(model: NumpyModel, cell: Cell, problem: reference_outputs.Problem) -> Callable[[], Any]:
    """The timed call of a model on the inputs that the oracle's answers are for."""
    row = model.row
    batches = [tuple(map(row.to_device, batch.arguments(cell.task))) for batch in problem.batches[0]]
    row.wait(batches)
    return partial(timed_call(model, cell.task), batches)


def wall_s(call: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
