"""``bench page``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bench.cli.main import stderr
from bench.cli.table import read_all
from bench.forecast.report import maps
from bench.measure.request import PAGES


def page(*results: Path, out: Path | None = None) -> None:
    """Write a page with charts, filters and every number, its charts as pictures, and the raw samples.

    The page, report.html, is one file that needs no network. Several results are shown side by side, and over time.

    Some examples:
      python -m bench page results/local/2026-01-31T12-00-00
      python -m bench page results/local/*/ --out site

    Parameters
    ----------
    results
        Result folders.
    out
        Folder for report.html, pictures/ and samples.csv; the result's own if there is one, and
        results/pages/<time> if there are several.
    """
    from bench.page.build import write_all  # imported late: other commands do without what draws

    read = read_all("page", results)
    place = out or (read[0].result.path if len(read) == 1 else PAGES / f"{datetime.now():%Y-%m-%dT%H-%M-%S}")
    with stderr().status("reads the results") as status:
        written = write_all(read, place, status.update, maps)
    print(written)
