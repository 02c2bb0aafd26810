"""What a page knows of its results: every cell, every ratio that a reader may ask for, and what charts need. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import combinations, groupby
from math import log
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.analysis.analysis import Analysis
from bench.analysis.cells import ratio_of
from bench.page.series import Datum, Map, curves, drifts, machines, over_time, over_versions, times_spent
from bench.records.schema import Group, Struct
from bench.records.versions import compares_rows
from bench.report.export import rounded
from bench.report.featured import featured_result
from bench.report.rows import TableRow, table_rows
from bench.report.sentence import sentence
from bench.report.words import about_control, about_end, label_of, letter_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.analysis.verdict import Ratio

MapsOf = Callable[[int, "Analysis"], Iterable[Map]]
"""The maps of a result, by its number on the page: forecasts are made beside the road, and put in by who asks."""


class Logarithms(NamedTuple):
    """Natural logarithm of one row's time over another's, its 95 % interval, and the verdict.

    Seen from the other row the signs change, and FASTER is SLOWER: nothing else has to be stored.
    """

    estimate: float
    low: float
    high: float
    verdict: str | None
    mde: float | None
    """The minimum detectable effect: the fraction that so many blocks of this noise show four times in five."""


class PageResult(Struct, frozen=True, kw_only=True):
    """A result as a whole."""

    name: str
    """Of its folder."""
    letter: str
    """Stands for it where there is no room for its name."""
    machine: str
    started_at: str
    command: str
    baseline: str
    sentence: str
    """Who was the fastest at what, and how sure that is."""
    end: str
    """How many blocks it has, and why no more."""
    control: str
    doubt: str
    """Why it is not to be trusted, if so."""
    facts: dict[str, str]
    """The machine, its software and its settings."""
    workloads: dict[str, str]
    """Name to sizes and source."""


class PageGroup(Struct, frozen=True, kw_only=True):
    """Cells that took turns with each other, and the ratios of all pairs of them."""

    result: int
    """Which of the results it is of."""
    label: str
    rows: list[TableRow]
    fixed_s: list[float | None]
    """Import, build and compile of each row; None where it has no time, or is a matmul bound."""
    compared: list[int]
    """The rows that have ratios to each other, by their place among the rows."""
    ratios: list[Logarithms | None]
    """Of each pair of those, in the order of ``itertools.combinations``; None where no block has both."""


class PageData(NamedTuple):
    """All that a page knows."""

    results: list[PageResult]
    """See `in_order`."""
    groups: list[PageGroup]
    datasets: dict[str, list[Datum]]
    """What the charts read that does not depend on a baseline: see `bench.page.series`."""


BEYOND = 100.0
"""A difference that only a hundredfold would show is beyond all bounds, as in `units.percent`."""

DIGITS = 6
"""Significant ones of every number on the page."""

COLUMNS = tuple(name for name in TableRow.__struct_fields__ if name != "result")
"""What the page has of each row: not where the result lies on somebody's disk."""


def in_order(analyses: Sequence[Analysis]) -> list[Analysis]:
    """The results in the order of the page.

    The one that says most comes first, then the newest; sweeps of sizes and of versions after all others.
    """
    first = featured_result([one.result for one in analyses])

    def place(one: Analysis) -> tuple[bool, bool, datetime]:
        return one.result is first, compares_rows(one.run), datetime.fromisoformat(one.run.started_at)

    return sorted(analyses, key=place, reverse=True)


def page_data(analyses: Sequence[Analysis], maps: MapsOf = lambda _number, _analysis: ()) -> PageData:
    """What the page of these results knows; ``maps``: what is forecast from one, by its number."""
    ordered = in_order(analyses)
    numbered = list(enumerate(ordered))
    groups = [one for number, own in numbered for one in _groups(number, own, is_only=len(ordered) == 1)]
    forecast = [one for number, own in numbered for one in maps(number, own)]
    datasets = {
        "points": [one for number, own in numbered for one in curves(number, own)],
        "maps": [msgspec.to_builtins(one) | {"many": len(one.tied), "ties": ", ".join(one.tied)} for one in forecast],
        "moments": [*over_time(ordered), *(one for number, own in numbered for one in over_versions(number, own))],
        "machines": machines(ordered, groups),
        "drift": [one for number, own in numbered for one in drifts(number, own)],
        "spent": [one for number, own in numbered for one in times_spent(number, own.result)],
    }
    return PageData([_result(number, own) for number, own in numbered], groups, datasets)


def to_json(data: PageData) -> bytes:
    """The data for the page's script: floats rounded to `DIGITS`, and the names of a row's fields said once."""
    groups = msgspec.to_builtins(data.groups)
    for group in groups:
        group["rows"] = [[row[name] for name in COLUMNS] for row in group["rows"]]
    results = msgspec.to_builtins(data.results)
    whole = {"columns": COLUMNS, "results": results, "groups": groups, "datasets": data.datasets}
    return msgspec.json.encode(rounded(whole, DIGITS))


def _result(number: int, analysis: Analysis) -> PageResult:
    result, run, here = analysis.result, analysis.run, analysis.run.environment
    facts = {
        "processor": here.cpu,
        "cores": str(here.cores),
        "GPUs": ", ".join(here.gpus) or "none",
        "memory": f"{here.memory_bytes / 2**30:.0f} GiB",
        "system": here.os,
        "Python": here.python,
        **here.versions,
        "commit": (here.git_commit or "none") + (", and changes" if here.git_dirty else ""),
        **here.facts,
        "preset": run.preset,
        "blocks": about_end(result),
        "order drawn by seed": str(run.plan.seed),
    }
    return PageResult(
        name=result.path.resolve().name,
        letter=letter_of(number),
        machine=here.machine,
        started_at=run.started_at,
        command=run.command,
        baseline=run.baseline,
        sentence=sentence(analysis, here.cpu),
        end=about_end(result),
        control=about_control(analysis.control),
        doubt=about_control(analysis.control, doubts_only=True),
        facts=facts,
        workloads={name: f"{one.shape}. Source: {one.source}" for name, one in run.workloads.items()},
    )


def _groups(number: int, analysis: Analysis, *, is_only: bool) -> Iterator[PageGroup]:
    cells, costs = {(cell.group, cell.implementation): one for cell, one in analysis.cells.items()}, analysis.costs
    for key, rows in groupby(table_rows([analysis]), attrgetter(*Group._fields)):
        group, members = Group(*key), list(rows)
        ours = [cells[group, row.implementation] for row in members]
        compared = [place for place, one in enumerate(ours) if one.ratio is not None and one.cell.role == "row"]
        pairs = combinations((ours[place] for place in compared), 2)
        yield PageGroup(
            result=number,
            label=label_of(group) + ("" if is_only else f" · {letter_of(number)}"),
            rows=[_trusted(row, analysis.is_trusted) for row in members],
            fixed_s=[costs[one.cell].fixed_s if one.cell in costs else None for one in ours],
            compared=compared,
            ratios=[_logarithms(ratio_of(*pair), analysis.is_trusted) for pair in pairs],
        )


def _logarithms(ratio: Ratio | None, trusted: bool) -> Logarithms | None:
    if ratio is None:
        return None
    mde = None if ratio.mde is None else min(ratio.mde, BEYOND)
    return Logarithms(log(ratio.estimate), log(ratio.low), log(ratio.high), ratio.verdict if trusted else None, mde)


def _trusted(row: TableRow, trusted: bool) -> TableRow:
    """The row, without verdict and place where its run is not to be trusted."""
    mde = None if row.detectable is None else min(row.detectable, BEYOND)
    return msgspec.structs.replace(row, detectable=mde, **{} if trusted else {"verdict": None, "rank": None})
