"""The matrix products that the model is made of, and what multiplies them in a framework: its *bound*.

A bound is a file ``impls/FRAMEWORK/products.py`` whose ``ROW`` has the tier ``bound`` and whose ``load(device)`` gives
a ``Multiplier``. It is no model: it makes the very products that the model needs, in that framework, the fastest plain
way and with nothing between them. No row that multiplies with that framework has less to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from impls.contract import LSTMLayer, Seq2seqConfig, Task

Kind = Literal[
    "input projection",
    "recurrent step",
    "gradient of the state",
    "gradient of the input weights",
    "gradient of the recurrent weights",
    "gradient of the input",
    "output layer",
    "gradient of the output layer",
    "square",
]
"""What a product is for. ``square`` is none of the model's: it shows what the machine can do."""


@dataclass(frozen=True, slots=True)
class Product:
    """``count`` products ``(m, k) x (k, n)``, one after another: the left factor is its own, the right one all have.

    Where there are several they are the steps of a recurrence: to make them at once would be another model.
    """

    kind: Kind
    m: int
    k: int
    n: int
    count: int = 1

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition for each pair of numbers that meet."""
        return 2 * self.m * self.k * self.n * self.count


class Made(NamedTuple):
    """What a Product came to, in NumPy: enough to see that each was made, and no more than must be kept for that."""

    last: np.ndarray
    """The last of them, ``(m, n)``."""
    rows: np.ndarray
    """The last row of each, ``(count, n)``."""


class Multiplier(Protocol):
    """A framework's products, on a device: what ``load(device)`` of a bound gives."""

    def place(self, product: Product, left: np.ndarray, right: np.ndarray) -> Any:
        """The factors ``(count, m, k)`` and ``(k, n)`` on the device, stored as they multiply fastest."""

    def multiply(self, placed: Sequence[Any]) -> Any:
        """All products of all that was placed, each made again. Nothing is awaited."""

    def wait(self, result: Any) -> None:
        """Return when all of what ``multiply`` gave has been computed."""

    def to_numpy(self, result: Any) -> list[Made]:
        """What ``multiply`` gave, awaited before, one for each that was placed."""


def products_of(config: Seq2seqConfig, task: Task, t_x: int, t_y: int, batch: int) -> tuple[Product, ...]:
    """What a task on one batch multiplies, in order: layer by layer forward, then backward.

    The input projections of all steps are one product, as are the gradients of weights and inputs; the steps of a
    recurrence are not. The first step's is counted where it starts from zero, too: every row makes it. The gradient
    towards the given sequences is for ``gradients`` alone: no training needs it.
    """
    stacks = [(config.encoder_layers, t_x)]
    if task != "encode":
        stacks.append((config.decoder_layers, t_y))
    layers = [(layer, steps) for of_part, steps in stacks for layer in of_part]
    found = [product for layer, steps in layers for product in _forward(layer, steps, batch)]
    if task in ("gradients", "train_step"):
        for layer, steps in reversed(layers):
            given = config.embedding_dim if layer.index == 0 and task == "train_step" else 0
            found += _backward(layer, steps, batch, layer.input_dim - given)
    return tuple(found)


def _forward(layer: LSTMLayer, steps: int, batch: int) -> Iterator[Product]:
    gates = 4 * layer.hidden_dim
    yield Product("input projection", steps * batch, layer.input_dim, gates)
    yield Product("recurrent step", batch, layer.hidden_dim, gates, steps)


def _backward(layer: LSTMLayer, steps: int, batch: int, input_dim: int) -> Iterator[Product]:
    """``input_dim``: how much of the input something is asked for the gradient of."""
    gates = 4 * layer.hidden_dim
    yield Product("gradient of the state", batch, gates, layer.hidden_dim, steps)
    yield Product("gradient of the input weights", gates, steps * batch, layer.input_dim)
    yield Product("gradient of the recurrent weights", gates, steps * batch, layer.hidden_dim)
    if input_dim:
        yield Product("gradient of the input", steps * batch, gates, input_dim)
