"""``bench publish``: copies a valid result into ``results/``, and makes the index and the README's table anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environment import ROOT
from bench.records import RECORDS_FILE, RUN_FILE, Result, read_result
from bench.report import markdown
from bench.report.rows import table_rows
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = ROOT / "results"
README = ROOT / "README.md"
TABLE_FILE = "table.md"
START, END = "<!-- results: made by `python -m bench publish`, not by hand -->", "<!-- end of results -->"
README_TASKS = ("train_step", "forward")


def publish(folder: Path) -> Path:
    """The published copy of the result in ``folder``; index and README speak of it.

    Raises:
        InvalidInput: the folder holds no result, or one that proves nothing: no time, a row that failed, or code that
            no commit has.
    """
    result = read_result(folder)
    if not any(record.ok for record in result.records):
        raise InvalidInput(f"{folder}: has no time in it")
    if failed := [record for record in result.records if not record.ok and record.status not in ("unsupported",)]:
        first = failed[0]
        raise InvalidInput(
            f"{folder}: {first.implementation} {first.workload} {first.task} is {first.status} ({first.reason});"
            " publish a run in which every row works"
        )
    if result.run.preset == "smoke":
        raise InvalidInput(f"{folder}: smoke is a check that all works, no measurement; publish another preset")
    environment = result.run.environment
    if environment.git_commit is None or environment.git_dirty:
        raise InvalidInput(f"{folder}: was made by code that is in no commit; commit, run again, publish that")
    target = RESULTS / f"{environment.machine}-{result.run.started_at[:10]}"
    if target.exists():
        shutil.rmtree(target)  # one result a machine and day
    target.mkdir(parents=True)
    for name in (RUN_FILE, RECORDS_FILE):
        shutil.copyfile(folder / name, target / name)
    refresh()
    return target


def refresh() -> None:
    """Make every published table, the index and the README's table anew from the records."""
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")


def generated() -> dict[Path, str]:
    """Every generated file, and what it has to say."""
    results = published()
    files = {result.path / TABLE_FILE: markdown.full(table_rows([result]), [result]) for result in results}
    files[RESULTS / "README.md"] = index(results)
    if results:
        files[README] = with_table(README.read_text(encoding="utf-8"), results[-1])
    return files


def published() -> list[Result]:
    """The published results, oldest first."""
    folders = sorted(path.parent for path in RESULTS.glob(f"*/{RUN_FILE}"))
    return sorted((read_result(folder) for folder in folders), key=lambda result: result.run.started_at)


def index(results: Sequence[Result]) -> str:
    """The list of published results."""
    lines = [
        [
            f"[{result.path.name}]({result.path.name}/{TABLE_FILE})",
            result.run.environment.cpu,
            ", ".join(dict.fromkeys(record.device for record in result.records)),
            result.run.preset,
            str(sum(record.ok for record in result.records)),
        ]
        for result in results
    ]
    return (
        "# Published results\n\nMade by `python -m bench publish`. Each folder has the raw records, the machine and the"
        " command, and the table made of them.\n\n"
        + markdown.table(["result", "processor", "device", "preset", "cells with a time"], lines, left=4)
    )


def with_table(readme: str, result: Result) -> str:
    """The README with the result's tables between its marks.

    Raises:
        InvalidInput: the README has no marks.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InvalidInput(f"{README.name}: has no place for the results, between {START!r} and {END!r}")
    rows = table_rows([result])
    one = [row for row in rows if row.threads == min(row.threads for row in rows)]
    tables = "\n".join(markdown.short(one, task) for task in README_TASKS)
    words = (
        f"{markdown.environment_line(result.run.environment)}; one thread; {result.run.started_at[:10]}."
        f" Median of a call, and in brackets its ratio to `{result.run.baseline}` (above 1 is slower).\n"
        f"[All tasks, spreads, compile times and errors]({result.path.relative_to(ROOT)}/{TABLE_FILE}).\n"
    )
    return f"{before}{START}\n\n{tables}\n{words}\n{END}{after}"
