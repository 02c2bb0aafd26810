"""``bench run``: draws the numbers, runs the plan, writes the result, shows the table."""

from __future__ import annotations

import signal
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench import answers
from bench.environment import describe
from bench.job import ProblemFile
from bench.plan import BUDGETS, make_plan
from bench.preflight import preflight
from bench.progress import Progress
from bench.records import FAILURES, SCHEMA_VERSION, Run, WorkloadFacts, read_result, start_result
from bench.report import markdown, text
from bench.report.rows import table_rows
from bench.runner import Listener, run_plan
from impls import HERE
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from types import FrameType

    from bench.plan import Plan
    from bench.request import Request


def run(request: Request) -> int:
    """Measure, write and show; exit code 0; 1 where a row failed or none has a time; 130 where interrupted.

    Raises:
        InvalidInput: a person's own file does not meet the contract, or the folder cannot be written.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    for row in request.rows:
        if not row.path.is_relative_to(HERE) and row.missing() is None:
            preflight(row, request.device)
    plan = make_plan(
        rows=sorted(request.rows, key=lambda row: row.name != request.baseline),  # the baseline first
        workloads=request.workloads,
        tasks=request.tasks,
        device=request.device,
        threads=request.threads,
        budget=BUDGETS[request.preset],
    )
    try:
        request.out.mkdir(parents=True)
    except OSError as error:
        raise InvalidInput(f"--out {request.out}: cannot be written ({error.strerror})") from None
    start_result(_head(request, plan), request.out)

    try:
        _measure(plan, request)
        interrupted = False
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one must not cost the table
        interrupted = True

    stderr = Console(stderr=True, highlight=False, soft_wrap=True)
    result = read_result(request.out)
    rows = table_rows([result])
    (request.out / "table.md").write_text(markdown.full(rows, [result]), encoding="utf-8")
    Console(highlight=False).print(*text.render(rows, [result]), sep="\n")
    if interrupted:
        stderr.print(f"interrupted: the table has what was measured, {len(result.records)} cells")
    stderr.print(f"result: {_shown(request.out)}")
    failed = any(record.status in FAILURES for record in result.records)
    return 130 if interrupted else 1 if failed or not any(record.ok for record in result.records) else 0


def _measure(plan: Plan, request: Request) -> None:
    """Work out the oracle's answers, and run the plan; the records stand in the request's folder."""
    batches = {workload.name: workload.num_batches for workload in request.workloads}
    with tempfile.TemporaryDirectory(prefix="numbers-", dir=request.out) as numbers, Progress(plan, batches) as bar:
        problems = {}
        for workload in request.workloads:
            bar.say(f"the oracle works out {workload.name}")
            path = Path(numbers) / f"{workload.name}.safetensors"
            try:
                answers.save(answers.pose(workload, request.tasks), path)
            except MemoryError:
                raise InvalidInput(f"{workload.name} does not fit into memory; choose smaller sizes") from None
            problems[workload.name] = ProblemFile(workload.config, str(path))
        run_plan(plan, problems, request.out, Listener(bar.started, bar.finished))


def _head(request: Request, plan: Plan) -> Run:
    return Run(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=request.command,
        preset=request.preset,
        baseline=request.baseline,
        seed=answers.SEED,
        cells=plan.cells,
        environment=describe(),
        workloads={
            workload.name: WorkloadFacts(shape=workload.shape, sequences=workload.sequences, source=workload.source)
            for workload in request.workloads
        },
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
