"""What went on in each block of a run: what should be 1 and drifts, and where the time went. Pure."""

from __future__ import annotations

from collections import defaultdict
from math import exp
from typing import TYPE_CHECKING

from bench.analysis import stats
from bench.analysis.analysis import Analysis
from bench.records.schema import Group, Struct
from bench.report.words import label_of, letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.records.schema import Result


class Drift(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """What should be 1 in a block: the baseline against itself in a group, or a fixed product over its median."""

    result: int
    run: str
    workload: str | None
    """None of the product, which belongs to no group."""
    task: str | None
    device: str | None
    threads: int | None
    precision: str | None
    group: str
    kind: str
    block: int
    ratio: float


class Spent(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """How much of a block's time went to one thing."""

    result: int
    run: str
    block: int
    phase: str
    seconds: float


def drifts(number: int, analysis: Analysis) -> Iterator[Drift]:
    """The drift of each block of a result, by its number on the page."""
    run = _name(number, analysis.result)
    for cell, one in analysis.cells.items():
        if cell.role == "control":
            for block, value in sorted(one.log_ratios.items()):
                of_group = {**cell.group._asdict(), "group": label_of(cell.group)}
                kind = "A/A control over baseline"
                yield Drift(result=number, run=run, **of_group, kind=kind, block=block, ratio=exp(value))
    seconds: dict[int, list[float]] = defaultdict(list)
    for of_block in analysis.result.blocks:
        seconds[of_block.block] += of_block.product_s
    if every := [one for own in seconds.values() for one in own]:
        middle, kind, of_none = stats.median(every), "fixed product over its median", dict.fromkeys(Group._fields)
        for block, own in sorted(seconds.items()):
            ratio = stats.median(own) / middle
            yield Drift(result=number, run=run, **of_none, group="", kind=kind, block=block, ratio=ratio)


def times_spent(number: int, result: Result) -> Iterator[Spent]:
    """What the time of each block of a result went to, by its number on the page."""
    for one in result.blocks:
        if one.phases_s:
            other_s = max(0.0, one.elapsed_s - sum(one.phases_s.values()))
            for phase, seconds in (*one.phases_s.items(), ("other", other_s)):
                yield Spent(result=number, run=_name(number, result), block=one.block, phase=phase, seconds=seconds)


def _name(number: int, result: Result) -> str:
    return f"{letter_of(number)}: {result.path.resolve().name}"
