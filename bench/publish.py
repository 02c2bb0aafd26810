"""``bench publish``: copies a valid result into ``results/``, and makes the index and the README's table anew."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environment import ROOT
from bench.judge import control, judge
from bench.records import RECORDS_FILE, RUN_FILE, Result, read_result
from bench.report import markdown
from bench.report.rows import table_rows
from bench.request import BASELINE
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
    run, records = result.run, result.records

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"{folder}: {why}")

    if run.preset == "smoke":
        raise refuse("smoke is a check that all works, no measurement; publish another preset")
    if not result.whole:
        raise refuse("was cut short; `python -m bench run --resume` goes on, publish what went to its end")
    if control(judge(records, run.baseline).values()) is None:
        raise refuse("has no control")
    if not any(record.ok for record in records):
        raise refuse("has no time in it")
    for record in records:
        if record.status not in ("ok", "unsupported"):
            what = f"{record.implementation} {record.workload} {record.task} is {record.status} ({record.reason})"
            raise refuse(f"{what}; publish a run in which every row works")
        if "/" not in record.implementation:
            raise refuse(f"{record.implementation} is a file outside impls/, which no commit has")
    if run.environment.git_commit is None or run.environment.git_dirty:
        raise refuse("was made by code that is in no commit; commit, run again, publish that")
    machine = run.environment.machine + ("-gpu" if records[0].device == "gpu" else "")
    target = RESULTS / f"{machine}-{run.started_at[:10]}"
    if target.resolve() != folder.resolve():
        fresh = target.with_name(f"{target.name}.new")
        fresh.mkdir(parents=True)
        for name in (RUN_FILE, RECORDS_FILE):
            shutil.copyfile(folder / name, fresh / name)
        if target.exists():
            shutil.rmtree(target)  # one result a machine and day
        fresh.rename(target)
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
    if shown := [result for result in results if is_for_readme(result)]:
        files[README] = with_table(README.read_text(encoding="utf-8"), shown[-1])
    return files


def published() -> list[Result]:
    """The published results, oldest first."""
    folders = sorted(path.parent for path in RESULTS.glob(f"*/{RUN_FILE}"))
    results = [read_result(folder) for folder in folders]
    return sorted(results, key=lambda result: datetime.fromisoformat(result.run.started_at))


def is_for_readme(result: Result) -> bool:
    """Whether the result answers the README's question: the CPU, one thread, its tasks, the default baseline."""
    one = [record for record in result.records if record.device == "cpu" and record.threads == 1]
    return set(README_TASKS) <= {record.task for record in one} and result.run.baseline == BASELINE


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
    one = [row for row in rows if row.threads == 1]
    tables = "\n".join(markdown.short(one, task) for task in README_TASKS)
    words = (
        f"{markdown.environment_line(result.run.environment)}; one thread; {result.run.started_at[:10]}."
        f" Median of a call, and in brackets its ratio to `{result.run.baseline}` (above 1 is slower) with the verdict."
        " **Bold**: the first of its column, and what no verdict tells from it.\n"
        f"[All tasks, spreads, compile times and errors]({result.path.relative_to(ROOT)}/{TABLE_FILE}).\n"
    )
    return f"{before}{START}\n\n{tables}\n{words}\n{END}{after}"
