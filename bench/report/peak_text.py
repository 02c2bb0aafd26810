"""What ``bench peak`` prints. Fits 80 columns, and is plain text when piped."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import units
from bench.analysis import stats
from bench.analysis.roofline import machine_bounds, machine_share, place_of, square_rates
from bench.workloads.flops import elementwise_flops, product_flops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from bench.analysis.cells import CellAnalysis
    from bench.analysis.roofline import Place
    from bench.measure.peak import Peak
    from bench.records.schema import Record


def render(peak: Peak) -> Iterator[RenderableType]:
    """The machine's matmul bound, then each framework's for every workload and task; and what has no time, and why."""
    machine = machine_bounds(peak.cells.values())
    by_place: dict[Place, list[CellAnalysis]] = defaultdict(list)
    for cell, one in peak.cells.items():
        by_place[place_of(cell)].append(one)
    for place, members in by_place.items():
        yield from _square(place, members)
        for workload in peak.asked.workloads:
            of_workload = [one for one in members if one.cell.workload == workload.name]
            yield Text(f"\n{workload.name}", style="bold").append(f"  {workload.shape}", style="not bold dim")
            for task in peak.asked.tasks:
                problem = peak.problems[workload.name]
                flops = product_flops(problem.config, problem.batches, task)
                others = units.flops(elementwise_flops(problem.config, problem.batches, task))
                of_task = [one for one in of_workload if one.cell.task == task]
                yield Padding(_of_task(task, flops, of_task, machine.get(place, {})), (0, 0, 0, 1))
                yield Text(f" {units.flops(flops)} in products, about {others} elementwise", style="dim")
    if peak.failures:
        yield Text("\nWithout a time", style="bold")
    words = (f"{one.cell}: {one.status}: {one.reason}" for one in peak.failures)
    for why in dict.fromkeys(words):
        yield Text(f" {why}")
    yield Text(
        "\nrate: operations of the products over the median time; ±: its 95 % interval. machine: share of the machine's"
        " matmul bound, the best square product of any framework. A model's products, made alone, are its framework's:"
        " no row that multiplies with it has less to do.",
        style="dim",
    )


def _square(place: Place, members: Sequence[CellAnalysis]) -> Iterator[RenderableType]:
    """Each framework's best square product, fastest first: block by block, and the median of these."""
    by_name: dict[str, list[Record]] = defaultdict(list)
    for one in members:
        by_name[one.cell.implementation] += one.blocks
    medians = {
        name: stats.median(list(rates.values())) for name, own in by_name.items() if (rates := square_rates(own))
    }
    if not medians:
        return
    sizes = {record.square_size for one in members for record in one.blocks if record.square_size is not None}
    title = f"square product, {' or '.join(map(str, sorted(sizes)))} rows and columns"
    yield Text(f"\n{units.place(*place)}", style="bold").append(f"  {title}", style="not bold dim")
    table = _table("", "rate")
    for name in sorted(medians, key=lambda name: -medians[name]):
        table.add_row(name, units.rate(medians[name]))
    yield Padding(table, (0, 0, 0, 1))


def _of_task(task: str, flops: int, members: Sequence[CellAnalysis], machine: Mapping[int, float]) -> Table:
    """The matmul bounds at a workload and task, fastest first."""
    table = _table(task, "time", "±", "rate", "machine")
    for one in sorted(members, key=lambda one: one.median_s or float("inf")):
        seconds = one.median_s
        if seconds is None:
            table.add_row(one.cell.implementation, one.failure.status if one.failure else "")
            continue
        interval = stats.time_interval(one.samples_s)
        table.add_row(
            one.cell.implementation,
            units.seconds(seconds),
            units.percent(max(interval.high - seconds, seconds - interval.low) / seconds),
            units.rate(flops / seconds),
            units.percent(machine_share(flops, one, machine)),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(title, style="bold not dim"), overflow="fold", min_width=16)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    return table
