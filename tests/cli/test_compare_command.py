"""``bench compare`` as a real process; and the export that pytest-benchmark opens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.changes import TIMES, changed, here, records, result, slower
from support.processes import bench, one_line
from support.recorded import record

from bench.analysis.analysis import Analysis
from bench.records.schema import CONTROL
from bench.records.store import read_result
from bench.report.export import to_pytest_benchmark


def test_the_command_says_what_changed_and_fails_only_if_asked_to(tmp_path: Path) -> None:
    result(tmp_path / "old", *records(TIMES, seed=1))
    result(tmp_path / "slower", *records(slower(jax=1.3), seed=2), run=changed("jax/scan"))
    result(tmp_path / "same", *records(TIMES, seed=3))
    result(tmp_path / "few", *records(slower(jax=3.0), seed=4, blocks=2), run=changed("jax/scan"))
    lost = [one for one in records(TIMES, seed=5) if one.cell.implementation != "jax/scan"]
    result(tmp_path / "lost", *lost, record("jax/scan", status="crashed", samples_s=[]))
    expected = {"slower": 1, "lost": 1, "same": 0, "old": 0}
    for name, code in expected.items():
        done = bench("compare", str(tmp_path / "old"), str(tmp_path / name), "--fail-on", "slower")
        assert (done.returncode, done.stderr) == (code, ""), (name, done.stdout)
    done = bench("compare", str(tmp_path / "old"), str(tmp_path / "few"), "--fail-on", "slower")
    assert done.returncode == 2 and done.stderr.startswith("bench: --fail-on slower: no cell has a verdict")
    assert "jax/scan" in done.stdout
    result(tmp_path / "doubtful", *records(slower(jax=1.3) | {CONTROL: 0.011}, seed=12))
    done = bench("compare", str(tmp_path / "old"), str(tmp_path / "doubtful"), "--fail-on", "slower")
    assert done.returncode == 2 and done.stderr.startswith("bench: --fail-on slower: NEW may not be trusted")
    done = bench("compare", str(tmp_path / "old"), str(tmp_path / "slower"))
    assert done.returncode == 0 and "SLOWER" in done.stdout


def test_the_command_gives_every_format(tmp_path: Path) -> None:
    result(tmp_path / "old", *records(TIMES, seed=1))
    result(tmp_path / "new", *records(TIMES, seed=2), run=here(cpu="Another Processor"))
    both = str(tmp_path / "old"), str(tmp_path / "new")
    assert "| `jax/scan` |" in bench("compare", *both, "--format", "markdown").stdout
    done = bench("compare", *both, "--format", "json")
    assert len(json.loads(done.stdout)) == 3
    assert done.stderr.startswith("bench: Two machines.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "nowhere"], "nowhere: no such folder"),
        (["tests", "tests"], "tests: holds no result"),
        (["tests"], "(?i)new"),
        (["tests", "tests", "--fail-on", "unclear"], "(?i)slower"),
        (["tests", "tests", "--format", "csv"], "(?i)markdown"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    one_line(bench("compare", *arguments), words)


def pytest_benchmark(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real program."""
    command = [str(Path(sys.executable).with_name("pytest-benchmark")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_pytest_benchmark_opens_the_export(tmp_path: Path) -> None:
    lines = [
        *records(TIMES | {CONTROL: 0.010}, seed=1),
        *records(TIMES, seed=2, workload="g2p", precision="tf32", device="gpu"),
        record("jax/nnx", status="error", samples_s=[]),
    ]
    one = result(tmp_path / "old", *lines)
    (tmp_path / "one.json").write_bytes(to_pytest_benchmark(Analysis(one)))
    (tmp_path / "other.json").write_bytes(to_pytest_benchmark(Analysis(one)))
    done = pytest_benchmark("compare", "one.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test_cell[torch/module-seed-forward-cpu1]" in done.stdout
    assert "test_cell[jax/scan-g2p-forward-gpu1-tf32]" in done.stdout
    assert "control" not in done.stdout and "jax/nnx" not in done.stdout
    assert not done.stderr.strip()

    grouped = pytest_benchmark("compare", "one.json", "--group-by", "group", "--sort", "mean", cwd=tmp_path)
    assert "benchmark 'seed-forward': 3 tests" in grouped.stdout
    twice = pytest_benchmark("compare", "one.json", "other.json", "--between", "median", cwd=tmp_path)
    assert twice.returncode == 0, twice.stderr
    assert "+0.0%" in twice.stdout


def test_the_export_has_all_samples_and_is_the_same_at_every_look(tmp_path: Path) -> None:
    lines = records(TIMES, seed=1)
    one = result(tmp_path / "old", *lines)
    data = to_pytest_benchmark(Analysis(one))
    assert data == to_pytest_benchmark(Analysis(read_result(tmp_path / "old")))
    saved = json.loads(data)
    assert {entry["group"] for entry in saved["benchmarks"]} == {"seed-forward"}
    for entry in saved["benchmarks"]:
        mine = [line for line in lines if line.cell.implementation == entry["params"]["implementation"]]
        samples = [sample for line in mine for sample in line.samples_s]
        assert entry["stats"]["data"] == samples
        assert entry["stats"]["rounds"] == len(samples) == 8 * 15
        assert entry["stats"]["median"] == pytest.approx(float(np.median(samples)))
        assert entry["stats"]["iterations"] == 5
