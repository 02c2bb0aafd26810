"""``bench page``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bench.cli.main import stderr
from bench.cli.table import read_all
from bench.forecast.report import maps
from bench.measure.request import PAGES
from bench.page import REPORT_FILE
from bench.records.atomic import write_atomic, written
from bench.train.request import HEAD_FILE
from bench.train.results import read_trainings


def page(*results: Path, out: Path | None = None) -> None:
    """Write a page with charts, filters and every number, its charts as pictures, and the raw samples.

    The page, report.html, is one file that needs no network. Several results are shown side by side, and over time.

    Some examples:
      python -m bench page results/local/2026-01-31T12-00-00
      python -m bench page results/local/*/ --out site

    Parameters
    ----------
    results
        Result folders; or one of `bench train`, whose page has no filters.
    out
        Folder for report.html, pictures/ and samples.csv; the result's own if there is one, and
        results/pages/<time> if there are several.
    """
    from bench.page.build import write_all  # imported late: other commands do without what draws
    from bench.page.trainings import files_of

    if len(results) == 1 and (results[0] / HEAD_FILE).exists():
        place = out or results[0]
        made = files_of(read_trainings(results[0]))
        with written(place):
            place.mkdir(parents=True, exist_ok=True)
            for name, text in made.items():
                write_atomic(place / name, text.encode())
        print(place / REPORT_FILE)
        return
    read = read_all("page", results)
    place = out or (read[0].result.path if len(read) == 1 else PAGES / f"{datetime.now():%Y-%m-%dT%H-%M-%S}")
    with stderr().status("reads the results") as status:
        path = write_all(read, place, status.update, maps)
    print(path)
