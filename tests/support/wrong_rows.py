"""Rows made wrong on purpose."""

from __future__ import annotations

import numpy as np

from impls.contract import (
    BETA_1,
    BETA_2,
    EPSILON,
    LEARNING_RATE,
    Context,
    Gradients,
    LSTMOutput,
    Parameters,
    Seq2seqConfig,
    States,
    TrainStep,
)
from impls.reference import Adam, Reference


class RightRow(Reference):
    """A row with nothing wrong: plain NumPy in float32."""

    context: Context = "initial"

    def __init__(self, config: Seq2seqConfig, parameters: Parameters, device: str) -> None:
        super().__init__(config, parameters, np.float32)


class SwappedGate(RightRow):
    """Gate order i, g, f, o where i, f, g, o is meant."""

    def load(self, parameters: Parameters) -> None:
        super().load(parameters)
        i, f, g, o = np.split(self._parameters["encoder.weight_ih_l1"], 4)
        self._parameters["encoder.weight_ih_l1"] = np.concatenate([i, g, f, o])


class MissingBias(RightRow):
    """The decoder's last bias is not loaded."""

    def load(self, parameters: Parameters) -> None:
        super().load(parameters)
        self._parameters["decoder.bias_l1"] = np.zeros_like(self._parameters["decoder.bias_l1"])


class DirectionMajorStates(RightRow):
    """``h_n`` direction by direction instead of layer by layer."""

    def encode(self, x: np.ndarray) -> LSTMOutput:
        output, h_n, c_n = super().encode(x)
        return LSTMOutput(output, h_n[[0, 2, 1, 3]], c_n)


class HandOffOfFirstLayer(RightRow):
    """The hand-off from the first layer instead of the last."""

    def hand_off(self, h_n: np.ndarray) -> np.ndarray:
        return np.concatenate([h_n[0], h_n[1]], axis=-1)


class HandOffReversed(RightRow):
    """Reverse then forward, where forward then reverse is meant."""

    def hand_off(self, h_n: np.ndarray) -> np.ndarray:
        return np.concatenate([h_n[-1], h_n[-2]], axis=-1)


class GradientsOffByOnePercent(RightRow):
    """One parameter's gradient 1 % too large."""

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Gradients:
        result = super().gradients(x, y, d_output)
        name = "encoder.weight_hh_l0_reverse"
        return result._replace(parameters=result.parameters | {name: result.parameters[name] * 1.01})


class InputGradientMissing(RightRow):
    """No gradient towards the decoder's input."""

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Gradients:
        return super().gradients(x, y, d_output)._replace(y=np.zeros_like(y))


class EpsilonBeforeBiasCorrection(RightRow):
    """Adam with eps added to the uncorrected root, as Thinc's has it."""

    def load(self, parameters: Parameters) -> None:
        super().load(parameters)
        self._optimizer = EagerEpsilon(self._parameters)


class EagerEpsilon(Adam):
    """Adam with eps before the bias correction."""

    def step(self, parameters: Parameters, gradients: Parameters) -> None:
        self.step_count += 1
        for name, gradient in gradients.items():
            self.mean[name] = BETA_1 * self.mean[name] + (1 - BETA_1) * gradient
            self.square[name] = BETA_2 * self.square[name] + (1 - BETA_2) * gradient**2
            rate = LEARNING_RATE * (1 - BETA_2**self.step_count) ** 0.5 / (1 - BETA_1**self.step_count)
            parameters[name] -= rate * self.mean[name] / (np.sqrt(self.square[name]) + EPSILON)


class OptimizerSurvivesLoad(RightRow):
    """New weights, but the old optimiser's state."""

    def load(self, parameters: Parameters) -> None:
        before = getattr(self, "_optimizer", None)
        super().load(parameters)
        self._optimizer = before or self._optimizer


class CachedResult(RightRow):
    """The first input's result, whatever the input."""

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if not hasattr(self, "_first"):
            self._first = super().forward(x, y)
        return self._first


class TwoTrainedBiases(RightRow):
    """A second bias a gate, trained as well: it moves twice as far."""

    def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> TrainStep:
        before = self.parameters()
        result = super().train_step(x, y, target)
        for name, array in self._parameters.items():
            if "bias" in name:
                array += array - before[name]
        return result

    def trained_count(self) -> int:
        return super().trained_count() + sum(array.size for name, array in self._parameters.items() if "bias" in name)


class RoundedWeights(RightRow):
    """Weights kept in half precision."""

    def load(self, parameters: Parameters) -> None:
        super().load({name: array.astype(np.float16) for name, array in parameters.items()})


class FrozenParameter(RightRow):
    """One parameter that no step moves."""

    def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> TrainStep:
        before = self.parameters()["decoder.bias_l0"]
        result = super().train_step(x, y, target)
        self._parameters["decoder.bias_l0"][:] = before
        return result


class DifferentOnRepeat(RightRow):
    """A little noise: within the limits, yet not the same twice."""

    calls = 0

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().forward(x, y) + np.float32(1e-7 * self.calls)

    def gradients(self, x: np.ndarray, y: np.ndarray, d_output: np.ndarray) -> Gradients:
        self.calls += 1
        result = super().gradients(x, y, d_output)
        return result._replace(x=result.x + np.float32(1e-7 * self.calls))


class DoublePrecision(RightRow):
    """Right, and in float64: another amount of work."""

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return super().forward(x, y).astype(np.float64)


class NotANumber(RightRow):
    """NaN in one place."""

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        output = super().forward(x, y)
        output[0, 0, 0] = np.nan
        return output


class BatchFirst(RightRow):
    """Outputs with batch before time."""

    def encode(self, x: np.ndarray) -> LSTMOutput:
        output, h_n, c_n = super().encode(x)
        return LSTMOutput(output.swapaxes(0, 1), h_n, c_n)


class ContextAtFirstStepOnly(RightRow):
    """The representation left out after the decoder's first step."""

    context = "every_step"

    def _join(self, y: np.ndarray, context: np.ndarray) -> np.ndarray:
        joined = super()._join(y, context)
        joined[1:, :, -context.shape[-1] :] = 0
        return joined


class ContextGradientKept(RightRow):
    """What the decoder saw at every step gives the encoder no gradient."""

    context = "every_step"

    def _part(self, d_input: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d_y, d_context = super()._part(d_input)
        return d_y, np.zeros_like(d_context)


class ContextGradientOfLastStep(RightRow):
    """Only the last step's gradient goes back to the encoder."""

    context = "every_step"

    def _part(self, d_input: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d_y, _ = super()._part(d_input)
        return d_y, d_input[-1, :, d_y.shape[-1] :]


class ContextOfFirstLayerOnly(RightRow):
    """Layers above the first do not see the representation."""

    context = "every_step"

    def _join(self, y: np.ndarray, context: np.ndarray) -> np.ndarray:
        return super()._join(y, context if y.shape[-1] == self.config.embedding_dim else np.zeros_like(context))


class ReverseStatesNotTurned(RightRow):
    """The first encoder layer's reverse states in the order in which they were made."""

    def states(self, x: np.ndarray, y: np.ndarray) -> States:
        encoder, decoder = super().states(x, y)
        width = self.config.hidden_dim
        encoder[0, :, :, width:] = encoder[0, ::-1, :, width:].copy()
        return States(encoder, decoder)


class StatesFromZero(RightRow):
    """The decoder's states without what the encoder handed over."""

    def states(self, x: np.ndarray, y: np.ndarray) -> States:
        encoder, _ = super().states(x, y)
        _, tapes = self._decode(y, np.zeros((x.shape[1], self.config.decoder_hidden_dim), self.dtype))
        return States(encoder, np.stack([tape.h[1:] for tape in tapes]))


class StatesNotOffered(RightRow):
    """No states, and its ROW declares nothing."""

    states = None
