"""``nn.LSTM`` for the encoder and the decoder: the notebook's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from impls.contract import LSTMOutput
from impls.torch._adapter import TorchRow

if TYPE_CHECKING:
    from jaxtyping import Float

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "idiomatic",
    "summary": "nn.LSTM for encoder and decoder, the notebook's model",
    "frameworks": ["torch"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "unsupported": {"states": "nn.LSTM gives the hidden states of its last layer only"},
}


class ContextLSTM(nn.ModuleList):
    """A stack like ``nn.LSTM`` whose every layer also sees its own initial hidden state at every step.

    ``nn.LSTM`` lets nothing in between its layers, so that each is one of its own.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, *, device: torch.device | str | None = None
    ) -> None:
        super().__init__(
            nn.LSTM((input_size if layer == 0 else hidden_size) + hidden_size, hidden_size, device=device)
            for layer in range(num_layers)
        )
        self.num_layers = num_layers

    def forward(
        self, y: Float[Tensor, "T B I"], initial: tuple[Float[Tensor, "L B H"], Float[Tensor, "L B H"]]
    ) -> tuple[Float[Tensor, "T B H"], tuple[Float[Tensor, "L B H"], Float[Tensor, "L B H"]]]:
        """The last layer's hidden states, and every layer's final ``h`` and ``c``."""
        final = []
        for layer, h_0, c_0 in zip(self, *(states.split(1) for states in initial), strict=True):
            y, states = layer(torch.cat([y, h_0.expand(len(y), -1, -1)], dim=-1), (h_0, c_0))
            final.append(states)
        h_n, c_n = map(torch.cat, zip(*final, strict=True))
        return y, (h_n, c_n)


class Seq2seqLSTM(nn.Module):
    """Sequence-to-sequence LSTM."""

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
        self.encoder = nn.LSTM(
            embedding_dim, hidden_dim, num_encoder_layers, bidirectional=bidirectional, device=device
        )
        decoder = ContextLSTM if context == "every_step" else nn.LSTM
        self.decoder = decoder(embedding_dim, self.num_directions * hidden_dim, num_decoder_layers, device=device)

    def encode(self, x: Float[Tensor, "T_x B E"]) -> LSTMOutput:
        """``output (T_x, B, D)``, ``h_n`` and ``c_n (L x directions, B, H)``; the initial states are zero."""
        output, (h_n, c_n) = self.encoder(x)
        return LSTMOutput(output, h_n, c_n)

    def hand_off(self, h_n: Float[Tensor, "L*dirs B H"]) -> Float[Tensor, "B D"]:
        """The last layer's final hidden states, forward then reverse, joined."""
        return torch.cat(tuple(h_n[-self.num_directions :]), dim=-1)

    def decode(self, y: Float[Tensor, "T_y B E"], h_0: Float[Tensor, "B D"]) -> LSTMOutput:
        """``output (T_y, B, D)``, ``h_n`` and ``c_n (L, B, D)``; every layer starts from ``h_0``, cells from zero."""
        # expand only adds a view, the same memory for every layer; cuDNN wants memory of its own for each
        h_0 = h_0.unsqueeze(0).expand(self.decoder.num_layers, -1, -1).contiguous()
        output, (h_n, c_n) = self.decoder(y, (h_0, torch.zeros_like(h_0)))
        return LSTMOutput(output, h_n, c_n)

    def forward(self, x: Float[Tensor, "T_x B E"], y: Float[Tensor, "T_y B E"]) -> Float[Tensor, "T_y B D"]:
        """The decoder's outputs for ``y``, started from what the encoder made of ``x``."""
        h_0 = self.hand_off(self.encode(x).h_n)
        return self.decode(y, h_0).output


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> TorchRow:
    """The model with these weights, on the device."""
    return TorchRow(Seq2seqLSTM, config, parameters, device)
