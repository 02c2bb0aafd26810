"""How commands end where something is in their way: no reader, no disk, no home, a user in a hurry."""

from __future__ import annotations

import ast
import errno
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from support.processes import ROOT, ask, numpy_row, python
from support.recorded import record, write

from bench import here
from bench.cli.run import show
from bench.measure.errors import DiskFull
from bench.measure.run import Ended
from bench.records.store import read_result


def test_output_that_nobody_takes_is_no_traceback(tmp_path: Path) -> None:
    lines = [record(f"torch/{number}", reason="a" * 100) for number in range(1_000)]
    write(tmp_path, *lines)  # more than a pipe takes before anybody reads
    for style in ("text", "json"):
        command = f"{sys.executable} -m bench table {tmp_path} --format {style}"
        full = subprocess.run(f"{command} > /dev/full", shell=True, cwd=ROOT, capture_output=True, text=True)
        assert full.returncode == 1
        assert full.stderr == "bench: standard output: cannot be written (No space left on device)\n"
        gone = subprocess.run(f"{command} | head -c 1", shell=True, cwd=ROOT, capture_output=True, text=True)
        assert gone.stderr == ""


THOROUGH = [pytest.param(where, marks=pytest.mark.thorough) for where in (">&-", "2>&-", "2>/dev/full")]


@pytest.mark.parametrize("where", ["2>&1 >/dev/null | true", *THOROUGH])
def test_progress_that_nobody_sees_costs_nothing(where: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m bench run --impl {numpy_row(tmp_path, 'mine')} --workload seed --task encode"
    subprocess.run(f"{command} --preset smoke --out {tmp_path / 'out'} {where}", shell=True, cwd=ROOT, check=False)
    assert read_result(tmp_path / "out").whole and (tmp_path / "out" / "table.md").exists()


NOBODY = """
import os, pwd, sys

def unknown(_uid):
    raise KeyError("getpwuid(): uid not found: 54321")

pwd.getpwuid = unknown
os.environ.pop("HOME", None)
sys.argv = ["bench", "list"]
from bench.cli.main import main
assert main() == 0
import bench.page.build
"""
"""What draws the page is imported by a user that the system does not know, and who has no home."""


def test_a_user_without_a_name_and_a_home_has_a_page() -> None:
    done = python("-c", NOBODY)
    assert done.returncode == 0, done.stderr


def test_python_that_is_to_leave_docstrings_out_has_them() -> None:
    for flags, environment in (((), {"PYTHONOPTIMIZE": "2"}), (("-OO",), {})):
        done = python(*flags, "-m", "bench", "table", "--help", env=environment)
        assert done.returncode == 0 and "Show one result or several together" in done.stdout, done.stderr


def test_nothing_that_python_may_leave_out_does_anything() -> None:
    """With -O assertions are not there."""
    for folder in ("bench", "impls"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Assert):
                    names = {ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)}
                    assert names <= {"isinstance"}, f"{path}:{node.lineno}"
                    assert not [one for one in ast.walk(node) if isinstance(one, ast.NamedExpr | ast.Await)]
                assert not (isinstance(node, ast.Name) and node.id == "__debug__"), path


class Panic(BaseException):
    """What a program in Rust raises that gives up: no Exception."""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RuntimeError("no\nhome"), r"test_endings\.py:\d+: RuntimeError: no home"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (Panic("called unwrap"), r"test_endings\.py:\d+: Panic: called unwrap"),
    ],
)
def test_a_page_that_cannot_be_drawn_costs_no_more_than_the_page(
    fault: BaseException, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr("bench.page.build.write_report", fails)
    assert show(ended(write(tmp_path, record())), Console(stderr=True, soft_wrap=True, highlight=False)) == 0
    said = capsys.readouterr()
    assert "torch/module" in said.out
    *_, why, result = said.err.splitlines()
    again = re.escape(here.command("page", str(tmp_path)))
    assert re.fullmatch(rf"{tmp_path}: its page cannot be made \({words}\); to try again: {again}", why), why
    assert result == f"result: {tmp_path}"


def test_an_impatient_ctrl_c_while_the_page_is_drawn_does_not_cost_the_results_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.page.build.write_report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        show(ended(write(tmp_path, record())), Console(stderr=True, soft_wrap=True))
    assert capsys.readouterr().err.endswith(f"result: {tmp_path}\n")


def ended(folder: Path) -> Ended:
    """A run that went to its end."""
    return Ended(folder, stopped="", code=0, again=())


def test_a_full_disk_leaves_no_half_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path, record())
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    stderr = Console(file=io.StringIO(), soft_wrap=True, highlight=False)
    assert show(ended(tmp_path), stderr) == 1
    assert sorted(tmp_path.iterdir()) == before
    said = stderr.file.getvalue()
    assert f"its tables cannot be written (No space left on device); to see them: {here.command('table')}" in said


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/some/file"), "bench: /some/file: Read-only file system"),
        (DiskFull("/some/file: the disk is almost full"), "bench: /some/file: the disk is almost full"),
    ],
)
def test_what_the_system_refuses_is_one_line(refusal: OSError, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> None:
        raise refusal

    monkeypatch.setattr("bench.cli.list.listing", refuses)
    done = ask("list")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{words}\n")


def test_ctrl_c_before_there_is_somebody_to_say_so_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "cyclopts.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    script = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script += "; runpy.run_module('bench', run_name='__main__')"
    done = python("-c", script, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == -signal.SIGINT and done.stderr == "" and done.stdout == ""
