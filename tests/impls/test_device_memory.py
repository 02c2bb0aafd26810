"""Each adapter's counter of a GPU's memory asks its framework the right thing; stand-ins take the GPU's place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.crosschecks import NOTEBOOK, draw
from support.frameworks import need

from impls import build_row, find_rows
from impls.contract import DeviceMemory, NoCounter

CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)


def build(name: str) -> Any:
    row = find_rows()[name]
    for framework in row.frameworks:
        need(framework)
    return build_row(row)(CASE.config, CASE.parameters, "cpu")


@pytest.mark.parametrize("name", ["torch/module", "jax/scan", "jax/nnx", "thinc/layers", "thinc/pytorch"])
def test_every_adapter_has_it_and_a_cpu_is_refused_with_the_reason(name: str) -> None:
    row = build(name)
    assert isinstance(row, DeviceMemory)
    with pytest.raises(NoCounter, match=r"(torch|jax|thinc) counts no memory on cpu"):
        row.peak_bytes()


def test_a_row_without_it_is_told_apart() -> None:
    assert not isinstance(SimpleNamespace(peak_bytes=lambda: 1), DeviceMemory)


class FakeCuda:
    """PyTorch's counters; they are right only once the device is idle."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def synchronize(self, device: Any) -> None:
        self.calls.append("wait")

    def max_memory_allocated(self, device: Any) -> int:
        self.calls.append("read")
        return 512

    def reset_peak_memory_stats(self, device: Any) -> None:
        self.calls.append("reset")


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    need("torch")
    import torch

    fake = FakeCuda()
    for name in ("synchronize", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    return fake


class FakePool:
    """CuPy's pool: what was freed stays in it until it is told to give it back."""

    def __init__(self) -> None:
        self.held, self.free = 1024, 4096

    def total_bytes(self) -> int:
        return self.held + self.free

    def free_all_blocks(self) -> None:
        self.free = 0


def give_cupy(row: Any, calls: list[str]) -> None:
    pool = FakePool()
    device = SimpleNamespace(synchronize=lambda: calls.append("wait"))
    xp = SimpleNamespace(get_default_memory_pool=lambda: pool, cuda=SimpleNamespace(Device=lambda: device))
    row.ops = SimpleNamespace(xp=xp)


def test_torch_waits_and_then_reads_or_resets(fake_cuda: FakeCuda) -> None:
    import torch

    row = build("torch/module")
    row.device = torch.device("cuda")
    row.reset_peak()
    assert row.peak_bytes() == 512
    assert fake_cuda.calls == ["wait", "reset", "wait", "read"]


def test_cupy_gives_back_what_is_free_and_then_counts() -> None:
    row, calls = build("thinc/layers"), []
    give_cupy(row, calls)
    assert row.peak_bytes() == 5120
    row.reset_peak()
    assert row.peak_bytes() == 1024
    assert calls == ["wait"] * 3


def test_the_wrapper_counts_both(fake_cuda: FakeCuda) -> None:
    row, calls = build("thinc/pytorch"), fake_cuda.calls
    give_cupy(row, calls)
    row.reset_peak()
    assert row.peak_bytes() == 1024 + 512
    assert "reset" in calls


@pytest.mark.parametrize("name", ["jax/scan", "jax/nnx"])
def test_jax_reads_the_peak_of_the_process(name: str) -> None:
    row = build(name)
    row.device = SimpleNamespace(memory_stats=lambda: {"bytes_in_use": 1, "peak_bytes_in_use": 7}, platform="gpu")
    row.reset_peak()
    assert row.peak_bytes() == 7
    row.device = SimpleNamespace(memory_stats=lambda: {"bytes_in_use": 1}, platform="gpu")  # another allocator
    with pytest.raises(NoCounter, match="jax counts no memory on gpu"):
        row.peak_bytes()
