"""The raw samples of results as CSV, a line a turn: for whoever has statistics of their own."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.records.schema import Result

OF_A_TURN = ("block", "table", "attempt", "turn", "seconds_a_call", "calls", "disturbed")


def samples(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the file, the header first, with their line ends (RFC 4180)."""
    names: list[str] = []
    for result in results:
        of_result = (result.path.resolve().name, result.run.environment.machine, result.run.started_at)
        for record in result.records:
            cell = msgspec.structs.asdict(record.cell)
            if not names:
                names = ["result", "machine", "started_at", *cell]
                yield _line([*names, *OF_A_TURN])
            disturbed = frozenset(record.disturbed)
            for turn, seconds in enumerate(record.samples_s):
                where = (record.block, record.table, record.attempt, turn, seconds, record.calls, turn in disturbed)
                yield _line([*of_result, *cell.values(), *where])


def _line(values: Sequence[object]) -> str:
    text = StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()
