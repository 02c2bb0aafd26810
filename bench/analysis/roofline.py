"""What limits a row: the products that it has to make, and how fast products can be made here. Pure.

Two bounds stand beside every time. The *machine's*: the best square product of any framework, on the same processors.
The *framework's*: the very products that the model needs, made alone, by an entry of its own in the interleaved block.
Both are paired with the row, one block by block, the other turn by turn, so that a machine that drifts moves no share.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.analysis import stats, verdict
from bench.analysis.cells import ratio_of
from bench.workloads.flops import elementwise_flops, product_flops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Cell, Record, Run
    from impls.contract import Device


class Place(NamedTuple):
    """What has one bound: a device, so many of its processors, and how they multiply."""

    device: Device
    threads: int
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """A cell's floating-point operations, its rate, and its shares of the bounds; None where one is not known."""

    flops: int | None
    """Of the products of a call."""
    elementwise_flops: int | None
    flops_per_s: float | None
    """Operations of the products over the median time."""
    machine_flops_per_s: float | None
    """The machine's bound: the median of the blocks' best."""
    machine_share: float | None
    """The rate over the machine's bound in the same block: the median of the blocks that have both."""
    bound: str | None
    """The name of the bound that the row is held against."""
    bound_share: verdict.Ratio | None
    """The bound's time over the row's. Its verdict means nothing: nobody competes with a bound."""


def rooflines_of(cells: Mapping[Cell, CellAnalysis], run: Run) -> dict[Cell, Roofline]:
    """The limits of every cell."""
    machine = machine_bounds(cells.values())
    members = {(cell.group, cell.implementation): one for cell, one in cells.items()}
    return {
        cell: _limits(
            one,
            run.bounds.get(cell.implementation),
            members.get((cell.group, run.bounds.get(cell.implementation, ""))),
            machine.get(place_of(cell), {}),
            run,
        )
        for cell, one in cells.items()
    }


def place_of(cell: Cell) -> Place:
    """Where the cell was measured."""
    return Place(cell.device, cell.threads, cell.precision)


def machine_bounds(cells: Iterable[CellAnalysis]) -> dict[Place, dict[int, float]]:
    """Of each place, block by block, the rate of the best square product of any framework, in operations a second."""
    by_place: dict[Place, list[Record]] = defaultdict(list)
    for one in cells:
        by_place[place_of(one.cell)] += one.blocks
    return {place: rates for place, members in by_place.items() if (rates := square_rates(members))}


def square_rates(records: Iterable[Record]) -> dict[int, float]:
    """Block by block, the rate of the best square product that workers made before their turns, if any did."""
    best: dict[int, float] = {}
    for record in records:
        if record.squares_s and record.square_size is not None:
            rate = 2 * record.square_size**3 / min(record.squares_s)
            best[record.block] = max(rate, best.get(record.block, 0.0))
    return best


def machine_share(flops: int, one: CellAnalysis, machine: Mapping[int, float]) -> float | None:
    """The rate over the machine's bound in the same block: the median of the blocks that have both."""
    shares = [
        flops / stats.median(record.samples_s) / machine[record.block]
        for record in one.blocks
        if record.block in machine
    ]
    return stats.median(shares) if shares else None


def _limits(
    one: CellAnalysis, name: str | None, bound: CellAnalysis | None, machine: Mapping[int, float], run: Run
) -> Roofline:
    facts, task = run.workloads[one.cell.workload], one.cell.task
    flops = elementwise = None
    if facts.config is not None:
        flops = product_flops(facts.config, facts.batches, task)
        elementwise = elementwise_flops(facts.config, facts.batches, task)
    return Roofline(
        flops=flops,
        elementwise_flops=elementwise,
        flops_per_s=flops / one.median_s if flops is not None and one.median_s else None,
        machine_flops_per_s=stats.median(list(machine.values())) if machine else None,
        machine_share=machine_share(flops, one, machine) if flops is not None else None,
        bound=name,
        bound_share=ratio_of(bound, one) if bound is not None and one.blocks else None,
    )
