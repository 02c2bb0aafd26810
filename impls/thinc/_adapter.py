"""How any Thinc row is fed, differentiated, stepped and awaited."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from thinc.api import Adam, NumpyOps, Ops, get_ops, require_cpu, require_gpu

from impls.contract import (
    BETA_1,
    BETA_2,
    EPSILON,
    LEARNING_RATE,
    DeviceUnavailable,
    Gradients,
    LSTMOutput,
    NoCounter,
    Parameters,
    TrainStep,
    precision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thinc.api import Model, Optimizer

    from impls.contract import Precision, Seq2seqConfig


class Weights(Protocol):
    """Where a Thinc row keeps its weights: in its nodes, or in what it wraps."""

    def read(self) -> Mapping[str, Any]:
        """Canonical name to the array that the model computes with."""

    def write(self, parameters: Parameters) -> None:
        """Take canonical weights."""

    def gradients(self) -> Mapping[str, Any]:
        """Canonical name to the gradient gathered since ``clear_gradients``."""

    def clear_gradients(self) -> None:
        """Forget what has been gathered."""

    def trained_count(self) -> int:
        """How many numbers an optimiser moves."""


class NodeWeights:
    """Weights that stand in Thinc nodes: one node a layer and direction, with ``W_ih``, ``W_hh`` and ``b``.

    The nodes are found in the model however deep they stand, encoder before decoder, in the order of ``h_n``.
    """

    def __init__(self, config: Seq2seqConfig, model: Model[Any, Any]) -> None:
        self._places: dict[str, tuple[Model[Any, Any], str]] = {}
        nodes = [node for node in model.walk(order="dfs_pre") if "W_ih" in node.param_names]
        for layer, node in zip((*config.encoder_layers, *config.decoder_layers), nodes, strict=True):
            self._places[layer.weight_ih] = node, "W_ih"
            self._places[layer.weight_hh] = node, "W_hh"
            self._places[layer.bias] = node, "b"

    def read(self) -> Mapping[str, Any]:
        """Canonical name to the node's parameter."""
        return {name: node.get_param(param) for name, (node, param) in self._places.items()}

    def write(self, parameters: Parameters) -> None:
        """Set every node's parameters."""
        for name, (node, param) in self._places.items():
            node.set_param(param, node.ops.asarray(parameters[name].copy()))

    def gradients(self) -> Mapping[str, Any]:
        """Canonical name to the node's gradient."""
        return {name: node.get_grad(param) for name, (node, param) in self._places.items()}

    def clear_gradients(self) -> None:
        """Give every node fresh zeros to gather into."""
        for node, param in self._places.values():
            node.set_grad(param, node.ops.alloc(node.get_param(param).shape))

    def trained_count(self) -> int:
        """How many numbers the nodes have in all their parameters."""
        nodes = {id(node): node for node, _ in self._places.values()}
        return sum(node.get_param(name).size for node in nodes.values() for name in node.param_names)


def use_precision(chosen: Precision) -> None:
    """Let a GPU multiply in TF32, or not: CuPy reads this at its first product, and keeps to it from then on."""
    os.environ["CUPY_TF32"] = "1" if chosen == "tf32" else "0"


def find_ops(device: str) -> Ops:
    """Thinc's operations for the device, in the precision that the environment asks for.

    Raises:
        InvalidInput: the environment asks for no precision that there is.
        DeviceUnavailable: CuPy, or the device, is missing.
    """
    use_precision(precision())
    if device == "cpu":
        require_cpu()
        # NumPy's BLAS instead of Thinc's default, BLIS: as fast where BLIS knows the processor, and 3 to 4 times as
        # fast where it does not and falls back to its generic kernel (blis 1.3.4 on AMD Zen 3: 24 against 80 GFLOP/s)
        return NumpyOps(use_blis=False)
    try:
        require_gpu()
    except ValueError:
        raise DeviceUnavailable("thinc finds no GPU; it needs cupy-cuda13x and an NVIDIA device") from None
    return get_ops("cupy")


def adam(kind: Callable[..., Optimizer] = Adam) -> Optimizer:
    """Thinc's Adam, or one of another kind that takes the same, made to follow the paper.

    Thinc clips gradients and keeps averages unless told not to, and adds eps *before* the bias correction: an eps that
    is scaled at every step cancels that. ``step_schedules`` has to be called after each step.
    """
    return kind(
        LEARNING_RATE,
        beta1=BETA_1,
        beta2=BETA_2,
        eps=(EPSILON * (1 - BETA_2**step) ** 0.5 for step in count(1)),  # type: ignore[arg-type]
        grad_clip=0.0,
        L2=0.0,
        use_averages=False,
    )


class ThincRow:
    """Thinc models with their weights loaded: a ``contract.Implementation``.

    Args:
        model: ``(x, y)`` to the decoder's outputs.
        encoder: ``x`` to ``(output, h_n, c_n)``; shares the model's weights.
        decoder: ``(y, h_0)`` to ``(output, h_n, c_n)``; shares the model's weights.
        hand_off: ``h_n`` to ``h_0``.
        weights: Where they keep their weights.
        parameters: Canonical float32 weights.
        ops: Thinc's operations of the device.
    """

    def __init__(
        self,
        *,
        model: Model[Any, Any],
        encoder: Model[Any, Any],
        decoder: Model[Any, Any],
        hand_off: Callable[[Any], Any],
        weights: Weights,
        parameters: Parameters,
        ops: Ops,
    ) -> None:
        self.model, self.encoder, self.decoder = model, encoder, decoder
        self.hand_off = hand_off
        self.ops = ops
        self._weights = weights
        self.load(parameters)

    def to_device(self, array: np.ndarray) -> Any:
        """The array, on the device."""
        return self.ops.asarray(array.copy())

    def to_numpy(self, array: Any) -> np.ndarray:
        """The array, as NumPy's own memory."""
        return np.array(array if isinstance(self.ops, NumpyOps) else self.ops.to_numpy(array))

    def wait(self, result: Any) -> None:  # noqa: ARG002
        """Return when the device is idle: NumPy has computed what it returned, CuPy may not have."""
        if not isinstance(self.ops, NumpyOps):
            self.ops.xp.cuda.Device().synchronize()

    def peak_bytes(self) -> int:
        """What CuPy's memory pool has taken from the device: the most since ``reset_peak``, for it gives nothing back.

        That is whole blocks, free ones among them that are too small for what was asked next. What cuBLAS takes for
        itself, and the CUDA context, are not in it.

        Raises:
            NoCounter: the device is no GPU.
        """
        self._need_cupy()
        self.wait(None)
        return int(self.ops.xp.get_default_memory_pool().total_bytes())

    def reset_peak(self) -> None:
        """Count again from what is held now: the pool gives its free blocks back.

        Raises:
            NoCounter: the device is no GPU.
        """
        self._need_cupy()
        self.wait(None)
        self.ops.xp.get_default_memory_pool().free_all_blocks()

    def _need_cupy(self) -> None:
        if isinstance(self.ops, NumpyOps):
            raise NoCounter("thinc counts no memory on cpu")

    def canonical(self, parameters: Mapping[str, Any]) -> Parameters:
        """The arrays as NumPy's: Thinc rows keep the canonical names and layout."""
        return {name: self.to_numpy(array) for name, array in parameters.items()}

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a fresh Adam."""
        self._weights.write(parameters)
        self._weights.clear_gradients()
        self._optimizer = self._fresh_optimizer()
        self.wait(None)

    def _fresh_optimizer(self) -> Optimizer:
        return adam()

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._weights.read())

    def trained_count(self) -> int:
        """How many numbers an optimiser moves."""
        return self._weights.trained_count()

    def encode(self, x: Any) -> LSTMOutput:
        """The encoder alone, ``predict``."""
        return LSTMOutput(*self.encoder.predict(x))

    def decode(self, y: Any, h_0: Any) -> LSTMOutput:
        """The decoder alone, ``predict``."""
        return LSTMOutput(*self.decoder.predict((y, h_0)))

    def forward(self, x: Any, y: Any) -> Any:
        """The decoder's outputs, ``predict``."""
        return self.model.predict((x, y))

    def gradients(self, x: Any, y: Any, d_output: Any) -> Gradients:
        """``begin_update`` and its backprop, towards the parameters and both inputs."""
        _, backprop = self.model.begin_update((x, y))
        d_x, d_y = backprop(d_output)
        gathered = self._weights.gradients()
        self._weights.clear_gradients()  # or the next step would be taken on these too
        return Gradients(gathered, d_x, d_y)

    def train_step(self, x: Any, y: Any, target: Any) -> TrainStep:
        """One step of Thinc's Adam on the mean squared error."""
        output, backprop = self.model.begin_update((x, y))
        difference = output - target
        backprop(difference * (2 / difference.size))
        self.model.finish_update(self._optimizer)
        self._optimizer.step_schedules()
        return TrainStep((difference**2).mean(), self._weights.read())
