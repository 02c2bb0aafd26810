"""The index of published results: a line for each, by machine. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.analysis.analysis import Analysis
from bench.analysis.compare import compare
from bench.records.versions import package_of, versions_of
from bench.report import markdown
from bench.report.featured import weight
from bench.report.sentence import sentence
from bench.workloads.sweeps import SCALING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records.schema import Cell, Run

SCALING_PAGE = "scaling.md"
"""What says more of a scaling run than its table: what was fitted to it."""


class Line(NamedTuple):
    """What the index says of a result."""

    analysis: Analysis
    like: str
    """How many verdicts, decided in this result and in the one before it, are the same."""
    moved: str
    """How far the ratios of unchanged rows have moved since, where that can be seen."""


def index(analyses: Sequence[Analysis]) -> list[Line]:
    """The lines of these results, which are in the order of their time."""
    found = []
    newest: dict[str, Analysis] = {}
    for analysis in analyses:
        key = comparable_with(analysis.run)
        before = newest.get(key) if key else None
        found.append(Line(analysis, *(_since(before, analysis) if before else ("–", "–"))))
        if key:
            newest[key] = analysis
    return found


def _since(before: Analysis, after: Analysis) -> tuple[str, str]:
    """What a result shows beside the one before it."""
    found = agreement(before, after)
    differ = [f"{cell}" for cell, same in found.items() if not same]
    moved = compare(before, after).moved
    return (
        f"{sum(found.values())} of {len(found)}" + (f", not {', '.join(differ)}" if differ else ""),
        f"{100 * moved.deviation:.1f} %" if moved else "–",
    )


def comparable_with(run: Run) -> str | None:
    """What runs that can be compared have in common: the machine and where on it, and which rows share a pool.

    Of a run on a GPU, that as well. None of a scaling run, which has no verdicts. The bounds are compared with nobody.
    """
    if run.preset == SCALING:
        return None
    bounds = set(run.bounds.values())
    pools = [[name for name in pool if name not in bounds] for pool in run.plan.pools]
    of_gpu = [run.environment.gpus] if run.plan.device == "gpu" else []
    place = run.environment.machine, *of_gpu, run.plan.device, run.plan.threads, run.plan.precisions
    return msgspec.json.encode([place, pools]).decode()


def agreement(old: Analysis, new: Analysis) -> dict[Cell, bool]:
    """For each cell with a decided verdict in both results: whether it is the same."""
    before, after = (
        {cell: one.ratio.verdict for cell, one in analysis.cells.items() if one.ratio and one.is_decided}
        for analysis in (old, new)
    )
    return {cell: before[cell] == verdict for cell, verdict in after.items() if cell in before}


HEADER = ["result", "began", "device", "preset", "not at the pin", "cells", "blocks", "like before", "ratios moved"]


def page(lines: Sequence[Line], on_the_method: Sequence[str], pins: Mapping[str, str]) -> str:
    """The index as a page: machines by their newest result, and of each the newest result first.

    ``pins``: package to the version that is pinned now.
    """
    newest_first = [*reversed(lines)]
    machines = list(dict.fromkeys(one.analysis.run.environment.machine for one in newest_first))
    by_machine = sorted(newest_first, key=lambda one: machines.index(one.analysis.run.environment.machine))
    parts = [
        "# Published results\n\nMade by `python -m bench publish`. Each folder has the raw records, the machine and the"
        " command, and the table made of them.\n"
    ]
    for machine, group in groupby(by_machine, key=lambda one: one.analysis.run.environment.machine):
        of_machine = [*group]
        here = of_machine[0].analysis.run.environment
        telling = max((one.analysis for one in of_machine), key=lambda one: weight(one.result))
        said = sentence(telling, here.cpu)
        parts.append(f"## {here.cpu}, {here.cores} cores\n\n{said}\n")
        parts.append(f"All of them on a page: `python -m bench page results/{machine}-*/`.\n")
        parts.append(markdown.table(HEADER, [_line(one, pins) for one in of_machine], left=5))
    parts.append(
        "The sentence is about the run that compares most rows, one of the default workloads if any is. Not at the pin:"
        " packages of another version than `constraints.txt` pins now. Cells: those with a time. Like before:"
        " of the verdicts decided in this run and in the one before it on that machine, those that are the same. Ratios"
        " moved: how far, as a standard deviation, ratios of rows with the same code and versions lie from that run's,"
        " beyond what the blocks of either show (`bench compare`).\n"
    )
    if on_the_method:
        names = (f"[{name.removesuffix('.md').rpartition('/')[2]}]({name})" for name in on_the_method)
        parts.append(f"On the method itself: {', '.join(names)}.\n")
    return "\n".join(parts)


def _line(one: Line, pins: Mapping[str, str]) -> list[str]:
    result, run = one.analysis.result, one.analysis.run
    table = SCALING_PAGE if run.preset == SCALING else markdown.TABLE_FILE
    versions = f"{package_of(run)} {', '.join(versions_of(run))}".strip()
    used = {package for facts in run.rows.values() for package in facts.versions.items()}
    others = (f"{name} {version}" for name, version in sorted(used) if pins.get(name) not in (None, public(version)))
    return [
        f"[{result.path.name}]({result.path.name}/{table})",
        run.started_at[:10],
        ", ".join(dict.fromkeys(record.cell.device for record in result.records)),
        f"{run.preset}: {versions}" if versions else run.preset,
        ", ".join(others) or "–",
        str(len({record.cell for record in result.records if record.ok})),
        str(max((record.block for record in result.records), default=0)),
        one.like,
        one.moved,
    ]


def public(version: str) -> str:
    """A version without what it says of its build: ``2.13.0`` of ``2.13.0+cpu``."""
    return version.partition("+")[0]
