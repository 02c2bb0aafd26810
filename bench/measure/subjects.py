"""What a worker times: a model at a workload, or the products alone that it needs; and what memory a call needs."""

from __future__ import annotations

import ctypes
import gc
import inspect
import re
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure.errors import Invalid, Unsupported, words_of
from bench.measure.proof import WHEN, ModelTurns, product_error, timed_call, worst_error
from bench.workloads import reference_outputs
from bench.workloads.flops import products
from impls.contract import Compiled, NoCounter
from impls.equality import answer
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


PROC_STATUS = Path("/proc/self/status")
PROC_CLEAR = Path("/proc/self/clear_refs")


class Model:
    """A model with its weights, and the numbers that it is fed and held against."""

    square_size: int | None = None
    """Of a bound: rows and columns of the matrices of ``squares_s``."""

    def __init__(self, build: Callable[..., Any], source: ProblemFile, device: Device, *, blank: bool = False) -> None:
        """Load the model; Unsupported where the row does not take this shape. ``blank``: with zeros for numbers."""
        if blank:
            self._problem = reference_outputs.blank(source.config, source.batches)
        else:
            self._problem = reference_outputs.load(Path(source.path))
        start = time.perf_counter()
        try:
            self._model = NumpyModel(build, source.config, self._problem.parameters, device)
        except NotImplementedError as error:
            if _raised_beside(build, error):
                raise Unsupported(words_of(error)) from error
            raise
        self.build_s = time.perf_counter() - start
        """How long the row's ``load`` took, until the device had all that it needs."""
        self.row: Any = self._model.row
        """What it gave: on a GPU it may count memory."""

    def reset(self) -> None:
        """Forget what calls have left behind: load the weights again."""
        self._model.load(self._problem.parameters)

    def body(self, cell: Cell) -> Callable[[], Any]:
        """The timed call on the inputs of the reference outputs, every batch of them; it gives its last result."""
        row = self.row
        batches = [tuple(map(row.to_device, batch.arguments(cell.task))) for batch in self._problem.batches[0]]
        row.wait(batches)
        return partial(timed_call(self._model, cell.task), batches)

    def validate(self, cell: Cell, input_set: int) -> float:
        """The worst relative error on one of the input sets, from a fresh start; Invalid where beyond its limit."""
        self.reset()
        problem = self._problem
        solved = reference_outputs.solve(self._model, cell.task, problem.batches, input_set)
        slack = problem.slack[cell.precision, input_set] if cell.task == "train_step" else None
        when = "after timing, on an input not seen before" if input_set else "before timing"
        return worst_error(cell, solved, problem.answers[input_set, cell.task], when, slack)

    def validate_timed(self, cell: Cell, result: Any) -> float:
        """The worst relative error of a result of ``body``.

        Many timed steps of training are too many for the oracle to follow; of them, the loss must have fallen. Invalid
        where it has not, or the error is beyond its limit.
        """
        last, count = answer(self._model.convert(result)), len(self._problem.batches[0])
        expected = self._problem.answers[0, cell.task]
        if cell.task == "train_step":
            first_loss, last_loss = float(expected[f"loss of step {count}"]), float(last["loss"])
            if not last_loss < first_loss:  # NaN compares false
                raise Invalid(f"the loss did not fall while training was timed: {first_loss:.6g}, then {last_loss:.6g}")
            return 0.0
        solved = reference_outputs.of_batch(last, count - 1, count)
        return worst_error(cell, solved, {name: expected[name] for name in solved}, WHEN, None)

    def turns(self, cell: Cell, seed: Sequence[int]) -> ModelTurns:
        """What its turns on the cell are fed, and what is learnt from each; ``seed`` draws the inputs."""
        return ModelTurns(self._model, cell, self._problem, seed)

    def compiled(self) -> str | None:
        """What the row says that it has compiled."""
        return (self.row.compiled() or None) if isinstance(self.row, Compiled) else None

    def squares_s(self) -> list[float]:
        """Of a bound: seconds of a product of two square matrices, several times."""
        return []


def _raised_beside(build: Callable[..., Any], error: BaseException) -> bool:
    """Whether the row's own file, or one beside it, raised the error: a framework's is no declaration."""
    raised = traceback.extract_tb(error.__traceback__)[-1].filename
    return Path(raised).parent == Path(inspect.getfile(build)).parent


class Bound:
    """A framework's products of random factors, with the methods of a ``Model``.

    Factors are the same in every run, and drawn again wherever they are needed.
    """

    def __init__(self, build: Callable[[str], Multiplier], source: ProblemFile, device: Device) -> None:
        self._source = source
        self.square_size: int | None = SQUARE_SIZE[device]
        self._square = Product("square", *[SQUARE_SIZE[device]] * 3)
        start = time.perf_counter()
        self.row = build(device)
        self._multiply_square = self._call([self._square])
        self._multiply_square()
        self.build_s = time.perf_counter() - start

    def reset(self) -> None:
        """Do nothing: a product leaves nothing behind."""

    def body(self, cell: Cell) -> Callable[[], Any]:
        """All products of the task on every batch, awaited."""
        return self._call(self._products(cell))

    def validate(self, cell: Cell, input_set: int) -> float:
        """The error of the task's products, and of the square one, each made of the set's factors."""
        when = "after timing, with factors not seen before" if input_set else "before timing"
        return max(
            self._worst(cell, wanted, input_set, self._call(wanted, input_set)(), when)
            for wanted in ([self._square], self._products(cell))
        )

    def turns(self, cell: Cell, seed: Sequence[int]) -> BoundTurns:  # noqa: ARG002
        """The same products in each call: they are the harness's own, and remember nothing."""
        call, wanted = self.body(cell), self._products(cell)
        return BoundTurns(lambda _: call(), lambda result: self._worst(cell, wanted, 0, result, WHEN))

    def compiled(self) -> None:
        """Nothing."""

    def squares_s(self) -> list[float]:
        """Seconds of the square product, `SQUARES` times."""
        return [wall_s(self._multiply_square) for _ in range(SQUARES)]

    def _products(self, cell: Cell) -> Sequence[Product]:
        return products(self._source.config, self._source.batches, cell.task)

    def _call(self, wanted: Sequence[Product], input_set: int = 0) -> Callable[[], Any]:
        multiplier = self.row
        placed = [multiplier.place(one, *factors(one, input_set, number)) for number, one in enumerate(wanted)]

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


@dataclass
class BoundTurns:
    """The turns of a bound, as ``ModelTurns`` are those of a model."""

    call: Callable[[Any], Any]
    error_of: Callable[[Any], float]
    """The error of a result."""
    result: Any = None

    def place(self, count: int) -> Sequence[Any]:
        """Nothing: the factors are placed already."""
        return [None] * count

    def look(self, result: Any) -> None:
        """Keep it."""
        self.result = result

    def verify(self, call_s: float) -> float:  # noqa: ARG002
        """The error of the products that were made last; Invalid where beyond its limit."""
        return self.error_of(self.result)


def factors(product: Product, input_set: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Random factors of a product, ``(count, m, k)`` and ``(k, n)``, uniform from -1 to 1; ``number``: its place."""
    rng = np.random.default_rng([reference_outputs.SEED, input_set, number])

    def uniform(*shape: int) -> np.ndarray:
        drawn = rng.random(shape, dtype=np.float32)
        drawn *= 2
        drawn -= 1
        return drawn

    return uniform(product.count, product.m, product.k), uniform(product.k, product.n)


def wall_s(call: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory(row: Any, device: str, call: Callable[[], Any]) -> tuple[int, str]:
    """Bytes at the peak of a second call, above what is held now that ``row`` is loaded; and what was read.

    What a first call leaves behind, such as a compiled program, counts: it is held from then on. On a CPU it is the
    process's ``VmHWM``, which a write to ``clear_refs`` resets. (``ru_maxrss`` would start from the parent's peak.)
    Linux keeps it in batches of 32 pages a processor, so that it may be off by 128 KiB for each.

    Raises:
        NoCounter: the system, or the row on this device, has no counter.
    """
    if device == "cpu":
        if not PROC_STATUS.exists() or not PROC_CLEAR.exists():
            raise NoCounter("this system does not tell a process's peak memory (no /proc)")
        _give_back()
        held = _bytes("VmRSS")
        call()
        PROC_CLEAR.write_text("5")
        call()
        return max(0, _bytes("VmHWM") - held), "VmHWM"
    if not hasattr(row, "peak_bytes"):
        raise NoCounter("the row offers no peak_bytes(), which counts the device's memory")
    row.reset_peak()
    held = row.peak_bytes()
    call()
    row.reset_peak()
    call()
    return max(0, row.peak_bytes() - held), f"peak_bytes of {type(row).__name__}"


def _give_back() -> None:
    """Let the system have what was freed: else the next call finds it here already, and seems to need less."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _bytes(name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+) kB$", PROC_STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
    if match is None:
        raise NoCounter(f"this system does not tell a process's {name}")
    return 1024 * int(match[1])
