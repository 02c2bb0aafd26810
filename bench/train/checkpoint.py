"""What is kept of a training: its state, the loss and time of each step, its evaluations. One file, written whole.

A checkpoint is a safetensors file: ``parameters/…``, ``mean/…`` and ``square/…`` under canonical names, ``losses``,
``step_s`` and ``is_first``, and the rest as JSON in its metadata. Any row reads any row's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bench.here import shown
from bench.records.atomic import write_atomic
from bench.records.schema import Struct
from bench.records.store import decode
from bench.train.presets import PresetName
from bench.workloads.symbols import Symbols
from impls.contract import InvalidInput, Parameters
from impls.training import TrainingConfig, TrainingState, check_state

SUFFIX = ".safetensors"
ABOUT = "seq2seq-lstm-training"
"""The key of what a file says of itself, in its metadata."""

DIGEST = "sha256"
"""That of all that is in a checkpoint: safetensors has none."""

Ending = Literal["reached", "missed"]


class Evaluation(Struct, frozen=True, kw_only=True):
    """Error rates after so many steps."""

    step: int
    phoneme_error: float
    word_error: float


class About(Struct, frozen=True, kw_only=True):
    """What stands in a checkpoint beside its arrays."""

    row: str
    """The row that trained it."""
    seed: int
    preset: PresetName
    target: float
    """The phoneme error on the validation words at which it ends."""
    config: TrainingConfig
    phonemes: tuple[str, ...]
    step: int = 0
    evaluations: tuple[Evaluation, ...] = ()
    """On the validation words."""
    test: Evaluation | None = None
    """On the test words: once, at the end."""
    ending: Ending | None = None
    """None: there are steps left."""

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.row.replace('/', '-')}-seed-{self.seed}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class History:
    """What has become of a training, step by step."""

    about: About
    losses: np.ndarray
    """Of each step's batch, before the step."""
    step_s: np.ndarray
    """How long each step took, until its loss was there."""
    is_first: np.ndarray
    """Whether a step was its process's first of its shape: some rows compile then."""

    @property
    def train_s(self) -> float:
        """All steps together, compiling and all: without batches, evaluations and checkpoints."""
        return float(self.step_s.sum())


@dataclass(frozen=True, slots=True)
class Checkpoint(History):
    """A training as far as it is: all that its next step depends on as well."""

    state: TrainingState


COLUMNS = ("losses", "step_s", "is_first")
"""The arrays of a history."""


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Put it into the folder, in the place of the one before.

    Raises:
        OSError: it cannot be written; the one before is still there.
    """
    state = checkpoint.state
    arrays = {name: getattr(checkpoint, name) for name in COLUMNS}
    for kind in ("parameters", "mean", "square"):
        arrays |= {f"{kind}/{name}": np.ascontiguousarray(own) for name, own in getattr(state, kind).items()}
    about = msgspec.json.encode(msgspec.structs.replace(checkpoint.about, step=state.step)).decode()
    write_atomic(folder / checkpoint.about.name, save(arrays, {ABOUT: about, DIGEST: _digest(about, arrays)}))


def read_about(path: Path) -> About:
    """What a checkpoint says of itself; its arrays are not read.

    Raises:
        InvalidInput: there is none, or it is damaged or something else.
    """
    try:
        path.open("rb").close()  # whose error has words
        with safe_open(path, "numpy") as file:
            about: About = decode((file.metadata() or {})[ABOUT].encode(), About, shown(path))
            return about
    except OSError as error:
        raise InvalidInput(f"{shown(path)}: cannot be read ({error.strerror})") from None
    except (SafetensorError, KeyError):
        raise InvalidInput(f"{shown(path)}: is no checkpoint of `python -m bench train`, or damaged") from None


def about_now(fresh: About, folder: Path) -> About:
    """What the checkpoint of a training says of itself; ``fresh``, as the training begins, where there is none.

    Raises:
        InvalidInput: it is damaged, or of another training.
    """
    path = folder / fresh.name
    if not path.exists():
        return fresh
    try:
        about = read_about(path)
        if msgspec.structs.replace(about, step=0, evaluations=(), test=None, ending=None) != fresh:
            raise InvalidInput(f"{shown(path)}: is of another training ({about.row}, seed {about.seed})")
    except InvalidInput as error:
        raise InvalidInput(f"{error}; remove it, and its training begins anew") from None
    return about


def _read(path: Path) -> tuple[About, dict[str, np.ndarray]]:
    about = read_about(path)
    with safe_open(path, "numpy") as file:
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
        said = file.metadata()
    if said.get(DIGEST) != _digest(said[ABOUT], arrays):
        raise InvalidInput(f"{shown(path)}: is damaged (what is in it is not what was written)")
    return about, arrays


def _digest(about: str, arrays: Mapping[str, np.ndarray]) -> str:
    found = sha256(about.encode())
    for name, own in sorted(arrays.items()):
        found.update(name.encode() + own.tobytes())
    return found.hexdigest()


def read_history(path: Path) -> History:
    """What has become of a checkpoint's training.

    Raises:
        InvalidInput: there is none, or it is damaged.
    """
    about, arrays = _read(path)
    try:
        return History(about, *(arrays[name] for name in COLUMNS))
    except KeyError as error:
        raise InvalidInput(f"{shown(path)}: is damaged ({error})") from None


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, with all that is in it.

    Raises:
        InvalidInput: there is none, or it is damaged or something else.
    """
    about, arrays = _read(path)
    kinds: dict[str, Parameters] = {"parameters": {}, "mean": {}, "square": {}}
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        if kind in kinds:
            kinds[kind][name] = array
    try:
        state = TrainingState(about.step, **kinds)
        check_state(about.config, state)
        if about.config.num_phonemes != Symbols(about.phonemes).count:
            raise InvalidInput("its phonemes are not as many as the model's")
        return Checkpoint(about, **{name: arrays[name] for name in COLUMNS}, state=state)
    except (KeyError, InvalidInput) as error:
        raise InvalidInput(f"{shown(path)}: is damaged ({error})") from None
