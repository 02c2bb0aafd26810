"""What every JAX row does with arrays and devices, whatever made its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from impls.contract import DeviceUnavailable, NoCounter, precision

if TYPE_CHECKING:
    from jax import Array

    from impls.contract import Precision

MATMUL_PRECISION: dict[Precision, str] = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
"""JAX's words. They hold where nothing else is said of a product, and change nothing on a CPU, nor where the factors
are bfloat16: those products are summed up in float32."""


def use_precision(chosen: Precision) -> None:
    """Let a GPU multiply in TF32, or not: left alone, it would."""
    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[chosen])


def find_device(device: str) -> jax.Device:
    """JAX's device of that name, in the precision that the environment asks for.

    Raises:
        InvalidInput: the environment asks for no precision that there is.
        DeviceUnavailable: this installation of JAX has no such device.
    """
    use_precision(precision())
    try:
        return jax.devices(device)[0]
    except RuntimeError:
        raise DeviceUnavailable(f"jax {jax.__version__} finds no {device} device; a GPU needs jax[cuda13]") from None


class JaxArrays:
    """What every JAX row does with arrays, however it calls its model."""

    def __init__(self, device: str) -> None:
        self.device = find_device(device)

    def to_device(self, array: np.ndarray) -> Array:
        """The array, on the device."""
        return jax.device_put(array, self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        """The array, as NumPy's own memory."""
        return np.array(array)

    def wait(self, result: Any) -> None:
        """Return when every array in ``result`` has been computed: JAX works asynchronously, on the CPU too.

        The optimiser's state is not in a result. It comes out of the same program as the loss, and is there with it.
        """
        jax.block_until_ready(result)

    def peak_bytes(self) -> int:
        """The most that JAX's arrays and programs have held of the device since the process began.

        What is set aside in advance (``XLA_PYTHON_CLIENT_PREALLOCATE``) is not in it.

        Raises:
            NoCounter: nothing is counted on this device, as on a CPU.
        """
        counters = self.device.memory_stats() or {}
        if "peak_bytes_in_use" not in counters:
            raise NoCounter(f"jax counts no memory on {self.device.platform}")
        return int(counters["peak_bytes_in_use"])

    def reset_peak(self) -> None:
        """Do nothing: JAX has no reset. What needs one takes a new process for each cell."""
