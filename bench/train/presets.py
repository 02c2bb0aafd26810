"""What is trained, and how: sizes, recipe, and how often the error is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from bench.workloads.dictionary import LETTERS
from bench.workloads.shapes import WORKLOADS
from bench.workloads.symbols import Symbols
from impls.contract import Seq2seqConfig
from impls.training import Recipe, TrainingConfig

PresetName = Literal["default", "smoke", "stress", "long"]
PRESETS: tuple[PresetName, ...] = get_args(PresetName)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A training: the model, its recipe, and when it is evaluated."""

    model: Seq2seqConfig
    batch_size: int
    recipe: Recipe
    evaluate_every: int
    """Steps from one evaluation, and checkpoint, to the next."""
    lengths: tuple[int, int] | None = None
    """Of how many letters its words are, from and to; None: all of them."""
    most_evaluated: int | None = None
    """Words of a part that are decoded; None: all."""
    stress: bool = False
    """Whether phonemes have stress marks: ``AH0``, ``AH1`` and ``AH2`` are three then."""

    @property
    def workload(self) -> str | None:
        """Whose steps are those of this training: rows take turns at it afterwards; None: they do not."""
        sizes = self.model, self.batch_size
        alike = (one for one in WORKLOADS.values() if one.as_trained and (one.config, one.batch_size) == sizes)
        return None if self.stress else next((one.name for one in alike), None)

    def config(self, symbols: Symbols) -> TrainingConfig:
        """The sizes of the whole, with these symbols."""
        return TrainingConfig(self.model, len(LETTERS), symbols.count)


DEFAULT = Preset(
    model=Seq2seqConfig(
        embedding_dim=64, hidden_dim=128, num_encoder_layers=2, num_decoder_layers=2, bidirectional=True
    ),
    batch_size=128,
    recipe=Recipe(peak_learning_rate=4e-3, warmup_steps=200, total_steps=4000, max_norm=1.0),
    evaluate_every=200,
)

PRESET: dict[PresetName, Preset] = {
    "default": DEFAULT,
    "smoke": Preset(
        model=Seq2seqConfig(
            embedding_dim=16, hidden_dim=32, num_encoder_layers=1, num_decoder_layers=1, bidirectional=True
        ),
        batch_size=64,
        recipe=Recipe(peak_learning_rate=1e-2, warmup_steps=10, total_steps=40, max_norm=1.0),
        evaluate_every=20,
        lengths=(6, 6),  # JAX compiles for each
        most_evaluated=128,
    ),
    "stress": replace(DEFAULT, stress=True),
    "long": replace(
        DEFAULT,
        recipe=Recipe(peak_learning_rate=4e-3, warmup_steps=400, total_steps=12_500, max_norm=1.0),
        evaluate_every=500,
    ),
}
