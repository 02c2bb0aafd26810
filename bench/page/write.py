"""Writes pages, pictures and samples to where they are wanted."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import msgspec

from bench.analysis.analysis import Analysis
from bench.page import REPORT_FILE
from bench.page.build import page
from bench.page.charts import CHARTS
from bench.page.curves import MapsOf, no_maps
from bench.page.data import page_data
from bench.page.pictures import KINDS, pictures
from bench.records.atomic import write_whole
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.records.schema import Result


PICTURES = "pictures"
SAMPLES_FILE = "samples.csv"


def write_report(analyses: Sequence[Analysis], folder: Path, maps: MapsOf = no_maps) -> Path:
    """The page of these results, written into the folder.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / REPORT_FILE, page(page_data(analyses, maps), analyses).encode())
    return folder / REPORT_FILE


def write_all(analyses: Sequence[Analysis], folder: Path, tell: Callable[[str], None], maps: MapsOf = no_maps) -> Path:
    """The page, its charts as pictures, and the raw samples, written into the folder; where the page is.

    ``tell`` hears what goes on.

    Raises:
        InvalidInput: something cannot be written. What was written before is whole.
    """
    tell("gathers the cells")
    data = page_data(analyses, maps)
    files = {REPORT_FILE: page(data, analyses).encode()}
    for name, content in pictures(data):
        tell(f"draws {name}")
        files[f"{PICTURES}/{name}"] = content
    tell("writes all")
    files[SAMPLES_FILE] = "".join(samples([one.result for one in analyses])).encode()
    try:  # all is made by now: who interrupts it before has nothing half
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content)
        for name in {f"{PICTURES}/{chart.name}.{kind}" for chart in CHARTS for kind in KINDS} - files.keys():
            (folder / name).unlink(missing_ok=True)  # of a page that was there before
    except OSError as error:
        raise InvalidInput(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    return folder / REPORT_FILE


OF_A_TURN = ("block", "table", "attempt", "turn", "seconds_a_call", "calls", "disturbed")


def samples(results: Sequence[Result]) -> Iterator[str]:
    """The raw samples as CSV (RFC 4180), a line a turn, the header first: for statistics of a reader's own."""
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
                where = (record.block, record.pool, record.attempt, turn, seconds, record.calls, turn in disturbed)
                yield _line([*of_result, *cell.values(), *where])


def _line(values: Sequence[object]) -> str:
    text = StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()
