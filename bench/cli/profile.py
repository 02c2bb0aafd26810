"""``bench profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from bench.cli.main import SEVERAL, stderr, stdout
from bench.here import shown
from bench.profiling.measure import check_profile, measure
from bench.profiling.report import render
from impls.contract import Task


def profile(
    *rows: str,
    workload: Annotated[tuple[str, ...], SEVERAL] = (),
    task: Annotated[tuple[Task, ...], SEVERAL] = (),
    threads: str = "1",
    out: Path | None = None,
) -> int:
    """Show what a row's time goes to: matrix products, elementwise operations, overhead. Seconds each, or minutes.

    Each is held against the oracle, timed, and profiled on the CPU with its framework's own profiler, whose trace is
    saved.

    Some examples:
      python -m bench profile torch/module
      python -m bench profile torch/module jax/scan --workload g2p braun --task train_step
      python -m bench profile mine.py --out results/profiles/mine

    Parameters
    ----------
    rows
        Rows by name, or files of your own that end in .py; all idiomatic and tuned rows if not given.
    workload
        Workloads by name; seed if not given.
    task
        encode, forward, gradients, train_step; forward and train_step if not given.
    threads
        Number of threads.
    out
        Folder for profile.json and the traces, which must not exist yet; results/profiles/<time> if not given.
    """
    request = check_profile(rows=rows, workload=workload, task=task, threads=threads, out=out)
    console = stderr()
    with console.status("") as status:
        found = measure(request, lambda what: status.update(what) if console.is_terminal else console.print(what))
    folder = Path(shown(request.out))
    stdout(soft_wrap=True).print(*render(found, folder), sep="\n")
    if any(one.status != "ok" for one in found.profiles):
        console.print(f"what those that failed have said: {folder}/logs")
    console.print(f"profiles: {folder}")
    if len(found.profiles) < len(request.cells):
        console.print(f"interrupted: {len(found.profiles)} of {len(request.cells)} are made, and saved")
        return 130
    return 0 if all(one.status == "ok" for one in found.profiles) else 1
