"""``bench pronounce``."""

from __future__ import annotations

from pathlib import Path

from bench.cli.main import stdout
from bench.here import command
from bench.train.net import published_nets, read_net
from bench.train.presets import PRESET
from bench.train.worker import decoder_of
from bench.workloads.symbols import Symbols, check_words
from impls.contract import InvalidInput
from impls.training import find_trainable, load_training


def pronounce(*words: str, checkpoint: Path | None = None, impl: str | None = None) -> int:
    """Say how words are pronounced, as a trained model has it: phonemes of the CMU Pronouncing Dictionary.

    Any row reads any row's checkpoint.

    Some examples:
      python -m bench pronounce hello world
      python -m bench pronounce hello --checkpoint results/trainings/mine/torch-tuned-seed-0.safetensors
      python -m bench pronounce hello --checkpoint torch-tuned-seed-0.safetensors --impl jax/tuned

    Parameters
    ----------
    words
        Words, made of a to z and the apostrophe.
    checkpoint
        What `bench train` has made; the repository's own net if not given.
    impl
        The row that says them; the one that trained the checkpoint if not given.
    """
    if not words:
        raise InvalidInput("name a word, such as: bench pronounce hello")
    if checkpoint is None:
        checkpoint = next(iter(published_nets()), None)
    if checkpoint is None:
        raise InvalidInput(f"--checkpoint: name one; `{command('train')}` makes them, in some minutes each")
    (about, state), known = read_net(checkpoint), find_trainable()
    row, here = known.get(impl or about.row), [name for name, one in known.items() if one.missing() is None]
    if row is None:
        raise InvalidInput(f"{impl or about.row}: has no training; name one with --impl: {', '.join(here)}")
    if missing := row.missing():
        raise InvalidInput(f"{row.name}: {missing}; install it, or name another row with --impl: {', '.join(here)}")
    symbols, lower = Symbols(about.phonemes), [word.lower() for word in words]
    check_words(lower)
    model = load_training(row, about.config, PRESET[about.preset].recipe)
    model.load(state)

    width = max(map(len, lower))
    for word, said in zip(lower, symbols.decoded(lower, decoder_of(model)), strict=True):
        stdout(soft_wrap=True).print(f"{word:{width}}  {' '.join(said)}")
    return 0
