"""The two commands: which sessions there are, and what becomes of the GPU's where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nox.command import CommandFailed
from support.processes import ROOT, load_noxfile

from bench.machine.interpreters import COMPANIONS
from impls import find_rows

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def noxfile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The noxfile, in a process that has run no session yet."""
    monkeypatch.chdir(ROOT)
    module = load_noxfile()
    module.benched.clear()
    return module


class Skipped(Exception):
    pass


class Failed(Exception):
    pass


class FakeSession:
    """Takes down what a session does."""

    posargs = ("--preset", "smoke")
    cache_dir = Path(".nox/.cache")

    def __init__(self) -> None:
        self.installed: list[str] = []
        self.ran: list[str] = []

    def install(self, *arguments: str) -> None:
        self.installed += arguments

    def run(self, *arguments: str, **options: Any) -> None:
        assert options["interrupt_timeout"] >= 10 and options["terminate_timeout"] >= 10
        self.ran += arguments

    def skip(self, reason: str) -> None:
        raise Skipped(reason)

    def error(self, reason: str) -> None:
        raise Failed(reason)


def start(noxfile: ModuleType, device: str) -> FakeSession:
    session = FakeSession()
    noxfile.bench.func(session, device)
    return session


def test_both_sessions_of_tests_divide_them_between_them(noxfile: ModuleType) -> None:
    marked = []
    for name in ("tests", "tests_thorough"):
        session = FakeSession()
        getattr(noxfile, name).func(session)
        assert {"playwright", "pytest-xdist", "torch", "jax", "thinc", "keras", "onnxruntime"} <= set(session.installed)
        assert session.ran[:4] == ["python", "-m", "pytest", "-m"] and session.ran[-2:] == ["--preset", "smoke"]
        assert "playwright" not in session.ran  # nothing is fetched behind anybody's back
        marked.append(session.ran[4])
    assert marked == ["not thorough", "thorough"]


def test_the_sessions_are_those_that_readme_prints() -> None:
    done = subprocess.run([sys.executable, "-m", "nox", "-l"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in ("* tests ", "* bench(cpu) ", "* bench(gpu) ", "- lint ", "- tests_thorough ", "- versions "):
        assert line in done.stdout


def test_the_cpu_session_installs_the_pins_and_passes_arguments_on(noxfile: ModuleType) -> None:
    session = start(noxfile, "cpu")
    assert session.installed[:2] == ["--constraint", "constraints.txt"]
    assert {"torch", "jax", "flax", "thinc", "pytest-benchmark"} <= set(session.installed)
    assert session.ran == ["python", "-m", "bench", "run", "--device", "cpu", "--preset", "smoke"]


def test_a_missing_gpu_is_skipped_beside_the_cpu(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "gpus", list)
    start(noxfile, "cpu")
    with pytest.raises(Skipped, match="nvidia-smi -L"):
        start(noxfile, "gpu")


def test_a_missing_gpu_is_an_error_when_asked_for_alone(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "gpus", list)
    with pytest.raises(Failed, match="nvidia-smi -L"):
        start(noxfile, "gpu")


def test_a_gpu_gets_its_own_requirements(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noxfile, "gpus", lambda: ["GPU 0: A GPU"])
    session = start(noxfile, "gpu")
    assert {"torch", "jax[cuda13]", "cupy-cuda13x"} <= set(session.installed)
    assert session.ran[4:6] == ["--device", "gpu"]


def test_the_pins_can_be_left(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNPINNED", "1")
    assert start(noxfile, "cpu").installed[0] == "--upgrade"


def test_a_row_that_python_reads_is_found_whatever_it_looks_like(
    noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "impls" / "torch"
    folder.mkdir(parents=True)
    row = '{"tier": "loop", "summary": "é", "frameworks": ["torch"]}'
    (folder / "marked.py").write_bytes(f"ROW = {row}\n".encode("utf-8-sig"))
    (folder / "named.py").write_bytes(f"# coding: latin-1\nROW: dict = {row}\n".encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    history = noxfile.history_of(["torch", "2.9.1", "2.13.0"])
    assert noxfile.rows_of(history) == ["torch/marked", "torch/named"]


def test_every_dependency_has_a_pin(noxfile: ModuleType) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    listed = noxfile.requirements("torch", "thinc", "jax", *noxfile.OPTIONAL, groups=("test", "lint"))
    for requirement in listed:
        assert f"\n{requirement}==" in pins, requirement
    assert "+" not in pins  # no local version suffix
    assert "\ntorch==2.13.0\n" in pins
    assert "\nthinc==8.3.14\n" in pins


class FakeVersions(FakeSession):
    """Takes down the commands of the session that makes environments of its own; one version cannot be installed."""

    def __init__(self, folder: Path, *posargs: str, impossible: str = "none") -> None:
        super().__init__()
        self.cache_dir, self.posargs, self.impossible = folder / ".cache", posargs, impossible
        self.commands: list[list[str]] = []

    def run(self, *arguments: str, **options: Any) -> None:
        assert options["external"]
        self.commands.append([*arguments])
        if "virtualenv" in arguments:
            (Path(arguments[-1]) / "bin").mkdir(parents=True)
            (Path(arguments[-1]) / "bin" / "python").touch()
        if self.impossible in arguments:
            raise CommandFailed(reason="exit code 1")
        if "bench" in arguments:
            assert options["interrupt_timeout"] >= 10 and options["terminate_timeout"] >= 10

    run_install = run


def history(noxfile: ModuleType, folder: Path, *posargs: str, **more: str) -> FakeVersions:
    session = FakeVersions(folder, *posargs, **more)
    noxfile.versions.func(session)
    return session


def test_each_version_has_an_environment_which_is_used_again(noxfile: ModuleType, tmp_path: Path) -> None:
    session = history(noxfile, tmp_path, "thinc", "8.3.14", "9.1.1", "--budget", "1m")
    made, old, _, new, run = session.commands
    pythons = [str(tmp_path / f"versions-thinc-{version}" / "bin" / "python") for version in ("8.3.14", "9.1.1")]
    assert made[1:3] == ["-m", "virtualenv"]
    for command, python, version in zip((old, new), pythons, ("8.3.14", "9.1.1"), strict=True):
        assert command[:4] == [python, "-m", "pip", "install"]
        assert {f"thinc=={version}", "pytest-benchmark", "numpy"} <= set(command)
        assert "torch" not in command
        pins = Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8")
        assert "\nnumpy<=2.4.6\n" in pins and "==" not in pins
        assert "\nthinc" not in pins and "\nblis" not in pins
    named = [f"8.3.14={pythons[0]}", f"9.1.1={pythons[1]}"]
    rows = ["thinc/layers", "thinc/native", "thinc/tuned"]  # without thinc/pytorch: there is no PyTorch
    assert run == [
        *(pythons[1], "-m", "bench", "run", "--interpreter", *named),
        *("--impl", *rows, "--budget", "1m"),
    ]
    again = history(noxfile, tmp_path, "thinc", "9.1.1", "8.3.14", "--impl", "thinc/layers")
    old, new, run = again.commands
    assert run[0] == pythons[0]  # the last one given
    assert run[4:] == ["--interpreter", *reversed(named), "--impl", "thinc/layers"]


@pytest.mark.parametrize(
    ("framework", "rows"),
    [
        ("torch", {"torch/module", "torch/cell", "torch/compiled", "torch/tuned"}),
        ("jax", {"jax/nnx", "jax/nnx_split", "jax/scan", "jax/tuned", "jax/cudnn"}),
        ("flax", {"jax/nnx", "jax/nnx_split"}),
    ],
)
def test_the_rows_are_those_that_need_the_framework_and_no_other(
    noxfile: ModuleType, framework: str, rows: set[str], tmp_path: Path
) -> None:
    run = history(noxfile, tmp_path, framework, "1.0", "2.0").commands[-1]
    assert set(run[run.index("--impl") + 1 :]) == rows <= set(find_rows())


def test_what_moves_with_a_framework_has_no_pin(noxfile: ModuleType) -> None:
    asked = noxfile.history_of(["jax", "0.9.2", "0.10.2"])
    pins = "# words\njax==0.10.2\njaxlib==0.10.2\njaxtyping==0.3.11\nflax==0.12.8\n"
    assert noxfile.MOVES_ALONG == COMPANIONS
    assert noxfile.loosened(pins, asked) == "# words\njaxtyping<=0.3.11\nflax<=0.12.8\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "name a framework first, one of torch, jax, flax, thinc, such as"),
        ("numpy 1.0 2.0", "name a framework first"),
        ("torch", "name two versions of torch or more"),
        ("torch 2.13.0 --budget 1m", "name two versions of torch or more"),
        ("torch 2.9 newest", "'newest' is no version of torch"),
        ("torch 2.9 2.9.0", "torch 2.9.0 and 2.9 are the same version"),
    ],
)
def test_versions_that_make_no_sense_are_one_line(noxfile: ModuleType, words: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=says) as failed:
        history(noxfile, tmp_path, *words.split())
    assert "\n" not in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_a_version_that_cannot_be_installed_is_named(noxfile: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^thinc 99\.0 cannot be installed: above is why$"):
        history(noxfile, tmp_path, "thinc", "8.3.14", "99.0", impossible="thinc==99.0")


def test_the_pins_of_versions_can_be_left(noxfile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNPINNED", "1")
    install = history(noxfile, tmp_path, "thinc", "8.3.14", "9.1.1").commands[1]
    assert install[4] == "--upgrade" and "--constraint" not in install
