"""Rows are found by listing files; nothing imports a framework to learn what there is."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from support.crosschecks import CONFIGS
from support.frameworks import need
from support.processes import ROOT, bench, numpy_row, python

from impls import find_bounds, find_rows, load_row, read_row
from impls.contract import InvalidInput, initial_parameters

FRAMEWORKS = ("torch", "jax", "flax", "thinc", "optax", "keras")


def test_every_row_of_the_table_is_found() -> None:
    assert set(find_rows()) >= {
        "torch/module",
        "torch/cell",
        "jax/nnx",
        "jax/nnx_split",
        "jax/scan",
        "thinc/layers",
        "thinc/native",
        "thinc/pytorch",
    }


def test_finding_rows_and_the_command_line_import_no_framework() -> None:
    script = (
        "import sys, impls, bench.__main__, bench.measure.run, bench.publish.kinds, bench.cli.list\n"
        "import bench.profiling.measure, impls.torch._profile, impls.jax._profile, impls.thinc._profile\n"
        "list(bench.cli.list.listing())\n"
        f"print([name for name in {FRAMEWORKS} if name in sys.modules])"
    )
    done = python("-c", script)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_check_above_can_fail() -> None:
    done = python("-c", f"import sys, torch; print([name for name in {FRAMEWORKS} if name in sys.modules])")
    assert done.stdout.strip() == "['torch']", done.stderr


def test_list_is_quick_and_says_what_is_unavailable() -> None:
    start = time.perf_counter()
    done = bench("list")
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 5
    assert "torch/module" in done.stdout
    assert "no states: nn.LSTM gives the hidden states of its last layer only" in done.stdout
    assert "no train_step: Thinc's backprop_lstm gives wrong gradients" in done.stdout


def test_a_row_without_the_context_at_every_step_is_refused_with_its_reason() -> None:
    row = msgspec.structs.replace(find_rows()["torch/module"], unsupported={"every_step": "it forgets"})
    config = CONFIGS["every_step"]
    with pytest.raises(InvalidInput, match="torch/module has no context='every_step': it forgets"):
        load_row(row, config, initial_parameters(config, 0))


def test_a_row_whose_framework_is_not_installed_says_so(tmp_path: Path) -> None:
    row = tmp_path / "fancy" / "module.py"
    row.parent.mkdir()
    row.write_text(
        'ROW = {"tier": "idiomatic", "summary": "?", "frameworks": ["no_such_framework"]}\ndef load(): ...\n'
    )
    assert find_rows(tmp_path)["fancy/module"].missing() == "no_such_framework is not installed"


def test_a_broken_file_among_the_rows_breaks_no_other(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "broken.py").write_text("def load(:\n")
    (tmp_path / "torch" / "good.py").write_text(
        'ROW = {"tier": "loop", "summary": "?", "frameworks": ["torch"]}\ndef load(): ...\n'
    )
    rows = find_rows(tmp_path)
    assert "broken.py:1: does not parse" in (rows["torch/broken"].missing() or "")
    assert rows["torch/good"].fault is None


def test_the_folders_of_rows_shadow_no_framework() -> None:
    script = (
        "import impls.torch.module, impls.thinc.layers, impls.jax.scan, torch, thinc, jax\n"
        "print(*(module.__file__ for module in (torch, thinc, jax)), sep='\\n')"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert not Path(line).is_relative_to(ROOT / "impls"), line


BAD_FILES = {
    "does not parse": ("x = 1\ndef load(:\n", r":2: does not parse as Python"),
    "no ROW": ("def load(): ...\n", r":1: has no ROW"),
    "ROW is computed": ("import os\nROW = {'tier': os.name}\n", r":2: ROW must be a literal"),
    "ROW is no dict": ("ROW = 3\n", r":1: ROW is not as it has to be: Expected `object`"),
    "no tier": ("ROW = {'summary': '', 'frameworks': ['torch']}\n", r":1: ROW .* missing required field `tier`"),
    "unknown tier": (
        "\nROW = {'tier': 'best', 'summary': '', 'frameworks': ['torch']}\n",
        r":2: ROW .*Invalid enum value 'best' - at `\$.tier`",
    ),
    "no framework": ("ROW = {'tier': 'loop', 'summary': '', 'frameworks': []}\n", r"length >= 1 - at `\$.frameworks`"),
    "unknown entry": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'fast': 1}\n",
        r"unknown field `fast`",
    ),
    "unknown device": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'devices': ['tpu']}\n",
        r"Invalid enum value 'tpu' - at `\$.devices",
    ),
    "unknown task": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'unsupported': {'sing': ''}}\n",
        r"Invalid enum value 'sing'",
    ),
    "unknown setting": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'environment': ['fast']}\n",
        r"Invalid enum value 'fast' - at `\$.environment",
    ),
    "a name, not a list": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': 'torch'}\ndef load(): ...\n",
        r"Expected `array`, got `str` - at `\$.frameworks`",
    ),
    "no import name": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['no.such']}\ndef load(): ...\n",
        r"at `\$.frameworks",
    ),
    "an unhashable key": ("ROW = {[]: 1}\n", r":1: ROW must be a literal"),
    "no GPU and no reason": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'devices': ['cpu']}\ndef load(): ...\n",
        r"leaves out the device 'gpu'; say why",
    ),
    "multiplies with a stranger": (
        "ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch'], 'multiplies_with': 'jax'}\ndef load(): ...\n",
        r":1: ROW multiplies with 'jax', which is not among its frameworks",
    ),
    "no load": ("ROW = {'tier': 'loop', 'summary': '', 'frameworks': ['torch']}\n", r":1: there is no load"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_row_file_is_one_clear_line_with_its_place(what: str, tmp_path: Path) -> None:
    text, words = BAD_FILES[what]
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=rf"mine\.py.*{words}") as caught:
        read_row(path)
    assert "\n" not in str(caught.value)


PLAIN = 'ROW = {"tier": "loop", "summary": "é", "frameworks": ["torch"]}\ndef load(): ...\n'

RUNNABLE = {
    "a byte order mark": PLAIN.encode("utf-8-sig"),
    "an encoding of its own": f"# -*- coding: latin-1 -*-\n{PLAIN}".encode("latin-1"),
    "another system's line ends": PLAIN.replace("\n", "\r\n").encode(),
    "ROW: dict": PLAIN.replace("ROW =", "ROW: dict =").encode(),
    "ROW: Final": f"from typing import Final\n{PLAIN.replace('ROW =', 'ROW: Final =')}".encode(),
    "load: object": PLAIN.replace("def load(): ...", "load: object = print").encode(),
    "load, other": PLAIN.replace("def load(): ...", "load, other = print, print").encode(),
    "load if": PLAIN.replace("def load(): ...", "if ROW:\n    def load(): ...").encode(),
    "load or else": PLAIN.replace(
        "def load(): ...", "try:\n    from fast import load\nexcept ImportError:\n    load = None"
    ).encode(),
    "load from somewhere": PLAIN.replace("def load(): ...", "from fast import *").encode(),
}


@pytest.mark.parametrize("what", RUNNABLE)
def test_a_file_that_python_runs_is_read(what: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(RUNNABLE[what])
    compile(path.read_bytes(), path, "exec")
    assert read_row(path).summary == "é"


@pytest.mark.parametrize(
    "statement",
    ["def make():\n    load = 1", "class Row:\n    def load(self): ...", "load: int", "from fast import load as make"],
)
def test_what_only_looks_like_a_load_is_none(statement: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLAIN.replace("def load(): ...", statement), encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"mine\.py:1: there is no load"):
        read_row(path)


@pytest.mark.parametrize(
    "data", [PLAIN.encode("latin-1"), f"# coding: klingon\n{PLAIN}".encode(), f"{PLAIN}\0".encode()]
)
def test_a_file_that_python_cannot_decode_is_one_clear_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"^mine\.py:\d+: does not parse as Python \(.+\)$"):
        read_row(path)


LOADED = """
import sys
from pathlib import Path
from impls import load_row, read_row
from impls.contract import Seq2seqConfig, initial_parameters

config = Seq2seqConfig(embedding_dim=2, hidden_dim=3, num_encoder_layers=1, num_decoder_layers=1, bidirectional=False)
row = load_row(read_row(Path(sys.argv[1])), config, initial_parameters(config, 0)).row
print(row.before())
print([path for path in sys.path if "impls" in Path(path).parts])
"""


def test_what_stands_beside_a_file_can_be_imported_and_hides_nothing(tmp_path: Path) -> None:
    need("torch")
    for name in ("json", "numpy", "msgspec", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is another one')\n")
    (tmp_path / "helper.py").write_text("from pack.part import words\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "part.py").write_text("words = 'from beside'\n")
    before = "from importlib.util import find_spec\nimport late\n"
    before += "return helper.words, late.words, Path(find_spec('torch').origin).parent.name"
    (tmp_path / "late.py").write_text("words = 'and later'\n")
    top = "import json, msgspec, helper\nfrom pathlib import Path"
    done = python("-c", LOADED, str(numpy_row(tmp_path, "mine", top=top, before=before)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["('from beside', 'and later', 'torch')", "[]"]


A_BOUND = 'ROW = {"tier": "bound", "summary": "?", "frameworks": ["torch"]}\ndef load(): ...\n'


def test_a_bound_is_found_by_its_framework_and_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "products.py").write_text(A_BOUND)
    (tmp_path / "torch" / "good.py").write_text(A_BOUND.replace("bound", "loop"))
    assert list(find_rows(tmp_path)) == ["torch/good"]
    assert {name: bound.name for name, bound in find_bounds(tmp_path).items()} == {"torch": "torch/products"}
    (tmp_path / "torch" / "again.py").write_text(A_BOUND)
    with pytest.raises(InvalidInput, match="torch/products: torch has a bound already, torch/again"):
        find_bounds(tmp_path)


def test_a_framework_without_a_bound_is_a_framework_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "module.py").write_text(A_BOUND.replace("bound", "idiomatic").replace("torch", "new"))
    assert find_bounds(tmp_path) == {}
    assert find_rows(tmp_path)["new/module"].multiplier == "new"
