"""One run at a time on a machine, and no process of a dead one."""

from __future__ import annotations

import ctypes
import fcntl
import os
import tempfile
import uuid
from contextlib import contextmanager, suppress
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
    file = _opened(path)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = " ".join(os.pread(file, 500, 0).decode(errors="replace").split()) or "an unnamed run"
            raise InvalidInput(
                f"another run has this machine: {other}; two at a time would disturb each other: wait for it, or end it"
            ) from None
        _write(file, f"{what}, process {os.getpid()}\n")
        family = f"{path}:"
        mark = f"{family}{uuid.uuid4().hex}"
        end_strays(family)
        try:
            with orphans_ended():
                yield mark
        finally:
            end_strays(mark)
            _write(file, "")
    finally:
        os.close(file)


PR_SET_CHILD_SUBREAPER = 36
"""Linux's ``prctl``: orphans among this process's descendants become its own children, whatever they did to leave."""


@contextmanager
def orphans_ended() -> Iterator[None]:
    """While the context lasts no descendant can leave; all that came in it are ended with it.

    A process may have a session and an environment of its own, and no mark in it: that it descends from this one it
    cannot change. Of a run that is killed such a one stays.
    """
    here, prctl = psutil.Process(), ctypes.CDLL(None).prctl
    before = set(here.children(recursive=True))
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        while came := set(here.children(recursive=True)) - before:
            for process in came:
                with suppress(psutil.Error):
                    process.kill()
            if psutil.wait_procs(came, timeout=10)[1]:
                break  # stuck in a driver: not even a kill ends it
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _opened(path: Path) -> int:
    """The file, to write in; to read where it is another user's, for it can be locked all the same.

    ``filelock`` cannot do that: it gives up where it may not write.
    """
    for how in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(path, how | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            why = error.strerror
            if not isinstance(error, PermissionError):
                break
    raise InvalidInput(f"{path}: cannot be opened ({why}); remove it, or set TMPDIR")


def _write(file: int, words: str) -> None:
    """Say in the file who has the machine, where it may be written."""
    with suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, words.encode(), 0)


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
