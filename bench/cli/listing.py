"""``bench list``: rows and workloads, and why something is unavailable. Imports no framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.machine.gpu import gpus
from bench.workloads.shapes import WORKLOADS
from impls import find_bounds, find_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType


def listing() -> Iterator[RenderableType]:
    """The rows, the workloads, the devices."""
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("row", "tier", "devices", "what"):
        rows.add_column(name, no_wrap=name != "what")
    for row in (*find_rows().values(), *find_bounds().values()):
        what = Text(row.summary)
        if missing := row.missing():
            what.append(f"\nunavailable: {missing}", style="yellow")
        for lacking, reason in row.unsupported.items():
            what.append(f"\nno {lacking}: {reason}", style="dim")
        rows.add_row(row.name, row.tier, ", ".join(row.devices), what)
    yield rows
    workloads = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("workload", "presets", "what"):
        workloads.add_column(name, no_wrap=name == "workload")
    for workload in WORKLOADS.values():
        presets = [*workload.presets, *(f"{preset} (gpu)" for preset in workload.gpu_presets)]
        what = Text(workload.shape).append(f"\n{workload.source}", style="dim")
        workloads.add_row(workload.name, ", ".join(presets), what)
    yield Text()
    yield workloads
    found = [gpu.name for gpu in gpus() or ()]
    yield Text(f"\ndevices: cpu{', gpu (' + ', '.join(found) + ')' if found else '; no gpu: nvidia-smi -L lists none'}")
