"""How fast this machine is, roughly and at once: what the plan of a run is foretold from."""

from __future__ import annotations

import subprocess
import sys

from bench.machine.cpus import processors
from bench.measure.runner import product
from bench.measure.stopping import Speed
from bench.measure.subjects import wall_s

IMPORT_S = 0.08
"""A Python that imports NumPy took so long on the machine that the figures of `bench.measure.expected` are of."""

PRODUCT_S = 0.0018
"""So did `bench.measure.runner.product`."""

TRIES = 3


def measure_speed() -> Speed:
    """Half a second's look at this machine: the fastest of a few tries."""

    def start() -> None:
        subprocess.run([sys.executable, "-c", "import numpy"], check=True, stdin=subprocess.DEVNULL)

    starts_s = min(wall_s(start) for _ in range(TRIES))
    return Speed(start=starts_s / IMPORT_S, arithmetic=product(processors()[-1:]) / PRODUCT_S)
