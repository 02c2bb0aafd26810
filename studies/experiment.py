"""How an experiment is carried out and saved: raw numbers as JSON, and a table that is made of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.measure.messages import ProblemFile
from bench.measure.plan import Plan, PlannedGroup
from bench.measure.runner import Listener, run_plan
from bench.records.atomic import write_atomic
from bench.records.schema import Line, Record
from bench.records.store import decode
from impls.contract import InvalidInput


def one_block(
    plan: Plan,
    block: int,
    problems: dict[str, ProblemFile],
    folder: Path,
    mark: str,
    doing: Callable[[PlannedGroup | None, str], None] = lambda _planned_group, _what: None,
) -> list[Record]:
    """One block of a plan whose workers have one cell each, table by table; ``doing`` hears what goes on.

    Raises:
        RuntimeError: a worker has no time.
    """
    lines: list[Line] = []
    planned_groups = tuple(
        PlannedGroup(table, table.entries[0].cells[0].group, tuple((entry, entry.cells[0]) for entry in table.entries))
        for table in plan.pools
    )
    run_plan(
        plan,
        problems,
        folder,
        Listener(doing=doing, kept=lines.extend),
        mark=mark,
        next_block=lambda _plan, _records: None if lines else (block, planned_groups),
    )
    records = [line for line in lines if isinstance(line, Record)]
    if wrong := [record for record in records if not record.ok]:
        raise RuntimeError(f"{wrong[0].cell.implementation}: {wrong[0].reason}")
    return records


def read(path: Path, kind: type) -> Any:
    """The experiment in a file.

    Raises:
        InvalidInput: it is damaged.
    """
    return decode(path.read_bytes(), kind, f"{path}")


def save(raw: Path, kind: type, measure: Callable[[], Any], report: Callable[[Any], str]) -> str:
    """The table of an experiment, written beside its raw file, which is measured only if it is not there."""
    if not raw.exists():
        measured = measure()
        raw.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(raw, msgspec.json.encode(measured) + b"\n")
    text = report(read(raw, kind))
    write_atomic(raw.with_suffix(".md"), text.encode())
    return text


def carry_out(arguments: Sequence[str], usage: str, made: Callable[..., str]) -> int:
    """Print what is made of the paths on a command line; 2, and one line, where that cannot be."""
    least = len(usage.partition(" [")[0].split())
    options = any(word.startswith("-") for word in arguments[1:])
    if options or not least <= len(arguments) <= least + usage.count("["):
        print(f"usage: python -m {usage}", file=sys.stderr)
        return 2
    try:
        print(made(*map(Path, arguments[1:])))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0
