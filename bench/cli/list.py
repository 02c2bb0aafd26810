"""``bench list``."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bench.cli.main import stdout
from bench.machine.gpu import gpus
from bench.report.text import plain_table
from bench.workloads.shapes import WORKLOADS
from impls import find_bounds, find_rows


def list() -> None:  # noqa: A001
    """Show the rows and workloads, and why something is unavailable. Imports no framework.

    An example:
      python -m bench list
    """
    stdout(soft_wrap=True).print(*listing(), sep="\n")


def listing() -> Iterator[RenderableType]:
    """The rows, the workloads, the devices."""
    rows = _table("row", "tier", "devices", "what")
    for row in (*find_rows().values(), *find_bounds().values()):
        what = Text(row.summary)
        if missing := row.missing():
            what.append(f"\nunavailable: {missing}", style="yellow")
        for lacking, reason in row.unsupported.items():
            what.append(f"\nno {lacking}: {reason}", style="dim")
        rows.add_row(row.name, row.tier, ", ".join(row.devices), what)
    yield rows
    workloads = _table("workload", "presets", "what")
    for workload in WORKLOADS.values():
        presets = [*workload.presets, *(f"{preset} (gpu)" for preset in workload.gpu_presets)]
        what = Text(workload.shape).append(f"\n{workload.source}", style="dim")
        workloads.add_row(workload.name, ", ".join(presets), what)
    yield Text()
    yield workloads
    found = [gpu.name for gpu in gpus() or ()]
    yield Text(f"\ndevices: cpu{', gpu (' + ', '.join(found) + ')' if found else '; no gpu: nvidia-smi -L lists none'}")


def _table(*names: str) -> Table:
    table = plain_table()
    for name in names:
        table.add_column(name, no_wrap=name not in ("presets", "what"))
    return table
