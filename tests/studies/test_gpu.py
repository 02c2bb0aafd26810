"""What a GPU machine is for, rehearsed without one: parts have limits of their own, and what each has is kept."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import msgspec
import pytest
from support.frameworks import need
from support.processes import ROOT, WITH_TESTS, alive, numpy_row, python, wait_until
from support.recorded import RUN

from bench.records.store import read_result
from bench.workloads import reference_outputs
from bench.workloads.shapes import parse_shape
from impls import find_rows, read_row
from impls.contract import TASKS, InvalidInput
from studies import cudnn_width, gpu, kernels, values
from studies.experiment import carry_out
from studies.gpu import Part
from studies.values import Value, Values

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
    part = Part("part", (sys.executable, "-c", SAYS + program), limit_s=60)
    assert gpu.carry_out(part, tmp_path, 3, rehearse=False) == code
    said = (tmp_path / "part.txt").read_text()
    assert said.startswith("begins")
    assert ("keeps what it has" in said) is ("keeps what it has" in program)


def test_a_program_that_is_not_there_is_a_part_that_failed(tmp_path: Path) -> None:
    assert gpu.carry_out(Part("part", ("no-such-program",), 9), tmp_path, 9, rehearse=False) not in (0, None)
    assert "no-such-program" in (tmp_path / "part.txt").read_text()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one wheel."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "lacking-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacking.py", "WORD = 'found'\n")
        wheel.writestr("lacking-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lacking\nVersion: 1.0\n")
        wheel.writestr("lacking-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("lacking-1.0.dist-info/RECORD", "")
    return folder


def test_workers_find_what_comes_from_a_folder_of_wheels(wheels: Path, tmp_path: Path) -> None:
    """They have an environment of their own, and start with the Python that starts them."""
    own = gpu.python_with(wheels, tmp_path / "python")
    row = numpy_row(tmp_path, "mine", top="import lacking, psutil\nassert lacking.WORD == 'found'")
    smoke = ("--workload", "seed", "--task", "encode", "--preset", "smoke", "--out", str(tmp_path / "out"))
    part = Part("part", (own, "-m", "bench", "run", "--impl", str(row), *smoke), 60)
    assert gpu.carry_out(part, tmp_path, 60, rehearse=False) == 0, (tmp_path / "part.txt").read_text()
    assert read_result(tmp_path / "out").whole


def test_what_a_killed_run_leaves_is_not_packed(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    for name in ("run/records.jsonl", "run/cache/program", "run/numbers/gnmt.safetensors", "run.txt"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).touch()
    out.mkdir()
    gpu.pack(work, out)
    assert [path.name for path in out.iterdir()] == ["gpu.tar.gz"]
    with tarfile.open(out / "gpu.tar.gz") as packed:
        assert {found.name for found in packed if found.isfile()} == {"gpu/run/records.jsonl", "gpu/run.txt"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_it_ends_its_part_too_and_has_what_was_done(number: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDED, str(tmp_path / "out")], cwd=ROOT, env={**os.environ, **WITH_TESTS}
    )
    wait_until((tmp_path / "out" / "gpu.tar.gz").exists, "the first part is packed", 60)
    wait_until(lambda: alive("sleeps-in-a-part"), "the second part begins", 60)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert not alive("sleeps-in-a-part")
    with tarfile.open(tmp_path / "out" / "gpu.tar.gz") as packed:
        assert "gpu/first.txt" in packed.getnames()


ENDED = """
import signal, sys
from studies import gpu
signal.signal(signal.SIGINT, signal.default_int_handler)
sleeps = "import time; time.sleep(100)  # sleeps-in-a-part"
gpu.parts = lambda python, work: [
    gpu.Part("first", (python, "-c", "print(1)"), 20), gpu.Part("second", (python, "-c", sleeps), 90)
]
sys.argv = ["gpu.py", sys.argv[1], "--rehearse"]
sys.exit(gpu.main())
"""


def test_all_parts_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Part("slow", (sys.executable, "-c", "import time; time.sleep(60)"), 60)
    monkeypatch.setattr(gpu, "ALL_S", gpu.PATIENCE_S + 3)
    monkeypatch.setattr(gpu, "parts", lambda *_: [slow, slow._replace(name="late")])
    monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path / "out"), "--rehearse"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    began = time.monotonic()
    assert gpu.main() == 1
    assert time.monotonic() - began < 40
    with tarfile.open(tmp_path / "out" / "gpu.tar.gz") as packed:
        assert "gpu/late.txt" not in packed.getnames()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((".",), "holds"),
        (("new", "--wheels", "."), "holds no wheel"),
        *([] if shutil.which("nvidia-smi") else [(("new",), "no nvidia-smi here, and so no NVIDIA GPU; --rehearse")]),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    done = python(str(ROOT / "studies" / "gpu.py"), *words, cwd=tmp_path)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [("--help",), ("out", "--device", "gpu"), (), ("out", "cpu", "more")])
def test_a_study_that_is_asked_wrongly_shows_its_usage_and_makes_nothing(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for study in (values.study, cudnn_width.study):
        assert carry_out(["study", *words], "studies.some FOLDER [cpu|gpu]", study) == 2
        assert capsys.readouterr().err == "usage: python -m studies.some FOLDER [cpu|gpu]\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_all_of_it_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = python(str(ROOT / "studies" / "gpu.py"), str(out), "--rehearse", timeout=500)
    names = [part.name for part in gpu.parts("python", out)]
    said = [line.partition(": exit code")[0].partition(": its time")[0] for line in done.stdout.splitlines()]
    assert [line for line in said if line in names] == names, done.stderr
    with tarfile.open(out / "gpu.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    home = tmp_path / "gpu"
    assert (home / "plan.txt").read_text().startswith("plan: ")
    assert read_result(home / "run").whole
    found = msgspec.json.decode((home / "values-cpu.json").read_bytes(), type=Values)
    assert found.values and all(one.within for one in found.values)
    assert json.loads((home / "cudnn_width-cpu.json").read_bytes())["points"]


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


TRACE = [
    {"ph": "M", "name": "process_name", "pid": 7, "args": {"name": "/device:GPU:0"}},
    {"ph": "M", "name": "process_name", "pid": 8, "args": {"name": "/host:CPU"}},
    {"ph": "X", "name": "gemm_fusion_dot.1", "pid": 7, "ts": 1, "dur": 2},
    {"ph": "X", "name": "gemm_fusion_dot.1", "pid": 7, "ts": 5, "dur": 2},
    {"ph": "X", "name": "PjitFunction(forward)", "pid": 8, "ts": 1, "dur": 2},
    {"ph": "X", "name": "LSTM_elementWise_fp<float>" + "x" * 200, "pid": 0, "cat": "kernel", "ts": 1, "dur": 2},
    {"ph": "X", "name": "cudaLaunchKernel", "pid": 7, "cat": "cuda_runtime", "ts": 1, "dur": 2},
]
"""Of JAX's profiler, and of PyTorch's, as either writes them."""


def test_of_a_trace_the_gpus_kernels_are_named_once() -> None:
    lstm, gemm = kernels.names_in(TRACE)
    assert gemm == "gemm_fusion_dot.1"
    assert lstm.startswith("LSTM_elementWise_fp<float>") and len(lstm) == kernels.LONGEST_NAME


def test_on_a_cpu_no_kernel_is_named() -> None:
    need("jax")
    ones = importlib.import_module("jax.numpy").ones
    for name in ("jax/scan", "thinc/layers"):
        assert kernels.kernels_of(find_rows()[name], lambda: ones(3) + 1) == []


def test_widths_need_a_device_or_a_word(tmp_path: Path) -> None:
    for study in (cudnn_width.study, values.study):
        with pytest.raises(InvalidInput, match="tpu: is no device; choose cpu or gpu"):
            study(tmp_path, Path("tpu"))
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
