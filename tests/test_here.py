"""Commands and paths as they are to be typed where a person is, with the Python that has what is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import ROOT

from bench.here import as_typed, command, shown


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the person is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def test_a_path_is_from_where_the_person_is_as_far_as_it_is_below(folder: Path) -> None:
    assert shown(folder / "results" / "one") == "results/one"
    assert shown(folder.parent / "elsewhere") == str(folder.parent / "elsewhere")


def test_a_command_names_the_python_that_runs_from_where_the_person_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(folder / ".nox" / "bench-cpu" / "bin" / "python"))
    assert command("run", "--resume", "a b") == ".nox/bench-cpu/bin/python -m bench run --resume 'a b'"
    assert as_typed("`python -m bench page` makes one") == "`.nox/bench-cpu/bin/python -m bench page` makes one"
    monkeypatch.setattr(sys, "executable", str(folder / "my python"))  # beside the person a shell would not find it
    assert command("list") == f"'{folder}/my python' -m bench list"


def test_a_command_can_be_called_as_it_stands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (str(ROOT), os.path.relpath(ROOT, folder)):
        monkeypatch.setenv("PYTHONPATH", path)
        line = command("list", "--help")
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(line, shell=True, cwd=folder, env=plain, capture_output=True, text=True)
        assert done.returncode == 0 and "Usage" in done.stdout, done.stderr
    monkeypatch.chdir(ROOT)
    assert "PYTHONPATH" not in command("list")
