"""Nothing measured is lost: runs that are killed, interrupted or out of disk, for real, and what goes on from there."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.pretend import row as pretended
from support.processes import alive, ask, bench, numpy_row, one_line, start, wait_until
from support.recorded import END, RUN, write
from support.recorded import record as recorded

from bench.cli import run as cli_run
from bench.machine.interpreters import Interpreter
from bench.measure import run
from bench.measure.lock import MARK_VARIABLE
from bench.measure.plan import BUDGETS
from bench.measure.request import Options, Request
from bench.measure.run import check_resume, effort_of
from bench.records.schema import CONTROL, CodeFacts, Record
from bench.records.store import read_result, record_line
from bench.records.versions import join
from bench.workloads.shapes import SEED
from impls.contract import PRECISIONS, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.measure.plan import Plan
    from bench.records.schema import Run
    from impls import Row

TASKS = ("encode", "forward")
STRAY = f"5432.{os.getpid()}"
LEAVES_A_STRAY = f"""
import subprocess
if in_a_turn() and not hasattr(self, 'left'):
    self.left = subprocess.Popen(['sleep', '{STRAY}'], start_new_session=True)
"""


def own(folder: Path) -> tuple[str, ...]:
    """The rows of ``begin`` again: a result does not say where they are."""
    return "--impl", str(folder / "one.py"), str(folder / "two.py")


class Started(NamedTuple):
    """A run in a folder, on a machine of its own (a ``TMPDIR``, which has the lock)."""

    process: subprocess.Popen[str]
    out: Path
    env: dict[str, str]


def begin(folder: Path, *more: str, before: str = "pass", out: Path | None = None) -> Started:
    """A run of two quick rows: at least three blocks."""
    (folder / "machine").mkdir(exist_ok=True)
    env = {"TMPDIR": str(folder / "machine")}
    out = out or folder / "out"
    rows = [str(numpy_row(folder, "one")), str(numpy_row(folder, "two", before=before))]
    arguments = ["run", "--impl", *rows, "--workload", "seed", "--task", *TASKS, "--baseline", "one", "--out", str(out)]
    return Started(start(*arguments, *more, env=env), out, env)


def read(out: Path) -> list[Record]:
    """The records so far."""
    return read_result(out).records if (out / "run.json").exists() else []


def wait_for_block(run: Started, block: int) -> None:
    """Wait until a group of this block is on disk."""

    def has_it() -> bool:
        assert run.process.poll() is None, run.process.communicate()
        return any(record.block == block for record in read(run.out))

    wait_until(has_it, f"block {block}")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def marked(run: Started) -> list[psutil.Process]:
    """The processes of the run that are left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK_VARIABLE, "").startswith(run.env["TMPDIR"]) and is_alive(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


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


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


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


def read_lines(data: bytes) -> list[dict[str, object]]:
    """The cells' lines."""
    return [line for line in map(json.loads, data.splitlines()) if line["type"] == "cell"]


def is_retake(record: Record, records: list[Record]) -> bool:
    """Whether the attempt before was contended."""
    before = [
        one
        for one in records
        if (one.block, one.cell.task, one.attempt) == (record.block, record.cell.task, record.attempt - 1)
    ]
    return any("contended" in one.flags for one in before)


def test_interrupted_runs_show_their_table_and_go_on(tmp_path: Path) -> None:
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


ABLE = {"a": {}, "b": {"precisions": ("float32",)}, "c": {"unsupported": {"forward": "c does not"}}, "d": {}}
ROWS_OF = {name: pretended(f"{name}/row", frameworks=(name,), **able) for name, able in ABLE.items()}
BOUNDS = tuple(pretended(f"{name}/products", frameworks=(name,), tier="bound") for name in ("a", "c"))


def python_of(version: str, *lacks: str) -> Interpreter:
    """A Python that has what the rows above need, but for some of it."""
    return Interpreter(version, Path("/python"), "3.11", frozenset({*ABLE} - {*lacks}), {})


def pools_of(
    request: Request,
    entries: int,
    *,
    now: tuple[Interpreter, ...] = (),
    written: list[list[str]] | None = None,
) -> tuple[Plan, Plan]:
    """A run's plan, and that of its continuation, which knows no more than what the run has written down.

    ``entries``: how many there is room for in a pool, when the run begins. ``now``: the interpreters as they are
    later. ``written``: what stands in the result instead of its pools.
    """
    rows, bounds = ({row.name: row for row in some} for some in (request.rows, request.bounds))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(
            run,
            entries_that_fit=lambda *_: entries,
            describe=lambda: RUN.environment,
            code_facts=facts_of,
            find_rows=lambda: rows,
            find_bounds=lambda: bounds,
            choose_interpreters=lambda *_: now or request.interpreters,
        ),
    ):
        begun = run.planned(request, 7)
        begins = run._head(request, begun)
        facts = msgspec.structs.replace(begins.plan, pools=written or begins.plan.pools)
        result = write(Path(folder) / "run", run=msgspec.structs.replace(begins, plan=facts))
        return begun, run.planned_again(check_resume(Options(resume=result)))


def facts_of(row: Row, _: Interpreter) -> CodeFacts:
    return CodeFacts(code=row.name, versions={})


def request_of(
    names: Sequence[str], interpreters: tuple[Interpreter, ...], baseline: str = "", **more: object
) -> Request:
    rows = tuple(ROWS_OF[name] for name in names)
    values = {
        "rows": rows,
        "interpreters": interpreters,
        "bounds": (),
        "workloads": (SEED,),
        "tasks": ("encode", "forward"),
        "device": "cpu",
        "threads": (1,),
        "precisions": ("float32",),
        "preset": "default",
        "budget": BUDGETS["default"],
        "baseline": baseline or join(rows[0].name, interpreters[0].version),
        "out": Path("out"),
        "command": "",
    }
    return Request(**(values | more))  # type: ignore[arg-type]


@given(data=st.data())
def test_a_run_that_goes_on_has_the_same_rows_in_the_same_pools(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*ABLE]), min_size=1, unique=True))
    versions = data.draw(st.lists(st.sampled_from(["1.0", "2.0", "10.0"]), max_size=3, unique=True))
    lacks = st.sets(st.sampled_from([*ABLE]), max_size=2)
    interpreters = tuple(python_of(version, *data.draw(lacks)) for version in versions) or (
        python_of("", *data.draw(lacks)),
    )
    request = request_of(
        names,
        interpreters,
        data.draw(st.sampled_from([join(f"{name}/row", one.version) for name in names for one in interpreters])),
        bounds=() if versions else BOUNDS,
        device="gpu",
        threads=tuple(data.draw(st.permutations([1, 2, 3]))[: data.draw(st.integers(1, 3))]),
        precisions=tuple(data.draw(st.permutations(PRECISIONS))[: data.draw(st.integers(1, 3))]),
    )
    begun, again = pools_of(request, data.draw(st.integers(3, 14)))
    assert again == replace(begun, budget=again.budget)


def test_the_baselines_row_is_the_first_entry_of_a_run_and_of_its_continuation() -> None:
    request = request_of("ab", (python_of("1.0"), python_of("2.0")), "b/row@2.0")
    begun, again = pools_of(request, 4)
    assert begun.names == [
        ["b/row@2.0", "b/row@1.0", "a/row@1.0", CONTROL],
        ["b/row@2.0", "a/row@2.0", CONTROL],
    ]
    assert again.names == begun.names


def test_what_was_installed_since_has_no_entry_in_a_run_that_goes_on() -> None:
    request = request_of("abc", (python_of("1.0", "b"), python_of("2.0")))
    begun, again = pools_of(request, 4, now=(python_of("1.0"), python_of("2.0")))
    assert again.names == begun.names
    assert "b/row@1.0" not in {name for table in again.names for name in table}
    skipped = [{(one.cell, one.status) for one in plan.skipped} for plan in (begun, again)]
    assert skipped[0] == skipped[1]
    said = {one.reason for one in again.skipped if one.cell.implementation == "b/row@1.0"}
    assert said == {"was not installed when the run began"}


def test_a_run_that_cannot_write_its_head_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_head: object, folder: Path) -> None:
        (folder / "records.jsonl").touch()
        assert not (tmp_path / "out").exists()  # nor does whoever is killed here
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


def test_a_run_on_a_gpu_does_not_go_on_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = msgspec.structs.replace(RUN.environment, gpus=["NVIDIA H100"])
    monkeypatch.setattr(run, "describe", lambda: msgspec.structs.replace(environment, gpus=["NVIDIA L4"]))
    plan = msgspec.structs.replace(RUN.plan, device="gpu")
    folder = write(tmp_path / "run", run=msgspec.structs.replace(RUN, environment=environment, plan=plan))
    with pytest.raises(
        InvalidInput, match=r"gpus not the same \(\['NVIDIA H100'\], now \['NVIDIA L4'\]\); start a new run"
    ):
        check_resume(Options(resume=folder))
    folder = write(tmp_path / "cpu", run=msgspec.structs.replace(RUN, environment=environment, rows={}))
    with pytest.raises(InvalidInput, match="does not say which rows"):  # to which a GPU does not matter
        check_resume(Options(resume=folder))


def test_a_table_that_cannot_be_written_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = write(tmp_path, recorded(), END)
    (folder / "table.md").write_text("as it was")
    monkeypatch.setattr(cli_run, "_write_page", lambda *_: False)
    monkeypatch.setattr(os, "fsync", full)
    stderr = io.StringIO()
    assert cli_run.show(run.Ended(folder, "", 0, ()), Console(file=stderr)) == 1
    assert "its tables cannot be written (No space left on device)" in " ".join(stderr.getvalue().split())
    assert (folder / "table.md").read_text() == "as it was"


def test_a_run_whose_pools_would_differ_does_not_go_on() -> None:
    request = request_of("ab", (python_of(""),))
    with pytest.raises(InvalidInput, match=r"--resume .*run: other rows would share its pools; start a new run"):
        pools_of(request, 4, written=[["a/row", CONTROL, "b/row"]])
