"""A row seen from outside: NumPy in, NumPy out, every input checked at the door.

The tests, the oracle's answers and Python users come in here; the timed path does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impls.contract import (
    Gradients,
    LSTMOutput,
    Parameters,
    Seq2seqConfig,
    TrainStep,
    check_parameters,
    check_sequence,
    check_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from impls.contract import Implementation


class NumpyModel:
    """A row that takes and gives NumPy arrays.

    Args:
        build: Makes the row from the configuration, its weights and a device (a row file's ``load``).
        config: The sizes of the model.
        parameters: Canonical float32 weights.
        device: ``cpu`` or ``gpu``.

    Raises:
        InvalidInput: a parameter is missing, unknown, misshapen or not float32; later, the same of an input.
        DeviceUnavailable: the framework cannot reach the device.
    """

    def __init__(
        self,
        build: Callable[[Seq2seqConfig, Parameters, str], Implementation],
        config: Seq2seqConfig,
        parameters: Parameters,
        device: str = "cpu",
    ) -> None:
        check_parameters(config, parameters)
        self.config = config
        self.row = build(config, parameters, device)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with an optimiser that has made no step."""
        check_parameters(self.config, parameters)
        self.row.load(parameters)

    def parameters(self) -> Parameters:
        """The weights as they are now, in canonical form."""
        return self.row.parameters()

    def encode(self, x: np.ndarray) -> LSTMOutput:
        """Outputs and final states of the encoder for ``x (T_x, B, E)``."""
        self._check_x(x)
        return self._numpy(self.row.encode(self.row.to_device(x)))

    def hand_off(self, h_n: np.ndarray) -> np.ndarray:
        """``h_0 (B, D)`` from the encoder's ``h_n (L x directions, B, H)``."""
        layers = self.config.num_encoder_layers * self.config.num_directions
        batch = h_n.shape[1] if h_n.ndim == 3 else 0
        check_state("h_n", h_n, shape=(layers, batch, self.config.hidden_dim))
        result = self.row.hand_off(self.row.to_device(h_n))
        self.row.wait(result)
        return self.row.to_numpy(result)

    def decode(self, y: np.ndarray, h_0: np.ndarray) -> LSTMOutput:
        """Outputs and final states of the decoder for ``y (T_y, B, E)``, started from ``h_0 (B, D)``."""
        check_sequence("y", y, width=self.config.embedding_dim)
        check_state("h_0", h_0, shape=(y.shape[1], self.config.decoder_hidden_dim))
        return self._numpy(self.row.decode(self.row.to_device(y), self.row.to_device(h_0)))

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The decoder's outputs ``(T_y, B, D)``."""
        self._check_pair(x, y)
        result = self.row.forward(self.row.to_device(x), self.row.to_device(y))
        self.row.wait(result)
        return self.row.to_numpy(result)

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Gradients:
        """Gradients towards every parameter (canonical names) and both inputs."""
        self._check_pair(x, y)
        check_state("d_output", d_output, shape=(*y.shape[:2], self.config.decoder_hidden_dim))
        result = self.row.gradients(*map(self.row.to_device, (x, y, d_output)))
        self.row.wait(result)
        return Gradients(
            self.row.canonical(result.parameters), self.row.to_numpy(result.x), self.row.to_numpy(result.y)
        )

    def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> TrainStep:
        """The loss, and the weights (canonical names) after one Adam step."""
        self._check_pair(x, y)
        check_state("target", target, shape=(*y.shape[:2], self.config.decoder_hidden_dim))
        result = self.row.train_step(*map(self.row.to_device, (x, y, target)))
        self.row.wait(result)
        return TrainStep(self.row.to_numpy(result.loss), self.row.canonical(result.parameters))

    def _check_x(self, x: np.ndarray) -> None:
        check_sequence("x", x, width=self.config.embedding_dim)

    def _check_pair(self, x: np.ndarray, y: np.ndarray) -> None:
        self._check_x(x)
        check_sequence("y", y, width=self.config.embedding_dim, batch=x.shape[1])

    def _numpy(self, result: Any) -> LSTMOutput:
        self.row.wait(result)
        return LSTMOutput(*map(self.row.to_numpy, result))
