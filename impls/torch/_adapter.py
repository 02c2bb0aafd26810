"""How any PyTorch row is fed, differentiated, stepped and awaited."""

from __future__ import annotations

import re
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

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
    Seq2seqConfig,
    TrainStep,
    precision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from impls.contract import Precision


class TorchSeq2seq(Protocol):
    """What a PyTorch model file offers: an ``nn.Module`` with the model's four methods."""

    def encode(self, x: Tensor) -> LSTMOutput:
        """Outputs and final states of the encoder."""

    def hand_off(self, h_n: Tensor) -> Tensor:
        """The decoder's initial hidden state ``(B, D)``."""

    def decode(self, y: Tensor, h_0: Tensor) -> LSTMOutput:
        """Outputs and final states of the decoder."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The decoder's outputs."""


def use_precision(chosen: Precision) -> None:
    """Let a GPU multiply in TF32, or not: left alone, cuDNN's LSTM would and other products would not.

    These are the older of PyTorch's two ways. They set the newer one (``fp32_precision``) too, while the newer one
    leaves these unset, and ``torch.compile`` may then raise (pytorch#166387).
    """
    torch.backends.cudnn.allow_tf32 = chosen == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = chosen == "tf32"


def find_device(device: str) -> torch.device:
    """PyTorch's device of that name, in the precision that the environment asks for.

    Raises:
        InvalidInput: the environment asks for no precision that there is.
        DeviceUnavailable: there is no such device, or this build of PyTorch cannot reach it.
    """
    use_precision(precision())
    if device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "finds no CUDA device" if torch.version.cuda else f"{torch.__version__} is built without CUDA"
        raise DeviceUnavailable(f"torch {why}")
    return torch.device("cuda")


def peak_bytes(device: torch.device) -> int:
    """The most that PyTorch's tensors and workspaces have held of the GPU since ``reset_peak``.

    What its allocator keeps in reserve beside them, and the CUDA context, are not in it.

    Raises:
        NoCounter: the device is no GPU.
    """
    _need_cuda(device)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def reset_peak(device: torch.device) -> None:
    """Count again from what is held now.

    Raises:
        NoCounter: the device is no GPU.
    """
    _need_cuda(device)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)


def _need_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        raise NoCounter(f"torch counts no memory on {device.type}")


def lstm_name(name: str) -> str:
    """The name that ``nn.LSTM`` has for a canonical parameter."""
    return name.replace("bias_", "bias_ih_")


def one_layer_name(name: str) -> str:
    """The same where the decoder is a list of one-layer modules: ``decoder.bias_l1`` is ``decoder.1.bias_ih_l0``."""
    return re.sub(r"^decoder\.(\w+_l)(\d+)$", r"decoder.\2.\g<1>0", lstm_name(name))


def trained_parameters(
    module: nn.Module, config: Seq2seqConfig, torch_name: Callable[[str], str] | None = None
) -> dict[str, nn.Parameter]:
    """Canonical name to the module's own parameter; without ``torch_name``, those of ``torch/module``.

    PyTorch's cells have a second bias. It is held at zero and not trained, so that there is one trained bias a gate.
    """
    owned = dict(module.named_parameters())
    for name, parameter in owned.items():
        if "bias_hh" in name:
            parameter.requires_grad_(False).zero_()
    torch_name = torch_name or (one_layer_name if config.context == "every_step" else lstm_name)
    return {name: owned[torch_name(name)] for name in config.parameter_shapes}


def as_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor, as NumPy's own memory."""
    return tensor.detach().cpu().numpy().copy()


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN, and with it ``nn.LSTM``, computes in bfloat16 on this processor. Other operations always do."""
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


class Lowered:
    """A model under autocast: what it multiplies is bfloat16, its weights and what it gives are float32.

    Raises:
        DeviceUnavailable: it needs an ``nn.LSTM`` that this processor cannot run so.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.hand_off = model.hand_off
        self._type = next(model.parameters()).device.type
        if self._type == "cpu" and not cpu_has_bfloat16() and any(isinstance(own, nn.LSTM) for own in model.modules()):
            raise DeviceUnavailable("nn.LSTM has no bfloat16 on this processor: oneDNN has it with AVX-512 only")

    def encode(self, x: Tensor) -> LSTMOutput:
        """The encoder alone."""
        with torch.autocast(self._type, torch.bfloat16):
            return LSTMOutput(*(array.float() for array in self._model.encode(x)))

    def decode(self, y: Tensor, h_0: Tensor) -> LSTMOutput:
        """The decoder alone."""
        with torch.autocast(self._type, torch.bfloat16):
            return LSTMOutput(*(array.float() for array in self._model.decode(y, h_0)))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The decoder's outputs."""
        with torch.autocast(self._type, torch.bfloat16):
            return self._model(x, y).float()


def adam(weights: Iterable[Tensor], *, fused: bool | None = None, capturable: bool = False) -> torch.optim.Adam:
    """PyTorch's Adam with the contract's numbers; ``fused``: its step is one kernel; ``capturable``: in a graph too."""
    numbers: dict[str, Any] = {"lr": LEARNING_RATE, "betas": (BETA_1, BETA_2), "eps": EPSILON}
    return torch.optim.Adam(weights, **numbers, fused=fused, capturable=capturable)


class TorchArrays:
    """What every PyTorch row does with arrays, whatever made its model."""

    def __init__(self, device: str) -> None:
        self.device = find_device(device)

    def to_device(self, array: np.ndarray) -> Tensor:
        """The array, on the device."""
        return torch.from_numpy(np.array(array)).to(self.device)

    def to_numpy(self, array: Tensor) -> np.ndarray:
        """The tensor, as NumPy's own memory."""
        return as_numpy(array)

    def wait(self, result: Any) -> None:  # noqa: ARG002
        """Return when the device is idle: PyTorch's CPU operations have ended when they return."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_bytes(self) -> int:
        """The most that PyTorch's tensors and workspaces have held of the GPU since ``reset_peak``."""
        return peak_bytes(self.device)

    def reset_peak(self) -> None:
        """Count again from what is held now."""
        reset_peak(self.device)


class TorchRow(TorchArrays):
    """A PyTorch model with its weights loaded: a ``contract.Implementation``.

    Args:
        build: Makes the model from the constructor arguments of ``Seq2seqConfig`` and ``device``.
        config: The sizes of the model.
        parameters: Canonical float32 weights.
        device: ``cpu`` or ``gpu``.
        torch_name: The model's own name of a canonical parameter; without it, that of ``torch/module``.
    """

    def __init__(
        self,
        build: Callable[..., nn.Module],
        config: Seq2seqConfig,
        parameters: Parameters,
        device: str,
        torch_name: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(device)
        self.model = build(*astuple(config), device=self.device)
        self._trained = trained_parameters(self.model, config, torch_name)
        for module in self.model.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # one block of weights, which cuDNN wants
        # an nn.Module answers any attribute
        self._seq2seq: TorchSeq2seq = self.model if precision() != "bfloat16" else Lowered(self.model)  # type: ignore[assignment]
        self.load(parameters)

    def canonical(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """The tensors as NumPy arrays: PyTorch's layout is the canonical one."""
        return {name: as_numpy(tensor) for name, tensor in parameters.items()}

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with a fresh ``torch.optim.Adam``."""
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(torch.from_numpy(parameters[name]))
                parameter.grad = None
        self._optimizer = self._fresh_optimizer()
        self.wait(None)

    def _fresh_optimizer(self) -> torch.optim.Adam:
        return adam(self._trained.values())

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._trained)

    def trained_count(self) -> int:
        """How many numbers of the module ask for a gradient."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def encode(self, x: Tensor) -> LSTMOutput:
        """The encoder alone, nothing recorded for a backward pass."""
        with torch.inference_mode():
            return self._seq2seq.encode(x)

    def hand_off(self, h_n: Tensor) -> Tensor:
        """``h_0 (B, D)``."""
        return self._seq2seq.hand_off(h_n)

    def decode(self, y: Tensor, h_0: Tensor) -> LSTMOutput:
        """The decoder alone, nothing recorded for a backward pass."""
        with torch.inference_mode():
            return self._seq2seq.decode(y, h_0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The decoder's outputs, nothing recorded for a backward pass."""
        with torch.inference_mode():
            return self._seq2seq(x, y)

    def gradients(self, x: Tensor, y: Tensor, d_output: Tensor) -> Gradients:
        """Forward and backward, towards the parameters and both inputs."""
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        output = self._seq2seq(x, y)
        d_x, d_y, *d_parameters = torch.autograd.grad(output, [x, y, *self._trained.values()], d_output)
        return Gradients(dict(zip(self._trained, d_parameters, strict=True)), d_x, d_y)

    def train_step(self, x: Tensor, y: Tensor, target: Tensor) -> TrainStep:
        """One step of ``torch.optim.Adam`` on the mean squared error."""
        self._optimizer.zero_grad()
        loss = nn.functional.mse_loss(self._seq2seq(x, y), target)
        loss.backward()
        self._optimizer.step()
        return TrainStep(loss.detach(), self._trained)
