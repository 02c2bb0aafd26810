"""What is read of a GPU, from a stand-in for ``nvidia-smi`` that prints what a real one prints. Needs no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bench.machine import gpu
from bench.measure import run
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from impls.contract import Device

    Answers = Callable[..., None]

UUID, OTHER_UUID = "GPU-3b2f1c55-8a07-4e44-a4b5-21d0c1b0a6f1", "GPU-90aa11ee-0000-4e44-a4b5-21d0c1b0a6f1"
HEALTHY = f"0, {UUID}, 1980, 0x0000000000000000\n"
HOT = f"0, {UUID}, 1155, 0x0000000000000060\n"
NO_SUCH_PID = 2**22 + 1  # above what Linux ever gives

SCRIPT = """#!{python}
import sys, time
asked = sys.argv[1]
assert sys.argv[2:] == ["--format=csv,noheader,nounits"], sys.argv
{extra}
if asked.startswith("--query-gpu="):
    if {unknown!r} and {unknown!r} in asked:
        print('Field "{unknown}" is not a valid field to query.\\n')
        sys.exit(2)
    sys.stdout.buffer.write({state!r})
elif asked == "--query-compute-apps=gpu_uuid,pid":
    sys.stdout.buffer.write({apps!r})
else:
    sys.exit("no such question")
sys.exit({code})
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Puts a ``nvidia-smi`` on the path, the only one there, that answers what it is told to."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def write(
        state: str | bytes = HEALTHY, apps: str | bytes = "", *, unknown: str = "", code: int = 0, extra: str = ""
    ) -> None:
        state, apps = (text.encode() if isinstance(text, str) else text for text in (state, apps))
        script = tmp_path / "nvidia-smi"
        words = {"state": state, "apps": apps, "unknown": unknown, "code": code, "extra": extra}
        script.write_text(SCRIPT.format(python=sys.executable, **words), encoding="utf-8")
        script.chmod(0o755)

    return write


def state() -> gpu.GpuState:
    found = gpu.state()
    assert found is not None
    return found


def test_a_healthy_gpu(nvidia_smi: Answers) -> None:
    nvidia_smi()
    assert state() == gpu.GpuState(clock_mhz=1980.0, reasons=0, pids=frozenset())
    assert gpu.flags(state(), state(), {os.getpid()}) == []


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [
        (gpu.GPU_IDLE, False),
        (gpu.APPLICATIONS_CLOCKS_SETTING, False),
        (gpu.SYNC_BOOST, False),
        (gpu.DISPLAY_CLOCK_SETTING, False),
        (gpu.SW_POWER_CAP, True),
        (gpu.HW_SLOWDOWN, True),
        (gpu.SW_THERMAL_SLOWDOWN, True),
        (gpu.HW_THERMAL_SLOWDOWN, True),
        (gpu.HW_POWER_BRAKE_SLOWDOWN, True),
        (gpu.GPU_IDLE | gpu.HW_SLOWDOWN, True),
    ],
)
def test_heat_and_power_throttle_and_nothing_else_does(nvidia_smi: Answers, reasons: int, throttled: bool) -> None:
    nvidia_smi(f"0, {UUID}, 1980, 0x{reasons:016x}\n")
    assert state().throttled is throttled


def test_throttled_at_either_end_is_flagged(nvidia_smi: Answers) -> None:
    nvidia_smi()
    cool = state()
    nvidia_smi(HOT)
    hot = state()
    assert hot.clock_mhz == 1155
    assert gpu.flags(cool, hot, []) == gpu.flags(hot, cool, []) == gpu.flags(hot, None, []) == ["throttled"]
    assert gpu.flags(None, None, []) == []


def test_an_own_process_and_its_child_are_not_foreign_and_another_is(nvidia_smi: Answers) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        nvidia_smi(apps=f"{UUID}, {os.getpid()}\n{UUID}, {child.pid}\n")
        seen = state()
        assert seen.pids == {os.getpid(), child.pid}
        assert gpu.flags(None, seen, {os.getpid()}) == []
        assert gpu.foreign_pids(seen, {child.pid}) == {os.getpid()}
        assert gpu.flags(seen, None, {child.pid}) == ["foreign"]
    finally:
        child.communicate()


def test_a_process_on_another_gpu_is_no_matter(nvidia_smi: Answers) -> None:
    nvidia_smi(apps=f"{OTHER_UUID}, 1\n")
    assert state().pids == frozenset()


def test_unknown_numbers_may_be_a_containers_own_but_no_more_than_that(nvidia_smi: Answers) -> None:
    workers = {NO_SUCH_PID + 10, NO_SUCH_PID + 11}
    nvidia_smi(apps=f"{UUID}, {NO_SUCH_PID}\n{UUID}, {NO_SUCH_PID + 1}\n")
    assert gpu.flags(None, state(), workers | {os.getpid()}) == []
    nvidia_smi(apps="".join(f"{UUID}, {NO_SUCH_PID + number}\n" for number in range(3)))
    assert gpu.flags(None, state(), workers | {os.getpid()}) == ["foreign"]


@pytest.mark.parametrize("absent", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[Insufficient Permissions]"])
def test_what_the_device_does_not_say_is_none(nvidia_smi: Answers, absent: str) -> None:
    nvidia_smi(f"0, {UUID}, {absent}, {absent}\n", f"{UUID}, {absent}\n")
    assert state() == gpu.GpuState(None, None, None)
    assert gpu.flags(state(), state(), []) == []


def test_an_older_driver_has_an_older_name(nvidia_smi: Answers) -> None:
    nvidia_smi(HOT, unknown="clocks_event_reasons.active")
    assert state().throttled


@pytest.mark.parametrize(
    "output",
    [
        "",
        "\n",
        "garbage\n",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        f"0, {UUID}, fast, 0x0000000000000000\n",
        f"0, {UUID}, 1980, none\n",
        f"0, {UUID}, 1980\n",
        b"\xff\xfe\x00garbage, \x80\n",
    ],
)
def test_garbage_is_no_state(nvidia_smi: Answers, output: str | bytes) -> None:
    nvidia_smi(output)
    assert gpu.state() is None


def test_garbage_for_processes_leaves_the_rest(nvidia_smi: Answers) -> None:
    nvidia_smi(apps="garbage\n")
    assert state().pids is None
    assert state().clock_mhz == 1980


def test_a_failure_is_no_state(nvidia_smi: Answers) -> None:
    nvidia_smi(code=9)
    assert gpu.state() is None


def test_no_nvidia_smi_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.state() is None
    (tmp_path / "nvidia-smi").write_text("not a program")
    assert gpu.state() is None  # it may not be run


def test_one_that_hangs_is_given_up(nvidia_smi: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.nvidia_smi.LIMIT_S", 0.3)
    nvidia_smi(extra="print('0, GPU-', flush=True); time.sleep(60)")
    start = time.monotonic()
    assert gpu.state() is None
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("visible", "clock"),
    [
        (None, 1980.0),
        ("0", 1980.0),
        ("1,0", 1500.0),
        (" 1 ", 1500.0),
        (OTHER_UUID, 1500.0),
        ("GPU-90aa11ee", 1500.0),
        ("", None),
        ("-1", None),
        ("2", None),
        ("NoDevFiles", None),
        ("MIG-3b2f1c55-8a07-4e44-a4b5-21d0c1b0a6f1", None),
    ],
)
def test_the_first_visible_device_is_read(nvidia_smi: Answers, visible: str | None, clock: float | None) -> None:
    nvidia_smi(HEALTHY + f"1, {OTHER_UUID}, 1500, 0x0000000000000000\n")
    seen = gpu.state({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert (seen and seen.clock_mhz) == clock


@pytest.mark.parametrize(
    ("answer", "visible", "free"),
    [
        (f"0, {UUID}, 81000\n", None, 81000 * 2**20),
        (f"0, {UUID}, 81000\n1, {OTHER_UUID}, 24000\n", "1", 24000 * 2**20),
        (f"0, {UUID}, 81000\n1, {OTHER_UUID}, 24000\n", OTHER_UUID[:9], 24000 * 2**20),
        (f"0, {UUID}, [N/A]\n", None, None),
        (f"0, {UUID}\n", None, None),
        (f"0, {UUID}, 81000\n", "", None),
        ("", None, None),
    ],
)
def test_free_memory_is_that_of_the_gpu_that_is_used(
    answer: str, visible: str | None, free: int | None, nvidia_smi: Answers
) -> None:
    nvidia_smi(answer)
    assert gpu.free_bytes({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == free


def test_without_an_answer_free_memory_is_not_known(nvidia_smi: Answers) -> None:
    nvidia_smi(code=1)
    assert gpu.free_bytes() is None


@pytest.mark.parametrize(
    ("device", "host_gib", "gpu_mib", "seats"),
    [
        ("gpu", 64, "4096", 6),
        ("gpu", 4, "81000", 6),
        ("gpu", 64, "81000", 102),
        ("gpu", 64, "500", 3),  # the baseline, its control and one row have to be tried
        ("gpu", 4, "[N/A]", 6),
        ("cpu", 64, "4096", 102),
    ],
)
def test_as_many_sit_at_a_table_as_fit_into_the_memory_of_the_host_and_of_the_gpu(
    device: Device, host_gib: int, gpu_mib: str, seats: int, nvidia_smi: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(f"0, {UUID}, {gpu_mib}\n")
    monkeypatch.setattr(run, "available_bytes", lambda: host_gib * 2**30)
    assert run.seats_that_fit([SEED], device) == seats
