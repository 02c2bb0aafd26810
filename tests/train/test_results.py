"""Trainings as they are published: what is read is what was written, and damage is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.trained import history, write_trainings

from bench.page.curves import pictures
from bench.page.trainings import as_html, as_markdown
from bench.train.request import HEAD_FILE, TRAININGS_FILE
from bench.train.results import read_trainings
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = ("torch/tuned", "jax/tuned", "thinc/tuned")
TRAINED = [history(row, seed, 3000 + 200 * place + 10 * seed) for seed in range(3) for place, row in enumerate(ROWS)]
PACES = dict(zip(ROWS, (0.1, 0.11, 0.2), strict=True))


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    found = read_trainings(write_trainings(tmp_path, TRAINED, PACES))
    assert [one.about for one in found.trained] == [one.about for one in TRAINED]
    for own, expected in zip(found.trained, TRAINED, strict=True):
        assert np.allclose(own.losses, expected.losses, rtol=0, atol=0) and np.allclose(
            own.step_s, expected.step_s, atol=1e-6
        )
        assert np.array_equal(own.is_first, expected.is_first)
    assert found.turns is not None and found.outcomes[0].pace is not None


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda text: text.replace(b'"step":3000', b'"step":2999', 1), "not a loss and a time for each step"),
        (lambda text: text.replace(b'"first":[0]', b'"first":[5000]', 1), "not a loss and a time for each step"),
        (lambda text: text[:-20], f"{TRAININGS_FILE}:9"),
        (lambda text: text.replace(b"torch/tuned", b"torch/cell", 1), "did not set out to train"),
        (lambda text: text.replace(b'"row":"', b'"row":"\\u001b[2J', 1), f"{TRAININGS_FILE}:1"),
    ],
)
def test_damage_is_told(harm: object, words: str, tmp_path: Path) -> None:
    path = write_trainings(tmp_path, TRAINED) / TRAININGS_FILE
    assert callable(harm)
    harmed = harm(path.read_bytes())
    assert harmed != path.read_bytes()
    path.write_bytes(harmed)
    with pytest.raises(InvalidInput, match=words):
        read_trainings(tmp_path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (Path.unlink, "holds no trainings"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b'_version": 1', b'_version": 99')),
            "version 99, this",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "no result of this program, or damaged"),
    ],
    ids=["gone", "newer", "cut off"],
)
def test_what_is_no_head_is_told(harm: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    harm(write_trainings(tmp_path, TRAINED) / HEAD_FILE)
    with pytest.raises(InvalidInput, match=words):
        read_trainings(tmp_path)


def test_the_page_says_who_is_first_and_how_sure_that_is(tmp_path: Path) -> None:
    found = read_trainings(write_trainings(tmp_path, TRAINED, PACES))
    text = as_markdown(found)
    assert "To 10 % of the phonemes wrong, torch/tuned is the first on A Processor: 5 min [" in text
    assert "thinc/tuned takes 2.27× [" in text and "(SLOWER)" in text
    for title in ("Time to 10 %", "Steps", "A step", "Each training"):
        assert f"## {title}" in text
    for own in pictures(found):
        assert f"![{own.caption}]({own.file})" in text and "jax/tuned" in own.svg()
    assert len([*pictures(found)]) == 4


def test_a_page_of_trainings_has_no_script_and_no_markup_of_a_row(tmp_path: Path) -> None:
    evil = [history("torch/<b>x", seed, 2000) for seed in range(3)]
    page = as_html(read_trainings(write_trainings(tmp_path, evil, {"torch/<b>x": 0.1})))
    assert "<b>" not in page and "<script" not in page and "default-src 'none'" in page


def test_trainings_without_turns_have_tables_and_curves_all_the_same(tmp_path: Path) -> None:
    found = read_trainings(write_trainings(tmp_path, [history("torch/tuned", 0, 4000, ending="missed")]))
    assert "missed" in as_markdown(found) and "## Steps" not in as_markdown(found)
    assert {own.file for own in pictures(found)} == {"error-over-steps.svg", "loss-over-steps.svg"}
