"""A plan is shown without measuring anything, for a device that is elsewhere too; and runs do without what draws."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.machines import H100
from support.processes import ask, bench, numpy_row, one_line, python

from bench.machine.gpu import gpus
from bench.measure import request, run
from bench.measure.plan import BUDGETS
from bench.measure.request import Options, check_request
from bench.measure.run import planned
from bench.records.store import read_result
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

no_gpu = pytest.mark.skipif(bool(gpus()), reason="this machine has a GPU")


def test_a_dry_run_shows_the_plan_and_measures_nothing(tmp_path: Path) -> None:
    mine = numpy_row(tmp_path, "mine")
    done = ask(
        "run", "--impl", str(mine), "jax/cudnn", "--workload", "seed", "--dry-run", "--out", str(tmp_path / "out")
    )
    assert done.returncode == 0 and done.stderr == ""
    plan, when, pool, who, *rest = done.stdout.splitlines()
    assert plan.startswith("plan: 2 rows with the A/A control in 1 pool")
    assert re.search("the first table after about .*; verdicts from about .* on", when)
    assert pool == "pool 1 (1 thread, float32; forward, train_step on seed):"
    assert who == "  mine, control"
    assert "not timed: jax/cudnn: cuDNN runs on NVIDIA GPUs" in rest
    assert not (tmp_path / "out").exists()


@no_gpu
def test_a_plan_for_a_gpu_needs_none() -> None:
    done = bench("run", "--device", "gpu", "--dry-run")
    assert done.returncode == 0, done.stderr
    pools = re.findall(
        r"^pool \d \(1 thread, (\w+); forward, train_step on (.*)\):\n  (.*)$", done.stdout, re.MULTILINE
    )
    assert [precision for precision, _, _ in pools] == ["float32", "tf32", "bfloat16"]
    assert {workloads for _, workloads, _ in pools} == {"seed, braun, fastrnns, gnmt"}
    assert "torch/tuned" in pools[0][2] and "thinc/native" not in pools[0][2]
    assert "budget 6 min" in done.stdout
    one_line(ask("run", "--device", "gpu"), "lists no NVIDIA device")


def test_a_plan_that_is_shown_goes_on_with_nothing(tmp_path: Path) -> None:
    one_line(ask("run", "--dry-run", "--resume", str(tmp_path)), "leave --dry-run out")


@pytest.fixture
def h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU that nobody has."""
    monkeypatch.setattr(request, "gpus", lambda: (H100,))
    monkeypatch.setattr(request, "available_to_a_process", lambda: 2**40)


@pytest.mark.usefixtures("h100")
def test_the_preset_follows_from_the_device() -> None:
    on_gpu = check_request(Options(device="gpu"))
    assert on_gpu.preset == "gpu" and on_gpu.budget == BUDGETS["gpu"]
    assert on_gpu.precisions == ("float32", "tf32", "bfloat16")
    assert [one.name for one in on_gpu.workloads] == ["seed", "braun", "fastrnns", "gnmt"]
    assert check_request(Options(device="gpu", preset="full")).precisions == ("float32",)
    assert check_request(Options(device="gpu", precision=("tf32",))).precisions == ("tf32",)
    assert check_request(Options()).preset == "default"
    with pytest.raises(InvalidInput, match="--preset gpu: is sized for a GPU; add --device gpu"):
        check_request(Options(preset="gpu"))


@pytest.mark.usefixtures("h100")
def test_a_pool_has_as_many_seats_as_the_device_has_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = check_request(Options(device="gpu", precision=("float32",)))
    monkeypatch.setattr(run, "entries_that_fit", lambda workloads, device: 5 if device == "gpu" else 99)
    assert max(len(pool) for pool in planned(asked, 1).names) == 5


WITHOUT = """
import sys
for name in ("altair", "vl_convert"):
    sys.modules[name] = None
from bench.cli.main import main
sys.argv[0] = "bench"
sys.exit(main())
"""


def test_a_run_does_without_what_draws_pages_and_a_page_does_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    smoke = ("--workload", "seed", "--task", "encode", "--preset", "smoke", "--out", str(out))
    done = python("-c", WITHOUT, "run", "--impl", str(numpy_row(tmp_path, "mine")), *smoke)
    assert done.returncode == 0, done.stderr
    assert re.search("no page was drawn: that needs altair and vl-convert-python; .* page ", done.stderr)
    assert read_result(out).whole and (out / "table.md").exists() and not (out / "report.html").exists()
    for words in (("page", str(out)), ("publish",)):
        one_line(python("-c", WITHOUT, *words), "to draw, altair and vl-convert-python have to be installed")
    assert python("-c", WITHOUT, "--help").returncode == 0
