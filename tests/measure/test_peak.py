"""``bench peak``: the bounds alone, by real workers."""

from __future__ import annotations

import io
import re
import signal

import psutil
import pytest
from rich.console import Console
from support.frameworks import need
from support.processes import alive, ask, bench, one_line, start, wait_until
from support.recorded import record

from bench.analysis.cells import analyse
from bench.measure import peak
from bench.measure.messages import ProblemFile
from bench.measure.peak import Asked, Peak, check_peak
from bench.report.machine_text import render_peak
from bench.workloads.flops import BatchSizes, product_flops
from bench.workloads.shapes import SEED, WORDS
from impls import find_bounds
from impls.contract import InvalidInput

QUICK = ("--workload", "seed", "--task", "encode")
BOUNDS = {bound.name for bound in find_bounds().values()}


@pytest.mark.thorough
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
    "task": (["--task", "sleep"], 'Invalid value "sleep" for --task. Choose from: "encode", "forward"'),
    "device": (["--device", "tpu"], 'Invalid value "tpu" for --device. Choose from: "cpu", "gpu".'),
    "threads": (["--threads", "0"], "--threads 0: must be from 1"),
    "precision": (["--precision", "tf32"], "--precision tf32: is a GPU's"),
    "option": (["--impl", "torch/module"], "(?i)unknown option.*--impl"),
}


def test_a_precision_that_no_bound_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    thinc = {name: bound for name, bound in find_bounds().items() if "bfloat16" not in bound.precisions}
    monkeypatch.setattr(peak, "find_bounds", lambda: thinc)
    with pytest.raises(InvalidInput, match=r"--precision bfloat16: no bound computes in it; choose float32$"):
        check_peak(workload=["seed"], task=[], device="cpu", threads=["1"], precision=["float32", "bfloat16"])


@pytest.mark.parametrize("what", BAD)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(what: str) -> None:
    arguments, words = BAD[what]
    one_line(ask("peak", *arguments), words)


def test_without_a_framework_there_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.peak.find_bounds", dict)
    one_line(ask("peak"), "no framework is installed that has a bound")


def test_what_was_measured_is_shown_and_what_failed_is_named() -> None:
    sizes = [BatchSizes(10, 9, 2)]
    flops = product_flops(SEED.config, sizes, "forward")
    records = []
    for block, seconds in enumerate((0.010, 0.020, 0.020), 1):
        for name, times in (("a/products", 1), ("b/products", 2)):
            squares = {"square_size": 100, "squares_s": [times * seconds, 3 * seconds]}
            samples_s = [times * seconds] * 9
            records.append(record(name, tier="bound", block=block, samples_s=samples_s, **squares))
    words = {"status": "invalid", "reason": "it is off", "samples_s": []}
    records += [record("c/products", tier="bound", workload=name, **words) for name in ("seed", "g2p")]
    asked = Asked(
        bounds=(), workloads=(SEED, WORDS), tasks=("forward",), device="cpu", threads=(1,), precisions=("float32",)
    )
    problems = {one.name: ProblemFile(SEED.config, "", sizes) for one in (SEED, WORDS)}
    stream = io.StringIO()
    peak = Peak(asked=asked, problems=problems, cells=analyse(records, ""))
    Console(file=stream, width=80, highlight=False).print(*render_peak(peak), sep="\n")
    shown = stream.getvalue()
    assert re.findall(r"^ ([ab]/products) +([\d.]+) MFLOP/s", shown, flags=re.MULTILINE) == [
        ("a/products", "100"),
        ("b/products", "50.0"),
    ]
    shares = [f"{100 * flops / 2 / 100**3 / times:.0f} %" for times in (1, 2)]  # in every block the same
    assert re.findall(r"^ [ab]/products .*/s +(\d+ %) *$", shown, flags=re.MULTILINE) == shares
    assert " c/products seed forward: invalid: it is off" in shown
    assert " c/products g2p forward: invalid: it is off" in shown


def workers_of(pid: int) -> list[psutil.Process]:
    """The workers that the process has started."""
    return [one for one in alive("bench.measure.worker") if one.ppid() == pid]


def test_ctrl_c_ends_it_and_its_workers() -> None:
    process = start("peak", *QUICK)
    wait_until(lambda: workers_of(process.pid), "a worker")
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == "" and "Traceback" not in err
    assert not any(worker.is_running() for worker in workers)
