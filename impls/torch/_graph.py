"""A function of tensors as one CUDA graph: the device runs all of its kernels without asking the processor for each.

By PyTorch's own recipe (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). ``torch.compile`` makes no
graph around ``nn.LSTM`` (pytorch#141184), so it is recorded by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WARM_UP_CALLS = 3
"""As in the recipe: libraries settle on what they run, and take the memory for it, before they are recorded."""


class Recording:
    """A function recorded with tensors of these shapes; a call copies its arguments there, and plays it.

    What it reads and writes beside its arguments has to stay in its place: weights, and the state of an optimiser. It
    is called a few times before it is recorded: ``undo`` takes back what these calls have changed. A call's result is a
    copy, which the next call leaves alone.
    """

    def __init__(
        self, function: Callable[..., Tensor], *examples: Tensor, undo: Callable[[], None] = lambda: None
    ) -> None:
        self._function = function
        self._arguments = [example.clone() for example in examples]
        self._record()
        undo()

    def __call__(self, *arguments: Tensor) -> Tensor:
        """What the function gives for these."""
        for own, given in zip(self._arguments, arguments, strict=True):
            own.copy_(given)
        self._play()
        return self._result.clone()

    def _record(self) -> None:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_CALLS):
                self._function(*self._arguments)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self._function(*self._arguments)

    def _play(self) -> None:
        self._graph.replay()


def kept(tensors: Sequence[Tensor]) -> Callable[[], None]:
    """What puts these tensors back to what they are now, in their place."""
    copies = [tensor.detach().clone() for tensor in tensors]

    def undo() -> None:
        with torch.no_grad():
            for tensor, copy in zip(tensors, copies, strict=True):
                tensor.copy_(copy)

    return undo
