"""The words, their parts, batches and errors."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.workloads.dictionary import Entry, read_entries
from bench.workloads.symbols import DECODED_AT_ONCE, SPARE_STEPS
from bench.workloads.task import PARTS, SHARES, Task, edit_distance, part_of, read_task
from impls.training import END, NO_TARGET, START


@cache
def task() -> Task:
    return read_task()


def test_every_word_stands_in_one_part_and_the_parts_have_their_shares() -> None:
    words = [entry.letters for part in PARTS for entry in task().parts[part]]
    assert len(words) == len(set(words)) == len(read_entries("a test", ""))
    for part, share in SHARES.items():
        assert len(task().parts[part]) / len(words) == pytest.approx(share, rel=0.05)


def test_the_split_is_this_one() -> None:
    assert [part_of(word) for word in ("ambassador's", "barrio", "apple")] == ["validation", "test", "train"]
    assert {part: len(task().parts[part]) for part in PARTS} == {"validation": 3778, "test": 14988, "train": 106160}


def test_pronunciations_have_no_stress_and_none_stands_twice() -> None:
    assert len(task().symbols.phonemes) == 39 and not any(symbol[-1].isdigit() for symbol in task().symbols.phonemes)
    entry = Entry("a", (("AH0",), ("EY1",), ("AH1",))).without_stress()
    assert entry.pronunciations == (("AH",), ("EY",))
    for part in PARTS:
        assert all(len(set(own.pronunciations)) == len(own.pronunciations) for own in task().parts[part])


def test_batches_are_full_of_words_of_one_length_each_word_once_an_epoch() -> None:
    letters = [first + second + third for first in "abcdefgh" for second in "abcdefgh" for third in "abcdefgh"]
    some = Task([Entry(word, (("K",) * (1 + number % 3),)) for number, word in enumerate(letters)])
    words, counted = len(some.parts["train"]), Counter[bytes]()
    for batch in islice(some.batches(words, seed=1), 5):  # one batch is an epoch
        assert batch.words == words and batch.before.shape == batch.targets.shape
        counted.update(column.tobytes() for column in batch.letters.T)
    assert len(counted) == words and set(counted.values()) == {5}


def test_targets_are_what_is_read_a_step_later_then_end_then_nothing() -> None:
    for batch in islice(task().batches(128, seed=0), 40):
        assert np.all(batch.before[0] == START)
        for before, targets in zip(batch.before.T, batch.targets.T, strict=True):
            (end,) = np.flatnonzero(targets == END)
            assert np.array_equal(before[1 : end + 1], targets[:end]) and np.all(targets[:end] > START)
            assert np.all(targets[end + 1 :] == NO_TARGET) and np.all(before[end + 1 :] == END)


@cache
def sevens() -> Task:
    return read_task((7, 7))


@given(first=st.integers(0, 1200), seed=st.integers(0, 3))
def test_batches_from_any_step_on_are_those_of_all(first: int, seed: int) -> None:
    some = sevens()
    every, later = some.batches(64, seed), some.batches(64, seed, first)
    wanted = list(islice(every, first, first + 3))
    for one, other in zip(wanted, later, strict=False):
        assert np.array_equal(one.letters, other.letters) and np.array_equal(one.targets, other.targets)


def test_few_shapes_are_compiled_for() -> None:
    shapes = Counter(batch.shape for batch in islice(task().batches(128, seed=0), 4000))
    assert len(shapes) <= 40
    real = [np.mean(batch.targets != NO_TARGET) for batch in islice(task().batches(128, seed=0), 400)]
    assert np.mean(real) > 0.8


Symbols = st.lists(st.sampled_from("ABC"), max_size=6)


@given(Symbols, Symbols, Symbols)
def test_the_edit_distance_is_one(one: list[str], other: list[str], third: list[str]) -> None:
    assert edit_distance(one, other) == edit_distance(other, one)
    assert (edit_distance(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= edit_distance(one, other) <= max(len(one), len(other))
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


def test_a_known_distance() -> None:
    assert edit_distance("kitten", "sitting") == 3


def test_any_pronunciation_is_right_and_the_nearest_counts() -> None:
    entries = [Entry("a", (("AH",), ("EY",))), Entry("b", (("B", "IY", "K"), ("B",))), Entry("c", (("S", "IY"),))]
    some = Task(entries)

    def decode(letters: np.ndarray, steps: int) -> np.ndarray:
        assert letters.shape == (1, 3) and steps == 1 + SPARE_STEPS
        said = np.full((steps, 3), END)
        said[0] = some.symbols.codes(("EY", "B", "S"))
        said[2] = 7  # behind END: means nothing
        return said

    found = some.errors(entries, decode)
    assert (found.phoneme, found.word) == (1 / 4, 1 / 3)


def test_a_batch_that_is_not_full_is_filled_up_and_counts_once() -> None:
    words = ["ab"] * (DECODED_AT_ONCE + 3)
    shapes = []

    def decode(letters: np.ndarray, steps: int) -> np.ndarray:
        shapes.append(letters.shape)
        return np.full((steps, letters.shape[1]), START + 1)

    found = task().symbols.decoded(words, decode)
    assert shapes == [(2, DECODED_AT_ONCE)] * 2 and len(found) == len(words)
    assert set(found) == {(task().symbols.phonemes[0],) * (2 + SPARE_STEPS)}
