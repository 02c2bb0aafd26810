"""``bench pronounce``: any row says what any row has learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frameworks import need
from support.processes import ask, one_line

from bench.cli.pronounce import pronounce
from bench.train.checkpoint import About, read_about, read_checkpoint, write_checkpoint
from bench.train.net import net_bytes, published_nets, read_net
from bench.train.presets import PRESET
from bench.train.worker import beginning
from bench.workloads.symbols import Symbols
from bench.workloads.task import read_task
from impls import Row
from impls.contract import InvalidInput
from impls.training import find_trainable
from impls.training_reference import TrainingReference

SMOKE = PRESET["smoke"]


@pytest.fixture
def checkpoint() -> Path:
    """Of a row whose framework is in no way needed to read it."""
    return unlearnt()


@cache
def unlearnt() -> Path:
    folder, task = Path(mkdtemp()), read_task((6, 6))
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


def test_the_repositorys_own_net_speaks(require: Callable[[Row], None]) -> None:
    (best, *_) = published_nets()
    assert best.stat().st_size < 4e6
    require(find_trainable()[read_about(best).row])
    done = ask("pronounce", "hello", "speech")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "hello   HH AH L OW\nspeech  S P IY CH\n"


def test_without_a_net_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.train.net.PUBLISHED", tmp_path)
    with pytest.raises(InvalidInput, match=r"--checkpoint: name one; .* train"):
        pronounce("hello")


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=50))
def test_a_net_has_the_nearest_bfloat16_of_each_weight(numbers: list[float]) -> None:
    one = read_checkpoint(unlearnt())
    weights = np.resize(np.array(numbers, np.float32), 41)
    parameters = one.state.parameters | {"output.bias": weights}
    path = unlearnt().with_name("net.safetensors")
    path.write_bytes(net_bytes(one.about, parameters))
    about, state = read_net(path)
    found = state.parameters["output.bias"]
    assert about == one.about and np.all(np.abs(found - weights) <= np.abs(weights) * 2.0**-8 + 1e-38)
    assert not np.any(found.view(np.uint32) & 0xFFFF)
    again = net_bytes(about, state.parameters)
    assert again == path.read_bytes(), "what is rounded already stays"


def test_any_library_reads_a_net(checkpoint: Path, tmp_path: Path) -> None:
    need("torch")
    import torch
    from safetensors.torch import load_file

    one = read_checkpoint(checkpoint)
    (tmp_path / "net.safetensors").write_bytes(net_bytes(one.about, one.state.parameters))
    for name, own in load_file(tmp_path / "net.safetensors").items():
        weights = torch.from_numpy(one.state.parameters[name.removeprefix("parameters/")])
        assert own.dtype == torch.bfloat16 and torch.equal(own, weights.bfloat16())


def test_a_damaged_net_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    one, path = read_checkpoint(checkpoint), tmp_path / "net.safetensors"
    path.write_bytes(net_bytes(one.about, {"output.bias": one.state.parameters["output.bias"]}))
    one_line(ask("pronounce", "a", "--checkpoint", str(path)), "is damaged \\(parameter .* is missing")
    whole = net_bytes(one.about, one.state.parameters)
    path.write_bytes(whole[:-10])
    one_line(ask("pronounce", "a", "--checkpoint", str(path)), "is no checkpoint of")


def test_a_checkpoint_of_other_symbols_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    one = read_checkpoint(checkpoint)
    fewer = msgspec.structs.replace(one.about, phonemes=one.about.phonemes[:-1])
    write_checkpoint(replace(one, about=fewer), tmp_path)
    one_line(ask("pronounce", "a", "--checkpoint", str(tmp_path / one.about.name)), "is damaged")
