"""``bench pronounce``: any row says what any row has learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from support.frameworks import need
from support.processes import ask, one_line

from bench.train.checkpoint import About, read_checkpoint, write_checkpoint
from bench.train.presets import PRESET
from bench.train.worker import beginning
from bench.workloads.symbols import Symbols
from bench.workloads.task import read_task
from impls.training import find_trainable
from impls.training_reference import TrainingReference

SMOKE = PRESET["smoke"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a row whose framework is in no way needed to read it."""
    folder, task = tmp_path_factory.mktemp("trained"), read_task((6, 6))
    config = SMOKE.config(task.symbols)
    about = About(row="thinc/tuned", seed=0, preset="smoke", target=0.1, config=config, phonemes=task.symbols.phonemes)
    write_checkpoint(beginning(about), folder)
    return folder / about.name


def oracle(path: Path, words: list[str]) -> list[str]:
    """What the float64 oracle says."""
    one = read_checkpoint(path)
    reference = TrainingReference(one.about.config, SMOKE.recipe)
    reference.load(one.state)
    return [" ".join(own) for own in Symbols(one.about.phonemes).decoded(words, reference.decode_greedy)]


WORDS = ["hello", "a", "it's", "words"]


@pytest.mark.parametrize("name", find_trainable())
def test_every_row_says_what_the_oracle_says(name: str, checkpoint: Path) -> None:
    for framework in find_trainable()[name].frameworks:
        need(framework)
    done = ask("pronounce", *WORDS[:-1], "Words", "--checkpoint", str(checkpoint), "--impl", name)
    assert done.returncode == 0, done.stderr
    said = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [own[0] for own in said] == WORDS
    assert [own[1] if own[1:] else "" for own in said] == oracle(checkpoint, WORDS)


def test_what_cannot_be_said_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    of = ["--checkpoint", str(checkpoint)]
    one_line(ask("pronounce", *of), "name a word, such as")
    one_line(ask("pronounce", "hello"), "--checkpoint: name one; .* train")
    one_line(ask("pronounce", "''", *of), "\"''\" has no letters")
    one_line(ask("pronounce", "", *of), "'' has no letters")
    one_line(ask("pronounce", "h2o", *of), "'h2o' has '2': words are made of a to z and the apostrophe")
    one_line(ask("pronounce", "größe", *of), "has 'ß'")
    one_line(ask("pronounce", "a" * 101, *of), "has 101 letters; a word has at most 100")
    one_line(ask("pronounce", "a", *of, "--impl", "torch/cell"), "torch/cell: has no training; name one with --impl: ")
    one_line(ask("pronounce", "a", "--checkpoint", str(tmp_path)), "is no checkpoint|cannot be read")
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(checkpoint.read_bytes()[:64])
    one_line(ask("pronounce", "a", "--checkpoint", str(foreign)), "is no checkpoint of")


def test_a_checkpoint_of_other_symbols_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    one = read_checkpoint(checkpoint)
    fewer = msgspec.structs.replace(one.about, phonemes=one.about.phonemes[:-1])
    write_checkpoint(replace(one, about=fewer), tmp_path)
    one_line(ask("pronounce", "a", "--checkpoint", str(tmp_path / one.about.name)), "is damaged")
