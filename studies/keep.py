"""How an experiment is kept: raw numbers as JSON, and a table that is made of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.records.atomic import write_whole
from bench.records.store import decode
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def read(path: Path, kind: type) -> Any:
    """The experiment in a file.

    Raises:
        InvalidInput: it is damaged.
    """
    return decode(path.read_bytes(), kind, f"{path}")


def paths(arguments: Sequence[str], usage: str) -> list[Path]:
    """The paths that an experiment's command line names.

    Raises:
        SystemExit: there are more or fewer than in the usage.
    """
    if len(arguments) != len(usage.split()):
        print(f"usage: python -m {usage}", file=sys.stderr)
        raise SystemExit(2)
    return [Path(argument) for argument in arguments[1:]]


def carry_out(make: Callable[[], str]) -> int:
    """Print what an experiment comes to; exit code 2, and one line, where it cannot be made of what was named."""
    try:
        print(make())
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def keep(raw: Path, kind: type, measure: Callable[[], Any], report: Callable[[Any], str]) -> str:
    """The table of an experiment, written beside its raw file, which is measured only if it is not there."""
    if not raw.exists():
        measured = measure()
        raw.parent.mkdir(parents=True, exist_ok=True)
        write_whole(raw, msgspec.json.encode(measured) + b"\n")
    text = report(read(raw, kind))
    write_whole(raw.with_suffix(".md"), text.encode())
    return text
