"""A table as a terminal shows it."""

from __future__ import annotations

import io

from rich.console import Console

from bench.analysis.analysis import Analysis
from bench.records.schema import Result
from bench.report import text


def shown(rows: list, *results: Result, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(*text.render(rows, [*map(Analysis, results)]), sep="\n")
    return stream.getvalue()
