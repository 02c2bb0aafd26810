"""``torch/module``, trained as PyTorch's tutorials train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impls.torch.module import Seq2seqLSTM
from impls.torch.training._adapter import TorchTraining

if TYPE_CHECKING:
    from impls.training import Recipe, TrainingConfig


def load(config: TrainingConfig, recipe: Recipe, device: str) -> TorchTraining:
    """The training, with no state yet."""
    return TorchTraining(Seq2seqLSTM, config, recipe, device)
