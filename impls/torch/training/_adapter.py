"""A PyTorch model between embeddings and an output layer, and its training loop's body."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from impls.torch._adapter import TorchArrays, adam, as_numpy, trained_parameters
from impls.training import NO_TARGET, START, LossAndGradients, TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Float, Int

    from impls.contract import Parameters
    from impls.training import Recipe, TrainingConfig


class LettersToPhonemes(nn.Module):
    """The model between two embeddings and an output layer."""

    def __init__(self, seq2seq: nn.Module, config: TrainingConfig, device: torch.device) -> None:
        super().__init__()
        embedding_dim, width = config.model.embedding_dim, config.model.decoder_hidden_dim
        self.letters = nn.Embedding(config.num_letters, embedding_dim, device=device)
        self.seq2seq = seq2seq
        self.phonemes = nn.Embedding(config.num_phonemes, embedding_dim, device=device)
        self.output = nn.Linear(width, config.num_phonemes, device=device)

    def forward(self, letters: Int[Tensor, "T_x B"], before: Int[Tensor, "T_y B"]) -> Float[Tensor, "T_y B V"]:
        """The logits of each phoneme."""
        return self.output(self.seq2seq(self.letters(letters), self.phonemes(before)))

    def decode_greedy(self, letters: Int[Tensor, "T_x B"], steps: int) -> Int[Tensor, "T B"]:
        """The likeliest phonemes, one by one."""
        decoder = self.seq2seq.decoder
        h_0 = self.seq2seq.hand_off(self.seq2seq.encode(self.letters(letters)).h_n)
        h = h_0.expand(decoder.num_layers, -1, -1).contiguous()
        c = torch.zeros_like(h)
        phoneme = torch.full_like(letters[0], START)
        said = []
        for _ in range(steps):
            output, (h, c) = decoder(self.phonemes(phoneme)[None], (h, c))
            phoneme = self.output(output[0]).argmax(dim=-1)
            said.append(phoneme)
        return torch.stack(said)


class TorchTraining(TorchArrays):
    """A PyTorch model and its optimiser: a ``training.TrainableModel``.

    Args:
        build: Makes the model from the constructor arguments of ``Seq2seqConfig`` and ``device``.
        config: The sizes of the whole.
        recipe: How it is trained.
        device: ``cpu`` or ``gpu``.
        fused: Whether a step of Adam is one kernel.
    """

    def __init__(
        self,
        build: Callable[..., nn.Module],
        config: TrainingConfig,
        recipe: Recipe,
        device: str,
        *,
        fused: bool | None = None,
    ) -> None:
        super().__init__(device)
        seq2seq = build(*astuple(config.model), device=self.device)
        self.model = LettersToPhonemes(seq2seq, config, self.device)
        around = {name: own for name, own in self.model.named_parameters() if not name.startswith("seq2seq.")}
        self._trained = trained_parameters(seq2seq, config.model) | {
            name: around[name] for name in config.parameter_shapes if name in around
        }
        self._recipe, self._fused = recipe, fused

    def to_device(self, array: np.ndarray) -> Tensor:
        """The symbols, on the device: embeddings and losses take 64 bits."""
        return super().to_device(array.astype(np.int64))

    def load(self, state: TrainingState) -> None:
        """Go on from there: an Adam and a schedule that have made so many steps."""
        self._optimizer = adam(self._trained.values(), fused=self._fused)
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(torch.from_numpy(state.parameters[name]))
                if state.step:
                    self._optimizer.state[parameter] = {
                        "step": torch.tensor(float(state.step), device=self.device if self._fused else None),
                        "exp_avg": torch.from_numpy(state.mean[name].copy()).to(self.device),
                        "exp_avg_sq": torch.from_numpy(state.square[name].copy()).to(self.device),
                    }
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer,
            lambda step: self._recipe.learning_rate(state.step + step) / self._optimizer.defaults["lr"],
        )
        self.wait(None)

    def state(self) -> TrainingState:
        """Where it is now."""
        moments = [self._optimizer.state[parameter] for parameter in self._trained.values()]
        parameters = self._canonical(self._trained)
        if not any(moments):
            zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
            return TrainingState(0, parameters, zeros, {name: array.copy() for name, array in zeros.items()})
        mean, square = (
            self._canonical(dict(zip(self._trained, (own[key] for own in moments), strict=True)))
            for key in ("exp_avg", "exp_avg_sq")
        )
        return TrainingState(int(moments[0]["step"]), parameters, mean, square)

    def loss(
        self, letters: Int[Tensor, "T_x B"], before: Int[Tensor, "T_y B"], targets: Int[Tensor, "T_y B"]
    ) -> Float[Tensor, ""]:
        """The cross entropy, averaged over the real targets."""
        logits = self.model(letters, before)
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET)

    def gradients(self, letters: Tensor, before: Tensor, targets: Tensor) -> LossAndGradients:
        """The loss and its gradient, before clipping."""
        loss = self.loss(letters, before, targets)
        gradients = torch.autograd.grad(loss, list(self._trained.values()))
        return LossAndGradients(as_numpy(loss), self._canonical(dict(zip(self._trained, gradients, strict=True))))

    def train_step(self, letters: Tensor, before: Tensor, targets: Tensor) -> Tensor:
        """One step; the loss before it."""
        self._optimizer.zero_grad()
        loss = self.loss(letters, before, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained.values(), self._recipe.max_norm)
        self._optimizer.step()
        self._schedule.step()
        return loss.detach()

    def decode_greedy(self, letters: Tensor, steps: int) -> Tensor:
        """The likeliest phonemes, one by one."""
        with torch.inference_mode():
            return self.model.decode_greedy(letters, steps)

    def _canonical(self, tensors: Mapping[str, Any]) -> Parameters:
        return {name: as_numpy(tensor) for name, tensor in tensors.items()}
