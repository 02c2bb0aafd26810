"""The model of ``torch/cell``, its cell written out and under ``torch.compile``.

``torch.compile`` compiles neither ``nn.LSTM`` nor ``nn.LSTMCell``: it leaves both out on purpose, and what is compiled
then is nothing. Of a cell that is written out it makes one program. Around the steps there is Python as before, and to
call a compiled program costs tens of microseconds. (All steps in one program: ``torch/tuned``.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from impls.torch import cell

if TYPE_CHECKING:
    from jaxtyping import Float

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "loop",
    "summary": "torch/cell with its cell written out, under torch.compile: a program for each size of layer",
    "frameworks": ["torch"],
    "compiles": True,
}

MOST_PROGRAMS = 64
"""PyTorch compiles no more than eight programs of one function unless told otherwise."""


class CompiledCell(nn.LSTMCell):
    """``nn.LSTMCell``, written out, with one trained bias."""

    def __init__(self, input_size: int, hidden_size: int, *, device: torch.device | str | None = None) -> None:
        super().__init__(input_size, hidden_size, device=device)
        self.compile(fullgraph=True, dynamic=False)  # fullgraph: an error rather than half a program

    def forward(
        self, x: Float[Tensor, "B I"], state: tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
        """The next ``h`` and ``c``."""
        h, c = state
        z = nn.functional.linear(x, self.weight_ih, self.bias_ih) + nn.functional.linear(h, self.weight_hh)
        i, f, g, o = z.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Seq2seqLSTM(cell.Seq2seqLSTM):
    """Sequence-to-sequence LSTM."""

    cell_type = CompiledCell


class CompiledRow(cell.CellRow):
    """A row of cells that says what was compiled."""

    def compiled(self) -> str:
        """What this process has compiled since the model was loaded."""
        return f"the cell, {torch._dynamo.utils.counters['stats']['unique_graphs']} programs,"


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> CompiledRow:
    """The model with these weights, on the device; programs of an earlier model go."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch._dynamo.config.recompile_limit = MOST_PROGRAMS
    return CompiledRow(Seq2seqLSTM, config, parameters, device, torch_name=cell.cell_name)
