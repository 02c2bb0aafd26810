"""What a person sees when a run has ended: its tables in its folder and on the terminal, and its page."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from rich.console import Console

from bench.analysis.analysis import Analysis
from bench.forecast import report as scaling
from bench.forecast.model import model_of
from bench.here import command, shown
from bench.measure.error_location import where
from bench.measure.run import Ended
from bench.page import REPORT_FILE
from bench.records.atomic import write_whole
from bench.records.schema import FAILURES
from bench.records.store import read_result
from bench.records.versions import failures_of
from bench.report import markdown, text
from bench.report.pytest_benchmark import to_pytest_benchmark
from bench.report.rows import table_rows
from bench.workloads.sweeps import SCALING
from impls import HERE
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from bench.forecast.model import Model


def show(ended: Ended, stderr: Console) -> int:
    """Write and show the tables. The exit code: 1 where a row failed or none has a time, or that of what stopped it.

    A row that fails under one version and works under another has not failed: that is what was to be found out.
    """
    folder, stopped = ended.folder, ended.stopped
    analysis = Analysis(read_result(folder))
    result, rows, failed = analysis.result, table_rows([analysis]), False
    model = _model(analysis)
    try:
        if model is not None:
            for name, made in scaling.files(model).items():
                write_whole(folder / name, made.encode())
        write_whole(folder / markdown.TABLE_FILE, markdown.full(rows, [analysis]).encode())
        write_whole(folder / "pytest-benchmark.json", to_pytest_benchmark(analysis))
    except OSError as error:
        failed = True
        if not stopped:
            again = command("table", shown(folder))
            stderr.print(f"{shown(folder)}: its tables cannot be written ({error.strerror}); to see them: {again}")
    # the table of a scaling run has a hundred groups: what is fitted to them is shown instead
    said = text.render(rows, [analysis]) if model is None else chain(scaling.render(model), text.endings([analysis]))
    try:
        Console(highlight=False, markup=False).print(*said, sep="\n")
        again = command("run", "--resume", shown(folder), *ended.again)
        if stopped:
            stderr.print(f"{stopped}; go on with: {again}")
        elif not result.whole or result.ends[-1].why == "budget":
            stderr.print(f"the budget is spent; for more blocks: {again}")
        failed = failed or bool(failures_of(result.records))
        if any(record.status in FAILURES for record in result.records):
            stderr.print(f"what the workers that failed have said: {shown(folder)}/logs")
        if _write_page(analysis, stderr):
            stderr.print(f"page: {shown(folder)}/{REPORT_FILE}")
    finally:  # whatever happens while it is shown and drawn, it has been measured
        stderr.print(f"result: {shown(folder)}")
    if stopped:
        return ended.code
    return 1 if failed or not any(record.ok for record in result.records) else 0


def _write_page(analysis: Analysis, stderr: Console) -> bool:
    """Write the page into the result's folder, if that can be done: the table has been shown by now."""
    try:
        # imported late: what draws is large, and what is measured should have the machine to itself
        from bench.page.write import write_report

        with stderr.status("draws the page"):
            write_report([analysis], analysis.result.path, scaling.maps)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of what draws, which is no Python, is no Exception
        folder = shown(analysis.result.path)
        why = (isinstance(error, OSError) and error.strerror) or where(error, HERE)
        stderr.print(f"{folder}: its page cannot be made ({why}); to try again: {command('page', folder)}")
        return False
    return True


def _model(analysis: Analysis) -> Model | None:
    """Of a scaling run, what is fitted to it, if it has shapes enough."""
    if analysis.run.preset != SCALING:
        return None
    try:
        return model_of(analysis)
    except InvalidInput:
        return None
