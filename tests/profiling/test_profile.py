"""``bench profile``, as real processes: what it shows and saves, what it refuses, what an end leaves."""

from __future__ import annotations

import gzip
import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.frameworks import need
from support.processes import alive, ask, bench, numpy_row, one_line, start, wait_until
from support.recorded import RUN

from bench.machine.describe import code_facts
from bench.profiling import measure as measuring
from bench.profiling.measure import check_profile
from bench.profiling.profiles import read_profiles
from bench.records.atomic import new_folder
from impls.contract import InvalidInput
from impls.profiling import CALL, KINDS

if TYPE_CHECKING:
    from bench.records.schema import Environment

ROWS = {"torch/module": "torch", "jax/scan": "jax", "thinc/layers": "thinc"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", ROWS)
def test_a_rows_time_is_shown_and_saved_with_a_trace(name: str, tmp_path: Path) -> None:
    need(ROWS[name])
    out = tmp_path / "out"
    done = bench("profile", name, "--out", str(out), env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # it can be piped
    shown = re.sub(r"(?m)^ trace: .*$", "", done.stdout)
    assert f"{name}  seed forward, cpu×1" in shown and f"{name}  seed train_step" in shown
    assert re.search(r"^ overhead +[\d.]+ [mµ]s +[\d.]+ %", shown, flags=re.MULTILINE)
    assert "https://ui.perfetto.dev" in shown
    profiles = read_profiles(out).profiles
    assert [profile.task for profile in profiles] == ["forward", "train_step"]
    for profile in profiles:
        categories = profile.categories_s
        assert sum(categories.values()) == pytest.approx(profile.call_s)
        assert categories["product"] + categories["fused"] > 0
        assert categories["elementwise"] > 0
        assert categories["other"] == 0, [own.name for own in profile.operations if own.kind == "other"]
        assert profile.max_relative_error is not None and 0 < profile.max_relative_error < 1e-5
        assert profile.slowdown > 0.5
        assert profile.trace is not None
        check_trace(out / profile.trace, len(profile.profiled))
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["profile.json", *(profile.trace or "" for profile in profiles)]
    )
    assert str(tmp_path) not in (out / "profile.json").read_text()


def check_trace(path: Path, calls: int) -> None:
    """Check that a file is what Perfetto opens: Chrome's trace event format, in its JSON object form."""
    trace = json.loads(gzip.decompress(path.read_bytes()))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    complete = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    for event in trace["traceEvents"]:
        assert isinstance(event["name"], str) and len(event["ph"]) == 1
        assert isinstance(event["pid"], int | str)
    for event in complete:
        assert isinstance(event["ts"], int | float) and event["dur"] >= 0 and isinstance(event["tid"], int | str)
        assert event.get("cat", CALL) in (*KINDS, CALL)
    assert sum(event.get("cat") == CALL for event in complete) == calls


@pytest.mark.thorough
def test_the_optimiser_of_a_wrapper_is_seen_in_the_wrapped_frameworks_profile(tmp_path: Path) -> None:
    need("torch")
    need("thinc")
    done = bench("profile", "thinc/pytorch", "--task", "train_step", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (profile,) = read_profiles(tmp_path / "out").profiles
    names = {own.name: own.kind for own in profile.operations}
    assert names["thinc::adam"] == "elementwise" and names["aten::mkldnn_rnn_layer"] == "fused"


def test_a_row_without_a_profiler_has_call_times_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "helper.py").write_text("")
    path = numpy_row(tmp_path, "mine", top="import helper")
    done = bench("profile", str(path), "--task", "encode", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert re.search(r"a call takes [\d.]+ [mµ]s; there is no profiler for numpy", done.stdout)
    (profile,) = read_profiles(out).profiles
    assert profile.profiler is None and not profile.operations and profile.turns
    assert [path.name for path in out.iterdir()] == ["profile.json"]


def test_a_row_that_is_wrong_is_not_profiled(tmp_path: Path) -> None:
    path = numpy_row(tmp_path, "wrong", after="result.h_n[0] += 1; return result")
    out = tmp_path / "out"
    done = bench("profile", str(path), "--task", "encode", "--out", str(out))
    assert done.returncode == 1
    assert "invalid: h_n is off" in done.stdout
    assert f"what those that failed have said: {out}/logs" in done.stderr
    assert not read_profiles(out).profiles[0].turns


def test_a_row_that_does_not_take_the_shape_is_not_profiled_and_says_why(tmp_path: Path) -> None:
    path, out = numpy_row(tmp_path, "picky"), tmp_path / "out"
    refusal = "    if config.hidden_dim < 100:\n        raise NotImplementedError('it is narrow')\n    return Row("
    path.write_text(path.read_text().replace("    return Row(", refusal))
    words = ("--workload", "seed", "latency", "--task", "encode", "--out", str(out))
    done = bench("profile", str(path), *words)
    assert done.returncode == 1
    assert "unsupported: it is narrow" in done.stdout
    assert [one.status for one in read_profiles(out).profiles] == ["unsupported", "ok"]


BAD = {
    "row": (["torch/none"], r"unknown row 'torch/none'; choose from .*torch/module"),
    "workload": (["torch/module", "--workload", "none"], "unknown workload 'none'; choose from seed, g2p"),
    "task": (["torch/module", "--task", "sleep"], 'Invalid value "sleep" for --task. Choose from: "encode"'),
    "a task that the row has not": (
        ["thinc/native", "--task", "train_step"],
        "thinc/native has no train_step: Thinc's backprop_lstm gives wrong gradients",
    ),
    "threads": (["torch/module", "--threads", "0"], "--threads 0: must be from 1"),
    "device": (["torch/module", "--device", "cpu"], "(?i)unknown option.*--device"),
    "out exists": (["torch/module", "--out", "tests"], "--out tests: exists already"),
    "a bound": (["torch/products"], "torch/products is a bound, and no row"),
    "option": (["torch/module", "--speed", "9"], "(?i)unknown option.*--speed"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(what: str) -> None:
    arguments, words = BAD[what]
    if what not in ("row", "a bound"):
        need(arguments[0].partition("/")[0])
    one_line(ask("profile", *arguments), words)


def test_a_framework_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('ROW = {"tier": "loop", "summary": "", "frameworks": ["nowhere"]}\ndef load(*_): ...\n')
    one_line(ask("profile", str(path)), "mine: nowhere is not installed; install it, or leave the row out")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    row = numpy_row(tmp_path, "mine")
    one_line(bench("profile", str(row), "--out", "/proc/profiles"), "--out /proc/profiles: cannot be written")


def test_the_folder_is_meant_from_where_the_person_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = numpy_row(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    request = check_profile(rows=["mine.py"], workload=[], task=["encode"], threads="1", out=Path("out"))
    assert request.out == tmp_path / "out", "processes run in the repository's folder"
    assert request.rows["mine"].path == row


def test_what_a_killed_one_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / ".out.new"
    left.mkdir()
    (left / "old.trace.json.gz").touch()
    with new_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_only_what_the_folder_refuses_is_told_of_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(BlockingIOError), new_folder(out):
        raise BlockingIOError(11, "Resource temporarily unavailable")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidInput, match=r"--out .*: cannot be written"), new_folder(out):
        out.mkdir()
        (out / "somebody's").touch()


def test_the_code_is_what_it_was_when_profiling_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numpy_row(tmp_path, "mine")
    request = check_profile(rows=[str(path)], workload=[], task=["encode"], threads="1", out=tmp_path / "out")
    (row,) = request.rows.values()
    before, told = code_facts(row), []

    def describe() -> Environment:
        return msgspec.structs.replace(RUN.environment, git_commit="after" if told else "before")

    def tell(what: str) -> None:
        told.append(what)
        path.write_text(f"{path.read_text()}\n# {what}\n")

    monkeypatch.setattr(measuring, "describe", describe)
    found = measuring.measure(request, tell)
    assert told and found.environment.git_commit == "before"
    assert found.profiles[0].status == "ok" and found.profiles[0].code == before != code_facts(row)


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    row = numpy_row(tmp_path, "slow", before="import time; time.sleep(1)")
    process = start("profile", str(row), "--task", "encode", "--out", str(folder / "out"))
    wait_until(lambda: [one for one in alive("bench.profiling.worker") if one.ppid() == process.pid], "the process")
    workers = [one for one in alive("bench.profiling.worker") if one.ppid() == process.pid]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == "" and "Traceback" not in err
    assert not list(folder.iterdir())
    assert not any(worker.is_running() for worker in workers)


def test_ctrl_c_saves_the_profiles_that_are_made(tmp_path: Path) -> None:
    folder, flag = tmp_path / "out", tmp_path / "flag"
    row = numpy_row(tmp_path, "stops", before=f"import os, time; os.path.exists({str(flag)!r}) and time.sleep(60)")
    process = start("profile", str(row), "--task", "encode", "forward", "--out", str(folder))
    wait_until(lambda: alive("bench.profiling.worker", "forward"), "the second")
    flag.touch()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "encode" in out
    assert err.endswith("interrupted: 1 of 2 are made, and saved\n")
    assert [one.task for one in read_profiles(folder).profiles] == ["encode"]


def test_what_is_no_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_profiles(tmp_path)
    (tmp_path / "profile.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is no result of this program"):
        read_profiles(tmp_path)


def test_help_has_examples() -> None:
    done = bench("profile", "--help")
    assert done.returncode == 0 and "python -m bench profile torch/module" in done.stdout
