"""``bench advise``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from bench.cli.main import SEVERAL, stdout
from bench.cli.run import run
from bench.forecast.advise import advise as advise_on
from bench.forecast.advise import render
from bench.here import as_typed
from bench.measure.request import Options
from impls.contract import Device, Precision, Task


def advise(
    *,
    shape: str,
    task: Annotated[tuple[Task, ...], SEVERAL] = (),
    threads: str = "1",
    device: Device = "cpu",
    precision: Precision = "float32",
    result: Path | None = None,
    measure: bool = False,
) -> int:
    """Say which row to expect to be the fastest at a shape that was not measured, and how sure that is.

    It rests on a scaling run: `bench run --preset scaling` makes one, in about 50 minutes.

    Some examples:
      python -m bench advise --shape hidden_dim=256,batch_size=32
      python -m bench advise --shape hidden_dim=256,batch_size=32 --task train_step --threads 2
      python -m bench advise --shape hidden_dim=256,batch_size=32 --measure

    Parameters
    ----------
    shape
        Such as hidden_dim=256,batch_size=32, with the names and defaults of bench run.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    threads
        The number of threads.
    device
        cpu or gpu.
    precision
        float32, bfloat16 or tf32.
    result
        The folder of a scaling run; the newest of this machine if not given, or else of another, which is said.
    measure
        Go on and measure the shape.
    """
    advice = advise_on(shape=shape, task=task, threads=threads, device=device, precision=precision, result=result)
    stdout().print(*render(advice), sep="\n")
    print("", as_typed(shlex.join(advice.command)))
    if not measure:
        return 0
    sys.stdout.flush()
    tasks = tuple(of_task.at.task for of_task in advice.tasks)
    return run(Options(shape=shape, task=tasks, threads=(threads,), device=device, precision=(precision,)))
