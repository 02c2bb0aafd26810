"""Tables for programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec

from bench.report.rows import TableRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.rows import CellRow


def to_json(rows: Sequence[CellRow]) -> str:
    """A list of flat objects."""
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n"


def to_csv(rows: Sequence[TableRow]) -> str:
    """A line a row, the names of the fields on top."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TableRow.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(row) for row in rows)
    return text.getvalue()


def rounded(value: Any, digits: int) -> Any:
    """The value, its floats in any depth at so many digits: the last ones differ from processor to processor."""
    match value:
        case float():
            return float(f"{value:.{digits}g}")
        case dict():
            return {key: rounded(own, digits) for key, own in value.items()}
        case list() | tuple():
            return [rounded(own, digits) for own in value]
    return value
