"""``bench page``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bench.analysis.analysis import Analysis
from bench.cli.app import stderr
from bench.forecast.report import maps
from bench.measure.request import PAGES
from bench.page.write import write_all
from bench.records.store import read_result
from impls.contract import InvalidInput


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
    if not results:
        raise InvalidInput("page: name at least one result folder; `bench run` says where it put its result")
    folders = list({folder.resolve(): folder for folder in results}.values())
    read = [Analysis(read_result(folder)) for folder in folders]
    place = out or (folders[0] if len(folders) == 1 else PAGES / f"{datetime.now():%Y-%m-%dT%H-%M-%S}")
    with stderr().status("reads the results") as status:
        written = write_all(read, place, status.update, maps)
    print(written)
