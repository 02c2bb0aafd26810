"""``bench profile``: what is requested, and rows in processes of their own, one for each workload and task."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.machine.describe import code_facts, describe
from bench.measure.lock import only_run
from bench.measure.messages import Job, ProblemFile
from bench.measure.plan import cells_of
from bench.measure.preflight import preflight
from bench.measure.request import (
    check_workloads,
    choose_rows,
    choose_tasks,
    command_of,
    free_folder,
    parse_threads,
    plain,
)
from bench.measure.worker_client import blocked, exit_code
from bench.measure.worker_environment import environment_of, memory_limit, worker_environment
from bench.profiling.profiles import PROFILE_FILE, SCHEMA_VERSION, Profile, Profiles
from bench.profiling.worker import Assignment
from bench.records.atomic import new_folder, write_atomic, written
from bench.records.schema import Cell, CodeFacts
from bench.records.store import head_text
from bench.workloads import reference_outputs
from bench.workloads.shapes import Workload, choose
from impls import HERE, Row
from impls.contract import InvalidInput, Task

PROFILES = ROOT / "results" / "profiles"
"""Where profiles go; git ignores it."""

TIERS = ("idiomatic", "tuned")
"""Of what rows are profiled where none is named."""

DEFAULT_TASKS: tuple[Task, ...] = ("forward", "train_step")

LIMIT_S = 1200.0
"""How long a process may take: some rows compile for minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRequest:
    """What is requested of ``bench profile``, checked."""

    cells: tuple[tuple[Row, Cell], ...]
    """All that is to be profiled, in order."""
    workloads: tuple[Workload, ...]
    out: Path
    command: str

    @property
    def rows(self) -> dict[str, Row]:
        """The rows, by name."""
        return {row.name: row for row, _ in self.cells}


def check_profile(
    *, rows: Sequence[str], workload: Sequence[str], task: Sequence[Task], threads: str, out: Path | None
) -> ProfileRequest:
    """What the words of a command line request.

    Raises:
        InvalidInput: a word means nothing here, a row cannot do what is requested of it, or is not installed.
    """
    chosen = [row for row in choose_rows(rows) if rows or (row.tier in TIERS and row.missing() is None)]
    workloads = choose(workload or ("seed",), "default", "cpu")
    tasks = choose_tasks(task or DEFAULT_TASKS, "default")
    (number,) = parse_threads([threads])
    check_workloads(workloads)
    requested = []
    for row in chosen:
        if missing := row.missing():
            raise InvalidInput(f"{row.name}: {missing}; install it, or leave the row out")
        cells, unable = cells_of(row, workloads, tasks, "cpu", number, "float32")
        if rows and unable and (task or not cells):
            raise InvalidInput(f"{row.name} has no {unable[0].cell.task}: {unable[0].reason}")
        requested += [(row, cell) for cell in cells]
    if not requested:
        raise InvalidInput("no idiomatic or tuned row is installed; `python -m bench list` says what is missing")
    named = [threads] if threads != "1" else []
    return ProfileRequest(
        cells=tuple(requested),
        workloads=tuple(workloads),
        out=free_folder(out, PROFILES),
        command=command_of("profile", *map(plain, rows), workload=workload, task=task, threads=named),
    )


def measure(request: ProfileRequest, tell: Callable[[str], None]) -> Profiles:
    """The profiles, which are in the folder then; ``tell`` hears what goes on. Ctrl-C ends it with those that are made.

    Raises:
        InvalidInput: another run has this machine, a person's own file does not meet the contract, or the folder cannot
            be written.
    """
    started_at, environment = datetime.now().astimezone().isoformat(timespec="seconds"), describe()
    code = {name: code_facts(row) for name, row in request.rows.items()}  # as it is now: it may change meanwhile
    with (
        only_run("bench profile") as mark,
        TemporaryDirectory(prefix="profile-") as scratch,
        new_folder(request.out) as folder,
    ):
        for row in request.rows.values():
            if not row.path.is_relative_to(HERE):
                preflight(row, "cpu", mark, (workload.config for workload in request.workloads))
        problems = {}
        tasks = tuple(dict.fromkeys(cell.task for _, cell in request.cells))
        for workload in request.workloads:
            tell(f"the oracle works out {workload.name}")
            path = Path(scratch, f"{workload.name}.safetensors")
            reference_outputs.save(reference_outputs.pose(workload, tasks), path)
            problems[workload.name] = ProblemFile(workload.config, str(path))
        profiles: list[Profile] = []
        try:
            for row, cell in request.cells:
                tell(f"{len(profiles) + 1} of {len(request.cells)}: {cell}")
                profiles.append(
                    _of_cell(row, code[row.name], cell, problems[cell.workload], folder, Path(scratch), mark)
                )
        except KeyboardInterrupt:
            if not profiles:
                raise
            for trace in set(folder.glob("*.trace.json.gz")) - {folder / str(one.trace) for one in profiles}:
                trace.unlink()  # of the one that was not done
        found = Profiles(
            schema_version=SCHEMA_VERSION,
            started_at=started_at,
            command=request.command,
            environment=environment,
            shapes={workload.name: workload.shape for workload in request.workloads},
            profiles=profiles,
        )
        with written(request.out):
            write_atomic(folder / PROFILE_FILE, head_text(found))
    return found


def _of_cell(
    row: Row, facts: CodeFacts, cell: Cell, problem: ProblemFile, folder: Path, scratch: Path, mark: str
) -> Profile:
    """The profile of a row at a workload and task, by a process of its own."""
    name = f"{row.name.replace('/', '-')}-{cell.workload}-{cell.task}"
    assigned, result, log = (scratch / f"{name}{suffix}" for suffix in (".task", ".result", ".log"))
    job = Job(
        seed=reference_outputs.SEED,
        row_path=str(row.path),
        cells=[cell],
        problems={cell.workload: problem},
        block=1,
        pool=0,
        warmup_s=0.0,
        processors=processors()[-cell.threads :],
        hash_seed=0,
        padding_bytes=0,
        memory_limit_bytes=memory_limit(cell.device),
        blocked=blocked(row),
        started_s=time.monotonic(),
    )
    assignment = Assignment(job=job, code=facts, trace=str(folder / f"{name}.trace.json.gz"))
    write_atomic(assigned, msgspec.json.encode(assignment))
    cache = scratch / row.name.replace("/", "-")
    cache.mkdir(exist_ok=True)
    with log.open("wb") as said:
        code = exit_code(
            [sys.executable, "-m", "bench.profiling.worker", str(assigned), str(result)],
            worker_environment(
                os.environ, threads=cell.threads, device=cell.device, cache=cache, mark=mark, extra=environment_of(row)
            ),
            LIMIT_S,
            stdout=said,
            stderr=said,
        )
    if code is None:
        profile = assignment.ended("timeout", f"did not get done within {LIMIT_S:.0f} s")
    elif result.exists():
        profile = msgspec.json.decode(result.read_bytes(), type=Profile)
    else:
        profile = assignment.ended("crashed", f"the process ended with exit code {code}")
    if profile.status != "ok":
        (folder / "logs").mkdir(exist_ok=True)
        write_atomic(folder / "logs" / f"{name}.log", log.read_bytes())
    return profile
