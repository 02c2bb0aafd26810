"""PyTorch's bound: the model's products, each the fastest way that PyTorch has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from impls.contract import precision
from impls.products import Made
from impls.torch._adapter import as_numpy, find_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from impls.products import Product

    Way = Callable[[], list[Tensor]]
    """Makes one Product: all of its steps, one after another."""

ROW = {
    "tier": "bound",
    "summary": "the model's products alone: torch.mm, or oneDNN's linear on packed weights, whichever is faster",
    "frameworks": ["torch"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "environment": ["memory kept"],  # as the tuned row
}

TRIES = 5
"""How often each way is tried; the fastest counts."""


class TorchMultiplier:
    """PyTorch's products: an ``impls.products.Multiplier``."""

    def __init__(self, device: str) -> None:
        self.device = find_device(device)
        self._dtype = torch.bfloat16 if precision() == "bfloat16" else torch.float32

    @torch.inference_mode()
    def place(self, product: Product, left: np.ndarray, right: np.ndarray) -> Way:
        """The factors, bound to the way that is fastest with them."""
        del product
        lefts = [torch.from_numpy(one.copy()).to(self.device, self._dtype) for one in left]
        ways = list(self._ways(lefts, torch.from_numpy(right.copy()).to(self.device, self._dtype)))
        return min(ways, key=self._seconds) if len(ways) > 1 else ways[0]

    @torch.inference_mode()
    def multiply(self, placed: Sequence[Way]) -> list[list[Tensor]]:
        """All products."""
        return [way() for way in placed]

    def wait(self, result: Any) -> None:  # noqa: ARG002
        """Return when the device is idle: PyTorch's CPU operations have ended when they return."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def to_numpy(self, result: list[list[Tensor]]) -> list[Made]:
        """The last product of each, and a row of all."""
        return [
            Made(as_numpy(steps[-1].float()), np.stack([as_numpy(step[-1].float()) for step in steps]))
            for steps in result
        ]

    def _ways(self, lefts: list[Tensor], right: Tensor) -> Iterator[Way]:
        outs = [torch.empty((left.shape[0], right.shape[1]), device=self.device, dtype=self._dtype) for left in lefts]
        pairs = list(zip(lefts, outs, strict=True))

        def mm() -> list[Tensor]:
            for left, out in pairs:
                torch.mm(left, right, out=out)
            return outs

        yield mm
        # torch.mm is MKL's, which leaves half of an AMD processor's vector unit idle; nn.LSTM's products are oneDNN's
        if self.device.type == "cpu" and self._dtype == torch.float32 and torch.backends.mkldnn.is_available():
            # what TorchInductor makes of a linear layer; both are internal, and a later PyTorch may have neither
            pack = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
            linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
            if pack and linear:
                packed = pack(right.T.contiguous(), lefts[0].shape[0])
                yield lambda: [linear(left, packed, None, "none", [], "") for left in lefts]

    def _seconds(self, way: Way) -> float:
        seconds = []
        for _ in range(TRIES):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
        return min(seconds)


def load(device: str) -> TorchMultiplier:
    """PyTorch's products on the device."""
    return TorchMultiplier(device)
