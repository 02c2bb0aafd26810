"""How times go with sizes: the curves of what was measured, and a map of who is expected to win. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from bench import units
from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.records.schema import Struct
from bench.workloads.sweeps import THREADS, sizes

if TYPE_CHECKING:
    from collections.abc import Mapping


LEAST_VALUES = 3
"""A curve has at least so many points."""


class Point(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A row's time at one value of a size, all others alike."""

    result: int
    curve: str
    """The task and place, the size, and what the others are."""
    size: str
    value: int
    implementation: str
    framework: str
    tier: str
    workload: str
    task: str
    device: str
    threads: int
    precision: str
    median_s: float
    low_s: float
    high_s: float


class Map(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Who is expected to be the fastest at a batch size and hidden size: a forecast, not a measurement."""

    result: int
    label: str
    """The task and place, and what the other sizes are."""
    task: str
    device: str
    threads: int
    precision: str
    batch_size: int
    hidden_dim: int
    winner: str
    """The row with the shortest expected time."""
    tied: list[str]
    """Those that may as well be the fastest, for all that is known: more than one is a tie."""
    time_s: float


MapsOf = Callable[[int, "Analysis"], Iterator[Map]]
"""The maps of a result, by its number on the page: forecasts are made beside the road, and put in by who asks."""


def no_maps(_number: int, _analysis: Analysis) -> Iterator[Map]:
    """Nothing is forecast."""
    return iter(())


def curves(number: int, analysis: Analysis) -> Iterator[Point]:
    """The points of all sweeps in a result: of sizes, and of threads."""
    facts = analysis.run.workloads
    shapes = {
        name: sizes(one.config, one.batches) for name, one in facts.items() if one.config and len(one.batches) == 1
    }
    lines = {size: _lines(shapes, size) for size in next(iter(shapes.values()), {})}
    for cell, one in analysis.cells.items():
        if one.median_s is None or cell.role != "row":
            continue
        interval = stats.time_interval(one.samples_s)
        place = units.place(cell.device, cell.threads, cell.precision)
        found = [
            (size, shapes[cell.workload][size], f"{cell.task} {place}: {size}\nat {of_size[cell.workload]}")
            for size, of_size in lines.items()
            if cell.workload in of_size
        ]
        if len(analysis.run.plan.threads) > 1 and cell.device == "cpu":
            place = units.place(cell.device, 0, cell.precision).replace("×0", "")
            found.append((THREADS, cell.threads, f"{cell.task} {place}: threads\nat {cell.workload}"))
        for size, value, curve in found:
            yield Point(
                result=number,
                curve=curve,
                size=size,
                value=value,
                **msgspec.structs.asdict(cell),
                median_s=one.median_s,
                low_s=interval.low,
                high_s=interval.high,
            )


def _lines(shapes: Mapping[str, Mapping[str, int]], size: str) -> dict[str, str]:
    """The workloads that lie on a line along this size, each with what the other sizes are."""
    lines: dict[tuple[tuple[str, int], ...], list[str]] = defaultdict(list)
    for workload, own in shapes.items():
        lines[tuple((name, value) for name, value in own.items() if name != size)].append(workload)
    return {
        workload: in_words(dict(others))
        for others, workloads in lines.items()
        if len({shapes[name][size] for name in workloads}) >= LEAST_VALUES
        for workload in workloads
    }


SHORT = {
    "embedding_dim": "E",
    "hidden_dim": "H",
    "num_encoder_layers": "encoder layers",
    "num_decoder_layers": "decoder layers",
    "directions": "directions",
    "sequence_length": "T",
    "output_seq_length": "T'",
    "batch_size": "B",
}


def in_words(own: Mapping[str, int]) -> str:
    """``E 64, T 16, T' 16, B 16, …``."""
    return ", ".join(f"{SHORT[name]} {value}" for name, value in own.items())
