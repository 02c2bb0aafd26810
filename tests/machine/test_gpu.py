"""What is read of a GPU, from a library whose functions are replaced. Needs no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from bench.machine import gpu
from bench.machine.gpu import Gpu
from bench.measure import worker_environment
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.contract import Device

    Answers = Callable[..., None]

UUID, OTHER_UUID = "GPU-3b2f1c55-8a07-4e44-a4b5-21d0c1b0a6f1", "GPU-90aa11ee-0000-4e44-a4b5-21d0c1b0a6f1"
NO_SUCH_PID = 2**22 + 1  # above what Linux ever gives
HOT = pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown

HEALTHY: dict[str, Any] = {
    "Name": "NVIDIA H100 80GB HBM3",
    "UUID": UUID,
    "ClockInfo": 1980,
    "MaxClockInfo": 1980,
    "CurrentClocksEventReasons": 0,
    "CurrentClocksThrottleReasons": 0,
    "ComputeRunningProcesses": [],
    "Temperature": 31,
    "UtilizationRates": SimpleNamespace(gpu=0),
    "MemoryInfo": SimpleNamespace(free=81000 << 20),
}
"""What a GPU answers to ``nvmlDeviceGet...``; None: it does not say it."""


def failing(code: int = pynvml.NVML_ERROR_NOT_SUPPORTED) -> pynvml.NVMLError:
    return pynvml.NVMLError(code)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Lets the library find devices that answer what they are told to."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def say(*devices: dict[str, Any]) -> None:
        found = [HEALTHY | device for device in devices or ({},)]

        def answer(name: str) -> Callable[..., Any]:
            def ask(device: dict[str, Any], *_: int) -> Any:
                if device[name] is None:
                    raise failing()
                return device[name]

            return ask

        for name in HEALTHY:
            monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", answer(name))
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
        monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(found))
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", found.__getitem__)

    return say


def on_it(*pids: int) -> dict[str, Any]:
    return {"ComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in pids]}


def state() -> Gpu:
    found = gpu.state()
    assert found is not None
    return found


def test_a_healthy_gpu(nvml: Answers) -> None:
    nvml()
    assert state() == Gpu(
        name="NVIDIA H100 80GB HBM3",
        uuid=UUID,
        clock_mhz=1980,
        max_clock_mhz=1980,
        throttles=(),
        pids=frozenset(),
        celsius=31,
        busy=0,
        free_bytes=81000 << 20,
    )
    assert gpu.gpus() == (state(),)
    assert gpu.flags(state(), state(), {os.getpid()}) == []


@pytest.mark.parametrize(
    ("reasons", "throttles"),
    [
        (pynvml.nvmlClocksEventReasonGpuIdle, ()),
        (pynvml.nvmlClocksEventReasonApplicationsClocksSetting, ()),
        (pynvml.nvmlClocksEventReasonSyncBoost, ()),
        (pynvml.nvmlClocksEventReasonDisplayClockSetting, ()),
        (0x04, ("power cap",)),
        (0x08, ("hardware slowdown",)),
        (0x20, ("heat (software)",)),
        (0x40, ("heat (hardware)",)),
        (0x80, ("power brake",)),
        (0x01 | 0x08, ("hardware slowdown",)),
        (0x24, ("power cap", "heat (software)")),
    ],
)
def test_heat_and_power_throttle_and_nothing_else_does(nvml: Answers, reasons: int, throttles: tuple[str, ...]) -> None:
    nvml({"CurrentClocksEventReasons": reasons})
    assert state().throttles == throttles
    assert gpu.flags(None, state(), []) == ["throttled"] * bool(throttles)


def test_throttled_at_either_end_is_flagged(nvml: Answers) -> None:
    nvml()
    cool = state()
    nvml({"ClockInfo": 1155, "CurrentClocksEventReasons": HOT})
    hot = state()
    assert hot.clock_mhz == 1155
    assert gpu.flags(cool, hot, []) == gpu.flags(hot, cool, []) == gpu.flags(hot, None, []) == ["throttled"]
    assert gpu.flags(None, None, []) == []


def test_an_own_process_and_its_child_are_not_foreign_and_another_is(nvml: Answers) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        nvml(on_it(os.getpid(), child.pid))
        seen = state()
        assert seen.pids == {os.getpid(), child.pid}
        assert gpu.flags(None, seen, {os.getpid()}) == []
        assert gpu.foreign_pids(seen, {child.pid}) == {os.getpid()}
        assert gpu.flags(seen, None, {child.pid}) == ["foreign"]
    finally:
        child.communicate()


def test_a_process_on_another_gpu_is_no_matter(nvml: Answers) -> None:
    nvml({}, {"UUID": OTHER_UUID} | on_it(1))
    assert state().pids == frozenset()


def test_unknown_numbers_may_be_a_containers_own_but_no_more_than_that(nvml: Answers) -> None:
    workers = {NO_SUCH_PID + 10, NO_SUCH_PID + 11}
    nvml(on_it(NO_SUCH_PID, NO_SUCH_PID + 1))
    assert gpu.flags(None, state(), workers | {os.getpid()}) == []
    nvml(on_it(*(NO_SUCH_PID + number for number in range(3))))
    assert gpu.flags(None, state(), workers | {os.getpid()}) == ["foreign"]


def test_what_the_device_does_not_say_is_none(nvml: Answers) -> None:
    nvml(dict.fromkeys(HEALTHY) | {"Name": "Tesla T4"})
    assert state() == Gpu(name="Tesla T4")
    assert gpu.flags(state(), state(), []) == []


@pytest.mark.parametrize("silent", [name for name in HEALTHY if name not in ("Name", "CurrentClocksThrottleReasons")])
def test_what_it_does_not_say_leaves_the_rest(nvml: Answers, silent: str) -> None:
    nvml()
    whole = state()
    nvml({silent: None})
    one = state()
    differ = [name for name in Gpu.__slots__ if getattr(one, name) != getattr(whole, name)]
    assert len(differ) == (silent != "CurrentClocksEventReasons"), differ


def test_an_older_driver_has_an_older_name(nvml: Answers) -> None:
    nvml({"CurrentClocksEventReasons": None, "CurrentClocksThrottleReasons": HOT})
    assert state().throttles == ("heat (software)", "heat (hardware)")


@pytest.mark.parametrize(
    "function", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"]
)
@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_UNKNOWN])
def test_a_failure_is_no_state(nvml: Answers, function: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise failing(code)

    nvml()
    monkeypatch.setattr(pynvml, function, fail)
    assert gpu.gpus() == (None if function in ("nvmlInit", "nvmlDeviceGetCount") else ())
    assert gpu.state() is None


def test_a_gpu_that_is_lost_hides_no_other(nvml: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml()
    (only,) = gpu.gpus() or ()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    def of(index: int) -> object:
        if index == 0:
            raise failing(pynvml.NVML_ERROR_GPU_IS_LOST)
        return handle

    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", of)
    assert gpu.gpus() == (only,)


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    assert gpu.gpus() is None


def test_a_driver_without_a_gpu(nvml: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml()
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    assert gpu.gpus() == ()
    assert gpu.state() is None


def test_one_that_hangs_is_given_up(nvml: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml()
    monkeypatch.setattr(gpu, "LIMIT_S", 0.3)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: time.sleep(60))
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
def test_the_first_visible_device_is_read(nvml: Answers, visible: str | None, clock: float | None) -> None:
    nvml({}, {"UUID": OTHER_UUID, "ClockInfo": 1500, "MemoryInfo": SimpleNamespace(free=24000 << 20)})
    seen = gpu.state({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert (seen and seen.clock_mhz) == clock
    assert (seen and seen.free_bytes) == {1980.0: 81000 << 20, 1500.0: 24000 << 20}.get(clock or 0.0)


@pytest.mark.parametrize(
    ("device", "host_gib", "gpu_mib", "entries"),
    [
        ("gpu", 64, 4096, 6),
        ("gpu", 4, 81000, 6),
        ("gpu", 64, 81000, 102),
        ("gpu", 64, 500, 3),  # the baseline, its control and one row have to be tried
        ("gpu", 4, None, 6),
        ("cpu", 64, 4096, 102),
    ],
)
def test_as_many_take_turns_as_fit_into_the_memory_of_the_host_and_of_the_gpu(
    device: Device, host_gib: int, gpu_mib: int | None, entries: int, nvml: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml({"MemoryInfo": None if gpu_mib is None else SimpleNamespace(free=gpu_mib << 20)})
    monkeypatch.setattr(worker_environment, "available_bytes", lambda: host_gib * 2**30)
    assert worker_environment.entries_that_fit([SEED], device) == entries
