"""What a GPU runs for a call, by the names that its framework's profiler has for it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from impls import Row
    from impls.profiling import TraceEvent

LONGEST_NAME = 100
"""Templates of C++ have names of a thousand letters, of which the first say most."""


def kernels_of(row: Row, call: Callable[[], Any]) -> list[str]:
    """The kernels of a call that is warm, each name once; nothing of a row whose framework has no profiler of a GPU."""
    if "torch" in row.frameworks:
        return names_in(_by_torch(call))
    return names_in(_by_jax(call)) if "jax" in row.frameworks else []


def names_in(events: Iterable[TraceEvent]) -> list[str]:
    """The names of what ran on a GPU, in a trace of PyTorch's or of JAX's profiler."""
    events = list(events)
    gpus = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "GPU" in str(event.get("args", {}).get("name", ""))
    }
    ran = (
        event
        for event in events
        if event.get("ph") == "X"
        and (event["cat"] == "kernel" if "cat" in event else event["pid"] in gpus)  # PyTorch's have one, JAX's none
    )
    return sorted({event["name"][:LONGEST_NAME] for event in ran})


def _by_torch(call: Callable[[], Any]) -> list[TraceEvent]:
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        call()
        torch.cuda.synchronize()
    with TemporaryDirectory(prefix="trace-") as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events: list[TraceEvent] = json.loads(path.read_bytes())["traceEvents"]
    return events


def _by_jax(call: Callable[[], Any]) -> list[TraceEvent]:
    import jax

    with TemporaryDirectory(prefix="trace-") as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            jax.block_until_ready(call())
        (path,) = Path(folder).rglob("perfetto_trace.json.gz")
        with gzip.open(path) as file:
            events: list[TraceEvent] = json.load(file)["traceEvents"]
    return events
