"""A new row is one file: made by ``bench new row``, filled in, and picked up by tests, list, run and table."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from support.processes import ROOT, bench, python

from bench.cli.new import write_row
from impls.contract import InvalidInput

FRAMEWORKS = ("torch", "jax", "thinc", "brandnew")


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the repository."""
    for name in ("impls", "bench", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    return tmp_path


def test_templates_are_rows_from_the_start_and_say_what_is_missing(house: Path) -> None:
    names = [f"{framework}/throwaway" for framework in FRAMEWORKS]
    for name in names:
        done = bench("new", "row", name, cwd=house)
        assert (done.returncode, done.stdout.strip()) == (0, f"impls/{name}.py"), done.stderr
    listed = bench("list", cwd=house).stdout
    assert all(name in listed for name in names)
    known = [name for name in names if not name.startswith("brandnew/")]
    words = ("--workload", "seed", "--task", "encode", "--preset", "smoke", "--out", str(house / "out"))
    done = bench("run", "--impl", *known, *words, cwd=house)
    assert done.returncode == 1
    said = re.findall(r"(?m)^ *(\S+) .*throwaway\.py:\d+: (?:NotImplemented|Runtime)Error: fill in", done.stdout)
    assert sorted(said) == sorted(known), done.stdout


def class_of(text: str, name: str) -> str:
    """The source of a class."""
    node = next(node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name)
    source = ast.get_source_segment(text, node)
    assert source is not None
    return source


def fill_in(house: Path) -> None:
    """Make the row torch/throwaway, which is that of torch/module."""
    assert bench("new", "row", "torch/throwaway", cwd=house).returncode == 0
    path = house / "impls" / "torch" / "throwaway.py"
    module = (house / "impls" / "torch" / "module.py").read_text()
    classes = (class_of(module, name) for name in ("ContextLSTM", "Seq2seqLSTM"))
    template = path.read_text()
    path.write_text(template.replace(class_of(template, "Seq2seqLSTM"), "\n\n\n".join(classes)))


def test_a_filled_in_row_is_held_against_the_oracle(house: Path) -> None:
    fill_in(house)
    words = ("tests/impls/test_rows.py", "--impl", "torch/throwaway", "-k", "oracle and notebook and initial")
    tests = python("-m", "pytest", "-q", *words, cwd=house)
    assert tests.returncode == 0 and re.search(r"\b[1-9]\d* passed", tests.stdout), tests.stdout


@pytest.mark.thorough
def test_a_filled_in_row_appears_in_tests_list_run_and_table(house: Path) -> None:
    fill_in(house)
    tests = python("-m", "pytest", "-q", "tests/impls/test_rows.py", "--impl", "torch/throwaway", cwd=house)
    assert tests.returncode == 0, tests.stdout
    assert re.search(r"\b[0-9]{2} passed", tests.stdout), tests.stdout

    assert "torch/throwaway" in bench("list", cwd=house).stdout
    out = house / "out"
    arguments = ("--impl", "torch/throwaway", "torch/module", "--workload", "seed", "--preset", "smoke")
    done = bench("run", *arguments, "--out", str(out), cwd=house)
    assert done.returncode == 0, done.stderr
    assert "torch/throwaway" in done.stdout and "torch/throwaway" in bench("table", str(out), cwd=house).stdout
    rows = json.loads(bench("table", str(out), "--format", "json", cwd=house).stdout)
    assert {(row["implementation"], row["status"]) for row in rows} == {
        ("torch/throwaway", "ok"),
        ("torch/module", "ok"),
        ("torch/products", "ok"),
    }


def test_a_row_asked_for_by_name_and_not_installed_fails_and_else_skips(house: Path) -> None:
    assert bench("new", "row", "brandnew/throwaway", cwd=house).returncode == 0
    command = ("-m", "pytest", "-q", "tests/impls/test_rows.py", "-k", "brandnew and encode")
    calm = {"CI": ""}
    skipped = python(*command, cwd=house, env=calm)
    assert skipped.returncode == 0, skipped.stdout
    assert "brandnew is not installed" in skipped.stdout
    for arguments, environment in ((("--impl", "brandnew/throwaway"), calm), ((), {"CI": "1"})):
        failed = python(*command, *arguments, cwd=house, env=dict(os.environ) | environment)
        assert failed.returncode == 1, failed.stdout
        assert "brandnew/throwaway: brandnew is not installed" in failed.stdout
    unknown = python("-m", "pytest", "-q", "tests/impls/test_rows.py", "--impl", "torch/none", cwd=house)
    assert unknown.returncode != 0
    assert "--impl torch/none: no such row" in unknown.stdout + unknown.stderr


FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("name", ["torch/mine", "brandnew/mine"])
@pytest.mark.parametrize(("what", "error"), [("fsync", FULL), ("mkdir", READ_ONLY)])
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    what: str, error: OSError, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise error

    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "module.py").touch()
    monkeypatch.setattr("bench.cli.new.HERE", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with (
        monkeypatch.context() as patch,
        pytest.raises(InvalidInput, match=rf"{name}\.py cannot be written \({error.strerror}"),
    ):
        patch.setattr(os if what == "fsync" else Path, what, refuses)
        write_row(name)
    assert sorted(tmp_path.rglob("*")) == before
    assert write_row(name).read_text().startswith('"""')
