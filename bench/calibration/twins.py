"""Real rows as each other's twins: the same row as several workers, and rows that are longer by a known share.

A planted slow-down is a wrapper that, after each call of the row, works on for a known share of the processor time that
the call took: calls of some rows last longer than a turn, so that one call more in twenty would not be in most turns.
What was really planted is what the workers took of the processor: it is measured, beside the verdicts on wall time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import msgspec

from bench.calibration.synthetic import Pair, entry
from bench.measure.plan import Budget, Entry, Plan, Pool
from bench.records.schema import Record, Struct
from bench.workloads.shapes import Workload
from impls import Row, RowFacts, read_row
from impls.contract import Task

PAIRS_A_ROW = 2
"""Disjoint: no worker is in two of them."""

PLANTED = (5, 10)
"""Per cent of processor time that a row's longer ones take more, each held against one of a pair."""

TEMPLATE = '''"""{name}, and {percent} % of its processor time more in each call."""

import time
from pathlib import Path

from impls import import_row, read_row

ROW = {facts!r}

SHARE = {percent} / 100


class Longer:
    """The row, whose calls go on after they are done."""

    def __init__(self, row):
        self._row = row

    def __getattr__(self, name):
        return getattr(self._row, name)

    def forward(self, *arguments):
        return self._longer(self._row.forward, arguments)

    def train_step(self, *arguments):
        return self._longer(self._row.train_step, arguments)

    def _longer(self, call, arguments):
        began = time.process_time()
        result = call(*arguments)
        self._row.wait(result)
        now = time.process_time()
        until = now + SHARE * (now - began)
        while time.process_time() < until:
            pass
        return result


def load(config, parameters, device):
    row = read_row(Path({path!r}), Path({root!r}))
    return Longer(import_row(row).load(config, parameters, device))
'''


class Twins(NamedTuple):
    """Two workers of a row that are held against each other in every group: ours takes so many per cent more."""

    row: str
    pair: Pair


def write_longer(folder: Path, row: Row, percent: int, root: Path) -> Row:
    """The row whose calls take so much more, written into the folder; ``root``: what the row's name is relative to."""
    facts = {name: getattr(row, name) for name in RowFacts.__struct_fields__}
    path = folder / f"{row.name.replace('/', '-')}-{percent}.py"
    text = TEMPLATE.format(
        name=row.name, percent=percent, facts=msgspec.to_builtins(facts), path=str(row.path), root=str(root)
    )
    path.write_text(text, encoding="utf-8")
    return read_row(path)


def twins_of(rows: Sequence[Row]) -> list[Twins]:
    """The pairs of a table: identical ones, and one for each planted slow-down."""
    pairs = []
    for row in rows:
        numbers = range(1, 2 * PAIRS_A_ROW, 2)
        plain = [Pair(f"{row.name}~{number}", f"{row.name}~{number + 1}") for number in numbers]
        planted = zip(PLANTED, plain, strict=False)
        longer = [Pair(f"{row.name}+{percent}", pair.ours, percent) for percent, pair in planted]
        pairs += [Twins(row.name, pair) for pair in (*plain, *longer)]
    return pairs


def plan_of(
    rows: Sequence[Row], longer: dict[tuple[str, int], Row], workloads: Sequence[Workload], tasks: Sequence[Task],
    budget: Budget, seed: int,
) -> Plan:  # fmt: skip
    """All twins in one pool; ``longer``: the rows with a planted slow-down, by name and per cent."""
    by_name = {row.name: row for row in rows}
    entries: dict[str, Entry] = {}
    for twins in twins_of(rows):
        for name, percent in ((twins.pair.ours, twins.pair.percent), (twins.pair.theirs, 0)):
            own = longer[twins.row, percent] if percent else by_name[twins.row]
            entries.setdefault(name, entry(own, name, workloads, tasks))
    return Plan((Pool(0, 1, tuple(entries.values())),), (), budget, next(iter(entries)), seed)


class Processor(Struct, frozen=True, kw_only=True):
    """Processor seconds a call that two workers took, block by block."""

    ours_s: list[float]
    theirs_s: list[float]


def processor_of(pair: Pair, records: Sequence[Record]) -> Processor:
    """What the pair took of the processor in the blocks that both have, by their last attempt."""
    taken = {
        name: {
            one.block: (one.cpu_per_wall or 0.0) * fmean(one.samples_s)
            for one in sorted(records, key=lambda one: one.attempt)
            if one.cell.implementation == name and one.ok
        }
        for name in (pair.ours, pair.theirs)
    }
    both = sorted(taken[pair.ours].keys() & taken[pair.theirs].keys())
    ours, theirs = ([taken[name][block] for block in both] for name in (pair.ours, pair.theirs))
    return Processor(ours_s=ours, theirs_s=theirs)
