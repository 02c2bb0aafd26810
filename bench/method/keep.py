"""How an experiment is kept: raw numbers as JSON, and a table that is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bench.records import decode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read(path: Path, kind: type) -> Any:
    """The experiment in a file.

    Raises:
        InvalidInput: it is damaged.
    """
    return decode(path.read_bytes(), kind, f"{path}")


def keep(raw: Path, kind: type, measure: Callable[[], Any], report: Callable[[Any], str]) -> str:
    """The table of an experiment, written beside its raw file, which is measured only if it is not there."""
    if not raw.exists():
        measured = measure()
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.write_bytes(msgspec.json.encode(measured) + b"\n")
    text = report(read(raw, kind))
    raw.with_suffix(".md").write_text(text, encoding="utf-8")
    return text
