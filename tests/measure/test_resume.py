"""Nothing measured is lost: runs that are killed or interrupted, for real, and what goes on from there."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import msgspec
import psutil
import pytest
from rich.console import Console
from support.interrupting import TASKS, Started, begin, is_alive, kill, marked, own, read, read_lines, wait_for_block
from support.processes import alive, ask, bench, one_line, start, wait_until
from support.recorded import END, RUN, write
from support.recorded import record as recorded
from support.requests import facts_of, python_of, request_of

from bench.cli import run as cli_run
from bench.measure import run
from bench.measure.plan import BUDGETS
from bench.measure.request import Options
from bench.measure.run import check_resume, effort_of
from bench.records.schema import CONTROL, Record
from bench.records.store import read_result, record_line
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.records.schema import Run

STRAY = f"5432.{os.getpid()}"
LEAVES_A_STRAY = f"""
import subprocess
if in_a_turn() and not hasattr(self, 'left'):
    self.left = subprocess.Popen(['sleep', '{STRAY}'], start_new_session=True)
"""


class Killed(NamedTuple):
    """What a run left that was killed."""

    out: Path
    env: dict[str, str]
    workers: list[psutil.Process]
    lines: bytes


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """A run that was ended by SIGKILL in the middle of block 2."""
    run = begin(tmp_path_factory.mktemp("killed"), before=LEAVES_A_STRAY)
    try:
        wait_for_block(run, 2)
        workers = [
            child for child in psutil.Process(run.process.pid).children() if "bench.measure.worker" in child.cmdline()
        ]
        assert workers
    finally:
        kill(run.process)
    yield Killed(run.out, run.env, workers, (run.out / "records.jsonl").read_bytes())
    for stray in alive(f"sleep {STRAY}"):
        stray.kill()


def test_a_killed_runner_loses_nothing_and_takes_its_workers_along(killed: Killed) -> None:
    assert killed.lines.endswith(b"\n")
    result = read_result(killed.out)
    assert {record.status for record in result.records} == {"ok"}
    assert {record.block for record in result.records} == {1, 2}
    assert not result.memory  # that waits for the verdicts
    assert {(one.task, one.before > 0) for one in result.efforts} == {(task, True) for task in TASKS}
    assert not result.ends and not result.whole
    shown = bench("table", str(killed.out))
    assert shown.returncode == 0 and "it was cut short" in shown.stdout
    wait_until(lambda: not any(map(is_alive, killed.workers)), "the workers' end", 10)
    assert alive(f"sleep {STRAY}")  # what has a session of its own outlives them all, until the next run


def test_resume_measures_what_is_missing_and_nothing_else(killed: Killed) -> None:
    strays = alive(f"sleep {STRAY}")
    with (killed.out / "records.jsonl").open("ab") as file:
        file.write(record_line(read(killed.out)[0])[:100])  # what a death in the middle of writing leaves
    done = bench("run", "--resume", str(killed.out), *own(killed.out.parent), "--budget", "12s", env=killed.env)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"goes on: {len(read_lines(killed.lines))} records of 2 blocks are there", done.stderr)
    assert "one" in done.stdout and "two" in done.stdout

    data = (killed.out / "records.jsonl").read_bytes()
    assert data.startswith(killed.lines)
    result = read_result(killed.out)
    assert result.whole
    assert {record.status for record in result.records} == {"ok"}
    old = len(read_lines(killed.lines))
    assert len(result.records) > old
    measured: dict[tuple[int, str], set[str]] = {}
    for record in result.records:
        assert record.attempt == 0 or is_retake(record, result.records)
        if record.attempt == 0:
            sat = measured.setdefault((record.block, record.cell.task), set())
            assert record.cell.implementation not in sat  # once
            sat.add(record.cell.implementation)
    assert {(1, task) for task in TASKS} | {(2, task) for task in TASKS} <= measured.keys()
    assert all(sat == {"one", "two", CONTROL} for sat in measured.values())
    assert len(result.memory) == 4  # of two rows on two tasks, at the end
    assert not any(map(is_alive, strays)) and not alive(f"sleep {STRAY}")
    assert not [path for path in killed.out.iterdir() if path.name.startswith("numbers")]


def is_retake(record: Record, records: list[Record]) -> bool:
    """Whether the attempt before was contended."""
    before = [
        one
        for one in records
        if (one.block, one.cell.task, one.attempt) == (record.block, record.cell.task, record.attempt - 1)
    ]
    return any("contended" in one.flags for one in before)


def test_interrupted_runs_show_their_table_and_go_on(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and by what is started here as well
    run = begin(tmp_path)
    try:
        wait_for_block(run, 1)
        out = str(tmp_path / "other")
        arguments = ("--impl", str(tmp_path / "one.py"), "--workload", "seed", "--out", out)
        words = rf"another run has this machine: bench run into out, process {run.process.pid};"
        one_line(bench("run", *arguments, env=run.env), words)
        one_line(bench("run", "--resume", str(run.out), *own(tmp_path), env=run.env), words)
        assert not (tmp_path / "other").exists()
        run.process.send_signal(signal.SIGINT)
        interrupted(run)
        have = (run.out / "records.jsonl").read_bytes()

        for number in (signal.SIGTERM, signal.SIGHUP):  # the second where the terminal is closed
            before = len(read_lines((run.out / "records.jsonl").read_bytes()))
            again = Started(start("run", "--resume", str(run.out), *own(tmp_path), env=run.env), run.out, run.env)
            try:
                wait_for_more(run, before)
                again.process.send_signal(number)
                interrupted(again)
            finally:
                kill(again.process)
    finally:
        kill(run.process)
    assert (run.out / "records.jsonl").read_bytes().startswith(have)
    assert [end.why for end in read_result(run.out).ends] == ["interrupted", "interrupted", "interrupted"]


def wait_for_more(run: Started, before: int) -> None:
    """Wait for cells beyond so many."""
    wait_until(lambda: len(read_lines((run.out / "records.jsonl").read_bytes())) > before, "more")


def test_a_time_that_was_given_when_a_run_was_begun_is_obeyed_when_it_goes_on() -> None:
    preset = BUDGETS["default"]

    def began_with(total_s: float) -> Run:
        return msgspec.structs.replace(RUN, preset="default", plan=msgspec.structs.replace(RUN.plan, budget_s=total_s))

    assert effort_of(began_with(preset.total_s), None) == preset
    assert preset.sure_blocks > 1
    for found in (effort_of(began_with(90.0), None), effort_of(began_with(preset.total_s), "90s")):
        assert (found.total_s, found.sure_blocks) == (90.0, 1)


def interrupted(run: Started) -> None:
    """Check how a run ends that was asked to."""
    stdout, stderr = run.process.communicate(timeout=60)
    assert run.process.returncode == 130, stderr
    assert "two" in stdout and "it was interrupted" in " ".join(stdout.split())
    assert "interrupted: what was measured is kept" in stderr and "Traceback" not in stderr
    assert f"--resume {run.out} --impl {run.out.parent / 'one.py'} {run.out.parent / 'two.py'}" in stderr
    assert not marked(run)
    assert not [path for path in run.out.iterdir() if path.name.startswith("numbers")]


def head(**fields: object) -> Callable[[Path], object]:
    """A change of the run's head."""

    def change(folder: Path) -> None:
        (folder / "run.json").write_text(json.dumps(json.loads((folder / "run.json").read_text()) | fields))

    return change


def other_machine(folder: Path) -> None:
    environment = json.loads((folder / "run.json").read_text())["environment"]
    head(environment=environment | {"versions": environment["versions"] | {"numpy": "0.9"}})(folder)


def other_program(folder: Path) -> None:
    environment = json.loads((folder / "run.json").read_text())["environment"]
    head(environment=environment | {"harness": "0" * 64})(folder)


def damaged(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"status"', b'"sta\x00us"', 1))


REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "damaged": (damaged, (), r"records\.jsonl:1: is no result of this program, or damaged"),
    "foreign": (lambda folder: (folder / "run.json").write_text("{}"), (), r"run\.json: is no result of this program"),
    "newer": (head(schema_version=99), (), "schema version 99, this program reads up to"),
    "absent": (lambda folder: (folder / "run.json").unlink(), (), "holds no result"),
    "made with other versions": (other_machine, (), r"versions not the same \(numpy 0.9, now .*\); start a new run"),
    "made by another program": (other_program, (), r"what measures has changed since \(bench/ as far as"),
    "without its own files": (lambda _: None, (), "one is a file of your own; name it again, with --impl one.py"),
    "with a task": (lambda _: None, ("--task", "forward"), "leave --task out"),
    "with a preset": (lambda _: None, ("--preset", "full"), "leave --preset out"),
    "with a sweep": (lambda _: None, ("--sweep", "hidden_dim=8:16"), "leave --sweep out"),
    "with threads": (lambda _: None, ("--threads", "2"), "leave --threads out"),
    "with a precision": (lambda _: None, ("--precision", "tf32"), "leave --precision out"),
    "with a device": (lambda _: None, ("--device", "gpu"), "leave --device out"),
    "with a folder": (lambda _: None, ("--out", "elsewhere"), "leave --out out"),
    "with no time": (lambda _: None, ("--budget", "soon"), "--budget soon: must be a time"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_go_on_is_refused(what: str, killed: Killed, tmp_path: Path) -> None:
    change, options, words = REFUSED[what]
    folder = tmp_path / "copy"
    shutil.copytree(killed.out, folder)
    change(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    one_line(ask("run", "--resume", str(folder), *options), words)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_caption_that_was_changed_since_is_no_hindrance(killed: Killed, tmp_path: Path) -> None:
    """Neither is a commit of it, nor that it is not committed: what measures is the same."""
    folder = tmp_path / "copy"
    shutil.copytree(killed.out, folder)
    environment = json.loads((folder / "run.json").read_text())["environment"]
    other = {"git_commit": "0" * 40, "git_dirty": not environment["git_dirty"]}
    head(environment=environment | other)(folder)
    files = tuple(name for name in own(killed.out.parent) if name.endswith(".py"))
    assert check_resume(Options(resume=folder, impl=files)).result.run.environment.git_commit == "0" * 40


def test_a_package_installed_since_is_no_hindrance(killed: Killed, tmp_path: Path) -> None:
    """A row that needs it had no time, and has none when the run goes on."""
    folder = tmp_path / "copy"
    shutil.copytree(killed.out, folder)
    environment = json.loads((folder / "run.json").read_text())["environment"]
    assert environment["versions"].pop("jax", None)
    head(environment=environment)(folder)
    names = [name for name in own(killed.out.parent) if name.endswith(".py")]
    assert {row.name for row in check_resume(Options(resume=folder, impl=tuple(names))).request.rows} == {"one", "two"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.write_text(row.read_text() + "\n# changed\n"), "two has changed since; start a new run"),
        (lambda row: row.unlink(), r"two\.py: cannot be read \(No such file"),
    ],
)
def test_a_row_that_has_changed_cannot_go_on(change: Callable[[Path], object], words: str, killed: Killed) -> None:
    row = killed.out.parent / "two.py"
    text = row.read_text()
    try:
        change(row)
        one_line(ask("run", "--resume", str(killed.out), *own(killed.out.parent)), words)
    finally:
        row.write_text(text)


def test_a_run_that_cannot_write_its_head_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_head: object, folder: Path) -> None:
        (folder / "records.jsonl").touch()
        assert not (tmp_path / "out").exists()  # nor does one that is killed here
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request = request_of("a", (python_of(""),), out=tmp_path / "out")
    here = {
        "describe": lambda: RUN.environment,
        "code_facts": facts_of,
        "only_run": nullcontext,
        "preflight": mock.Mock(),
    }
    for name, value in {**here, "start_result": full}.items():
        monkeypatch.setattr(run, name, value)
    with pytest.raises(InvalidInput, match=r"--out .*out: cannot be written \(No space left on device\)"):
        run.run(request, mock.Mock()).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_table_that_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = write(tmp_path, recorded(), END)
    (folder / "table.md").write_text("as it was")
    monkeypatch.setattr(cli_run, "draw", lambda *_: None)
    monkeypatch.setattr(os, "fsync", full)
    stderr = io.StringIO()
    assert cli_run.show(run.Ended(folder, "", 0, ()), Console(file=stderr)) == 1
    assert "its tables cannot be written (No space left on device)" in " ".join(stderr.getvalue().split())
    assert (folder / "table.md").read_text() == "as it was"
