"""Trainings, one at a time, each in a process of its own.

All is in the folder at any time: ``train.json`` says what was set out to do, and each training has its checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Protocol

import msgspec

from bench.here import ROOT
from bench.machine.cpus import processors
from bench.measure.lock import only_run
from bench.measure.worker_client import blocked
from bench.measure.worker_environment import environment_of, memory_limit, worker_environment
from bench.records.atomic import new_folder, write_atomic
from bench.records.store import head_text
from bench.train.checkpoint import About, about_now
from bench.train.request import HEAD_FILE, TrainRequest, read_head
from bench.train.worker import Assignment, Failed, News, NotWritten
from impls import Row

ENDING_LIMIT_S = 20.0
"""How long a process may take to end after the step that it is in: one that compiles cannot be interrupted."""

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command in good order."""


class Listener(Protocol):
    """Who hears how far the trainings are."""

    def begins(self, about: About) -> None:
        """A training begins, or goes on."""

    def hears(self, about: About, news: News) -> None:
        """It has said something."""

    def stops(self, about: About) -> None:
        """Its process is told to end, and keeps what it has."""

    def ends(self, about: About) -> None:
        """Its process has ended."""


class Unwritable(Exception):
    """A checkpoint cannot be written; those before are still there."""


def train(request: TrainRequest, listener: Listener) -> None:
    """Train all that has not ended, until the budget is spent. One that fails is said, and the next is trained.

    Raises:
        InvalidInput: another run has this machine, the folder cannot be made, or a checkpoint in it is damaged.
        Unwritable: a checkpoint, or what else is in the folder, cannot be written.
        KeyboardInterrupt: after the step that was made, with a checkpoint.
    """
    with only_run(request.head.command) as mark, TemporaryDirectory(prefix="bench-") as scratch:
        if not request.folder.exists():
            with new_folder(request.folder) as folder:
                (folder / "logs").mkdir()
                write_atomic(folder / HEAD_FILE, head_text(request.head))
        elif request.head != read_head(request.folder):  # there are to be more
            write_atomic(request.folder / HEAD_FILE, head_text(request.head))
        until_s = None if request.budget_s is None else time.monotonic() + request.budget_s
        for row, fresh in request.trainings:
            about = about_now(fresh, request.folder)
            if about.ending is not None:
                continue
            if until_s is not None and time.monotonic() >= until_s:
                break
            listener.begins(about)
            try:
                with closing(_trained(row, about, request, until_s, mark, Path(scratch), listener)) as said:
                    for news in said:
                        if isinstance(news, NotWritten):
                            raise Unwritable(news.reason)
                        listener.hears(about, news)
            except OSError as error:
                raise Unwritable(f"{error.filename or request.folder}: {error.strerror or error}") from None
            listener.ends(about_now(fresh, request.folder))


def _trained(
    row: Row, about: About, request: TrainRequest, until_s: float | None, mark: str, scratch: Path, listener: Listener
) -> Generator[News, None, None]:
    """What the training says, in a process of its own. Where nobody listens any longer it ends, with a checkpoint."""
    assignment = Assignment(
        about=about,
        folder=str(request.folder),
        row_path=str(row.path),
        processors=processors()[-request.head.threads :],
        memory_limit_bytes=memory_limit("cpu"),
        blocked=blocked(row),
        until_s=until_s,
    )
    assigned, cache = scratch / f"{about.name}.task", scratch / about.name
    write_atomic(assigned, msgspec.json.encode(assignment))
    cache.mkdir(exist_ok=True)
    log_path = request.folder / "logs" / Path(about.name).with_suffix(".log").name
    with log_path.open("ab") as log:
        read_fd, write_fd = os.pipe()
        with os.fdopen(read_fd, "rb") as pipe:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "bench.train.worker", str(assigned), str(write_fd)],
                    cwd=ROOT,
                    env=worker_environment(
                        os.environ,
                        threads=request.head.threads,
                        device="cpu",
                        cache=cache,
                        mark=mark,
                        extra=environment_of(row),
                    ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[write_fd],
                    start_new_session=True,
                )
            finally:
                os.close(write_fd)
            yield from _heard(process, pipe, partial(listener.stops, about))


def _heard(process: subprocess.Popen[bytes], pipe: IO[bytes], stops: Callable[[], None]) -> Generator[News, None, None]:
    """What the process says until it ends, or why it said nothing more. ``stops`` is called if it is made to end."""
    said_why = False
    try:
        for line in pipe:
            news: News = msgspec.json.decode(line, type=News)
            said_why = said_why or isinstance(news, Failed | NotWritten)
            yield news
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDING_LIMIT_S)
        if process.returncode != 0 and not said_why:
            said_why = True
            yield Failed("crashed", f"the process {_ending(process.returncode)}")
    finally:
        if process.poll() is None:
            with patient():
                process.terminate()
                if not said_why:
                    stops()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(ENDING_LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def patient() -> Iterator[None]:
    """Do not hear a second Ctrl-C while the context lasts: it would cost the checkpoint that is written."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending(code: int | None) -> str:
    if code is None:
        return f"said no more and lived on for {ENDING_LIMIT_S:.0f} s"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
