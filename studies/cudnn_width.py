"""How far ``nn.LSTM`` is off by width, as cuDNN computes it: ``python -m studies.cudnn_width FOLDER [cpu]``.

PyTorch asks cuDNN for ``PERSIST_STATIC_SMALL_H`` up to a width of 192 (128 backward) and for ``STANDARD`` beyond, and
for ``STANDARD`` always where a sequence is packed (``get_algo`` in ``aten/src/ATen/native/cudnn/RNN.cpp``). If that is
why narrow nets are off, errors fall between 192 and 193, and a packed sequence has none of it.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench.machine.describe import describe
from bench.records.schema import Environment, Struct
from bench.report.markdown import environment_line, table
from impls import find_rows
from impls.contract import InvalidInput
from impls.torch._adapter import use_precision
from studies.experiment import carry_out, save
from studies.kernels import kernels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICES = {"cpu": "cpu", "gpu": "cuda"}
"""PyTorch's name of each."""

WIDTHS = (20, 64, 128, 129, 192, 193, 256)
BATCHES = (2, 64)
STEPS = 50

Way = Literal["padded", "packed"]
WAYS: tuple[Way, ...] = ("padded", "packed")


class Point(Struct, frozen=True, kw_only=True):
    """One layer, one direction, float32, against itself in float64 on the CPU."""

    width: int
    batch: int
    way: Way
    forward: float
    """The worst relative error of the outputs."""
    backward: float
    """That of the gradients towards weights and inputs."""
    kernels: list[str]
    """What the device ran, by its profiler, each name once."""


class Points(Struct, frozen=True, kw_only=True):
    """All of them, and where that was."""

    environment: Environment
    device: str
    cudnn: int | None
    points: list[Point]


def measure(device: str) -> Points:
    """Every width, batch and way."""
    use_precision("float32")
    points = []
    for width in WIDTHS:
        for batch in BATCHES:
            torch.manual_seed(width)
            lstm, (x, d_output) = nn.LSTM(width, width), torch.randn(2, STEPS, batch, width)
            exact = answers(nn.LSTM(width, width).double(), lstm, x.double(), d_output.double(), "padded")
            for way in WAYS:
                ours = nn.LSTM(width, width).to(device)
                found = answers(ours, lstm, x.to(device), d_output.to(device), way)
                points.append(
                    Point(
                        width=width,
                        batch=batch,
                        way=way,
                        forward=worst(found[:1], exact[:1]),
                        backward=worst(found[1:], exact[1:]),
                        kernels=kernels(ours, lstm, x.to(device), d_output.to(device), way),
                    )
                )
    cudnn = torch.backends.cudnn.version() if device == "cuda" else None
    return Points(environment=describe(), device=device, cudnn=cudnn, points=points)


def answers(model: nn.LSTM, weights: nn.LSTM, x: Tensor, d_output: Tensor, way: Way) -> list[Tensor]:
    """The outputs, then the gradients towards the inputs and every weight, of a model with these weights."""
    model.load_state_dict(weights.state_dict())
    x = x.clone().requires_grad_()
    if way == "packed":
        lengths = torch.full((x.shape[1],), len(x))
        output, _ = pad_packed_sequence(model(pack_padded_sequence(x, lengths))[0])
    else:
        output, _ = model(x)
    gradients = torch.autograd.grad(output, [x, *model.parameters()], d_output)
    return [output.detach(), *gradients]


def worst(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The worst error, relative to the largest number of its array."""
    pairs = ((own.cpu().double(), true) for own, true in zip(found, exact, strict=True))
    return max(float((own - true).abs().max() / true.abs().max()) for own, true in pairs)


def kernels(model: nn.LSTM, weights: nn.LSTM, x: Tensor, d_output: Tensor, way: Way) -> list[str]:
    """The names of what the device runs for it; nothing on a CPU."""
    if x.device.type != "cuda":
        return []
    return kernels_of(find_rows()["torch/module"], partial(answers, model, weights, x, d_output, way))


def report(found: Points) -> str:
    """A line for each width and batch."""
    lines, ran = [], []
    for one in found.points:
        lines.append([str(one.width), str(one.batch), one.way, f"{one.forward:.1e}", f"{one.backward:.1e}"])
        ran += [f"- {one.width}, {one.batch}, {one.way}: `{'`, `'.join(one.kernels)}`"] if one.kernels else []
    where = f"{found.device}, cuDNN {found.cudnn}" if found.cudnn else found.device
    words = (
        f"One layer in one direction, {STEPS} steps, float32, as wide as its inputs, on {where}; relative errors"
        " against float64 on the CPU. Packed: the same sequences, all of the same length.\n"
    )
    parts = [
        "# `nn.LSTM` by width\n",
        f"{environment_line(found.environment)}\n",
        words,
        table(["width", "batch", "way", "outputs", "gradients"], lines, left=3),
    ]
    if ran:
        parts += ["Kernels, by width, batch and way:\n", "\n".join(ran) + "\n"]
    return "\n".join(parts)


def study(folder: Path, device: Path = Path("gpu")) -> str:
    """The table, measured if it is not there."""
    if device.name not in DEVICES:
        raise InvalidInput(f"{device}: is no device; choose {' or '.join(DEVICES)}")
    if device.name == "gpu" and not torch.cuda.is_available():
        raise InvalidInput("PyTorch finds no CUDA device here; `python -m studies.cudnn_width FOLDER cpu` rehearses it")
    return save(folder / f"cudnn_width-{device.name}.json", Points, lambda: measure(DEVICES[device.name]), report)


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv, "studies.cudnn_width FOLDER [cpu|gpu]", study))
