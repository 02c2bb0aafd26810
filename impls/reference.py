"""The oracle: the model of ``contract.py`` in NumPy, float64, with its backward pass and Adam, written to be read.

Each forward function returns its results and a *tape* (what its backward needs); each backward function is the forward
one read from bottom to top. The matrix products of the inputs and of the weight gradients stand outside the loops over
time, so that a float32 copy of it is also a fair "plain NumPy" to compare a framework with. Proven by finite
differences and against PyTorch in float64 (``tests/impls/test_reference.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from impls.contract import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Gradients, LSTMOutput, States, TrainStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float
    from numpy.typing import DTypeLike

    from impls.contract import LSTMLayer, Parameters, Precision, Seq2seqConfig

    Array = np.ndarray
    Rounding = Callable[[Array], Array]


def logistic(z: Array) -> Array:
    """``1 / (1 + exp(-z))``, in the form that cannot overflow."""
    return 0.5 * np.tanh(0.5 * z) + 0.5


class Weights(NamedTuple):
    """One layer and direction: ``ih (4H, I)``, ``hh (4H, H)``, ``bias (4H,)``; or the gradients towards them."""

    ih: Array
    hh: Array
    bias: Array


@dataclass(frozen=True, slots=True)
class Tape:
    """What the backward pass of one layer and direction needs: everything it saw and made, step by step."""

    weights: Weights
    x: Float[Array, "T B I"]
    h: Float[Array, "T+1 B H"]  # h[0] is the initial state
    c: Float[Array, "T+1 B H"]
    gates: Float[Array, "T B 4H"]  # i, f, g, o, after their nonlinearities


def exactly(array: Array) -> Array:
    """The array: the oracle rounds nothing."""
    return array


def lstm(x: Float[Array, "T B I"], h_0: Float[Array, "B H"], weights: Weights, rounded: Rounding = exactly) -> Tape:
    """The states and gates of one layer run over ``x``, from hidden state ``h_0`` and a cell state of zero."""
    time, batch, _ = x.shape
    width = weights.hh.shape[1]
    h = np.empty((time + 1, batch, width), x.dtype)
    c = np.empty_like(h)
    h[0], c[0] = h_0, 0
    gates = rounded(x @ weights.ih.T + weights.bias)
    for t in range(time):
        gates[t] = rounded(gates[t] + h[t] @ weights.hh.T)
        i, f, g, o = np.split(gates[t], 4, axis=-1)  # views: what is written into them stands in ``gates``
        i[:], f[:], g[:], o[:] = logistic(i), logistic(f), np.tanh(g), logistic(o)
        c[t + 1] = rounded(f * c[t] + i * g)
        h[t + 1] = rounded(o * np.tanh(c[t + 1]))
    return Tape(weights, x, h, c, gates)


def lstm_backward(
    d_output: Float[Array, "T B H"], d_h_n: Float[Array, "B H"], tape: Tape, rounded: Rounding = exactly
) -> tuple[Float[Array, "T B I"], Float[Array, "B H"], Weights]:
    """Gradients towards ``x``, ``h_0`` and the weights, given those towards the outputs and the last hidden state."""
    time, batch, width = d_output.shape
    d_z = np.empty_like(tape.gates)  # towards the gates before their nonlinearities
    d_h, d_c = d_h_n, np.zeros_like(d_h_n)
    for t in reversed(range(time)):
        i, f, g, o = np.split(tape.gates[t], 4, axis=-1)
        tanh_c = np.tanh(tape.c[t + 1])
        d_h = d_h + d_output[t]
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        d_z[t] = np.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * tape.c[t] * f * (1 - f),
                d_c * i * (1 - g**2),
                d_h * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        d_z[t] = rounded(d_z[t])
        d_h = rounded(d_z[t] @ tape.weights.hh)
        d_c = d_c * f
    flat = d_z.reshape(time * batch, 4 * width)
    d_weights = Weights(
        ih=rounded(flat.T @ tape.x.reshape(time * batch, -1)),
        hh=rounded(flat.T @ tape.h[:-1].reshape(time * batch, width)),
        bias=rounded(flat.sum(axis=0)),
    )
    return rounded(d_z @ tape.weights.ih), d_h, d_weights


class Reference:
    """The whole model with its weights: what every row is compared with.

    Arguments and results are those of ``contract.Implementation``, in NumPy; gradients and parameters come under their
    canonical names. ``dtype`` is float64 for the oracle. ``rounded`` is what befalls each array that the LSTMs make:
    nothing, for the oracle.
    """

    def __init__(
        self,
        config: Seq2seqConfig,
        parameters: Parameters,
        dtype: DTypeLike = np.float64,
        rounded: Rounding = exactly,
    ) -> None:
        self.config = config
        self.dtype = np.dtype(dtype)
        self._rounded = rounded
        self.load(parameters)

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with an optimiser that has made no step."""
        self.use({name: array.astype(self.dtype) for name, array in parameters.items()})

    def use(self, parameters: Parameters) -> None:
        """The same with these very arrays: what moves them moves the model."""
        self._parameters = parameters
        self._optimizer = Adam(self._parameters)
        self.last_gradients: Parameters = {}

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return {name: array.copy() for name, array in self._parameters.items()}

    def trained_count(self) -> int:
        """How many numbers Adam moves."""
        return sum(array.size for array in self._parameters.values())

    def canonical(self, parameters: Parameters) -> Parameters:
        """The parameters: they are kept in canonical form."""
        return {name: array.copy() for name, array in parameters.items()}

    def to_device(self, array: Array) -> Array:
        """The array: NumPy is at home."""
        return array

    def to_numpy(self, array: Array) -> Array:
        """The array: NumPy is at home."""
        return np.asarray(array)

    def wait(self, result: object) -> None:
        """Return: NumPy has computed what it returned."""

    def encode(self, x: Float[Array, "T_x B E"]) -> LSTMOutput:
        """The encoder's outputs and final states."""
        output, tapes = self._encode(x.astype(self.dtype))
        return _lstm_output(output, tapes)

    def hand_off(self, h_n: Float[Array, "L*dirs B H"]) -> Float[Array, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return np.concatenate(list(h_n[-self.config.num_directions :]), axis=-1)

    def decode(self, y: Float[Array, "T_y B E"], h_0: Float[Array, "B D"]) -> LSTMOutput:
        """The decoder's outputs and final states, every layer started from ``h_0``."""
        output, tapes = self._decode(y.astype(self.dtype), h_0.astype(self.dtype))
        return _lstm_output(output, tapes)

    def forward(self, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]) -> Float[Array, "T_y B D"]:
        """The decoder's outputs for ``y``, started from what the encoder made of ``x``."""
        return self.forward_with_tapes(x, y)[0]

    def states(self, x: Float[Array, "T_x B E"], y: Float[Array, "T_y B E"]) -> States:
        """The hidden states of every layer."""
        output, tapes = self._encode(x.astype(self.dtype))
        below = [tape.x for tape in tapes[:: self.config.num_directions][1:]]  # a layer reads what the one below gave
        h_0 = self.hand_off(np.stack([tape.h[-1] for tape in tapes]))
        _, decoder_tapes = self._decode(y.astype(self.dtype), h_0)
        return States(np.stack([*below, output]), np.stack([tape.h[1:] for tape in decoder_tapes]))

    def gradients(self, x: Array, y: Array, d_output: Float[Array, "T_y B D"]) -> Gradients:
        """Gradients towards every parameter and both inputs."""
        _, encoder_tapes, decoder_tapes = self.forward_with_tapes(x, y)
        return self.backward(d_output.astype(self.dtype), encoder_tapes, decoder_tapes)

    def train_step(self, x: Array, y: Array, target: Float[Array, "T_y B D"]) -> TrainStep:
        """One Adam step on the mean squared error against ``target``."""
        output, encoder_tapes, decoder_tapes = self.forward_with_tapes(x, y)
        difference = output - target.astype(self.dtype)
        gradients = self.backward(2 * difference / difference.size, encoder_tapes, decoder_tapes)
        self._optimizer.step(self._parameters, gradients.parameters)
        self.last_gradients = gradients.parameters
        return TrainStep(np.mean(difference**2), self._parameters)

    def forward_with_tapes(self, x: Array, y: Array) -> tuple[Array, list[Tape], list[Tape]]:
        """The decoder's outputs, and what ``backward`` needs of the encoder and of the decoder."""
        _, encoder_tapes = self._encode(x.astype(self.dtype))
        h_0 = self.hand_off(np.stack([tape.h[-1] for tape in encoder_tapes]))
        output, decoder_tapes = self._decode(y.astype(self.dtype), h_0)
        return output, encoder_tapes, decoder_tapes

    def backward(self, d_output: Array, encoder_tapes: list[Tape], decoder_tapes: list[Tape]) -> Gradients:
        """Gradients towards every parameter and both inputs, given that towards the decoder's outputs."""
        gradients: Parameters = {}
        directions = self.config.num_directions

        d_y, d_h_0 = d_output, np.zeros_like(d_output[0])
        for layer, tape in zip(reversed(self.config.decoder_layers), reversed(decoder_tapes), strict=True):
            d_input, d_initial, d_weights = lstm_backward(d_y, np.zeros_like(d_h_0), tape, self._rounded)
            d_y, d_context = self._part(d_input)
            d_h_0 = d_h_0 + d_initial + d_context  # every decoder layer started from the same h_0, and saw it
            gradients |= dict(zip(layer.parameter_shapes, d_weights, strict=True))

        d_h_n = np.split(d_h_0, directions, axis=-1)  # of the last layer; the others hand nothing over
        d_x = np.zeros((*encoder_tapes[-1].x.shape[:2], self.config.decoder_hidden_dim), self.dtype)
        for index in reversed(range(self.config.num_encoder_layers)):
            here = slice(index * directions, (index + 1) * directions)
            d_outputs = np.split(d_x, directions, axis=-1)
            d_x = np.zeros_like(encoder_tapes[here][0].x)
            for layer, tape, d_output, d_last in zip(
                self.config.encoder_layers[here], encoder_tapes[here], d_outputs, d_h_n, strict=True
            ):
                d_in, _, d_weights = lstm_backward(
                    d_output[::-1] if layer.reverse else d_output, d_last, tape, self._rounded
                )
                d_x += d_in[::-1] if layer.reverse else d_in
                gradients |= dict(zip(layer.parameter_shapes, d_weights, strict=True))
            d_h_n = [np.zeros_like(d_last) for d_last in d_h_n]
        return Gradients({name: gradients[name] for name in self.config.parameter_shapes}, d_x, d_y)

    def _weights(self, layer: LSTMLayer) -> Weights:
        return Weights(*(self._parameters[name] for name in layer.parameter_shapes))

    def _encode(self, x: Array) -> tuple[Array, list[Tape]]:
        batch = x.shape[1]
        zero = np.zeros((batch, self.config.hidden_dim), self.dtype)
        tapes: list[Tape] = []
        for directions in self.config.encoder_stack:
            outputs = []
            for layer in directions:
                tape = lstm(x[::-1] if layer.reverse else x, zero, self._weights(layer), self._rounded)
                outputs.append(tape.h[:0:-1] if layer.reverse else tape.h[1:])  # in the order of x again
                tapes.append(tape)
            x = np.concatenate(outputs, axis=-1)
        return x, tapes

    def _decode(self, y: Array, h_0: Array) -> tuple[Array, list[Tape]]:
        tapes = []
        for layer in self.config.decoder_layers:
            tapes.append(lstm(self._join(y, h_0), h_0, self._weights(layer), self._rounded))
            y = tapes[-1].h[1:]
        return y, tapes

    def _join(self, y: Float[Array, "T_y B I"], context: Float[Array, "B D"]) -> Array:
        """What a decoder layer reads."""
        if self.config.context == "initial":
            return y
        return np.concatenate([y, np.broadcast_to(context, (len(y), *context.shape))], axis=-1)

    def _part(self, d_input: Array) -> tuple[Float[Array, "T_y B I"], Float[Array, "B D"] | float]:
        """From the gradient of what a decoder layer reads, those towards ``y`` and the context."""
        if self.config.context == "initial":
            return d_input, 0.0
        d_y, d_context = np.split(d_input, [-self.config.decoder_hidden_dim], axis=-1)
        return d_y, d_context.sum(axis=0)


class Adam:
    """Adam as Kingma and Ba (2015, algorithm 1) write it: eps is added after the bias correction."""

    def __init__(self, parameters: Parameters, rounded: Rounding = exactly) -> None:
        self.step_count = 0
        betas = np.array([BETA_1, BETA_2])
        self._betas, self._rests, self._rounded = rounded(betas), rounded(1 - betas), rounded
        self.mean = {name: np.zeros_like(array) for name, array in parameters.items()}
        self.square = {name: np.zeros_like(array) for name, array in parameters.items()}

    def step(self, parameters: Parameters, gradients: Parameters, learning_rate: float = LEARNING_RATE) -> None:
        """Move ``parameters``, in place."""
        self.step_count += 1
        beta_1, beta_2, rest_1, rest_2 = map(float, (*self._betas, *self._rests))
        power_1, power_2 = map(float, self._rounded(self._betas**self.step_count))
        for name, gradient in gradients.items():
            self.mean[name] = beta_1 * self.mean[name] + rest_1 * gradient
            self.square[name] = beta_2 * self.square[name] + rest_2 * gradient**2
            mean = self.mean[name] / (1 - power_1)
            square = self.square[name] / (1 - power_2)
            parameters[name] -= learning_rate * mean / (np.sqrt(square) + EPSILON)


class TrainingSlack:
    """How far Adam's weights may move by rounding alone, number by number.

    Adam divides a gradient by its own size: where one all but vanishes, rounding decides the step, however right the
    row is. Two optimisers are fed the oracle's gradients moved by ``GRADIENT_NOISE`` of the largest of each array, one
    up, one down; where they part, no row of that precision can be held to less. Everywhere else they agree, and nothing
    is given.
    """

    GRADIENT_NOISE: ClassVar[dict[Precision, float]] = {
        "float32": 1e-5,  # a tenth of the limit for gradients; worst measured 4e-6, by nn.LSTM on a GPU 9e-6
        "tf32": 3e-3,  # the worst simulated
        "bfloat16": 3e-2,
    }

    def __init__(self, parameters: Parameters, precision: Precision = "float32") -> None:
        self._noise = self.GRADIENT_NOISE[precision]
        self._twins = [({name: np.zeros(array.shape) for name, array in parameters.items()}, sign) for sign in (1, -1)]
        self._optimizers = [Adam(weights) for weights, _ in self._twins]

    def step(self, gradients: Parameters, learning_rate: float = LEARNING_RATE) -> None:
        """Take note of one training step."""
        for (weights, sign), optimizer in zip(self._twins, self._optimizers, strict=True):
            noise = {name: sign * self._noise * np.max(np.abs(array)) for name, array in gradients.items()}
            moved = {name: array + noise[name] for name, array in gradients.items()}
            optimizer.step(weights, moved, learning_rate)

    def sizes(self) -> Parameters:
        """Name to how far each number may be off."""
        (up, _), (down, _) = self._twins
        return {name: np.abs(up[name] - down[name]) for name in up}


def _lstm_output(output: Array, tapes: list[Tape]) -> LSTMOutput:
    return LSTMOutput(output, np.stack([tape.h[-1] for tape in tapes]), np.stack([tape.c[-1] for tape in tapes]))
