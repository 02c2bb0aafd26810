"""Real words as letters and phonemes, for what is timed of a training: batches, weights, and the oracle's answers."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.workloads.dictionary import LETTERS, read_words
from bench.workloads.reference_outputs import INPUT_SETS, SEED, TRAINING_STEPS, word_pairs
from bench.workloads.symbols import NUM_PHONEMES, Symbols, letter_codes
from bench.workloads.task import Batch, read_task
from impls.training import START, Recipe, TrainingConfig, initial_state
from impls.training_reference import TrainingReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.workloads.flops import BatchSizes
    from bench.workloads.shapes import Workload
    from impls.contract import Parameters, Seq2seqConfig
    from impls.training import TrainingState

RECIPE = Recipe(peak_learning_rate=4e-3, warmup_steps=200, total_steps=4000, max_norm=1.0)
"""Of the steps that are timed: that of `bench train`."""

GAIN = np.float32(4.0)
"""To 32 words of random letters fresh weights say fewer than 10 things, and weights so many times as large 31 or more:
``tests/measure/test_letters.py``."""


@dataclass(frozen=True, slots=True)
class LetterProblem:
    """A training with numbers in it: how it starts, both input sets, and what the oracle's first steps give on each."""

    config: TrainingConfig
    batches: list[list[Batch]]
    losses: dict[int, np.ndarray]
    """Input set to the loss of each of its first steps."""
    means: dict[int, Parameters]
    """Input set to Adam's average of the gradients after them: clipping and all shows in it."""

    @property
    def state(self) -> TrainingState:
        """The weights, and an optimiser that has made no step.

        Weights are larger than fresh ones: what is said depends on the letters then, as with a net that has learnt.
        """
        fresh = initial_state(self.config, SEED)
        grown = {name: own if "bias" in name else own * GAIN for name, own in fresh.parameters.items()}
        return fresh._replace(parameters=grown)

    def steps(self, input_set: int) -> list[Batch]:
        """The batches that the oracle steps through."""
        own = self.batches[input_set]
        return [own[step % len(own)] for step in range(TRAINING_STEPS)]


def config_of(model: Seq2seqConfig) -> TrainingConfig:
    """The sizes of the whole around a model."""
    return TrainingConfig(model, len(LETTERS), NUM_PHONEMES)


def word_batches(workload: Workload) -> list[list[Batch]]:
    """The words of a workload, for each of the INPUT_SETS: each batch's have the same numbers of letters and phonemes.

    Those of a workload that is as trained have as many letters, and are padded.

    Raises:
        InvalidInput: the dictionary cannot be read.
    """
    if workload.as_trained:
        pairs = read_task().at_quantiles(workload.num_batches, workload.batch_size, SEED)
        return [[*own] for own in zip(*pairs, strict=True)]
    words = read_words()
    symbols = Symbols(tuple(sorted({symbol for word in words for symbol in word.phonemes})))
    sets: list[list[Batch]] = [[] for _ in INPUT_SETS]
    for pair in word_pairs(workload, words):
        for own, batches in zip(pair, sets, strict=True):
            targets = np.array([symbols.codes(word.phonemes) for word in own], np.int32).T
            before = np.concatenate([np.full((1, len(own)), START, np.int32), targets[:-1]])
            batches.append(Batch(letter_codes([word.letters for word in own]), before, targets))
    return sets


def blank(model: Seq2seqConfig, sizes: Iterable[BatchSizes]) -> LetterProblem:
    """Zeros of the shapes that a problem has, and no answers: what a program can be compiled with."""
    batches = [Batch(*(np.zeros((steps, size), np.int32) for steps in (t_x, t_y, t_y))) for t_x, t_y, size in sizes]
    return LetterProblem(config_of(model), [batches], {}, {})


def pose(model: Seq2seqConfig, batches: list[list[Batch]]) -> LetterProblem:
    """The batches, with what the oracle's first steps give on either set worked out."""
    problem = LetterProblem(config_of(model), batches, {}, {})
    oracle = TrainingReference(problem.config, RECIPE)
    for index in INPUT_SETS:
        oracle.load(problem.state)
        steps = problem.steps(index)
        problem.losses[index] = np.array([oracle.train_step(own.letters, own.before, own.targets) for own in steps])
        problem.means[index] = oracle.state().mean
    return problem


def path_beside(path: str) -> Path:
    """Where the letters of a workload stand whose other numbers are in that file."""
    return Path(path).with_suffix(".letters.safetensors")


def save(problem: LetterProblem, path: Path) -> None:
    """Write the problem as one safetensors file.

    Raises:
        OSError: it cannot be written; the error names it.
    """
    flat = {f"losses/{index}": own for index, own in problem.losses.items()}
    for index, mean in problem.means.items():
        flat |= {f"means/{index}/{name}": own for name, own in mean.items()}
    for index, batches in enumerate(problem.batches):
        for number, batch in enumerate(batches):
            for name in ("letters", "before", "targets"):
                flat[f"inputs/{index}/{number:03}/{name}"] = np.ascontiguousarray(getattr(batch, name))
    try:
        save_file(flat, path)
    except SafetensorError as error:
        raise OSError(errno.EIO, f"{error}", str(path)) from None


def load(model: Seq2seqConfig, path: Path) -> LetterProblem:
    """What ``save`` wrote."""
    problem = LetterProblem(config_of(model), [[] for _ in INPUT_SETS], {}, {})
    with safe_open(path, "numpy") as file:
        names: Sequence[str] = sorted(file.keys())
        for index in INPUT_SETS:
            problem.losses[index] = file.get_tensor(f"losses/{index}")
            problem.means[index] = {
                name: file.get_tensor(f"means/{index}/{name}") for name in problem.config.parameter_shapes
            }
            for number in sorted({name.split("/")[2] for name in names if name.startswith(f"inputs/{index}/")}):
                inputs = (f"inputs/{index}/{number}/{name}" for name in ("letters", "before", "targets"))
                problem.batches[index].append(Batch(*map(file.get_tensor, inputs)))
    return problem
