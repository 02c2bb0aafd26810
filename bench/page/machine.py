"""What a repository keeps of a machine: one page of all its results, and pictures of the one that says most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.page import REPORT_FILE
from bench.page.build import page
from bench.page.data import page_data
from bench.page.pictures import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records import Result


def files_of_machine(results: Sequence[Result], shown: Result) -> dict[str, str]:
    """Name and content of the page and the pictures; ``shown``: the result that these are of, as SVG only."""
    files = {REPORT_FILE: page(page_data(results), results)}
    for name, content in pictures(page_data([shown])):
        if name.endswith(".svg"):
            files[name] = content.decode()
    return files
