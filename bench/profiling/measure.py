"""``bench profile``: rows in processes of their own, one for each workload and task; a folder that is there whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.describe import code_facts, describe
from bench.measure.lock import only_run
from bench.measure.messages import Job, ProblemFile
from bench.measure.preflight import preflight
from bench.measure.worker_client import blocked
from bench.measure.worker_environment import environment_of, memory_limit, worker_environment
from bench.profiling.profiles import PROFILE_FILE, SCHEMA_VERSION, Profile, Profiles
from bench.profiling.worker import Outcome, Task
from bench.records.atomic import new_folder, write_whole, written
from bench.workloads import reference_outputs
from impls import HERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.profiling.request import Asked
    from bench.records.schema import Cell, CodeFacts
    from impls import Row

LIMIT_S = 1200.0
"""How long a process may take: some rows compile for minutes."""


def measure(asked: Asked, tell: Callable[[str], None]) -> Profiles:
    """The profiles, which are in the folder then; ``tell`` hears what goes on. Ctrl-C ends it with those that are made.

    Raises:
        InvalidInput: another run has this machine, a person's own file does not meet the contract, or the folder cannot
            be written.
    """
    started_at, environment = datetime.now().astimezone().isoformat(timespec="seconds"), describe()
    code = {row.name: code_facts(row) for row, _ in asked.rows}  # as it is now: it may change while this goes on
    with (
        only_run("bench profile") as mark,
        TemporaryDirectory(prefix="profile-") as scratch,
        new_folder(asked.out) as folder,
    ):
        for row, _ in asked.rows:
            if not row.path.is_relative_to(HERE):
                preflight(row, "cpu", mark, (workload.config for workload in asked.workloads))
        problems = {}
        tasks = tuple(dict.fromkeys(cell.task for _, cells in asked.rows for cell in cells))
        for workload in asked.workloads:
            tell(f"the oracle works out {workload.name}")
            path = Path(scratch, f"{workload.name}.safetensors")
            reference_outputs.save(reference_outputs.pose(workload, tasks), path)
            problems[workload.name] = ProblemFile(workload.config, str(path))
        profiles: list[Profile] = []
        try:
            for row, cell in asked.cells:
                where = f"{len(profiles) + 1} of {len(asked.cells)}"
                tell(f"{where}: {row.name} {cell.workload} {cell.task}")
                problem = problems[cell.workload]
                profiles.append(_of_cell(row, code[row.name], cell, problem, folder, Path(scratch), mark))
        except KeyboardInterrupt:
            if not profiles:
                raise
            for trace in set(folder.glob("*.trace.json.gz")) - {folder / str(one.trace) for one in profiles}:
                trace.unlink()  # of the one that was not done
        found = Profiles(
            schema_version=SCHEMA_VERSION,
            started_at=started_at,
            command=asked.command,
            environment=environment,
            shapes={workload.name: workload.shape for workload in asked.workloads},
            profiles=profiles,
        )
        with written(asked.out):
            write_whole(folder / PROFILE_FILE, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found


def _of_cell(
    row: Row, code: CodeFacts, cell: Cell, problem: ProblemFile, folder: Path, scratch: Path, mark: str
) -> Profile:
    """The profile of a row at a workload and task, by a process of its own."""
    name = f"{row.name.replace('/', '-')}-{cell.workload}-{cell.task}"
    trace, task_file, result_file, log = (
        folder / f"{name}.trace.json.gz",
        *(scratch / f"{name}{suffix}" for suffix in (".task", ".result", ".log")),
    )
    allowed = processors()
    job = Job(
        seed=reference_outputs.SEED,
        row_path=str(row.path),
        row_root=str(HERE) if row.path.is_relative_to(HERE) else None,
        cells=[cell],
        problems={cell.workload: problem},
        block=1,
        table=0,
        warmup_s=0.0,
        sittings=1,
        processors=allowed[-cell.threads :],
        hash_seed=0,
        padding_bytes=0,
        memory_limit_bytes=memory_limit(cell.device),
        blocked=blocked(row),
        started_s=time.monotonic(),
    )
    write_whole(task_file, msgspec.json.encode(Task(job=job, trace=str(trace))))
    cache = scratch / row.name.replace("/", "-")
    cache.mkdir(exist_ok=True)
    environment = worker_environment(
        os.environ,
        threads=cell.threads,
        device=cell.device,
        cache=cache,
        mark=mark,
        extra=environment_of(row),
    )
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.profiling.worker", str(task_file), str(result_file)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        exit_code = process.wait(timeout=LIMIT_S)
        words = f"the process ended with exit code {exit_code}"
        outcome = None
        if result_file.exists():
            outcome = msgspec.json.decode(result_file.read_bytes(), type=Outcome)
    except subprocess.TimeoutExpired:
        outcome = Outcome(status="timeout", reason=f"did not get done within {LIMIT_S:.0f} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    outcome = outcome or Outcome(status="crashed", reason=words)
    if outcome.status != "ok":
        (folder / "logs").mkdir(exist_ok=True)
        write_whole(folder / "logs" / f"{name}.log", log.read_bytes())
    kept = {name: getattr(outcome, name) for name in Outcome.__struct_fields__ if name != "has_trace"}
    return Profile(**msgspec.structs.asdict(cell), **kept, code=code, trace=trace.name if outcome.has_trace else None)
