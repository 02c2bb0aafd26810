"""JAX's bound: the model's products in one compiled program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from impls.contract import precision
from impls.jax._arrays import find_device
from impls.jax.tuned import CLASH, OLDER, PAD, older_is_faster
from impls.products import Made

if TYPE_CHECKING:
    from jaxtyping import Float

    from impls.products import Product

ROW = {
    "tier": "bound",
    "summary": "the model's products alone, in one program under jax.jit, the recurrent steps under lax.scan",
    "frameworks": ["jax", "optax"],
    "precisions": ["float32", "tf32", "bfloat16"],
    "compiles": True,
    "environment": ["memory kept", "xla for recurrences"],  # as the tuned row
}

Pair = tuple[jax.Array, jax.Array]
"""The left factors ``(count, m, k)`` and the right one ``(k, n)``; ``(n, k)`` for left ones of a single row."""

SMALL = 2**14
"""Arrays of up to so many numbers leave the program as one: each by itself would cost more than a microsecond."""


class Placed(NamedTuple):
    """A product, and its factors on the device."""

    product: Product
    factors: Pair


class Products(NamedTuple):
    """What a program gave: all its small arrays in one, the others by themselves; and what it was given."""

    small: Array
    large: list[Array]
    placed: Sequence[Placed]


def multiply(left: Float[Array, "m k"], right: Float[Array, "k n"] | Float[Array, "n k"]) -> Float[Array, "m n"]:
    """One product: of a single row with each of the right factor's own, which are as stored."""
    return (right @ left[0])[None] if len(left) == 1 else left @ right


def make(left: Float[Array, "count m k"], right: Float[Array, "k n"] | Float[Array, "n k"]) -> list[Array]:
    """The last product ``(m, n)``, and, where there are several, the last row of each ``(count, n)``.

    The loop reads another left factor in each step and keeps a row of each product: XLA leaves such a loop as it is. To
    keep all of each would cost a copy a step, which is none of the multiplying.
    """
    if left.shape[0] == 1:
        return [multiply(left[0], right)]

    def step(_before: Array, factor: Float[Array, "m k"]) -> Pair:
        product = multiply(factor, right)
        return product, product[-1]

    return list(lax.scan(step, jnp.zeros_like(multiply(left[0], right)), left))


def make_all(factors: Sequence[Pair]) -> tuple[Array, list[Array]]:
    """All products. Those of one loop are made one after another; in which order the loops are is XLA's affair."""
    made = [array for pair in factors for array in make(*pair)]
    small = [array.ravel() for array in made if array.size <= SMALL]
    return jnp.concatenate([jnp.zeros(0, factors[0][0].dtype), *small]), [array for array in made if array.size > SMALL]


def by_older(products: Sequence[Product]) -> bool:
    """Whether the older library makes these: as the tuned row decides; and it makes a square product alone."""
    inputs, steps = ([own for own in products if own.kind == kind] for kind in ("input projection", "recurrent step"))
    return not steps or older_is_faster(steps[0].m, {own.k for own in inputs}, {own.k for own in steps})


make_by_newer, make_by_older = jax.jit(make_all), jax.jit(make_all, compiler_options=OLDER)


class JaxMultiplier:
    """JAX's products: an ``impls.products.Multiplier``."""

    def __init__(self, device: str) -> None:
        self.device = find_device(device)
        self._dtype = jnp.bfloat16 if precision() == "bfloat16" else jnp.float32

    def place(self, product: Product, left: np.ndarray, right: np.ndarray) -> Placed:
        """The factors as the tuned row has large ones: no clash of the cache's lines, read in the order they are in."""
        more = PAD if product.n % CLASH == 0 else 0
        right = right.T.copy() if product.m == 1 else np.pad(right, ((0, 0), (0, more)))
        factors = left.astype(self._dtype), right.astype(self._dtype)
        return Placed(product, jax.device_put(factors, self.device, may_alias=False))

    def multiply(self, placed: Sequence[Placed]) -> Products:
        """All products: compiled when they are asked for the first time."""
        older = self.device.platform == "cpu" and by_older([one.product for one in placed])
        small, large = (make_by_older if older else make_by_newer)([one.factors for one in placed])
        return Products(small, large, placed)

    def wait(self, result: Products) -> None:
        """Return when every array has been computed."""
        jax.block_until_ready((result.small, result.large))

    def to_numpy(self, result: Products) -> list[Made]:
        """The last product of each, and a row of all."""
        small, large = np.array(result.small, np.float32), iter(result.large)
        found, taken = [], 0
        for product, (_, right) in result.placed:
            stored = right.shape[product.m > 1]  # n, or a little more
            arrays = []
            for shape in [(product.m, stored), (product.count, stored)][: 1 + (product.count > 1)]:
                size = shape[0] * shape[1]
                if size > SMALL:
                    arrays.append(np.array(next(large), np.float32))
                else:
                    arrays.append(small[taken : taken + size].reshape(shape))
                    taken += size
            last, *rows = (array[:, : product.n] for array in arrays)
            found.append(Made(last, rows[0] if rows else last[-1:]))
        return found


def load(device: str) -> JaxMultiplier:
    """JAX's products on the device."""
    return JaxMultiplier(device)
