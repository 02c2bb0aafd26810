"""``bench peak``."""

from __future__ import annotations

from typing import Annotated

from bench.cli.main import SEVERAL, stderr, stdout
from bench.measure.peak import BLOCKS, check_peak, measure
from bench.report.machine_text import render_peak
from impls.contract import Device, Precision, Task


def peak(
    *,
    workload: Annotated[tuple[str, ...], SEVERAL] = (),
    task: Annotated[tuple[Task, ...], SEVERAL] = (),
    device: Device = "cpu",
    threads: Annotated[tuple[str, ...], SEVERAL] = ("1",),
    precision: Annotated[tuple[Precision, ...], SEVERAL] = ("float32",),
) -> int:
    """Measure how fast products can be made here: the limits that a run holds its rows against. One to two minutes.

    Some examples:
      python -m bench peak
      python -m bench peak --workload g2p braun --task train_step
      python -m bench peak --threads 1 2

    Parameters
    ----------
    workload
        Workloads by name; those of the default preset if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    device
        cpu or gpu.
    threads
        Numbers of threads, each measured apart.
    precision
        float32, or on a GPU tf32, each measured apart.
    """
    asked = check_peak(workload=workload, task=task, device=device, threads=threads, precision=precision)
    console = stderr()
    bounds = f"{len(asked.bounds)} bound{'s' * (len(asked.bounds) != 1)}"
    console.print(f"bench: {bounds} take turns in {BLOCKS} blocks; in the first they compile and are checked")
    with console.status("") as status:
        found = measure(asked, status.update)
    stdout().print(*render_peak(found), sep="\n")
    return 1 if found.failures else 0
