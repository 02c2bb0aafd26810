"""``nn.LSTMCell``, written out step by step: every layer's hidden states can be had, not so from ``nn.LSTM``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from impls.contract import LSTMOutput, States
from impls.torch._adapter import TorchRow

if TYPE_CHECKING:
    from jaxtyping import Float

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "loop",
    "summary": "nn.LSTMCell in a Python loop over time; offers every layer's hidden states",
    "frameworks": ["torch"],
    "precisions": ["float32", "tf32", "bfloat16"],
}


def run_cell(
    cell: nn.LSTMCell, x: Float[Tensor, "T B I"], h: Float[Tensor, "B H"], *, reverse: bool = False
) -> tuple[Float[Tensor, "T B H"], Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """The cell's hidden states in the order of ``x``, and its final ``h`` and ``c``; ``c`` starts from zero."""
    c = torch.zeros_like(h)
    states = []
    steps = x.unbind()
    for x_t in reversed(steps) if reverse else steps:
        h, c = cell(x_t, (h, c))
        states.append(h)
    return torch.stack(states[::-1] if reverse else states), h, c


class Seq2seqLSTM(nn.Module):
    """Sequence-to-sequence LSTM."""

    cell_type = nn.LSTMCell

    def __init__(
        self,
        embedding_dim: int,
        hidden_dim: int,
        num_encoder_layers: int,
        num_decoder_layers: int,
        bidirectional: bool,
        context: str = "initial",
        *,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.num_directions = 2 if bidirectional else 1
        self.hidden_dim = hidden_dim
        self.context = context
        width = self.num_directions * hidden_dim

        def cell(layer: int, hidden_dim: int, seen: int = 0) -> nn.LSTMCell:
            return self.cell_type((embedding_dim if layer == 0 else width) + seen, hidden_dim, device=device)

        self.encoder = nn.ModuleList(
            nn.ModuleList(cell(layer, hidden_dim) for _ in range(self.num_directions))
            for layer in range(num_encoder_layers)
        )
        seen = width if context == "every_step" else 0
        self.decoder = nn.ModuleList(cell(layer, width, seen) for layer in range(num_decoder_layers))

    def encoder_states(self, x: Float[Tensor, "T_x B E"]) -> tuple[list[Float[Tensor, "T_x B D"]], Tensor, Tensor]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``."""
        zero = x.new_zeros(x.shape[1], self.hidden_dim)
        states, h_n, c_n = [], [], []
        for directions in self.encoder:
            outputs = []
            for cell, reverse in zip(directions, (False, True)[: self.num_directions], strict=True):
                output, h, c = run_cell(cell, x, zero, reverse=reverse)
                outputs.append(output)
                h_n.append(h)
                c_n.append(c)
            x = torch.cat(outputs, dim=-1)
            states.append(x)
        return states, torch.stack(h_n), torch.stack(c_n)

    def decoder_states(
        self, y: Float[Tensor, "T_y B E"], h_0: Float[Tensor, "B D"]
    ) -> tuple[list[Float[Tensor, "T_y B D"]], Tensor, Tensor]:
        """Every layer's hidden states, first layer first, and ``h_n`` and ``c_n``; every layer starts from ``h_0``."""
        states, h_n, c_n = [], [], []
        for cell in self.decoder:
            if self.context == "every_step":
                y = torch.cat([y, h_0.expand(len(y), -1, -1)], dim=-1)
            y, h, c = run_cell(cell, y, h_0)
            states.append(y)
            h_n.append(h)
            c_n.append(c)
        return states, torch.stack(h_n), torch.stack(c_n)

    def encode(self, x: Float[Tensor, "T_x B E"]) -> LSTMOutput:
        """``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``; the initial states are zero."""
        states, h_n, c_n = self.encoder_states(x)
        return LSTMOutput(states[-1], h_n, c_n)

    def hand_off(self, h_n: Float[Tensor, "L*dirs B H"]) -> Float[Tensor, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return torch.cat(tuple(h_n[-self.num_directions :]), dim=-1)

    def decode(self, y: Float[Tensor, "T_y B E"], h_0: Float[Tensor, "B D"]) -> LSTMOutput:
        """``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``; every layer starts from ``h_0``, cells from zero."""
        states, h_n, c_n = self.decoder_states(y, h_0)
        return LSTMOutput(states[-1], h_n, c_n)

    def states(self, x: Float[Tensor, "T_x B E"], y: Float[Tensor, "T_y B E"]) -> States:
        """Every layer's hidden states, ``encoder (L, T_x, B, D)`` and ``decoder (L, T_y, B, D)``."""
        encoder, h_n, _ = self.encoder_states(x)
        decoder, _, _ = self.decoder_states(y, self.hand_off(h_n))
        return States(torch.stack(encoder), torch.stack(decoder))

    def forward(self, x: Float[Tensor, "T_x B E"], y: Float[Tensor, "T_y B E"]) -> Float[Tensor, "T_y B D"]:
        """The decoder's outputs for ``y``, started from what the encoder made of ``x``."""
        h_0 = self.hand_off(self.encode(x).h_n)
        return self.decode(y, h_0).output


class CellRow(TorchRow):
    """A TorchRow that has every layer's hidden states: a ``contract.LayerStates`` too."""

    def states(self, x: Tensor, y: Tensor) -> States:
        """Every layer's hidden states, nothing recorded for a backward pass."""
        with torch.inference_mode():
            return self.model.states(x, y)


def cell_name(name: str) -> str:
    """This model's name of a canonical parameter: ``encoder.weight_ih_l1_reverse`` is ``encoder.1.1.weight_ih``."""
    match = re.fullmatch(
        r"(?P<part>\w+)\.(?P<kind>weight_ih|weight_hh|bias)_l(?P<layer>\d+)(?P<reverse>_reverse)?", name
    )
    assert match is not None, name
    direction = f"{1 if match['reverse'] else 0}." if match["part"] == "encoder" else ""
    kind = "bias_ih" if match["kind"] == "bias" else match["kind"]
    return f"{match['part']}.{match['layer']}.{direction}{kind}"


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> CellRow:
    """The model with these weights, on the device."""
    return CellRow(Seq2seqLSTM, config, parameters, device, torch_name=cell_name)
