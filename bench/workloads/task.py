"""Letters to phonemes as a task: which words train, in what batches, and how wrong what a model says is.

The words of a part never stand in another: a hash of its letters says where a word belongs, so that the split is the
same for every row, seed and version. The first pronunciation of a word trains; any of them counts as right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal, get_args

import numpy as np

from bench.workloads.dictionary import Entry, read_entries
from bench.workloads.symbols import Decode, Symbols, letter_codes
from impls.training import END, NO_TARGET, START

Part = Literal["validation", "test", "train"]
PARTS: tuple[Part, ...] = get_args(Part)
SHARES: dict[Part, float] = {"validation": 0.03, "test": 0.12}
"""Of all words; the others train. About as many are tested as in Yao and Zweig 2015 (12,753 there)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``letters (T_x, B)``, and what the decoder reads and is to say, ``before`` and ``targets (T_y, B)``."""

    letters: np.ndarray
    before: np.ndarray
    targets: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """``T_x`` and ``T_y``."""
        return len(self.letters), len(self.before)

    @property
    def words(self) -> int:
        """``B``."""
        return int(self.letters.shape[1])

    def of(self, words: np.ndarray) -> Batch:
        """Some of its words, by their places."""
        return Batch(*(np.ascontiguousarray(own[:, words]) for own in (self.letters, self.before, self.targets)))


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Of greedy decoding: ``phoneme`` edits over phonemes of the nearest pronunciations, ``word`` words not right."""

    phoneme: float
    word: float


class Task:
    """The dictionary's words in their parts, and the symbols that they are written with.

    Args:
        entries: The words, stress marks left out or not.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        phonemes = {symbol for own in entries for said in own.pronunciations for symbol in said}
        self.symbols = Symbols(tuple(sorted(phonemes)))
        self.parts: dict[Part, list[Entry]] = {part: [] for part in PARTS}
        for entry in entries:
            self.parts[part_of(entry.letters)].append(entry)

    @cached_property
    def _groups(self) -> dict[tuple[int, int], Batch]:
        """All words that train, by the lengths of their batches."""
        groups: dict[tuple[int, int], list[Entry]] = defaultdict(list)
        for entry in self.parts["train"]:
            groups[lengths_of(entry)].append(entry)
        return {lengths: self._batch(groups[lengths], lengths[1]) for lengths in sorted(groups)}

    def _batch(self, entries: Sequence[Entry], t_y: int) -> Batch:
        before = np.full((t_y, len(entries)), END, np.int32)
        targets = np.full((t_y, len(entries)), NO_TARGET, np.int32)
        before[0] = START
        for number, entry in enumerate(entries):
            codes = self.symbols.codes(entry.pronunciations[0])
            before[1 : len(codes) + 1, number] = targets[: len(codes), number] = codes
            targets[len(codes), number] = END
        return Batch(letter_codes([entry.letters for entry in entries]), before, targets)

    def batches(self, batch_size: int, seed: int, first: int = 0) -> Iterator[Batch]:
        """Batches without end, from the ``first`` on: of words of the same lengths, all full, in a random order.

        An epoch puts all words of some lengths into a queue, shuffled; what does not fill a batch waits for the next.
        """
        return (group.of(chosen) for group, chosen in self._chosen(batch_size, seed, first))

    def _chosen(self, batch_size: int, seed: int, first: int) -> Iterator[tuple[Batch, np.ndarray]]:
        rng = np.random.default_rng((seed, 2))
        queues = {lengths: np.empty(0, np.int64) for lengths in self._groups}
        passed = 0
        while True:
            epoch: list[tuple[Batch, np.ndarray]] = []
            for lengths, group in self._groups.items():
                queue = np.concatenate([queues[lengths], rng.permutation(group.words)])
                full = len(queue) // batch_size * batch_size
                queues[lengths] = queue[full:]
                epoch += [(group, chosen) for chosen in queue[:full].reshape(-1, batch_size)]
            order = rng.permutation(len(epoch))
            skipped = min(len(epoch), first - passed)
            passed += skipped
            yield from (epoch[index] for index in order[skipped:])

    def at_quantiles(self, count: int, batch_size: int, seed: int) -> list[tuple[Batch, Batch]]:
        """Batches as an epoch has them, ``count`` of them from the shortest words to the longest; two of each lengths.

        They stand in the middle of equal shares of the words that train: the mean of a time over them is about that of
        a step. No word stands twice.
        """
        rng = np.random.default_rng(seed)
        groups = [*self._groups.values()]
        ends = np.cumsum([group.words for group in groups])
        shuffled = {number: rng.permutation(group.words) for number, group in enumerate(groups)}
        found = []
        for number in range(count):
            place = int(np.searchsorted(ends, (number + 0.5) / count * ends[-1]))
            one, other, shuffled[place] = np.split(shuffled[place], [batch_size, 2 * batch_size])
            found.append((groups[place].of(one), groups[place].of(other)))
        return found

    def errors(self, entries: Sequence[Entry], decode: Decode) -> ErrorRates:
        """How wrong a model is on these words; ``decode`` gives ``(steps, B)`` phonemes for ``letters (T_x, B)``."""
        edits = length = wrong = 0
        for entry, said in zip(entries, self.symbols.decoded([own.letters for own in entries], decode), strict=True):
            distance, nearest = min((edit_distance(said, one), len(one)) for one in entry.pronunciations)
            edits, length, wrong = edits + distance, length + nearest, wrong + (distance > 0)
        return ErrorRates(edits / length, wrong / len(entries))


def read_task(lengths: tuple[int, int] | None = None, *, stress: bool = False) -> Task:
    """The task from the installed dictionary, with ``stress`` marks or not; of words with so many letters, from and to.

    Raises:
        InvalidInput: it cannot be read.
    """
    least, most = lengths or (0, 1000)
    entries = [entry for entry in read_entries("bench train", "") if least <= len(entry.letters) <= most]
    return Task(entries if stress else [entry.without_stress() for entry in entries])


def part_of(letters: str) -> Part:
    """Where a word belongs."""
    drawn, below = int.from_bytes(sha256(letters.encode()).digest()[:8], "big") / 2**64, 0.0
    for part, share in SHARES.items():
        below += share
        if drawn < below:
            return part
    return "train"


def lengths_of(entry: Entry) -> tuple[int, int]:
    """``T_x`` and ``T_y`` of the batches that a word stands in.

    There is room for a phoneme a letter, and END; where there are more phonemes, for 4, 8, 12 more. So there are few
    shapes, which JAX compiles for, and few targets that are none.
    """
    letters, phonemes = len(entry.letters), len(entry.pronunciations[0])
    return letters, 1 + letters + 4 * -(-max(0, phonemes - letters) // 4)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """How many phonemes have to be changed, left out or put in (Levenshtein 1966)."""
    distances = list(range(len(other) + 1))
    for number, symbol in enumerate(one, 1):
        before, distances[0] = distances[0], number
        for place, wanted in enumerate(other, 1):
            before, distances[place] = (
                distances[place],
                min(distances[place] + 1, distances[place - 1] + 1, before + (symbol != wanted)),
            )
    return distances[-1]
