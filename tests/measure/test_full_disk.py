"""A disk that is full costs what is not measured yet, and nothing that is."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.interrupting import Started, begin, kill, marked, own, read_lines, wait_for_block
from support.processes import bench, one_line

from bench.records.store import read_result


def test_a_full_file_loses_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path)
    try:
        wait_for_block(run, 1)
        limit = (run.out / "records.jsonl").stat().st_size + 700  # it breaks in the middle of a line
        psutil.Process(run.process.pid).rlimit(resource.RLIMIT_FSIZE, (limit, limit))
        out_of_disk(run, r"records\.jsonl: cannot be written \(File too large\)")
    finally:
        kill(run.process)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.thorough
def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    run = begin(tmp_path, out=small_disk / "out")
    filler = small_disk / "filler"
    try:
        wait_for_block(run, 1)
        with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        out_of_disk(run, r"records\.jsonl: (cannot be written \(No space left on device\)|the disk is almost full)")
    finally:
        kill(run.process)
    have = (run.out / "records.jsonl").read_bytes()
    one_line(bench("run", "--resume", str(tmp_path / "nowhere"), env=run.env), "no such folder")
    filler.unlink()
    done = bench("run", "--resume", str(run.out), *own(tmp_path), "--budget", "1s", env=run.env)
    assert "the budget will hardly do for 3 blocks: with fewer there is no verdict" in done.stderr
    assert done.returncode == 0, done.stderr
    result = read_result(run.out)
    assert (run.out / "records.jsonl").read_bytes().startswith(have)
    assert result.whole and max(record.block for record in result.records if record.ok) >= 1
    assert len(result.records) > len(read_lines(have))


def out_of_disk(run: Started, words: str) -> None:
    """Check how a run ends that cannot write."""
    stdout, stderr = run.process.communicate(timeout=60)
    assert run.process.returncode == 1, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if "what was measured before is kept; make room" in line]
    assert re.search(words, line), line
    assert "one" in stdout
    result = read_result(run.out)
    assert result.records and {record.status for record in result.records} == {"ok"}  # no row is to blame
    assert [end.why for end in result.ends] in ([], ["disk"])
    assert not marked(run)
