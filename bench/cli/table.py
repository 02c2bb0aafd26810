"""``bench table``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bench.analysis.analysis import Analysis
from bench.cli.main import stdout
from bench.records.store import read_result
from bench.report import export, markdown, text
from bench.report.rows import table_rows
from impls.contract import InvalidInput


def table(
    *results: Path,
    style: Annotated[Literal["text", "markdown", "csv", "json"], Parameter(name="--format")] = "text",
) -> None:
    """Show one result or several together.

    Some examples:
      python -m bench table results/local/2026-01-31T12-00-00
      python -m bench table results/local/*/ --format json

    Parameters
    ----------
    results
        Result folders.
    style
        text, markdown, csv or json.
    """
    read = read_all("table", results)
    rows = table_rows(read)
    match style:
        case "text":
            stdout().print(*text.render(rows, read), sep="\n")
        case "markdown":
            sys.stdout.write(markdown.full(rows, read))
        case "csv":
            sys.stdout.write(export.to_csv(rows))
        case "json":
            sys.stdout.write(export.to_json(rows))


def read_all(command: str, folders: Sequence[Path]) -> list[Analysis]:
    """What these folders hold, in their order; one that is named twice counts once.

    Raises:
        InvalidInput: none is named, or one holds no result.
    """
    if not folders:
        raise InvalidInput(f"{command}: name at least one result folder; `bench run` says where it put its result")
    return [Analysis(read_result(folder)) for folder in {folder.resolve(): folder for folder in folders}.values()]
