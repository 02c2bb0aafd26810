"""Starting the real thing: ``python -m bench`` and small scripts, from the repository's root; rows to start it with."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import psutil

ROOT = Path(__file__).resolve().parents[2]
WITH_TESTS = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
"""For processes that import what tests share."""


def python(
    *arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """What a Python process printed and how it ended."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"} | (env or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def bench(
    *arguments: str, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """What ``python -m bench`` printed and how it ended."""
    return python("-m", "bench", *arguments, cwd=cwd, env=env, timeout=timeout)


def limited(limits: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What a Python process printed and how it ended, under limits such as ``ulimit -n 64``."""
    return subprocess.run(
        ["bash", "-c", f'{limits}; exec "$0" "$@"', sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"} | (env or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line answers, asked in this process: faster than as one of its own."""
    from bench.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        chdir(ROOT),
        mock.patch.object(sys, "argv", ["bench", *arguments]),
    ):
        code = main()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def one_line(done: subprocess.CompletedProcess[str], words: str) -> None:
    """Check that what makes no sense was answered as it should be."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bench: ")
    assert re.search(words, lines[0]), lines[0]


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """``python -m bench`` while it runs, as in the foreground.

    What starts in the background ignores Ctrl-C, and so do its children; who handles a signal hands on its default.
    (``preexec_fn`` would fork, of which JAX warns.)
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"} | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(happens: Callable[[], object], what: str, limit_s: float = 300) -> None:
    """Wait for something to happen, and fail where it does not."""
    until = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < until, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.02)


def alive(*words: str) -> list[psutil.Process]:
    """The processes whose command line has all these words, those that have ended and are not yet waited for aside."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if all(one in line for one in words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


NUMPY_ROW = '''"""Plain NumPy in float32, as a person's own row."""

import sys

import numpy as np

from impls.reference import Reference

ROW = {"tier": "loop", "summary": "plain NumPy", "frameworks": ["numpy"]}


class Row(Reference):
    """Nothing wrong."""

    def __init__(self, config, parameters, device):
        super().__init__(config, parameters, np.float32)

    def encode(self, x):
        self.before()
        return self.after(super().encode(x))

    def before(self):
        pass

    def after(self, result):
        return result


def in_a_turn():
    """Whether the harness is timing this call, by the stack."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_name != "timed":
        frame = frame.f_back
    return frame is not None


def load(config, parameters, device):
    return Row(config, parameters, device)
'''
"""A right row that needs no framework: fast to start. Tests put their faults into ``before`` and ``after``."""


def numpy_row(folder: Path, name: str, *, before: str = "pass", after: str = "return result", top: str = "") -> Path:
    """A file with the right row, or, with ``before``, ``after`` or ``top``, a wrong one."""
    body = before.strip().replace("\n", "\n        ")
    text = NUMPY_ROW.replace("    def before(self):\n        pass", f"    def before(self):\n        {body}")
    text = text.replace("return result", after)
    path = folder / f"{name}.py"
    path.write_text(text.replace("\n\nROW", f"\n{top}\n\nROW"), encoding="utf-8")
    return path


@cache
def load_noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
