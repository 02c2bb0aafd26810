"""A row's code is what it runs: a neighbour that is changed or added leaves it the same."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bench.machine.code import code_of_harness, code_of_row
from impls import HERE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the rows."""
    copy = tmp_path / "impls"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("name", "touched", "matters"),
    [
        ("torch/module", "torch/module.py", True),
        ("torch/module", "torch/_adapter.py", True),
        ("torch/module", "contract.py", True),
        ("torch/module", "numpy_model.py", True),
        ("torch/module", "torch/cell.py", False),
        ("torch/module", "torch/mine.py", False),
        ("torch/module", "jax/_adapter.py", False),
        ("thinc/pytorch", "torch/module.py", True),
        ("thinc/pytorch", "thinc/layers.py", True),
        ("thinc/pytorch", "thinc/native.py", False),
        ("jax/nnx_split", "jax/nnx.py", True),
        ("jax/scan", "jax/_nnx_weights.py", False),
    ],
)
def test_only_what_is_imported_matters(name: str, touched: str, matters: bool, tree: Path) -> None:
    path = tree / f"{name}.py"
    before = code_of_row(path, tree.parent)
    with (tree / touched).open("a") as file:
        file.write("\n# one word more\n")
    assert (code_of_row(path, tree.parent) != before) is matters


@pytest.mark.parametrize("line", ["from . import other", "from .other import x", "import impls.torch.other"])
def test_every_way_of_importing_counts(line: str, tree: Path) -> None:
    path = tree / "torch" / "module.py"
    path.write_text(f"{line}\n{path.read_text()}")
    (tree / "torch" / "other.py").write_text("x = 1\n")
    before = code_of_row(path, tree.parent)
    (tree / "torch" / "other.py").write_text("x = 2\n")
    assert code_of_row(path, tree.parent) != before


def test_a_file_is_the_same_wherever_it_stands(tmp_path: Path) -> None:
    codes = set()
    for place in (tmp_path / "a", tmp_path / "zzz"):
        place.mkdir()
        shutil.copy(HERE / "torch" / "cell.py", place / "cell.py")
        codes.add(code_of_row(place / "cell.py"))
    assert len(codes) == 1


NEIGHBOURS = {
    "helper.py": ("import helper", True),
    "deeper.py": ("import helper", True),
    "unasked.py": ("import helper", False),
    "pack/__init__.py": ("from pack.part import x", True),
    "pack/part.py": ("import pack.part", True),
    "pack/more.py": ("from pack.part import x", True),
    "pack/other.py": ("from pack.part import x", False),
    "bare/part.py": ("from bare import part", True),
    "fast.cpython-311-x86_64-linux-gnu.so": ("try:\n    import fast\nexcept ImportError: pass", True),
    "faster.so": ("import fast", False),
}


@pytest.mark.parametrize("touched", NEIGHBOURS)
def test_what_a_persons_own_file_imports_from_beside_it_matters(touched: str, tmp_path: Path) -> None:
    line, matters = NEIGHBOURS[touched]
    codes = []
    for place in (tmp_path / "a", tmp_path / "zzz"):
        for name in NEIGHBOURS:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(b"x = 1\n")
        (place / "helper.py").write_text("from deeper import *\nimport mine\n")
        (place / "pack" / "part.py").write_text("from . import more\nfrom .more import x\n")
        shutil.copy(HERE / "torch" / "cell.py", place / "mine.py")
        with (place / "mine.py").open("a") as file:
            file.write(f"{line}\n")
        codes.append(code_of_row(place / "mine.py"))
    assert codes[0] == codes[1]
    with (place / touched).open("a") as file:
        file.write("# one word more\n")
    assert (code_of_row(place / "mine.py") != codes[0]) is matters


def test_a_file_in_an_encoding_of_its_own_has_imports_too(tmp_path: Path) -> None:
    text = 'ROW = {"tier": "loop", "summary": "é", "frameworks": ["numpy"]}\nimport helper\ndef load(): ...\n'
    path = tmp_path / "mine.py"
    path.write_bytes(f"# coding: latin-1\n{text}".encode("latin-1"))
    (tmp_path / "helper.py").write_text("x = 1\n")
    before = code_of_row(path)
    (tmp_path / "helper.py").write_text("x = 2\n")
    assert code_of_row(path) != before


def test_a_file_that_does_not_parse_has_a_code_too(tree: Path) -> None:
    path = tree / "torch" / "module.py"
    path.write_text("def (:\n")
    assert len(code_of_row(path, tree.parent)) == 64


MEASURES = {
    "bench/measure/stopping.py": True,
    "bench/measure/worker.py": True,
    "bench/measure/interleave.py": True,
    "bench/analysis/verdict.py": True,
    "bench/workloads/shapes.py": True,
    "impls/reference.py": True,
    "impls/equality.py": True,
    "impls/torch/module.py": False,  # a row has a code of its own
    "bench/report/words.py": False,
    "bench/page/charts.py": False,
    "bench/cli/run.py": False,
    "bench/calibration/simulate.py": False,
}


@pytest.mark.parametrize("touched", MEASURES)
def test_the_harness_is_what_a_run_is_carried_out_by(touched: str, tmp_path: Path) -> None:
    here = code_of_harness()
    for package in ("bench", "impls"):
        shutil.copytree(HERE.parent / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert code_of_harness(tmp_path) == here
    with (tmp_path / touched).open("a") as file:
        file.write("# one word more\n")
    assert (code_of_harness(tmp_path) != here) is MEASURES[touched]
