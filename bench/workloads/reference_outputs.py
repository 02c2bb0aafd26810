"""Inputs, weights and the oracle's answers: drawn once a run, kept on disk, read by every worker.

Inputs are numbers, or words of the CMU Pronouncing Dictionary: letters in, phonemes out.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bench.workloads.dictionary import LETTERS, Word, read_words
from bench.workloads.flops import BatchSizes
from bench.workloads.task import read_task
from impls.contract import INPUT_DTYPE, PRECISIONS, TASKS, initial_parameters
from impls.equality import answer
from impls.numpy_model import NumpyModel
from impls.reference import Reference, TrainingSlack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.workloads.shapes import Workload
    from impls.contract import Parameters, Precision, Seq2seqConfig
    from impls.equality import Answer
    from impls.tasks import AnyTask

SEED = 20180601
"""Draws weights, inputs and words. One for all runs, so that every run on every machine times the same numbers."""

INPUT_SETS = (0, 1)
"""Set 0 is timed; set 1 is seen for the first time after timing."""

QUANTILES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)
"""Where in the words, sorted by length, the four batches stand."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call takes: ``x (T_x, B, E)``, ``y (T_y, B, E)``, ``d_output`` and ``target (T_y, B, D)``."""

    x: np.ndarray
    y: np.ndarray
    d_output: np.ndarray
    target: np.ndarray

    def arguments(self, task: AnyTask) -> tuple[np.ndarray, ...]:
        """The arrays that the task takes, in order."""
        return {
            "encode": (self.x,),
            "forward": (self.x, self.y),
            "gradients": (self.x, self.y, self.d_output),
            "train_step": (self.x, self.y, self.target),
        }[task]


def draw_batches(workload: Workload) -> list[list[Batch]]:
    """The batches of each of the INPUT_SETS.

    Raises:
        InvalidInput: the workload is real words and the dictionary cannot be read.
    """
    rng = np.random.default_rng(SEED)
    width = workload.config.decoder_hidden_dim

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(INPUT_DTYPE)

    if not workload.is_words:
        size, embedding_dim = workload.batch_size, workload.config.embedding_dim
        return [
            [
                Batch(
                    x=normal(t_x, size, embedding_dim),
                    y=normal(t_y, size, embedding_dim),
                    d_output=normal(t_y, size, width),
                    target=normal(t_y, size, width),
                )
                for t_x, t_y in workload.lengths
            ]
            for _ in INPUT_SETS
        ]
    words = read_words()
    table = embeddings(words, workload.config.embedding_dim, width, SEED)
    pairs = word_pairs(workload, words)
    sets = []
    for index in INPUT_SETS:
        batches = []
        for pair in pairs:
            x, y, target = embed(pair[index], table)
            batches.append(Batch(x=x, y=y, d_output=normal(*target.shape), target=target))
        sets.append(batches)
    return sets


def sizes_of(workload: Workload) -> tuple[BatchSizes, ...]:
    """The sizes of the batches, which are those of either input set.

    Raises:
        InvalidInput: the workload is real words and the dictionary cannot be read.
    """
    lengths: Iterable[tuple[int, int]] = workload.lengths
    if workload.as_trained:
        lengths = [batch.shape for batch, _ in read_task().at_quantiles(workload.num_batches, 1, SEED)]
    elif workload.is_words:
        pairs = word_pairs(workload, read_words())
        lengths = ((len(batch[0].letters), len(batch[0].phonemes)) for batch, _ in pairs)
    return tuple(BatchSizes(t_x, t_y, workload.batch_size) for t_x, t_y in lengths)


def word_pairs(workload: Workload, words: Sequence[Word]) -> list[tuple[list[Word], list[Word]]]:
    """The words of each batch, for both of the INPUT_SETS; where there are few batches, those of middling length."""
    pairs = word_batches(words, workload.batch_size, SEED)
    spare = (len(pairs) - workload.num_batches) // 2
    return pairs[spare : spare + workload.num_batches]


TRAINING_STEPS = 3
"""How many steps a training answer takes at least: the first one alone would not show an optimiser's momentum."""


def training_batches(batches: list[list[Batch]], input_set: int) -> list[Batch]:
    """The batches that a training answer steps through.

    Set 1 takes turns with set 0, so that gradients change from step to step and the optimiser's memory shows.
    """
    own, other = batches[input_set], batches[0]
    sequence = [batch for pair in zip(own, other, strict=True) for batch in pair] if input_set else list(own)
    while len(sequence) < TRAINING_STEPS:
        sequence += own
    return sequence


def solve(model: NumpyModel, task: AnyTask, batches: list[list[Batch]], input_set: int) -> Answer:
    """The model's answer to a task on an input set; its weights are as loaded before, and after training as trained.

    For ``train_step``: every step's loss, and the weights after the last.
    """
    if task == "train_step":
        steps = [model.train_step(*batch.arguments(task)) for batch in training_batches(batches, input_set)]
        losses = {f"loss of step {number}": step.loss for number, step in enumerate(steps, 1)}
        return losses | dict(steps[-1].parameters)
    solved: Answer = {}
    for number, batch in enumerate(batches[input_set]):
        solved |= of_batch(answer(getattr(model, task)(*batch.arguments(task))), number, len(batches[input_set]))
    return solved


def of_batch(part: Answer, number: int, count: int) -> Answer:
    """The answer to one batch of several, under names that say which."""
    return part if count == 1 else {f"batch {number}: {name}": array for name, array in part.items()}


@dataclass(frozen=True, slots=True)
class Problem:
    """A workload with numbers in it: weights, both input sets, and the oracle's answer to each task on each set.

    ``slack`` is what the weights of ``train_step`` may be off by without counting, for each precision that was asked
    for and each input set.
    """

    parameters: Parameters
    batches: list[list[Batch]]
    answers: Mapping[tuple[int, AnyTask], Answer]
    slack: Mapping[tuple[Precision, int], Answer]


def blank(config: Seq2seqConfig, sizes: Iterable[BatchSizes]) -> Problem:
    """Zeros of the shapes that a problem has, and no answers: what a program can be compiled with."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, INPUT_DTYPE)

    embedding, width = config.embedding_dim, config.decoder_hidden_dim
    batches = [
        Batch(
            zeros(t_x, size, embedding), zeros(t_y, size, embedding), zeros(t_y, size, width), zeros(t_y, size, width)
        )
        for t_x, t_y, size in sizes
    ]
    return Problem({name: zeros(*shape) for name, shape in config.parameter_shapes.items()}, [batches], {}, {})


def pose(workload: Workload, tasks: tuple[AnyTask, ...], precisions: tuple[Precision, ...] = ("float32",)) -> Problem:
    """The workload's numbers, with the oracle's answers worked out, and slack for these precisions.

    Raises:
        InvalidInput: the workload is real words and the dictionary cannot be read.
    """
    answers: dict[tuple[int, AnyTask], Answer] = {}
    slack: dict[tuple[Precision, int], Answer] = {}
    problem = Problem(initial_parameters(workload.config, SEED), draw_batches(workload), answers, slack)
    reference = Reference(workload.config, problem.parameters)
    oracle = NumpyModel(lambda *_: reference, workload.config, problem.parameters)
    for index in INPUT_SETS:
        for task in tasks:
            oracle.load(problem.parameters)
            if task == "train_step":
                slacks = {own: TrainingSlack(problem.parameters, own) for own in precisions}
                losses: Answer = {}
                for number, batch in enumerate(training_batches(problem.batches, index), 1):
                    step = oracle.train_step(*batch.arguments(task))
                    for own in slacks.values():
                        own.step(reference.last_gradients)
                    losses[f"loss of step {number}"] = step.loss
                answers[index, task] = losses | dict(step.parameters)
                slack |= {(precision, index): own.sizes() for precision, own in slacks.items()}
            else:
                answers[index, task] = solve(oracle, task, problem.batches, index)
    return problem


def save(problem: Problem, path: Path) -> None:
    """Write the problem as one safetensors file.

    Raises:
        OSError: it cannot be written; the error names it.
    """
    flat = {f"parameters/{name}": array for name, array in problem.parameters.items()}
    for index, batches in enumerate(problem.batches):
        for number, batch in enumerate(batches):
            for name in ("x", "y", "d_output", "target"):
                flat[f"inputs/{index}/{number}/{name}"] = getattr(batch, name)
    for (index, task), solved in problem.answers.items():
        flat |= {f"answers/{index}/{task}/{name}": np.asarray(array) for name, array in solved.items()}
    for (precision, index), slack in problem.slack.items():
        flat |= {f"slack/{precision}/{index}/{name}": array for name, array in slack.items()}
    try:
        save_file({name: np.array(array, order="C") for name, array in flat.items()}, path)
    except SafetensorError as error:
        raise OSError(errno.EIO, f"{error}", str(path)) from None


def load(path: Path) -> Problem:
    """What ``save`` wrote: weights and inputs; answers and slack are read when they are asked for, and not kept."""
    answers: dict[tuple[int, AnyTask], dict[str, str]] = {}
    slack: dict[tuple[Precision, int], dict[str, str]] = {}
    problem = Problem({}, [[] for _ in INPUT_SETS], _OnDisk(path, answers), _OnDisk(path, slack))
    inputs: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    with safe_open(path, "numpy") as file:
        for key in file.keys():  # noqa: SIM118  # it is no mapping
            kind, rest = key.split("/", 1)
            if kind == "parameters":
                problem.parameters[rest] = file.get_tensor(key)
            elif kind == "inputs":
                index, number, field = rest.split("/")
                inputs.setdefault((int(index), int(number)), {})[field] = file.get_tensor(key)
            elif kind == "answers":
                index, name, quantity = rest.split("/", 2)
                task = next(task for task in TASKS if task == name)
                answers.setdefault((int(index), task), {})[quantity] = key
            else:
                name, index, quantity = rest.split("/", 2)
                precision = next(precision for precision in PRECISIONS if precision == name)
                slack.setdefault((precision, int(index)), {})[quantity] = key
    for (set_index, _), fields in sorted(inputs.items()):
        problem.batches[set_index].append(Batch(**fields))
    return problem


Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class _OnDisk(Mapping[Key, "Answer"]):
    """Answers in a file: of a large model they are gigabytes, and most blocks need none."""

    path: Path
    names: Mapping[Key, Mapping[str, str]]
    """Of each answer, quantity to its name in the file."""

    def __getitem__(self, key: Key) -> Answer:
        with safe_open(self.path, "numpy") as file:
            return {quantity: file.get_tensor(name) for quantity, name in self.names[key].items()}

    def __iter__(self) -> Iterator[Key]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def word_batches(words: Sequence[Word], batch_size: int, seed: int) -> list[tuple[list[Word], list[Word]]]:
    """Batches of words of one length each, at QUANTILES of length; each with a second batch of other words.

    A group is all words of the same number of letters and of phonemes; only groups with words enough for both batches
    are used.
    """
    groups: dict[tuple[int, int], list[Word]] = {}
    for word in words:
        groups.setdefault((len(word.letters), len(word.phonemes)), []).append(word)
    large = sorted(lengths for lengths, group in groups.items() if len(group) >= 2 * batch_size)
    ends = np.cumsum([len(groups[lengths]) for lengths in large])
    rng = np.random.default_rng(seed)
    batches = []
    for quantile in QUANTILES:
        group = groups[large[int(np.searchsorted(ends, quantile * ends[-1]))]]
        chosen = [group[index] for index in rng.choice(len(group), 2 * batch_size, replace=False)]
        batches.append((chosen[:batch_size], chosen[batch_size:]))
    return batches


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Fixed random vectors: letters and phonemes as the model reads them, phonemes as it is to produce them."""

    letters: dict[str, np.ndarray]
    phonemes: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    start: np.ndarray


def embeddings(words: Sequence[Word], embedding_dim: int, target_dim: int, seed: int) -> Embeddings:
    """Standard normal vectors for every symbol of the dictionary."""
    rng = np.random.default_rng(seed)
    symbols = sorted({phoneme for word in words for phoneme in word.phonemes})

    def vector(size: int) -> np.ndarray:
        return rng.standard_normal(size).astype(np.float32)

    return Embeddings(
        letters={letter: vector(embedding_dim) for letter in LETTERS},
        phonemes={symbol: vector(embedding_dim) for symbol in symbols},
        targets={symbol: vector(target_dim) for symbol in symbols},
        start=vector(embedding_dim),
    )


def embed(batch: Sequence[Word], table: Embeddings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``x (T_x, B, E)``, ``y (T_y, B, E)`` and ``target (T_y, B, D)`` of words that all have the same lengths.

    ``y`` is what teacher forcing gives the decoder: a start symbol, then each phoneme but the last.
    """
    x = np.stack([[table.letters[letter] for letter in word.letters] for word in batch], axis=1)
    y = np.stack(
        [[table.start, *(table.phonemes[phoneme] for phoneme in word.phonemes[:-1])] for word in batch], axis=1
    )
    target = np.stack([[table.targets[phoneme] for phoneme in word.phonemes] for word in batch], axis=1)
    return x, y, target
