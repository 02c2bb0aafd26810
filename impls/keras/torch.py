"""Keras 3 on PyTorch: the model called, its loss and optimiser as Keras's guide to training loops in PyTorch has them.

For one batch Keras's documentation says to call the model and not ``predict``. (``predict_on_batch`` and
``train_on_batch`` copy what they give to the host.) Without a GPU, Keras's LSTM is a loop in Python over PyTorch's
operations; with one, it is cuDNN's.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import astuple
from itertools import count
from typing import TYPE_CHECKING

import keras
import torch

from impls.contract import Gradients, LSTMOutput, States, TrainStep
from impls.keras._adapter import (
    ADAM,
    epsilon,
    from_canonical,
    need_backend,
    to_canonical,
    trained_count,
    trained_variables,
)
from impls.keras._seq2seq import Seq2seqLSTM
from impls.torch._adapter import TorchArrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "idiomatic",
    "summary": "Keras 3 on PyTorch: LSTM and Bidirectional, called as they are",
    "frameworks": ["keras", "torch"],
    "environment": {"KERAS_BACKEND": "torch"},  # read when Keras is imported
    "multiplies_with": "torch",
}


class TorchRow(TorchArrays):
    """The models with their weights loaded: a ``contract.Implementation``, and a LayerStates too."""

    def __init__(self, config: Seq2seqConfig, parameters: Parameters, device: str) -> None:
        need_backend("torch")
        super().__init__(device)
        with keras.device(self.device.type):
            self.seq2seq = Seq2seqLSTM(*astuple(config))
        self._variables = trained_variables(config, self.seq2seq)
        self._weights = [variable.value for variable in self._variables.values()]
        self._loss = keras.losses.MeanSquaredError()
        self.load(parameters)

    def canonical(self, parameters: Sequence[Tensor]) -> Parameters:
        """The weights (or gradients), under canonical names and shapes."""
        return to_canonical(self._variables, parameters, self.to_numpy)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a fresh ``keras.optimizers.Adam``."""
        with keras.device(self.device.type), torch.no_grad():
            for weight, array in zip(self._weights, from_canonical(self._variables, parameters), strict=True):
                weight.copy_(self.to_device(array))
            self._optimizer = keras.optimizers.Adam(**ADAM)
            self._optimizer.build(list(self._variables.values()))
        self._epsilons = map(epsilon, count(1))
        self.seq2seq.whole.zero_grad()
        self.wait(None)

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._weights)

    def trained_count(self) -> int:
        """How many numbers Keras calls trainable."""
        return trained_count(self.seq2seq)

    def encode(self, x: Tensor) -> LSTMOutput:
        """The encoder alone, nothing recorded for a backward pass."""
        with self._inference():
            return self.seq2seq.encoder([x])

    def hand_off(self, h_n: Tensor) -> Tensor:
        """``h_0 (B, D)``."""
        with self._inference():
            return self.seq2seq.hand_off(h_n)

    def decode(self, y: Tensor, h_0: Tensor) -> LSTMOutput:
        """The decoder alone, nothing recorded for a backward pass."""
        with self._inference():
            return self.seq2seq.decoder([y, h_0])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The decoder's outputs, nothing recorded for a backward pass."""
        with self._inference():
            return self.seq2seq.whole([x, y])

    def states(self, x: Tensor, y: Tensor) -> States:
        """Every layer's hidden states, nothing recorded for a backward pass."""
        with self._inference():
            return self.seq2seq.states([x, y])

    def gradients(self, x: Tensor, y: Tensor, d_output: Tensor) -> Gradients:
        """Forward and backward, towards the parameters and both inputs."""
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        with keras.device(self.device.type):
            output = self.seq2seq.whole([x, y])
        d_x, d_y, *d_weights = torch.autograd.grad(output, [x, y, *self._weights], d_output)
        return Gradients(d_weights, d_x, d_y)

    def train_step(self, x: Tensor, y: Tensor, target: Tensor) -> TrainStep:
        """One step of Keras's Adam on the mean squared error."""
        with keras.device(self.device.type):
            loss = self._loss(target, self.seq2seq.whole([x, y]))
            self.seq2seq.whole.zero_grad()
            loss.backward()
            self._optimizer.epsilon = next(self._epsilons)
            with torch.no_grad():
                self._optimizer.apply([weight.grad for weight in self._weights])
        return TrainStep(loss.detach(), self._weights)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with keras.device(self.device.type), torch.no_grad():
            yield


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> TorchRow:
    """The models with these weights, on the device.

    Raises:
        InvalidInput: Keras has another backend in this process.
    """
    return TorchRow(config, parameters, device)
