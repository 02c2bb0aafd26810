"""One run at a time on a machine, and no process of a dead one."""

from __future__ import annotations

import fcntl
import os
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK_VARIABLE = "SEQ2SEQ_LSTM_BENCH_RUN"
"""Stands in the environment of every process that a run starts, and of their children."""


def lock_file() -> Path:
    """The one file of this machine (of this ``TMPDIR``) that runs lock."""
    return Path(tempfile.gettempdir()) / "seq2seq-lstm-bench.lock"


@contextmanager
def only_run(what: str) -> Iterator[str]:
    """Hold the machine for a run; gives the mark of its processes.

    What a run that was killed has left is ended first; whatever this run leaves, at the end.

    Raises:
        InvalidInput: another run holds the machine; the message names it.
    """
    path = lock_file()
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened ({error.strerror}); remove it, or set TMPDIR") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = " ".join(os.pread(file, 500, 0).decode(errors="replace").split()) or "an unnamed run"
            raise InvalidInput(
                f"another run has this machine: {other}; two at a time would disturb each other: wait for it, or end it"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{what}, process {os.getpid()}\n".encode(), 0)
        family = f"{path}:"
        mark = f"{family}{uuid.uuid4().hex}"
        end_strays(family)
        try:
            yield mark
        finally:
            end_strays(mark)
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def end_strays(mark: str) -> int:
    """End every process whose mark begins like this, this one aside; how many there were."""
    strays = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK_VARIABLE, "").startswith(mark):
                process.kill()
                strays.append(process)
        except psutil.Error:
            continue  # gone, or another user's
    psutil.wait_procs(strays, timeout=10)
    return len(strays)
