"""The house: imports go one way between its rooms, the pure ones do nothing but compute, and no file is too long."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.processes import ROOT

SIDES = ("forecast", "profiling", "calibration")
"""Beside the road."""

PURE = [
    *sorted((ROOT / "bench" / "analysis").glob("*.py")),
    *(ROOT / "bench" / "workloads" / name for name in ("flops.py", "shapes.py", "sweeps.py")),
]
TOUCH_THE_WORLD = {"os", "io", "pathlib", "subprocess", "shutil", "tempfile", "socket", "time", "random", "psutil"}

LONGEST = 400


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the tree with its contract."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as go; go()", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_imports_go_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("bench/measure/plan.py", "from bench.page import build"),
        ("bench/report/words.py", "import bench.calibration.simulate"),
        ("bench/analysis/stats.py", "from bench.machine import facts"),
        ("bench/profiling/measure.py", "from bench.forecast import model"),
        ("impls/products.py", "import bench.units"),
    ],
)
def test_an_import_the_wrong_way_is_told(file: str, line: str, tmp_path: Path) -> None:
    for package in ("bench", "impls"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as text:
        text.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and "BROKEN" in done.stdout


def test_the_contract_speaks_of_every_room_and_there_are_at_most_thirteen() -> None:
    rooms = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    named = {name.strip().removeprefix("bench.") for layer in contract["layers"] for name in layer.split("|")}
    assert rooms <= named and len(rooms) <= 13
    assert {*SIDES} <= rooms


def imported(path: Path) -> set[str]:
    """The modules that a file imports when it is run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {id(node) for part in ast.walk(tree) if _is_for_types(part) for node in ast.walk(part)}
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.relative_to(ROOT / "bench").as_posix())
def test_the_pure_rooms_only_compute(path: Path) -> None:
    assert not imported(path) & TOUCH_THE_WORLD
    assert "open(" not in path.read_text(encoding="utf-8")


def test_what_touches_the_world_is_told(tmp_path: Path) -> None:
    (tmp_path / "impure.py").write_text("def f():\n    import os.path\n    from time import time\n")
    assert imported(tmp_path / "impure.py") & TOUCH_THE_WORLD == {"os", "time"}


def test_no_file_is_longer_than_it_can_be_read() -> None:
    files = [path for house in ("bench", "impls", "studies", "tests") for path in (ROOT / house).rglob("*.py")]
    long = {path.relative_to(ROOT).as_posix() for path in files if len(path.read_text().splitlines()) > LONGEST}
    assert not long
