"""``torch/module``, as fast as it is known to go: its ``nn.LSTM`` runs oneDNN's kernel, near the limit at large shapes.

On a GPU, forward and the whole training step are each one CUDA graph around cuDNN's kernel (not timed yet).

Each decision says what it gained: paired ratios to the row without it, on one core of an AMD EPYC with AVX-512
(family 26), torch 2.13.0. Tried, and left out: a compiled cell called at each step (``torch/compiled``), all without
oneDNN (1.8 at seed), a compiled training step (0.75 at seed, after 48 s of compiling).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from impls.contract import NoCounter, TrainStep, precision
from impls.torch import module
from impls.torch._adapter import TorchRow, adam
from impls.torch._graph import Recording, kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

    from impls.contract import Parameters, Seq2seqConfig

ROW = {
    "tier": "tuned",
    "summary": (
        "nn.LSTM with a fused Adam; few short sequences by an unrolled program, compiled ahead of time;"
        " on a GPU in CUDA graphs"
    ),
    "frameworks": ["torch"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": ["cpu"],
    "unsupported": {"states": "nn.LSTM gives the hidden states of its last layer only"},
    # pages of 2 MiB for large tensors: a training step takes 0.84 at braun, 0.89 at tutorial
    "environment": ["memory kept"],
}

FEW = 2
"""Up to so many sequences, ``nn.LSTM`` spends most of a call on getting ready for its products."""

SHORT = 64
"""Up to so many steps of all layers a program is unrolled: compiling takes about 0.2 s for each."""


class Unrolled(nn.Module):
    """The model of ``torch/module`` as one straight program, for inference: both directions go together.

    Exported and compiled ahead of time, forward takes 0.18 at seed, 0.68 at latency. A product with so few rows is
    written as a sum, which the compiler makes part of the loop around it; ``tanh`` as a logistic function, which it
    works out faster: 0.86 at seed.
    """

    def __init__(self, model: module.Seq2seqLSTM) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "T_x B E"], y: Float[Tensor, "T_y B E"]) -> Float[Tensor, "T_y B D"]:
        """The decoder's outputs."""
        encoder, decoder = self.model.encoder, self.model.decoder
        for layer in range(encoder.num_layers):
            suffixes = [f"l{layer}", f"l{layer}_reverse"][: self.model.num_directions]
            states = run_layer(encoder, suffixes, x, x.new_zeros(len(suffixes), x.shape[1], encoder.hidden_size))
            h_0 = torch.cat(tuple(states[-1]), dim=-1)
            x = torch.cat([states[:, 0], *(own.flip(0) for own in states[:, 1:].unbind(1))], dim=-1)
        for layer in range(decoder.num_layers):
            y = run_layer(decoder, [f"l{layer}"], y, h_0.unsqueeze(0))[:, 0]
        return y


def run_layer(
    lstm: nn.LSTM, suffixes: list[str], x: Float[Tensor, "T B I"], h: Float[Tensor, "dirs B H"]
) -> Float[Tensor, "T dirs B H"]:
    """One layer's hidden states, each direction's in its own order; ``c`` starts from zero."""
    given = torch.stack(
        [
            nn.functional.linear(
                x.flip(0) if direction else x, getattr(lstm, f"weight_ih_{suffix}"), getattr(lstm, f"bias_ih_{suffix}")
            )
            for direction, suffix in enumerate(suffixes)
        ],
        dim=1,
    )
    w_hh = torch.stack([getattr(lstm, f"weight_hh_{suffix}") for suffix in suffixes]).unsqueeze(1)
    c = torch.zeros_like(h)
    states = []
    for given_t in given:
        i, f, g, o = (given_t + (h.unsqueeze(-2) * w_hh).sum(-1)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * tanh(g)
        h = torch.sigmoid(o) * tanh(c)
        states.append(h)
    return torch.stack(states)


def tanh(z: Tensor) -> Tensor:
    """``tanh(z)``, to 1e-7."""
    return 2 * torch.sigmoid(2 * z) - 1


class TunedRow(TorchRow):
    """A TorchRow that compiles what is called with few short sequences, and on a GPU records all, for each shape."""

    record: ClassVar[Callable[..., Callable[..., Tensor]]] = Recording

    def __init__(
        self, build: Callable[..., nn.Module], config: Seq2seqConfig, parameters: Parameters, device: str
    ) -> None:
        self._programs: dict[tuple[torch.Size, torch.Size], Callable[[Tensor, Tensor], Tensor]] = {}
        self._steps: dict[tuple[torch.Size, torch.Size], Callable[[Tensor, Tensor, Tensor], Tensor]] = {}
        self._config = config
        super().__init__(build, config, parameters, device)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The decoder's outputs, nothing recorded for a backward pass."""
        shapes = x.shape, y.shape
        if shapes not in self._programs:
            self._programs[shapes] = self._program(x, y)
        with torch.inference_mode():
            return self._programs[shapes](x, y)

    def _program(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        if self.records:
            with torch.inference_mode():
                return self.record(self._seq2seq, x, y)
        return self._compile(x, y) if self._is_small(x, y) else super().forward

    @property
    def records(self) -> bool:
        """Whether calls are recorded: kernels on a GPU, which take less time than it takes to launch them."""
        return self.device.type == "cuda"

    def peak_bytes(self) -> int:
        """The most that PyTorch's tensors have held.

        Raises:
            NoCounter: what a graph holds is in no counter (pytorch#121932), or the device is no GPU.
        """
        if self.records:
            raise NoCounter("torch does not count what its CUDA graphs hold")
        return super().peak_bytes()

    def train_step(self, x: Tensor, y: Tensor, target: Tensor) -> TrainStep:
        """One step of ``torch.optim.Adam`` on the mean squared error."""
        if not self.records:
            return super().train_step(x, y, target)
        shapes = x.shape, y.shape
        if shapes not in self._steps:
            self._steps[shapes] = self.record(self._step, x, y, target, undo=self._undo())
        return TrainStep(self._steps[shapes](x, y, target), self._trained)

    def _step(self, x: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return super().train_step(x, y, target).loss

    def _undo(self) -> Callable[[], None]:
        """What takes back the steps that follow, in their place: weights, and the optimiser's state."""
        was_fresh, undo = not self._optimizer.state, kept([*self._trained.values(), *self._state()])

        def undo_all() -> None:
            undo()
            if was_fresh:
                self._forget()

        return undo_all

    def _state(self) -> list[Tensor]:
        return [tensor for of_weight in self._optimizer.state.values() for tensor in of_weight.values()]

    def _forget(self) -> None:
        """Make the optimiser a fresh one, in its place: a recording reads it there."""
        for tensor in self._state():
            tensor.zero_()

    def compiled(self) -> str:
        """Of the tasks only forward, and that only of few short sequences; nothing of what is recorded."""
        if self.records:
            return ""
        unrolled = sum(program != super(TunedRow, self).forward for program in self._programs.values())
        return f"forward, {unrolled} of {len(self._programs)} shapes," if unrolled else ""

    def _fresh_optimizer(self) -> torch.optim.Adam:
        """An Adam whose step is one kernel: 0.83 at seed, 0.85 at latency."""
        if not self._steps:
            return adam(self._trained.values(), fused=True, capturable=self.records)
        self._forget()
        return self._optimizer

    def _is_small(self, x: Tensor, y: Tensor) -> bool:
        steps = len(x) * self._config.num_encoder_layers + len(y) * self._config.num_decoder_layers
        known = self.device.type == "cpu" and self._config.context == "initial" and precision() == "float32"
        return known and x.shape[1] <= FEW and steps <= SHORT

    def _compile(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The program for these shapes: the one in the folder where PyTorch keeps what it compiles, if it is there.

        A program that this file, or another PyTorch, made before has another name.
        """
        unrolled = Unrolled(self.model)
        maker = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:16]
        name = "-".join(map(str, ("unrolled", maker, *x.shape, *y.shape, *astuple(self._config))))
        with tempfile.TemporaryDirectory() as own:
            package = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", own), f"{name}.pt2")
            if not package.exists():
                with torch.no_grad():
                    exported = torch.export.export(unrolled, (x, y))
                    made = torch._inductor.aoti_compile_and_package(exported, package_path=f"{own}/{name}.pt2")
                package.parent.mkdir(parents=True, exist_ok=True)
                whole = package.with_suffix(f".{os.getpid()}")  # there at once, or not at all
                shutil.move(made, whole)
                whole.replace(package)
            program: Any = torch._inductor.aoti_load_package(str(package))
        weights = {name: parameter.data for name, parameter in unrolled.named_parameters()}
        # the program reads the model's own memory: what training moves, it sees
        used = {name: weights[name] for name in program.get_constant_fqns()}
        program.load_constants(used, check_full_update=True, user_managed=True)
        return program


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> TunedRow:
    """The model with these weights, on the device."""
    return TunedRow(module.Seq2seqLSTM, config, parameters, device)
