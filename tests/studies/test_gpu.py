"""What a GPU machine is for, rehearsed without one: parts have limits of their own, and what each has is kept."""

from __future__ import annotations

import json
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.processes import ROOT, numpy_row, python
from support.recorded import RUN

from bench.records.store import read_result
from bench.workloads import reference_outputs
from bench.workloads.shapes import parse_shape
from impls import read_row
from impls.contract import TASKS, InvalidInput
from studies import cudnn_width, gpu, values
from studies.gpu import Part
from studies.values import Value, Values

if TYPE_CHECKING:
    from pathlib import Path

SAYS = "import pathlib, time; print('begins', flush=True); "


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("print('done')", 0),
        ("raise SystemExit(3)", 3),
        ("time.sleep(60)", None),
        ("\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('keeps what it has')", None),
    ],
)
def test_a_part_has_its_limit_and_what_it_said_is_kept(program: str, code: int | None, tmp_path: Path) -> None:
    part = Part("part", (sys.executable, "-c", SAYS + program), limit_s=3)
    assert gpu.carry_out(part, tmp_path, rehearse=False) == code
    said = (tmp_path / "part.txt").read_text()
    assert said.startswith("begins")
    assert ("keeps what it has" in said) is ("keeps what it has" in program)


def test_packages_come_from_a_folder_of_wheels(tmp_path: Path) -> None:
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "lacking-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacking.py", "WORD = 'found'\n")
        wheel.writestr("lacking-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lacking\nVersion: 1.0\n")
        wheel.writestr("lacking-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("lacking-1.0.dist-info/RECORD", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", "elsewhere")
        gpu.install(wheels, site)
        part = Part("part", (sys.executable, "-c", "import lacking; print(lacking.WORD)"), limit_s=30)
        assert gpu.carry_out(part, tmp_path, rehearse=False) == 0
    assert (tmp_path / "part.txt").read_text() == "found\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((".",), "holds"),
        (("new", "--wheels", "."), "holds no wheel"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = python(str(ROOT / "studies" / "gpu.py"), *words, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1]


@pytest.mark.thorough
def test_all_of_it_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = python(str(ROOT / "studies" / "gpu.py"), str(out), "--rehearse", timeout=400)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [part.name for part in gpu.parts(out)]
    assert (out / "plan.txt").read_text().startswith("plan: ")
    with tarfile.open(out / "run.tar.gz") as packed:
        packed.extractall(tmp_path / "home", filter="data")
    assert read_result(tmp_path / "home" / "run").whole
    found = msgspec.json.decode((out / "values-cpu.json").read_bytes(), type=Values)
    assert found.values and all(one.within for one in found.values)
    assert json.loads((out / "cudnn_width-cpu.json").read_bytes())["points"]


RIGHT = Value(
    row="torch/module", precision="float32", shape="small", task="forward", quantity="output", error=1e-7, limit=1e-5
)


def test_values_name_where_a_row_is_worst_and_what_has_no_answer() -> None:
    off = msgspec.structs.replace(RIGHT, shape="wide", error=2e-5)
    none = msgspec.structs.replace(
        RIGHT, row="jax/scan", status="timeout", reason="too long", quantity="", error=None, limit=None
    )
    text = values.report(
        Values(started_at="now", device="cpu", environment=RUN.environment, elapsed_s=1.0, values=[RIGHT, off, none])
    )
    assert "1 of 3 answers are within their limits" in text
    assert "| `torch/module` | float32 | forward | off at wide | output | wide | 2.0e-05 | 1e-05 |" in text
    assert "| `jax/scan` | float32 | forward | small: timeout (too long) |  | small | – | – |" in text


@pytest.mark.parametrize(
    ("fault", "within"), [("return result", True), ("return result._replace(h_n=result.h_n * 1.01)", False)]
)
def test_values_are_held_against_the_oracle(fault: str, within: bool, tmp_path: Path) -> None:
    shapes = [parse_shape(shape) for shape in values.SHAPES]
    for one in shapes:
        reference_outputs.save(reference_outputs.pose(one, TASKS), tmp_path / f"{one.name}.safetensors")
    row = read_row(numpy_row(tmp_path, "mine", after=fault))
    found = [*values._of_row(row, "cpu", tmp_path)]
    assert len(found) == len(shapes) * len(TASKS)
    assert {one.within for one in found if one.task == "encode"} == {within}


def test_widths_need_a_device_or_a_word(tmp_path: Path) -> None:
    if not cudnn_width.torch.cuda.is_available():
        with pytest.raises(InvalidInput, match="finds no CUDA device here"):
            cudnn_width.study(tmp_path)


def test_packed_and_padded_are_the_same_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn_width, "WIDTHS", (20,))
    found = cudnn_width.measure("cpu")
    assert [(one.batch, one.way) for one in found.points] == [
        (2, "padded"),
        (2, "packed"),
        (64, "padded"),
        (64, "packed"),
    ]
    assert all(0 < one.forward < 1e-6 and 0 < one.backward < 1e-5 for one in found.points)
    assert "| 20 | 64 | packed |" in cudnn_width.report(found)
