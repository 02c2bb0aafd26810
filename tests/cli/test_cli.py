"""The command line, as real processes where that matters: bad input is one line, exit code 2; a run is what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.processes import ROOT, alive, ask, bench, limited, numpy_row, one_line, wait_until
from support.recorded import record, write

from bench.analysis.cells import analyse, control
from bench.machine.cpus import processors
from bench.machine.gpu import gpus
from bench.measure.plan import BUDGETS
from bench.records.schema import CONTROL
from bench.records.store import read_result
from bench.workloads import sweeps

CAUGHT: dict[str, bool] = {"capture_output": True, "text": True}

SOURCE = ("--workload", "seed", "--task", "encode", "--preset", "smoke")


BAD = {
    "a bound": (["run", "--impl", "torch/products"], "torch/products is a bound, and no row: it is measured wherever"),
    "a bound's file": (["run", "--impl", "impls/torch/products.py"], r"products\.py is a bound, and no row"),
    "row": (["run", "--impl", "torch/none"], r"unknown row 'torch/none'; choose from .*torch/module.*ends in \.py"),
    "workload": (["run", "--workload", "none"], "unknown workload 'none'; choose from seed, g2p"),
    "task": (
        ["run", "--task", "sleep"],
        'Invalid value "sleep" for --task. Choose from: "encode", "forward", "gradients", "train_step".',
    ),
    "device": (["run", "--device", "tpu"], 'Invalid value "tpu" for --device. Choose from: "cpu", "gpu".'),
    "preset": (
        ["run", "--preset", "huge"],
        'Invalid value "huge" for --preset. Choose from: "smoke", "default", "full", "scaling", "threads".',
    ),
    "threads, no number": (["run", "--threads", "many"], "--threads many: must be a whole number"),
    "threads, zero": (["run", "--threads", "0"], "--threads 0: must be from 1"),
    "threads, too many": (["run", "--threads", "1", "4096"], "--threads 4096: must be from 1 to"),
    "shape, malformed": (["run", "--shape", "hidden_dim"], "--shape: 'hidden_dim' is not name=value"),
    "shape, unknown": (["run", "--shape", "depth=2"], "--shape: unknown name 'depth'; choose from embedding_dim"),
    "shape, zero": (["run", "--shape", "hidden_dim=0"], "hidden_dim must be a whole number of at least 1, not '0'"),
    "shape, negative": (["run", "--shape", "batch_size=-3"], "batch_size must be a whole number of at least 1"),
    "shape, not whole": (["run", "--shape", "hidden_dim=2.5"], "hidden_dim must be a whole number .* not '2.5'"),
    "shape, flag": (["run", "--shape", "bidirectional=maybe"], "bidirectional must be true or false, not 'maybe'"),
    "shape, too large": (["run", "--shape", "hidden_dim=900000"], r"needs about \d+ GiB, and \d+ GiB are free"),
    "shape, absurd": (["run", "--shape", "hidden_dim=1" + "0" * 200], "hidden_dim must be at most 1,000,000, not 1000"),
    "shape, absurdly deep": (["run", "--shape", "num_encoder_layers=1000000000"], "must be at most 1,000,000"),
    "shape, twice": (["run", "--shape", "hidden_dim=20,hidden_dim=30"], "--shape: hidden_dim is given twice"),
    "shape, empty": (["run", "--shape", ""], "--shape: '' is not name=value"),
    "sweep": (["run", "--sweep", "hidden_dim"], "--sweep: 'hidden_dim' is not name=low:high; example: hidden_dim=64"),
    "sweep, unknown": (["run", "--sweep", "depth=1:4"], "--sweep: unknown name 'depth'; choose from embedding_dim"),
    "sweep, falling": (["run", "--sweep", "batch_size=8:4"], "--sweep: batch_size must rise, and 8:4 does not"),
    "sweep, too large": (["run", "--sweep", "hidden_dim=64:900000"], r"needs about \d+ GiB, and \d+ GiB are free"),
    "sweep, threads": (["run", "--sweep", "threads=1:4096"], r"--threads \d+: must be from 1 to"),
    "sweep, no value": (["run", "--sweep"], "(?i)--sweep"),
    "scaling of words": (["run", "--preset", "scaling", "--workload", "g2p"], "--preset scaling sweeps sizes"),
    "out, too long": (["run", "--out", "x" * 300], "--out xxx.*: cannot be written"),
    "baseline": (["run", "--impl", "torch/cell", "--baseline", "jax/scan"], "--baseline jax/scan: is not in this run"),
    "option": (["run", "--speed", "9"], "(?i)unknown option.*--speed"),
    "command": (["fly"], "(?i)unknown command.*fly"),
    "no value": (["run", "--device"], "(?i)--device"),
    "budget": (["run", "--budget", "soon"], "--budget soon: must be a time such as 90s, 15m or 2h"),
    "budget, none": (["run", "--budget", "0s"], "--budget 0s: must be a time"),
    "precision": (
        ["run", "--precision", "half"],
        'Invalid value "half" for --precision. Choose from: "float32", "tf32", "bfloat16".',
    ),
    "precision, a GPU's": (["run", "--precision", "tf32"], "--precision tf32: is a GPU's"),
    "against nothing": (["run", "--against", "torch/cell"], "say what is held against it, with --impl"),
    "against itself": (["run", "--impl", "torch/cell", "--against", "torch/cell"], "is what --impl names already"),
    "no row at all": (
        ["run", "--precision", "bfloat16", "--impl", "thinc/layers"],
        "no row can be timed so: thinc/layers: the row does not compute in bfloat16$",
    ),
    "against, unknown": (["run", "--impl", "torch/cell", "--against", "torch/none"], "unknown row 'torch/none'"),
    "against and baseline": (
        ["run", "--impl", "torch/cell", "--against", "jax/scan", "--baseline", "jax/scan"],
        "--against names the baseline already",
    ),
    "resume, absent": (["run", "--resume", "nowhere"], "nowhere: no such folder"),
    "out exists": (["run", "--out", "tests"], "--out tests: exists already"),
    "out cannot be made": (["run", *SOURCE, "--out", "/proc/result"], "--out /proc/result: cannot be written"),
    "row file absent": (["run", "--impl", "nowhere/mine.py"], r"mine\.py: cannot be read \(No such file"),
    "table, absent": (["table", "nowhere"], "nowhere: no such folder"),
    "table, no result": (["table", "tests"], "tests: holds no result"),
    "table, nothing": (["table"], "name at least one result folder"),
    "table, format": (["table", "tests", "--format", "xml"], "(?i)xml.*text.*markdown.*csv.*json"),
    "publish, no result": (["publish", "tests"], "tests: holds no result"),
    "new row, name": (["new", "row", "../evil"], "a name is framework/variant"),
    "new row, a word of Python": (["new", "row", "torch/class"], "class is a word of Python"),
    "impl without a name": (["run", "--impl"], "(?i)--impl"),
    "table, a file": (["table", "README.md"], r"README\.md: is a file, not a folder"),
    "new row, taken": (["new", "row", "torch/module"], r"there is one already, impls/torch/module\.py"),
}


AS_A_PROCESS = ("row", "option", "out cannot be made", "table, absent")


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_exit_code_2(what: str) -> None:
    arguments, words = BAD[what]
    one_line(bench(*arguments) if what in AS_A_PROCESS else ask(*arguments), words)


@pytest.mark.skipif(bool(gpus()), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missed() -> None:
    one_line(bench("run", "--device", "gpu"), "--device gpu: `nvidia-smi -L` lists no NVIDIA device")


BAD_FILES = {
    "does not parse": ("def load(:\n", r"mine\.py:1: does not parse"),
    "no ROW": ("def load(): ...\n", r"mine\.py:1: has no ROW"),
    "fails on import": (
        'ROW = {"tier": "loop", "summary": "", "frameworks": ["numpy"]}\n1 / 0\ndef load(*_): ...\n',
        r"mine\.py:2: ZeroDivisionError: division by zero; full trace: .*\.log",
    ),
    "exits": (
        'ROW = {"tier": "loop", "summary": "", "frameworks": ["numpy"]}\n\n\nraise SystemExit(0)\ndef load(*_): ...\n',
        r"mine\.py:4: SystemExit",
    ),
    "exits without a word": (
        'ROW = {"tier": "loop", "summary": "", "frameworks": ["numpy"]}\nimport os\nos._exit(0)\ndef load(*_): ...\n',
        r"mine\.py: ended Python with exit code 0",
    ),
    "reaches for another framework": (
        'ROW = {"tier": "loop", "summary": "", "frameworks": ["numpy"]}\nimport optax\ndef load(*_): ...\n',
        r"mine\.py:2: ModuleNotFoundError: optax is blocked: another row's framework; ROW names what a row needs",
    ),
    "gives no row": (
        'ROW = {"tier": "loop", "summary": "", "frameworks": ["numpy"]}\n\ndef load(*_):\n    return 3\n',
        r"mine\.py:3: load gives a int without to_device\(\)$",
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_row_file_is_named_with_its_line(what: str, tmp_path: Path) -> None:
    text, words = BAD_FILES[what]
    path = tmp_path / "mine.py"
    path.write_text(text)
    out = tmp_path / "out"
    done = bench("run", "--impl", str(path), *SOURCE, "--out", str(out))
    one_line(done, words)
    assert not out.exists()
    if log := re.search(r"full trace: (.*\.log)", done.stderr):
        assert "Traceback" in Path(log[1]).read_text()
        Path(log[1]).unlink()


def test_a_persons_own_file_is_measured_against_a_row(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "mine")
    out = tmp_path / "out"
    done = ask("run", "--impl", str(path), "--against", "thinc/layers", *SOURCE, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout and "thinc/layers" in done.stdout
    assert re.search(
        r"(?m)^plan: 3 rows with the A/A control and 1 matmul bound in 1 pool, 1 block, seed \d+, budget", done.stderr
    )
    result = read_result(out)
    names = {record.cell.implementation for record in result.records}
    assert names == {"mine", "thinc/layers", "thinc/products", CONTROL}
    assert result.run.plan.pools == [["thinc/layers", "mine", "thinc/products", CONTROL]]
    assert result.run.bounds == {"thinc/layers": "thinc/products"}  # NumPy has no bound to hold a row against
    assert result.run.plan.first_block_s > 0
    assert str(tmp_path) not in (out / "run.json").read_text()  # results are published: no folders of this machine
    assert sorted(path.name for path in out.iterdir()) == [
        *("logs", "pytest-benchmark.json", "records.jsonl", "report.html", "run.json", "table.md")
    ]

    rows = json.loads(bench("table", str(out), "--format", "json").stdout)
    assert {row["implementation"]: row["baseline"] for row in rows} == {
        "mine": "thinc/layers",
        "thinc/layers": "thinc/layers",
        "thinc/products": "thinc/layers",
    }
    assert {row["verdict"] for row in rows} == {None}  # one block gives none
    assert "block 1 begins: 4 cells" in done.stderr and "hardly" not in done.stderr  # smoke is to have one block
    for style in ("text", "markdown", "csv"):
        shown = ask("table", str(out), "--format", style)
        assert shown.returncode == 0 and "thinc/layers" in shown.stdout


def test_paths_are_meant_from_where_the_person_is(tmp_path: Path) -> None:
    numpy_row(tmp_path, "mine")
    elsewhere = {"cwd": tmp_path, "env": {"PYTHONPATH": str(ROOT)}}
    done = bench("run", "--impl", "mine.py", *SOURCE, "--out", "sub/../out", **elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.endswith("page: sub/../out/report.html\nresult: sub/../out\n"), done.stderr
    (tmp_path / "out" / "records.jsonl").write_bytes(b"")
    done = bench("run", "--impl", "mine.py", "--resume", "out", **elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.endswith("result: out\n")
    assert {record.status for record in read_result(tmp_path / "out").records} == {"ok"}
    assert not (ROOT / "out").exists() and not (ROOT / "sub").exists()


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    command = f"rmdir {tmp_path}; {sys.executable} -m bench list"
    done = subprocess.run(command, shell=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, **CAUGHT)
    one_line(done, "the current folder is gone")


@pytest.mark.skipif(len(processors()) < 2, reason="one processor: there is one number of threads")
def test_each_number_of_threads_has_a_table_and_the_control_is_there_whatever_the_rows_are(tmp_path: Path) -> None:
    paths = [str(numpy_row(tmp_path, name)) for name in ("one", "two")]
    out = tmp_path / "out"
    done = ask("run", "--impl", *paths, *SOURCE, "--threads", "1", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    result = read_result(out)
    assert result.run.baseline == "one"  # torch/module is not in it
    assert {(record.cell.implementation, record.cell.threads, len(record.processors)) for record in result.records} == {
        (name, threads, threads) for name in ("one", "two", CONTROL) for threads in (1, 2)
    }
    judged = analyse(result.records, result.run.baseline)
    found = control(judged.values())
    assert found is not None and found.low < 1 < found.high
    assert {one.baseline for one in judged.values()} == {"one"}
    assert "control: too few blocks" in done.stdout


def test_a_row_that_is_wrong_makes_the_run_fail(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "wrong", after="result.h_n[0] += 1; return result")
    done = ask("run", "--impl", str(path), *SOURCE, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "invalid" in done.stdout and "h_n is off" in done.stdout
    assert f"what the workers that failed have said: {tmp_path / 'out' / 'logs'}" in done.stderr
    assert done.stderr.count("\nwrong seed encode: invalid: ") == 1  # said at once, and not again in each block
    assert " ".join(done.stdout.split()).endswith("there is nothing to compare.")
    assert {tuple(record.samples_s) for record in read_result(tmp_path / "out").records} == {()}


def picky_row(folder: Path) -> Path:
    """A file with a right row that takes one width only."""
    path = numpy_row(folder, "picky")
    refusal = "    if config.hidden_dim != 6:\n        raise NotImplementedError('it is 6 wide')\n    return Row("
    path.write_text(path.read_text(encoding="utf-8").replace("    return Row(", refusal), encoding="utf-8")
    return path


def test_a_file_that_takes_a_shape_of_the_run_is_measured_there_and_unsupported_elsewhere(tmp_path: Path) -> None:
    rows, out = (str(picky_row(tmp_path)), str(numpy_row(tmp_path, "mine"))), tmp_path / "out"
    words = ("--sweep", "hidden_dim=3:6", "--shape", "embedding_dim=4", "--task", "encode", "--preset", "smoke")
    done = ask("run", "--impl", *rows, *words, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "picky encode: unsupported: it is 6 wide" in " ".join(done.stdout.split())
    assert "logs" not in done.stderr  # nothing has failed
    status_of = {(one.cell.implementation, "-h6-" in one.cell.workload): one.status for one in read_result(out).records}
    assert status_of["picky", True] == status_of["mine", True] == status_of["mine", False] == "ok"
    assert status_of["picky", False] == "unsupported"


def test_a_file_that_takes_no_shape_of_the_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = ask("run", "--impl", str(picky_row(tmp_path)), "--sweep", "hidden_dim=3:5", "--out", str(out))
    one_line(done, r"picky\.py:\d+: NotImplementedError: it is 6 wide; full trace: .*\.log")
    assert not out.exists()


def test_what_a_row_leaves_while_it_is_looked_at_is_ended(tmp_path: Path) -> None:
    left = f"6543.{os.getpid()}"
    top = f"import subprocess; subprocess.Popen(['sleep', '{left}'], start_new_session=True)\nraise SystemExit"
    done = bench("run", "--impl", str(numpy_row(tmp_path, "leaves", top=top)), *SOURCE, "--out", str(tmp_path / "out"))
    one_line(done, r"leaves\.py:\d+: SystemExit")
    wait_until(lambda: not alive(f"sleep {left}"), "its end", 10)


def test_a_run_says_what_its_workers_lack_and_keeps_within_the_limits_that_it_has(tmp_path: Path) -> None:
    asks = "import resource; print('may have', resource.getrlimit(resource.RLIMIT_AS)[0], flush=True)"
    befores = {"mine": asks, "talks": "print('x' * 2**19)"}
    rows = [str(numpy_row(tmp_path, name, before=before)) for name, before in befores.items()]
    out = tmp_path / "out"
    done = limited(
        "ulimit -v 9000000; ulimit -f 2048",  # 2 MiB: more than the page, less than what is said
        *("-m", "bench", "run", "--impl", *rows, *SOURCE, "--out", str(out)),
        env={"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_L2_SIZE": "1024", "JANE_ROES_TOKEN": "secret"},
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    said = re.search(r"^workers have values of their own, or none, of: (.*)$", done.stderr, flags=re.MULTILINE)
    assert said and {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} <= set(said[1].split(", "))
    assert done.stderr.index(said[0]) < done.stderr.index("plan: ")
    assert "JANE" not in done.stderr
    result = read_result(out)
    assert {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "JANE_ROES_TOKEN"} <= set(result.run.environment.left_out)
    assert "secret" not in (out / "run.json").read_text() and "Prescott" not in (out / "run.json").read_text()
    assert f"may have {result.run.plan.memory_limit_bytes}\n" in (out / "logs" / "mine-1-float32.log").read_text()
    assert (result.run.plan.memory_limit_bytes or 0) <= 9_000_000 * 1024
    reasons = {record.cell.implementation: record.reason for record in result.records}
    assert reasons["mine"] is None
    assert "the worker's log is as long as a file may be here (ulimit -f)" in (reasons["talks"] or "")


@pytest.mark.thorough
def test_more_files_than_may_be_open_end_a_run_with_what_it_has(tmp_path: Path) -> None:
    rows = [str(numpy_row(tmp_path, f"row{number}")) for number in range(7)]
    done = limited("ulimit -n 32", *("-m", "bench", "run", "--impl", *rows, *SOURCE, "--out", str(tmp_path / "out")))
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert ": Too many open files (ulimit -n): what was measured before is kept; go on with" in done.stderr


@pytest.mark.parametrize(("limit", "words"), [("ulimit -n 12", r"12 files open"), ("ulimit -v 600000", "0.6 GiB of")])
def test_limits_that_it_cannot_run_under_are_one_line(limit: str, words: str) -> None:
    one_line(limited(limit, "-m", "bench", "list"), words)


def test_what_a_process_may_have_is_all_that_is_free() -> None:
    arguments = ("-m", "bench", "run", *SOURCE[2:], "--shape", "hidden_dim=460")
    one_line(limited("ulimit -v 1500000", *arguments), r"needs about \d+ GiB, and 1 GiB are free")


def test_processor_time_that_is_used_up_is_said_before_the_process_is_killed() -> None:
    script = "import sys, bench.cli.main as bench\nsys.argv = ['bench', 'list']"
    script += "\ndef app(*_, **__):\n    while True: pass\nbench.app = app"
    done = limited("ulimit -t 2", "-c", f"{script}\nsys.exit(bench.main())")
    assert done.returncode == 130
    assert done.stderr == "bench: the processor time that a process may have here is used up (ulimit -t)\n"


@pytest.mark.thorough
def test_a_scaling_run_is_made_fitted_and_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "BESIDE", 6)
    monkeypatch.setattr(sweeps, "HELD_OUT", 3)
    quick = replace(BUDGETS["scaling"], timed_s=0.02, min_turns=2, min_blocks=1, max_blocks=1)
    monkeypatch.setitem(BUDGETS, "scaling", quick)
    rows = [str(numpy_row(tmp_path, "mine")), str(numpy_row(tmp_path, "slow", before="import time; time.sleep(0.02)"))]
    words = ("--preset", "scaling", "--sweep", "hidden_dim=4:64", "batch_size=1:8", "--shape", "embedding_dim=4")
    out = tmp_path / "out"
    done = ask("run", "--impl", *rows, *words, "--task", "encode", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "encode cpu×1" in done.stdout and re.search(r"mine .* a call|mine .* a step", done.stdout)
    assert "came out first in encoding at 3 of 3 held-out shapes" in " ".join(done.stdout.split())
    assert done.stdout.rstrip().endswith("how sure that is.")
    assert "# What a call costs" in (out / "scaling.md").read_text() and (out / "scaling.json").exists()
    result = read_result(out)
    assert result.whole and {one.status for one in result.records} == {"ok"}
    assert sum(facts.held_out for facts in result.run.workloads.values()) == 3
    shape = "embedding_dim=4,hidden_dim=24,num_encoder_layers=1,num_decoder_layers=1,sequence_length=16,batch_size=3"
    words = ("--shape", f"{shape},output_seq_length=16", "--task", "encode", "--result", str(out))
    said = " ".join(ask("advise", *words).stdout.split())
    assert "mine is expected to be the fastest; slow, the next, takes" in said
    assert "Inside of what was swept" in said


def test_a_terminal_without_the_signs_gets_others(tmp_path: Path) -> None:
    write(tmp_path, record())
    done = bench("table", str(tmp_path), env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "torch/module" in done.stdout and "1.00?" in done.stdout


def test_a_row_that_is_asked_for_and_not_there_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('ROW = {"tier": "loop", "summary": "", "frameworks": ["nowhere"]}\ndef load(*_): ...\n')
    done = ask("run", "--impl", str(path), *SOURCE, "--out", str(tmp_path / "out"))
    one_line(done, "mine: nowhere is not installed; install it, or leave the row out")
    assert not (tmp_path / "out").exists()


def test_help_has_examples() -> None:
    for command in (["run"], ["advise"], ["peak"], ["table"], ["list"], ["publish"], ["new", "row"]):
        done = ask(*command, "--help")
        assert done.returncode == 0
        assert f"python -m bench {' '.join(command)}" in done.stdout
    assert "Write the template of a row" in ask("new", "--help").stdout
