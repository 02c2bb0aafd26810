"""A quiet machine made of files, and what psutil says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from support.machines import H100, QUIET_METAL, write

from bench.machine.cpus import Watched
from bench.machine.facts import Facts, read_facts


@pytest.fixture(autouse=True)
def psutil_says(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, object]:
    """What ``psutil`` says of every invented machine; tests change it."""
    said: dict[str, object] = {
        "cpu_count": 8,
        "cpu_times": (1000, 0, 200, 90000, 10, 0, 5, 0, 0, 0),
        "virtual_memory": SimpleNamespace(total=32 << 30, available=24 << 30),
        "swap_memory": SimpleNamespace(used=0),
        "sensors_temperatures": {
            "k10temp": [SimpleNamespace(current=50.0), SimpleNamespace(current=51.25)],
            "nvme": [SimpleNamespace(current=70.0)],
        },
    }
    for name in said:
        monkeypatch.setattr(psutil, name, lambda name=name: said[name])
    monkeypatch.setattr("bench.machine.facts.processors", lambda: [*range(8)])
    monkeypatch.setattr("bench.machine.facts.load_average", lambda: 0.21)
    return said


@pytest.fixture
def quiet(tmp_path: Path) -> Facts:
    """A machine that nothing disturbs."""
    facts = read_facts(write(tmp_path, QUIET_METAL), during=lambda: Watched(0.001, 2e-4), gpus=(H100,))
    return replace(facts, timer_step_s=30e-9, timer_call_s=45e-9)
