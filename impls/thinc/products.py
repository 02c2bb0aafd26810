"""Thinc's bound: the model's products with ``ops.gemm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from thinc.api import NumpyOps

from impls.products import Made
from impls.thinc._adapter import find_ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impls.products import Product

    Placed = tuple[list[Any], Any, list[Any]]
    """The left factors, the right one, and where each product is put."""

ROW = {
    "tier": "bound",
    "summary": "the model's products alone: ops.gemm, on the ops of the other rows",
    "frameworks": ["thinc"],
    "environment": ["memory kept"],  # as the tuned row
    "environment_with": {"avx512f": {"OPENBLAS_CORETYPE": "SkylakeX"}},
}


class ThincMultiplier:
    """Thinc's products: an ``impls.products.Multiplier``."""

    def __init__(self, device: str) -> None:
        self.ops = find_ops(device)

    def place(self, product: Product, left: np.ndarray, right: np.ndarray) -> Placed:
        """The factors as they are, and memory for the products."""
        outs = self.ops.alloc3f(product.count, product.m, product.n)
        return list(self.ops.asarray(left.copy())), self.ops.asarray(right.copy()), list(outs)

    def multiply(self, placed: Sequence[Placed]) -> list[list[Any]]:
        """All products."""
        gemm = self.ops.gemm
        for lefts, right, outs in placed:
            for left, out in zip(lefts, outs, strict=True):
                gemm(left, right, out=out)
        return [outs for _, _, outs in placed]

    def wait(self, result: Any) -> None:  # noqa: ARG002
        """Return when the device is idle: NumPy has computed what it returned, CuPy may not have."""
        if not isinstance(self.ops, NumpyOps):
            self.ops.xp.cuda.Device().synchronize()

    def to_numpy(self, result: list[list[Any]]) -> list[Made]:
        """The last product of each, and a row of all."""
        xp = self.ops.xp
        return [Made(self._as_numpy(outs[-1]), self._as_numpy(xp.stack([out[-1] for out in outs]))) for outs in result]

    def _as_numpy(self, array: Any) -> np.ndarray:
        return np.array(array if isinstance(self.ops, NumpyOps) else self.ops.to_numpy(array))


def load(device: str) -> ThincMultiplier:
    """Thinc's products on the device."""
    return ThincMultiplier(device)
