"""The two commands: which sessions there are, and what becomes of the GPU's where there is no GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from processes import ROOT

if TYPE_CHECKING:
    from types import ModuleType


@cache
def load_noxfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("noxfile_under_test", ROOT / "noxfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_the_sessions_are_those_that_readme_prints() -> None:
    done = subprocess.run([sys.executable, "-m", "nox", "-l"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in ("* tests ", "* bench(cpu) ", "* bench(gpu) ", "- lint "):
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


def test_every_dependency_has_a_pin(noxfile: ModuleType) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    listed = noxfile.requirements("torch", "thinc", "jax", *noxfile.OPTIONAL, groups=("test", "lint"))
    for requirement in listed:
        assert f"\n{requirement}==" in pins, requirement
    assert "+" not in pins  # no local version suffix
    assert "\ntorch==2.13.0\n" in pins
    assert "\nthinc==8.3.14\n" in pins
