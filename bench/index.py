"""The index of published results: a line for each, by machine. Every line is kept as a note beside its result."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.compare import compare
from bench.headline import weight
from bench.judge import judge
from bench.notes import Note, keep, recall, source_of
from bench.page import REPORT_FILE
from bench.records import RECORDS_FILE, RUN_FILE, Struct, cell_of, read_result
from bench.report import markdown, scaling_page
from bench.report.sentence import sentence
from bench.sweeps import SCALING
from bench.versions import package_of, versions_of
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.records import Cell, Result, Run

SUMMARY_FILE = ".summary.json"
"""The note that has a result's line."""


class Since(Struct, frozen=True, kw_only=True):
    """What a result shows beside the one before it."""

    before: str
    """The source of that one's summary."""
    like: str
    """How many verdicts, decided in both, are the same."""
    moved: str
    """How far the ratios of unchanged rows have moved, where that can be seen."""


class Summary(Note, frozen=True, kw_only=True, tag_field="type", tag="summary"):
    """What the index says of a result."""

    started_at: str
    machine: str
    cpu: str
    cores: int
    devices: list[str]
    preset: str
    versions: str
    """``torch 2.9.1, 2.13.0``, where it holds these against each other."""
    weight: tuple[bool, bool, bool, int, float]
    """How much it says of which row to choose: see `headline.weight`."""
    cells: int
    """Those that have a time."""
    blocks: int
    comparable: str | None
    """See `comparable_with`."""
    said: str
    """The result in a sentence."""
    since: Since | None = None


class Indexed(NamedTuple):
    """A published result, and its summary."""

    path: Path
    summary: Summary


def index(
    folders: Iterable[Path], *, remember: bool = True, tell: Callable[[str], None] = lambda _: None
) -> list[Indexed]:
    """The results in the folders, oldest first.

    ``remember``: by their notes where they have some, and with notes for those that have none.

    Raises:
        InvalidInput: one of them holds no result.
    """
    found = []
    for folder in folders:
        tell(f"index: {folder.name}")
        source = _source(folder)
        known = recall(folder / SUMMARY_FILE, Summary, source) if remember else None
        found.append(Indexed(folder, known or _summary(read_result(folder), source)))
    found.sort(key=lambda one: datetime.fromisoformat(one.summary.started_at))
    newest: dict[str, Indexed] = {}
    for number, (path, summary) in enumerate(found):
        before = newest.get(summary.comparable or "")
        since = summary.since
        if before is None:
            since = None
        elif since is None or since.before != before.summary.source:
            tell(f"index: {path.name} beside {before.path.name}")
            since = _since(before, read_result(path))
        one = Indexed(path, msgspec.structs.replace(summary, since=since))
        if remember and (since != summary.since or recall(path / SUMMARY_FILE, Summary, summary.source) is None):
            keep(path / SUMMARY_FILE, one.summary)
        found[number] = one
        if summary.comparable:
            newest[summary.comparable] = one
    return found


def _source(folder: Path) -> str:
    try:
        return source_of([folder / RUN_FILE, folder / RECORDS_FILE])
    except OSError as error:
        raise InvalidInput(f"{error.filename}: cannot be read ({error.strerror})") from None


def _summary(result: Result, source: str) -> Summary:
    run, here = result.run, result.run.environment
    return Summary(
        source=source,
        started_at=run.started_at,
        machine=here.machine,
        cpu=here.cpu,
        cores=here.cores,
        devices=list(dict.fromkeys(record.device for record in result.records)),
        preset=run.preset,
        versions=f"{package_of(run)} {', '.join(versions_of(run))}".strip(),
        weight=weight(result),
        cells=len({cell_of(record) for record in result.records if record.ok}),
        blocks=max((record.block for record in result.records), default=0),
        comparable=comparable_with(run),
        said=sentence(judge(result.records, run.baseline).values(), run, here.cpu),
    )


def _since(before: Indexed, result: Result) -> Since:
    old = read_result(before.path)
    found = agreement(old, result)
    differ = [f"{cell.implementation} {cell.workload} {cell.task}" for cell, same in found.items() if not same]
    moved = compare(old, result).moved
    return Since(
        before=before.summary.source,
        like=f"{sum(found.values())} of {len(found)}" + (f", not {', '.join(differ)}" if differ else ""),
        moved=f"{100 * moved.deviation:.1f} %" if moved else "–",
    )


def comparable_with(run: Run) -> str | None:
    """What runs that can be compared have in common: the machine and where on it, and who sits at which table.

    Of a run on a GPU, that as well. None of a scaling run, which has no verdicts. The bounds are compared with nobody.
    """
    if run.preset == SCALING:
        return None
    bounds = set(run.bounds.values())
    tables = [[name for name in table if name not in bounds] for table in run.plan.tables]
    of_gpu = [run.environment.gpus] if run.plan.device == "gpu" else []
    place = run.environment.machine, *of_gpu, run.plan.device, run.plan.threads, run.plan.precisions
    return msgspec.json.encode([place, tables]).decode()


def the_one_before(earlier: Sequence[Result], result: Result) -> Result | None:
    """The last of the earlier results that is comparable."""
    wanted = comparable_with(result.run)
    alike = [one for one in earlier if wanted is not None and comparable_with(one.run) == wanted]
    return alike[-1] if alike else None


def agreement(old: Result, new: Result) -> dict[Cell, bool]:
    """For each cell with a decided verdict in both results: whether it is the same."""
    decided = []
    for result in (old, new):
        judged = judge(result.records, result.run.baseline)
        decided.append({cell: one.ratio.verdict for cell, one in judged.items() if one.ratio and one.is_decided})
    before, after = decided
    return {cell: before[cell] == verdict for cell, verdict in after.items() if cell in before}


HEADER = ["result", "began", "device", "preset", "cells with a time", "blocks", "like before", "ratios moved"]


def page(indexed: Sequence[Indexed], on_the_method: Sequence[str]) -> str:
    """The index as a page: machines by their newest result, and of each the newest result first."""
    newest_first = [*reversed(indexed)]
    machines = list(dict.fromkeys(one.summary.machine for one in newest_first))
    by_machine = sorted(newest_first, key=lambda one: machines.index(one.summary.machine))
    parts = [
        "# Published results\n\nMade by `python -m bench publish`. Each folder has the raw records, the machine and the"
        " command, and the table made of them.\n"
    ]
    for _, group in groupby(by_machine, key=lambda one: one.summary.machine):
        of_machine = [*group]
        here = of_machine[0].summary
        telling = max(of_machine, key=lambda one: one.summary.weight)
        parts.append(f"## {here.cpu}, {here.cores} cores\n\n{telling.summary.said}\n")
        parts.append(f"[All of them on a page](machines/{here.machine}/{REPORT_FILE}), to open in a browser.\n")
        parts.append(markdown.table(HEADER, map(_line, of_machine), left=4))
    parts.append(
        "The sentence is about the run that compares most rows, one of the default workloads if any is. Like before:"
        " of the verdicts decided in this run and in the one before it on that machine, those that are the same. Ratios"
        " moved: how far, as a standard deviation, ratios of rows with the same code and versions lie from that run's,"
        " beyond what the blocks of either show (`bench compare`).\n"
    )
    if on_the_method:
        names = (f"[{name.removesuffix('.md').rpartition('/')[2]}]({name})" for name in on_the_method)
        parts.append(f"On the method itself: {', '.join(names)}.\n")
    return "\n".join(parts)


def _line(one: Indexed) -> list[str]:
    summary, since = one.summary, one.summary.since
    table = scaling_page.PAGE_FILE if summary.preset == SCALING else markdown.TABLE_FILE
    return [
        f"[{one.path.name}]({one.path.name}/{table})",
        summary.started_at[:10],
        ", ".join(summary.devices),
        f"{summary.preset}: {summary.versions}" if summary.versions else summary.preset,
        str(summary.cells),
        str(summary.blocks),
        *((since.like, since.moved) if since else ("–", "–")),
    ]
