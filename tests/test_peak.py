"""``bench peak``: the bounds alone, by real workers."""

from __future__ import annotations

import re
import signal

import psutil
import pytest
from frameworks import need
from processes import alive, ask, bench, one_line, start, wait_until

from impls import find_bounds

QUICK = ("--workload", "seed", "--task", "encode")
BOUNDS = {bound.name for bound in find_bounds().values()}


@pytest.mark.slow
def test_the_limits_are_measured_and_shown() -> None:
    for framework in find_bounds():
        need(framework)
    done = bench("peak", *QUICK, env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "square product, 1024 rows and columns" in done.stdout
    assert re.search(r"^seed +E 10, H 20", done.stdout, flags=re.MULTILINE)
    assert "576 kFLOP in products, about 27.2 kFLOP elementwise" in done.stdout
    for name in BOUNDS:
        rates = re.findall(rf"^ {name} .*?([\d.]+) [MG]FLOP/s", done.stdout, flags=re.MULTILINE)
        assert len(rates) == 2, done.stdout  # of the square product, and of the task
    assert f"{len(BOUNDS)} bounds take turns in 3 blocks" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # it can be piped


BAD = {
    "workload": (["--workload", "none"], "unknown workload 'none'; choose from seed, g2p"),
    "task": (["--task", "sleep"], "unknown task 'sleep'; choose from encode, forward, gradients, train_step"),
    "device": (["--device", "tpu"], "unknown device 'tpu'; choose from cpu, gpu"),
    "threads": (["--threads", "0"], "--threads 0: must be from 1"),
    "precision": (["--precision", "tf32"], "--precision tf32: is a GPU's"),
    "option": (["--impl", "torch/module"], "(?i)unknown option.*--impl"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(what: str) -> None:
    arguments, words = BAD[what]
    one_line(ask("peak", *arguments), words)


def test_without_a_framework_there_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peak.find_bounds", dict)
    one_line(ask("peak"), "no framework is installed that has a bound")


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that the process has started."""
    return [one for one in alive("bench.worker") if one.ppid() == pid]


def test_ctrl_c_ends_it_and_its_workers() -> None:
    process = start("peak", *QUICK)
    wait_until(lambda: workers_of(process.pid), "a worker")
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == "" and "Traceback" not in err
    assert not any(worker.is_running() for worker in workers)
