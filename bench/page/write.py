"""Writes pages, pictures and samples to where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.page import REPORT_FILE
from bench.page.build import page
from bench.page.data import page_data
from bench.page.pictures import pictures
from bench.page.samples import samples
from bench.whole import write_whole
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.records import Result

PICTURES = "pictures"
SAMPLES_FILE = "samples.csv"


def write_report(results: Sequence[Result], folder: Path) -> Path:
    """The page of these results, written into the folder.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / REPORT_FILE, page(page_data(results), results).encode())
    return folder / REPORT_FILE


def write_all(results: Sequence[Result], folder: Path, tell: Callable[[str], None]) -> Path:
    """The page, its charts as pictures, and the raw samples, written into the folder; where the page is.

    ``tell`` hears what goes on.

    Raises:
        InvalidInput: something cannot be written. What was written before is whole.
    """
    try:
        (folder / PICTURES).mkdir(parents=True, exist_ok=True)
        tell("gathers the cells")
        data = page_data(results)
        write_whole(folder / REPORT_FILE, page(data, results).encode())
        for name, content in pictures(data):
            tell(f"draws {name}")
            write_whole(folder / PICTURES / name, content)
        tell("writes the samples")
        write_whole(folder / SAMPLES_FILE, "".join(samples(results)).encode())
    except OSError as error:
        raise InvalidInput(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    return folder / REPORT_FILE
