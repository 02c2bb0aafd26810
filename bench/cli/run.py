"""``bench run``, and what a person sees when a run has ended: its tables, in its folder and here, and its page."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from bench.analysis.analysis import Analysis
from bench.cli.drawing import draw
from bench.cli.main import stderr, stdout
from bench.forecast import report as scaling
from bench.forecast.model import Model, model_of
from bench.here import command, shown
from bench.measure.plan import Plan
from bench.measure.request import Options, check_request
from bench.measure.run import Ended, check_resume, dry_run, go_on
from bench.measure.run import run as carry_out
from bench.records.atomic import write_atomic
from bench.records.schema import FAILURES, Result
from bench.records.store import read_result
from bench.records.versions import failures_of
from bench.report import markdown, text
from bench.report.export import to_pytest_benchmark
from bench.report.progress import Progress, in_full
from bench.report.rows import table_rows
from bench.workloads.sweeps import SCALING
from impls.contract import InvalidInput

DEFAULT = Options()


def run(options: Annotated[Options, Parameter(name="*", show_default=False)] = DEFAULT) -> int:
    """Measure, write a result folder, and show the table.

    Some examples:
      python -m bench run --preset smoke
      python -m bench run --impl mine.py --against torch/module
      python -m bench run --impl torch/module jax/scan --workload g2p --task train_step
      python -m bench run --impl mine.py torch/module --shape hidden_dim=256,batch_size=32
      python -m bench run --sweep hidden_dim=64:2048 --shape batch_size=32
      python -m bench run --interpreter 2.9.1=old/bin/python 2.13.0=new/bin/python
      python -m bench run --device gpu --dry-run
      python -m bench run --resume results/local/2026-01-31T12-00-00
    """
    console = stderr()

    def watching(plan: Plan, begun: Result) -> Progress:
        return Progress(plan, begun, console)

    if options.dry_run and options.resume is None:
        plan, head = dry_run(check_request(options))
        stdout().print(*in_full(head, plan), sep="\n", soft_wrap=True)
        return 0
    if options.resume is not None:
        work = go_on(check_resume(options), watching)
    else:
        work = carry_out(check_request(options), watching)
    with work as ended:  # what draws would disturb another run
        return show(ended, console)


def show(ended: Ended, console: Console) -> int:
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
                write_atomic(folder / name, made.encode())
        write_atomic(folder / markdown.TABLE_FILE, markdown.full(rows, [analysis]).encode())
        write_atomic(folder / "pytest-benchmark.json", to_pytest_benchmark(analysis))
    except OSError as error:
        failed = True
        if not stopped:
            again = command("table", shown(folder))
            console.print(f"{shown(folder)}: its tables cannot be written ({error.strerror}); to see them: {again}")
    # the table of a scaling run has a hundred groups: what is fitted to them is shown instead
    said = text.render(rows, [analysis]) if model is None else chain(scaling.render(model), text.endings([analysis]))
    try:
        stdout().print(*said, sep="\n")
        again = command("run", "--resume", shown(folder), *ended.again)
        if stopped:
            console.print(f"{stopped}; go on with: {again}")
        elif not result.whole or result.ends[-1].why == "budget":
            console.print(f"the budget is spent; for more blocks: {again}")
        failed = failed or bool(failures_of(result.records))
        if any(record.status in FAILURES for record in result.records):
            console.print(f"what the workers that failed have said: {shown(folder)}/logs")
        draw(folder, console, partial(_page, analysis))
    finally:  # whatever happens while it is shown and drawn, it has been measured
        console.print(f"result: {shown(folder)}")
    if stopped:
        return ended.code
    return 1 if failed or not any(record.ok for record in result.records) else 0


def _page(analysis: Analysis) -> None:
    # imported late: what draws is large, and what is measured should have the machine to itself
    from bench.page.build import write_report

    write_report([analysis], analysis.result.path, scaling.maps)


def _model(analysis: Analysis) -> Model | None:
    """Of a scaling run, what is fitted to it, if it has shapes enough."""
    if analysis.run.preset != SCALING:
        return None
    try:
        return model_of(analysis)
    except InvalidInput:
        return None
