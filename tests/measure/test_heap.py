"""A cell's time must not depend on how much memory the worker's earlier cells gave back."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.measuring import last, measure
from support.processes import numpy_row

from bench.here import ROOT
from impls import read_row

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
pytestmark = [
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other allocators"),
    pytest.mark.skipif(HUGE.exists() and "[always]" in HUGE.read_text(), reason="huge pages hide what small ones cost"),
]

TOUCH = """
import resource, numpy as np
def touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(3 * 2**20, np.uint8) for _ in range(8)]  # together more than glibc keeps after freeing one
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""

PAGES = 8 * 3 * 2**20 // resource.getpagesize()
"""What the blocks have."""


def faults_of_a_second_call(before: str) -> int:
    """Page faults of a call that has been made before, in a new process."""
    code = f"{TOUCH}\nfrom bench.measure.worker import keep_freed_memory\n{before}\ntouched()\nprint(touched())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_given_back_is_not_touched_again() -> None:
    assert faults_of_a_second_call("") > PAGES / 2, "glibc has changed: keep_freed_memory may not be needed any more"
    assert faults_of_a_second_call("keep_freed_memory()") < PAGES / 100


def test_a_worker_keeps_what_its_row_gives_back(tmp_path: Path) -> None:
    after = f"assert touched() < {PAGES // 10} or not in_a_turn(), 'memory was touched again'; return result"
    path = numpy_row(tmp_path, "touching", after=after)
    path.write_text(path.read_text() + TOUCH)
    records = last(measure(tmp_path, read_row(path)))
    assert {record.status for record in records.values()} == {"ok"}, [one.reason for one in records.values()]
