"""When two results are the same: the error norm, the limits, and the one table of them.

Used by the cross-tests and by the bench, before and after timing. ``docs/definitions.md`` says it in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from impls.contract import INPUT_DTYPE, Gradients, LSTMOutput, States, TrainStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from impls.contract import Precision
    from impls.tasks import AnyTask

Answer = dict[str, np.ndarray]
"""The result of a task, flat: name of the quantity to NumPy array."""

LIMITS: dict[AnyTask, float] = {
    "encode": 1e-5,  # outputs and states; measured worst 8e-7
    "forward": 1e-5,
    "gradients": 1e-4,  # sums over time and batch; measured worst 4e-6
    "train_step": 1e-5,  # losses and parameters, beyond the slack; measured worst 6e-7
    "decode_greedy": 1e-5,  # the logit of what was said, against the largest
    "learn_step": 1e-5,  # losses
}
"""Largest relative error against the float64 oracle that float32 may show, for each task."""

TF32_LIMITS: dict[AnyTask, float] = {
    "encode": 5e-3,  # simulated worst 1.4e-3
    "forward": 5e-3,  # simulated worst 1.3e-3
    "gradients": 1e-2,  # simulated worst 3.1e-3
    "train_step": 1e-3,  # beyond TF32's own slack; simulated worst 1.9e-4
}
"""The same where products are made in TF32. **Not yet measured on a GPU.**

TF32 keeps 10 bits of a factor's mantissa: rounding moves each factor by up to 2**-11 = 5e-4 of itself, cutting off by
up to 2**-10 = 1e-3, always towards zero; sums are float32. The errors in a sum over hidden_dim are largely independent,
so that it is off by about as much, relatively, as one product. The logistic function (slope at most 1/4) and the forget
gate (about 1/2) damp what a step hands to the next, so that errors do not grow with the length.

The oracle's own code in float32 with such products (``tests/impls/test_precision.py``) agrees. At the shapes of
``seed``, ``latency``, ``braun`` and ``tutorial`` it is off by 2e-4 to 9e-4 with rounded factors, by 7e-4 to 3.1e-3 with
cut ones. The limits are three to five times the worst of that. They see a wrong gate, bias, state or step. What they
cannot see, such as a gradient that is 1 % too large, is seen in float32, where the same code is checked.
"""

BFLOAT16_LIMITS: dict[AnyTask, float] = {
    "encode": 5e-2,  # measured worst 9e-3
    "forward": 5e-2,  # measured worst 1.5e-2
    "gradients": 1e-1,  # measured worst 2.4e-2
    "train_step": 1e-2,  # beyond bfloat16's own slack; measured worst 1.3e-3
}
"""The same where factors and states are bfloat16: three to eight times what PyTorch and JAX show on a CPU.

That keeps 7 bits of mantissa: rounding moves a number by up to 2**-8 = 4e-3 of itself, eight times as much as TF32's.
"""

PRECISION_LIMITS: dict[Precision, dict[AnyTask, float]] = {
    "float32": LIMITS,
    "tf32": TF32_LIMITS,
    "bfloat16": BFLOAT16_LIMITS,
}

ZERO_LIMIT = 1e-7
"""Largest absolute value where the oracle says that everything is zero."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one quantity is from the oracle."""

    quantity: str
    error: float
    limit: float

    @property
    def within(self) -> bool:
        """Whether the error is finite and inside its limit."""
        return bool(self.error <= self.limit)  # NaN compares false

    def __str__(self) -> str:
        return f"{self.quantity} is off by {self.error:.2e}, limit {self.limit:.0e}"


def relative_error(actual: np.ndarray, oracle: np.ndarray, slack: np.ndarray | float = 0.0) -> float:
    """``max(|actual - oracle| - slack) / max|oracle|``, at least 0; infinite where the shapes differ.

    ``slack`` is what each number may be off by without counting (``reference.TrainingSlack``). Where the oracle is all
    zero there is nothing to be relative to: the result is then 0 for ``max|actual|`` up to ZERO_LIMIT, else infinite.
    """
    if actual.shape != oracle.shape:
        return float("inf")
    scale = float(np.max(np.abs(oracle)))
    difference = float(np.max(np.maximum(np.abs(actual.astype(np.float64) - oracle) - slack, 0)))
    if scale == 0:
        return 0.0 if difference <= ZERO_LIMIT else float("inf")
    return difference / scale


def deviations(
    task: AnyTask,
    actual: Mapping[str, np.ndarray],
    oracle: Mapping[str, np.ndarray],
    slack: Mapping[str, np.ndarray] | None = None,
    *,
    precision: Precision = "float32",
) -> list[Deviation]:
    """Every quantity of the oracle's answer, worst first; one that is missing is infinitely far off."""
    limit, slack = PRECISION_LIMITS[precision][task], slack or {}
    found = [
        Deviation(
            name, relative_error(actual[name], expected, slack.get(name, 0.0)) if name in actual else np.inf, limit
        )
        for name, expected in oracle.items()
    ]
    return sorted(found, key=lambda deviation: np.nan_to_num(deviation.error, nan=np.inf), reverse=True)


def answer(result: LSTMOutput | States | Gradients | TrainStep | np.ndarray) -> Answer:
    """The result of any call, in NumPy, as an Answer."""
    if isinstance(result, LSTMOutput):
        return {"output": result.output, "h_n": result.h_n, "c_n": result.c_n}
    if isinstance(result, States):
        return {"encoder states": result.encoder, "decoder states": result.decoder}
    if isinstance(result, Gradients):
        return {"d x": result.x, "d y": result.y} | {f"d {name}": own for name, own in result.parameters.items()}
    if isinstance(result, TrainStep):
        return {"loss": result.loss} | dict(result.parameters)
    return {"output": result}


def wrong_shape(actual: Mapping[str, np.ndarray], oracle: Mapping[str, np.ndarray]) -> str | None:
    """The first quantity of the oracle's answer that is missing or has another shape, in words, or None."""
    for name, expected in oracle.items():
        if name not in actual:
            return f"{name} is missing"
        if actual[name].shape != expected.shape:
            return f"{name} has shape {actual[name].shape}, expected {expected.shape}"
    return None


def wrong_dtype(actual: Mapping[str, np.ndarray]) -> str | None:
    """The first quantity that is not float32, in words, or None: every row computes in the same precision."""
    for name, array in actual.items():
        if array.dtype != INPUT_DTYPE:
            return f"{name} is {array.dtype}, expected {INPUT_DTYPE}"
    return None
