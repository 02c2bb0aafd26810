"""Writes pages, pictures and samples to where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.analysis.analysis import Analysis
from bench.page import REPORT_FILE
from bench.page.build import page
from bench.page.charts import CHARTS
from bench.page.curves import MapsOf, no_maps
from bench.page.data import page_data
from bench.page.pictures import KINDS, pictures
from bench.page.samples import samples
from bench.records.atomic import write_whole
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


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
    try:  # all is made by now: whoever is interrupted before has nothing half
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content)
        for name in {f"{PICTURES}/{chart.name}.{kind}" for chart in CHARTS for kind in KINDS} - files.keys():
            (folder / name).unlink(missing_ok=True)  # of a page that was there before
    except OSError as error:
        raise InvalidInput(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    return folder / REPORT_FILE
