"""Letters and phonemes as the numbers that a model takes and gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.workloads.dictionary import LETTERS, Phonemes
from impls.contract import InvalidInput
from impls.training import END, START

SPARE_STEPS = 6
"""Greedy decoding may say so many phonemes more than a word has letters; the dictionary has 3 words with more."""

DECODED_AT_ONCE = 256
"""Words in a batch of greedy decoding; what it lacks is filled up with its last word: JAX compiles for each shape."""


NUM_PHONEMES = 41
"""Those of the dictionary without stress marks, END and START."""

LONGEST = 100
"""Letters of a word."""

Decode = Callable[[np.ndarray, int], np.ndarray]
"""Greedy decoding: from ``letters (T_x, B)`` and a number of steps to phonemes ``(steps, B)``."""


@dataclass(frozen=True, slots=True)
class Symbols:
    """The phonemes, in the order of their numbers."""

    phonemes: Phonemes

    @property
    def count(self) -> int:
        """How many numbers there are: END and START have one as well."""
        return START + 1 + len(self.phonemes)

    def codes(self, phonemes: Phonemes) -> list[int]:
        """The phonemes as numbers."""
        return [START + 1 + self.phonemes.index(symbol) for symbol in phonemes]

    def said(self, codes: Sequence[int]) -> Phonemes:
        """The phonemes that stand before the first END; START is none, and is passed over."""
        until = list(codes).index(END) if END in codes else len(codes)
        return tuple(self.phonemes[code - START - 1] for code in codes[:until] if code > START)

    def decoded(self, words: Sequence[str], decode: Decode) -> list[Phonemes]:
        """What a model says to each of the words."""
        found: list[Phonemes] = [()] * len(words)
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, word in enumerate(words):
            by_length[len(word)].append(number)
        for length, numbers in by_length.items():
            for start in range(0, len(numbers), DECODED_AT_ONCE):
                some = numbers[start : start + DECODED_AT_ONCE]
                filled = some + some[-1:] * (min(DECODED_AT_ONCE, len(numbers)) - len(some))
                said = decode(letter_codes([words[number] for number in filled]), length + SPARE_STEPS)
                for column, number in enumerate(some):
                    found[number] = self.said(said[:, column].tolist())
        return found


def letter_codes(words: Sequence[str]) -> np.ndarray:
    """``(T_x, B)`` of words of the same length."""
    return np.array([[LETTERS.index(letter) for letter in word] for word in words], np.int32).T


def check_words(words: Sequence[str]) -> None:
    """Raise InvalidInput where a word is longer than any that one says, has no letter, or a sign that is none."""
    for word in words:
        if odd := sorted({*word} - {*LETTERS}):
            raise InvalidInput(f"{word[:40]!r} has {odd[0]!r}: words are made of a to z and the apostrophe")
        if not set(word) - {"'"}:
            raise InvalidInput(f"{word[:40]!r} has no letters: words are made of a to z and the apostrophe")
        if len(word) > LONGEST:
            raise InvalidInput(f"{word[:40]!r}… has {len(word)} letters; a word has at most {LONGEST}")
