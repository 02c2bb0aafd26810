"""A row seen from outside: NumPy in, NumPy out, every input checked at the door.

The tests, the oracle's answers and Python users come in here; the timed path does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from impls.contract import (
    Gradients,
    LayerStates,
    LSTMOutput,
    Parameters,
    Seq2seqConfig,
    States,
    TrainStep,
    check_array,
    check_parameters,
    check_sequence,
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
        return cast("LSTMOutput", self.convert(self.row.encode(self.row.to_device(x))))

    def hand_off(self, h_n: np.ndarray) -> np.ndarray:
        """``h_0 (B, D)`` from the encoder's ``h_n (L x directions, B, H)``."""
        layers = self.config.num_encoder_layers * self.config.num_directions
        check_array("h_n", h_n, shape=(layers, None, self.config.hidden_dim))
        return cast("np.ndarray", self.convert(self.row.hand_off(self.row.to_device(h_n))))

    def decode(self, y: np.ndarray, h_0: np.ndarray) -> LSTMOutput:
        """Outputs and final states of the decoder for ``y (T_y, B, E)``, started from ``h_0 (B, D)``."""
        check_sequence("y", y, width=self.config.embedding_dim)
        check_array("h_0", h_0, shape=(y.shape[1], self.config.decoder_hidden_dim))
        return cast("LSTMOutput", self.convert(self.row.decode(self.row.to_device(y), self.row.to_device(h_0))))

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The decoder's outputs ``(T_y, B, D)``."""
        self._check_pair(x, y)
        return cast("np.ndarray", self.convert(self.row.forward(self.row.to_device(x), self.row.to_device(y))))

    def states(self, x: np.ndarray, y: np.ndarray) -> States:
        """The hidden states of every layer, ``encoder (L, T_x, B, D)`` and ``decoder (L, T_y, B, D)``.

        Raises:
            NotImplementedError: the row has its last layer's only.
        """
        self._check_pair(x, y)
        if not isinstance(self.row, LayerStates):
            raise NotImplementedError(
                "this row gives its last layer's hidden states only: 'unsupported' in its ROW says why"
            )
        return cast("States", self.convert(self.row.states(self.row.to_device(x), self.row.to_device(y))))

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Gradients:
        """Gradients towards every parameter (canonical names) and both inputs."""
        self._check_pair(x, y)
        check_array("d_output", d_output, shape=(*y.shape[:2], self.config.decoder_hidden_dim))
        return cast("Gradients", self.convert(self.row.gradients(*map(self.row.to_device, (x, y, d_output)))))

    def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> TrainStep:
        """The loss, and the weights (canonical names) after one Adam step."""
        self._check_pair(x, y)
        check_array("target", target, shape=(*y.shape[:2], self.config.decoder_hidden_dim))
        return cast("TrainStep", self.convert(self.row.train_step(*map(self.row.to_device, (x, y, target)))))

    def convert(self, result: Any) -> LSTMOutput | States | Gradients | TrainStep | np.ndarray:
        """What the row gave for any call, awaited, in NumPy and under canonical names."""
        row = self.row
        row.wait(result)
        if isinstance(result, LSTMOutput | States):
            return type(result)(*map(row.to_numpy, result))
        if isinstance(result, Gradients):
            return Gradients(row.canonical(result.parameters), row.to_numpy(result.x), row.to_numpy(result.y))
        if isinstance(result, TrainStep):
            return TrainStep(row.to_numpy(result.loss), row.canonical(result.parameters))
        return row.to_numpy(result)

    def _check_x(self, x: np.ndarray) -> None:
        check_sequence("x", x, width=self.config.embedding_dim)

    def _check_pair(self, x: np.ndarray, y: np.ndarray) -> None:
        self._check_x(x)
        check_sequence("y", y, width=self.config.embedding_dim, batch=x.shape[1])
