"""``thinc/pytorch``, trained: PyTorch's model between Thinc's layers, moved by Thinc's Adam."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import torch
from thinc.api import torch2xp, xp2torch

from impls.thinc._adapter import find_ops
from impls.thinc.pytorch import Seq2seqLSTM, WrappedWeights
from impls.thinc.training._adapter import ThincTraining
from impls.torch._adapter import find_device

if TYPE_CHECKING:
    import numpy as np

    from impls.training import Recipe, TrainingConfig


class WrapperTraining(ThincTraining):
    """A ThincTraining most of whose weights are PyTorch's."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """The array or tensor, as NumPy's own memory."""
        return super().to_numpy(torch2xp(array.detach()) if isinstance(array, torch.Tensor) else array)


def load(config: TrainingConfig, recipe: Recipe, device: str) -> WrapperTraining:
    """The training, with no state yet."""
    ops = find_ops(device)
    model = Seq2seqLSTM(*astuple(config.model), device=find_device(device))
    wrapped = model.shims[0]._model

    @torch.inference_mode()
    def hand_off(x: Any) -> Any:
        return torch2xp(wrapped.hand_off(wrapped.encode(xp2torch(x)).h_n))

    @torch.inference_mode()
    def step(y_t: Any, h: list[Any], c: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        states = tuple(torch.stack([xp2torch(own) for own in layers]) for layers in (h, c))
        output, (new_h, new_c) = wrapped.decoder(xp2torch(y_t)[None], states)
        return torch2xp(output[0]), [torch2xp(own) for own in new_h], [torch2xp(own) for own in new_c]

    return WrapperTraining(model, WrappedWeights(wrapped, config.model), hand_off, step, config, recipe, ops)
