"""A noisy neighbour: ``python -m bench.calibration.neighbour SEED PROCESSOR`` works in bursts until it is ended.

Bursts last between 20 ms and 2 s, and pauses half as long again, so that the processor is busy for 40 % of the time.
Half of the work streams through memory: what a build or a browser does to a machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.measure.worker_environment import worker_environment

SHORTEST_S, LONGEST_S = 0.02, 2.0
BUSY = 0.4


@contextmanager
def noisy(seed: int, mark: str) -> Iterator[None]:
    """One neighbour on each processor, while the context lasts."""
    with TemporaryDirectory(prefix="neighbour-") as cache:
        environment = worker_environment(os.environ, threads=1, device="cpu", cache=Path(cache), mark=mark)
        neighbours = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.calibration.neighbour", f"{seed}", f"{number}"],
                cwd=ROOT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the calibration
            )
            for number in processors()
        ]
        try:
            yield
        finally:
            for neighbour in neighbours:
                neighbour.kill()
                neighbour.wait()


def main(seed: int, processor: int) -> None:
    """Work and pause for ever."""
    os.sched_setaffinity(0, [processor])
    rng = np.random.default_rng([seed, processor])
    large, small = np.ones(2**23, np.float32), np.ones((200, 200), np.float32)
    parent = os.getppid()
    while os.getppid() == parent:
        length = float(np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S))))
        streams = rng.random() < 0.5
        until = time.perf_counter() + length
        while time.perf_counter() < until:
            if streams:
                large += 1.0
            else:
                small @ small
        time.sleep(length * (1 - BUSY) / BUSY)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
