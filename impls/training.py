"""Letters to phonemes: the model between two embeddings and an output layer, how it is trained, and what trains it.

    letters (T_x, B) ─► embedding ─► encoder ─► h_0 ─► decoder ─► linear layer ─► logits (T_y, B, phonemes)
                                      phonemes so far (T_y, B) ─► embedding ─┘

Symbols are whole numbers. ``before`` is what the decoder reads: START, then each phoneme but the last. ``targets`` is
what it is to say: each phoneme, then END; after that, NO_TARGET. The loss is the cross entropy, averaged over the real
targets of a batch. A step clips the gradient by its global norm (Pascanu et al. 2013, arXiv 1211.5063), and is one of
Adam at the rate that ``Recipe.learning_rate`` gives.

The training of a row stands in ``training/`` beside the row's file, under its name. It offers ``load(config, recipe,
device)``, which gives a ``TrainableModel``. What those of one framework share stands in ``training/_adapter.py``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from impls import HERE, find_rows
from impls.contract import INPUT_DTYPE, InvalidInput, Parameters, Seq2seqConfig, check_array, initial_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from impls import Row

END, START = 0, 1
"""Phonemes that are none: what a word ends with, and what the decoder reads first."""

NO_TARGET = -1
"""Stands in ``targets`` where a word has ended: it has no part in the loss."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The sizes of the whole: the model's, and how many letters and phonemes there are (END and START among them)."""

    model: Seq2seqConfig
    num_letters: int
    num_phonemes: int

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every trained parameter: the model's, then those around it."""
        embedding_dim, width = self.model.embedding_dim, self.model.decoder_hidden_dim
        return self.model.parameter_shapes | {
            "letters.weight": (self.num_letters, embedding_dim),
            "phonemes.weight": (self.num_phonemes, embedding_dim),
            "output.weight": (self.num_phonemes, width),
            "output.bias": (self.num_phonemes,),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How it is trained. Adam's other numbers are those of ``contract``."""

    peak_learning_rate: float
    warmup_steps: int
    total_steps: int
    max_norm: float
    """A gradient whose norm, over all parameters together, is larger is scaled down to it."""

    def __post_init__(self) -> None:
        if not 1 < self.warmup_steps < self.total_steps:
            raise InvalidInput(
                f"warmup_steps ({self.warmup_steps}) has to be above 1 and below total_steps ({self.total_steps})"
            )

    def learning_rate(self, step: int) -> float:
        """The rate of a step, counted from 0: it rises in a line to its peak, then falls in a line, to 0 at the end."""
        rising = (step + 1) / self.warmup_steps
        falling = (self.total_steps - step) / (self.total_steps - self.warmup_steps)
        return self.peak_learning_rate * max(0.0, min(rising, falling))


class TrainingState(NamedTuple):
    """All that the next step depends on, in NumPy under canonical names: any row goes on from where any other is.

    ``mean`` and ``square`` are Adam's running averages of the gradient and of its square.
    """

    step: int
    """How many steps have been made."""
    parameters: Parameters
    mean: Parameters
    square: Parameters


class LossAndGradients(NamedTuple):
    """The loss, and the gradient towards every parameter, as it is before clipping."""

    loss: Any
    parameters: Any


class TrainableModel(Protocol):
    """A row's training: what ``bench train`` drives, and the tests check. Arrays are whole numbers of the framework."""

    def to_device(self, array: np.ndarray) -> Any:
        """The array of symbols, on the device."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """One array of the framework, as NumPy's own memory."""

    def wait(self, result: Any) -> None:
        """Return when every array in ``result`` has been computed."""

    def load(self, state: TrainingState) -> None:
        """Go on from there."""

    def state(self) -> TrainingState:
        """Where it is now: ``load`` of this changes nothing, to the last bit."""

    def gradients(self, letters: Any, before: Any, targets: Any) -> LossAndGradients:
        """The loss and its gradient, in canonical form and NumPy; nothing is changed."""

    def train_step(self, letters: Any, before: Any, targets: Any) -> Any:
        """One step, in place; the loss before it."""

    def decode_greedy(self, letters: Any, steps: int) -> Any:
        """``(steps, B)``: at each step the likeliest phoneme, which is what the next step reads; the first reads START.

        What follows the first END of a word means nothing.
        """


def initial_state(config: TrainingConfig, seed: int) -> TrainingState:
    """Fresh float32 weights and an optimiser that has made no step.

    The model starts as ``contract.initial_parameters`` has it. Embeddings are standard normal and the output layer is
    uniform in +-1/sqrt(D), as ``torch.nn.Embedding`` and ``torch.nn.Linear`` start.
    """
    parameters = initial_parameters(config.model, seed)
    rng = np.random.default_rng((seed, 1))
    bound = config.model.decoder_hidden_dim**-0.5
    for name, shape in config.parameter_shapes.items():
        if name not in parameters:
            is_embedding = not name.startswith("output")
            drawn = rng.standard_normal(shape) if is_embedding else rng.uniform(-bound, bound, shape)
            parameters[name] = drawn.astype(INPUT_DTYPE)
    zeros = [{name: np.zeros_like(array) for name, array in parameters.items()} for _ in range(2)]
    return TrainingState(0, parameters, *zeros)


def check_state(config: TrainingConfig, state: TrainingState) -> None:
    """Raise InvalidInput unless the state is one of this configuration."""
    for what, arrays in (("parameter", state.parameters), ("mean of", state.mean), ("square of", state.square)):
        check_arrays(config, what, arrays)


def check_arrays(config: TrainingConfig, what: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise InvalidInput unless the arrays have exactly the names and shapes of the parameters; ``what`` they are."""
    shapes = config.parameter_shapes
    if odd := sorted(arrays.keys() ^ shapes.keys()):
        raise InvalidInput(f"{what} {odd[0]} is {'missing' if odd[0] in shapes else 'unknown'}")
    for name, shape in shapes.items():
        check_array(f"{what} {name}", arrays[name], shape=shape)


def training_file(row: Row) -> Path:
    """Where the training of a row stands, if it has one."""
    return row.path.parent / "training" / row.path.name


def find_trainable(root: Path = HERE) -> dict[str, Row]:
    """Every row that can be trained, by name. Imports no framework."""
    return {name: row for name, row in find_rows(root).items() if training_file(row).exists()}


def load_training(row: Row, config: TrainingConfig, recipe: Recipe, device: str = "cpu") -> TrainableModel:
    """The row's training, with no state yet: ``load`` comes first.

    Raises:
        DeviceUnavailable: the framework cannot reach the device.
    """
    module = importlib.import_module(f"impls.{row.path.parent.name}.training.{row.path.stem}")
    model: TrainableModel = module.load(config, recipe, device)
    return model
