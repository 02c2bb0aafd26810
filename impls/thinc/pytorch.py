"""The PyTorch model of ``torch/module`` inside Thinc's ``PyTorchWrapper``."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import torch
from thinc.api import PyTorchWrapper
from torch import Tensor, nn

from impls.thinc._adapter import ThincRow, find_ops
from impls.thinc.layers import hand_off
from impls.torch import _adapter as torch_adapter
from impls.torch import module
from impls.torch._adapter import as_numpy, find_device, trained_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thinc.api import Model

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "wrapper",
    "summary": "the model of torch/module inside Thinc's PyTorchWrapper, trained by Thinc's Adam",
    "frameworks": ["thinc", "torch"],
    "unsupported": {"states": "nn.LSTM gives the hidden states of its last layer only"},
    "multiplies_with": "torch",
}


class Part(nn.Module):
    """A method of a PyTorch module as a module, which is what ``PyTorchWrapper`` takes."""

    def __init__(self, whole: nn.Module, method: Callable[..., Any]) -> None:
        super().__init__()
        self.whole = whole
        self.method = method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What the method returns, as a plain tuple."""
        return tuple(self.method(*inputs))


def Seq2seqLSTM(
    embedding_dim: int,
    hidden_dim: int,
    num_encoder_layers: int,
    num_decoder_layers: int,
    bidirectional: bool,
    context: str = "initial",
    *,
    device: torch.device,
) -> Model[Any, Any]:
    """Sequence-to-sequence LSTM: ``(x, y)`` to the decoder's outputs."""
    return PyTorchWrapper(
        module.Seq2seqLSTM(
            embedding_dim, hidden_dim, num_encoder_layers, num_decoder_layers, bidirectional, context, device=device
        )
    )


class WrappedWeights:
    """Weights that stand in a wrapped PyTorch module."""

    def __init__(self, wrapped: nn.Module, config: Seq2seqConfig) -> None:
        self._wrapped = wrapped
        self._trained = trained_parameters(wrapped, config)

    def read(self) -> Mapping[str, Any]:
        """Canonical name to the tensor."""
        return self._trained

    def write(self, parameters: Parameters) -> None:
        """Copy the weights in."""
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(torch.from_numpy(parameters[name]))

    def gradients(self) -> Mapping[str, Any]:
        """Canonical name to the tensor's gradient."""
        return {name: parameter.grad for name, parameter in self._trained.items()}

    def clear_gradients(self) -> None:
        """Forget the gradients."""
        for parameter in self._trained.values():
            parameter.grad = None

    def trained_count(self) -> int:
        """How many numbers of the wrapped module ask for a gradient."""
        return sum(parameter.numel() for parameter in self._wrapped.parameters() if parameter.requires_grad)


class WrapperRow(ThincRow):
    """A ThincRow whose parameters are PyTorch's."""

    def canonical(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """The tensors as NumPy arrays."""
        return {name: as_numpy(tensor) for name, tensor in parameters.items()}

    def peak_bytes(self) -> int:
        """CuPy's and PyTorch's together: at most this, for their peaks may fall at different times."""
        return super().peak_bytes() + torch_adapter.peak_bytes(torch.device("cuda"))

    def reset_peak(self) -> None:
        """Count again from what is held now, in both."""
        super().reset_peak()
        torch_adapter.reset_peak(torch.device("cuda"))


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> WrapperRow:
    """The wrapped model with these weights, on the device."""
    ops = find_ops(device)
    model = Seq2seqLSTM(*astuple(config), device=find_device(device))
    wrapped = model.shims[0]._model  # the module itself, by the way that Thinc's documentation shows
    return WrapperRow(
        model=model,
        encoder=PyTorchWrapper(Part(wrapped, wrapped.encode)),
        decoder=PyTorchWrapper(Part(wrapped, wrapped.decode)),
        hand_off=lambda h_n: hand_off(h_n, config.num_directions),
        weights=WrappedWeights(wrapped, config),
        parameters=parameters,
        ops=ops,
    )
