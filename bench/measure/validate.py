"""Holds a loaded row against the oracle: before it is timed, on what was timed, and on an input it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.workloads import reference_outputs
from impls.equality import PRECISION_LIMITS, answer, deviations, wrong_dtype, wrong_shape

if TYPE_CHECKING:
    from bench.records.schema import Cell
    from impls.equality import Answer
    from impls.numpy_model import NumpyModel
    from impls.products import Made, Product


class Invalid(Exception):
    """The row's values are wrong; the message names the quantity."""


def validate(model: NumpyModel, cell: Cell, problem: reference_outputs.Problem, *, input_set: int) -> float:
    """The worst relative error on an input set, from freshly loaded weights.

    Raises:
        Invalid: it is beyond its limit.
    """
    model.load(problem.parameters)
    solved = reference_outputs.solve(model, cell.task, problem.batches, input_set)
    slack = problem.slack[cell.precision, input_set] if cell.task == "train_step" else None
    when = "after timing, on an input not seen before" if input_set else "before timing"
    return worst_error(cell, solved, problem.answers[input_set, cell.task], when, slack)


def validate_timed(model: NumpyModel, cell: Cell, problem: reference_outputs.Problem, result: Any) -> float:
    """The worst relative error of the last timed call's result.

    Many timed steps of training are too many for the oracle to follow; of them, the loss must have fallen.

    Raises:
        Invalid: it is beyond its limit, or the loss has not fallen.
    """
    last = answer(model.convert(result))
    expected = problem.answers[0, cell.task]
    if cell.task == "train_step":
        count = len(problem.batches[0])
        first_loss, last_loss = float(expected[f"loss of step {count}"]), float(last["loss"])
        if not last_loss < first_loss:  # NaN compares false
            raise Invalid(f"the loss did not fall while training was timed: {first_loss:.6g}, then {last_loss:.6g}")
        return 0.0
    count = len(problem.batches[0])
    solved = reference_outputs.of_batch(last, count - 1, count)
    return worst_error(cell, solved, {name: expected[name] for name in solved}, "while it was timed", None)


def worst_error(cell: Cell, solved: Answer, expected: Answer, when: str, slack: Answer | None) -> float:
    """The worst relative error of an answer.

    Raises:
        Invalid: it is beyond its limit, or something has another shape, or is not float32.
    """
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
    are relative to the size that such a sum has, so that one that happens to vanish is no accident.

    Raises:
        Invalid: it is beyond its limit, or something has another shape, or is not float32.
    """
    found = {"last": made.last, "rows": made.rows}
    shapes = {"last": (product.m, product.n), "rows": (product.count, product.n)}
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise Invalid(f"{product.kind} has {name} of shape {found[name].shape}, expected {shape} ({when})")
    if wrong := wrong_dtype(found):
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
