"""Runs of two quick rows that are started, watched and ended from outside."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import psutil
from support.processes import numpy_row, start, wait_until

from bench.measure.lock import MARK_VARIABLE
from bench.records.schema import Record
from bench.records.store import read_result


class Started(NamedTuple):
    """A run in a folder, on a machine of its own (a ``TMPDIR``, which has the lock)."""

    process: subprocess.Popen[str]
    out: Path
    env: dict[str, str]


def begin(folder: Path, *more: str, before: str = "pass", out: Path | None = None) -> Started:
    """A run of two quick rows: at least three blocks."""
    (folder / "machine").mkdir(exist_ok=True)
    env = {"TMPDIR": str(folder / "machine")}
    out = out or folder / "out"
    rows = [str(numpy_row(folder, "one")), str(numpy_row(folder, "two", before=before))]
    arguments = ["run", "--impl", *rows, "--workload", "seed", "--task", *TASKS, "--baseline", "one", "--out", str(out)]
    return Started(start(*arguments, *more, env=env), out, env)


def read(out: Path) -> list[Record]:
    """The records so far."""
    return read_result(out).records if (out / "run.json").exists() else []


def wait_for_block(run: Started, block: int) -> None:
    """Wait until a group of this block is on disk."""

    def has_it() -> bool:
        assert run.process.poll() is None, run.process.communicate()
        return any(record.block == block for record in read(run.out))

    wait_until(has_it, f"block {block}")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def marked(run: Started) -> list[psutil.Process]:
    """The processes of the run that are left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK_VARIABLE, "").startswith(run.env["TMPDIR"]) and is_alive(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


TASKS = ("encode", "forward")


def own(folder: Path) -> tuple[str, ...]:
    """The rows of ``begin`` again: a result does not say where they are."""
    return "--impl", str(folder / "one.py"), str(folder / "two.py")


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def read_lines(data: bytes) -> list[dict[str, object]]:
    """The cells' lines."""
    return [line for line in map(json.loads, data.splitlines()) if line["type"] == "cell"]
