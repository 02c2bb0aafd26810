"""Numbers for files that are held against each other: the last digits differ from processor to processor. Pure."""

from __future__ import annotations

from typing import Any


def rounded(value: Any, digits: int) -> Any:
    """The value, in any depth of lists and dicts, with its floats at so many significant digits."""
    match value:
        case float():
            return float(f"{value:.{digits}g}")
        case dict():
            return {key: rounded(own, digits) for key, own in value.items()}
        case list() | tuple():
            return [rounded(own, digits) for own in value]
    return value
