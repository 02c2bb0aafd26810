"""Real workers: a right row has its times, a wrong one has none, and nobody reaches for what is not theirs."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.crosschecks import NOTEBOOK
from support.frameworks import need
from support.measuring import QUICK, blocks, carry_out, last, measure, peaks, plan_of
from support.processes import bench, numpy_row, python

from bench.measure import interleave, worker_client
from bench.measure.lock import lock_file
from bench.measure.preflight import preflight
from bench.measure.runner import Listener
from bench.measure.worker_client import blocked
from bench.records.schema import CONTROL, Record
from bench.records.store import read_result, record_line
from bench.records.versions import failures_of
from impls import find_rows, read_row
from impls.contract import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.schema import Line
    from impls import Row


def test_what_is_not_installed_is_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    module, scan = find_rows()["torch/module"], find_rows()["jax/scan"]
    other = msgspec.structs.replace(scan, frameworks=("numpy", "no_such_framework", "pytest"))
    monkeypatch.setattr(worker_client, "find_rows", lambda: {"other": other})
    assert blocked(module) == ["pytest"]


def test_what_is_blocked_looks_as_if_it_were_not_installed() -> None:
    """Frameworks look whether others are there, and go without; to import one fails."""
    script = """
from importlib.metadata import version
from importlib.util import find_spec
from bench.measure.worker import block
block(["hypothesis", "wave"])
assert find_spec("hypothesis") is None and find_spec("rich") is not None
assert version("hypothesis")  # what is installed can still be asked
try:
    import wave
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "wave\n"


def test_a_right_row_is_timed_on_every_task(tmp_path: Path) -> None:
    records = measure(tmp_path, read_row(numpy_row(tmp_path, "right")), tasks=TASKS)
    assert {record.status for record in records} == {"ok"}, [record.reason for record in records]
    assert {(record.cell.implementation, record.cell.task) for record in records} == {
        (name, task) for name in ("right", CONTROL) for task in TASKS
    }
    for record in records:
        assert len(record.samples_s) >= QUICK.min_turns
        assert 0 < min(record.samples_s) < 1
        assert record.calls is not None and record.calls >= 1
        assert record.max_relative_error is not None and 0 < record.max_relative_error < 1e-5
        assert record.first_call_s is not None and record.compile_s is None
        assert record.import_s is not None and record.import_s > 0
        assert record.build_s is not None and record.build_s > 0
        assert record.cpu_per_wall is not None and record.cpu_per_wall < 1.1
        assert record.involuntary_switches is not None and record.load is not None
        assert len(record.processors) == 1
    (block,) = blocks(tmp_path)
    assert block.block == 1 and len(block.product_s) == 2 and min(block.product_s) > 0


def test_a_worker_runs_no_pytest(tmp_path: Path) -> None:
    row = read_row(numpy_row(tmp_path, "row", after="assert '_pytest' not in sys.modules; return result"))
    assert last(measure(tmp_path, row, tasks=["encode"]))["row", "encode"].ok


WRONG = {
    "another value": ("result.h_n[0] += 1; return result", "h_n is off"),
    "another shape": ("return result._replace(c_n=result.c_n[:1])", r"c_n has shape \(1, .*expected \(4, "),
    "not a number": ("result.output[0, 0, 0] = np.nan; return result", "output is off by nan"),
    "another type": (
        "return result._replace(output=result.output.astype(np.float64))",
        "output is float64, expected float32",
    ),
    "kept from the first input": (
        "self.kept = getattr(self, 'kept', result); return self.kept",
        "before timing",  # which had calls on inputs of their own
    ),
    "another value while it is timed": ("result.h_n[0] += in_a_turn(); return result", "h_n is off by.*while it was"),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Record]:
    """All wrong rows in one pool, with a right one."""
    folder = tmp_path_factory.mktemp("wrong")
    names = {what: re.sub(r"\W", "_", what) for what in WRONG}
    rows = [numpy_row(folder, names[what], after=after) for what, (after, _) in WRONG.items()]
    return last(measure(folder, read_row(numpy_row(folder, "right")), *map(read_row, rows)))


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_have_no_time(what: str, wrong: dict[tuple[str, str], Record]) -> None:
    name = re.sub(r"\W", "_", what)
    record = wrong[name, "encode"]
    assert record.status == "invalid"
    assert record.samples_s == []
    assert re.search(WRONG[what][1], record.reason or ""), record.reason
    assert wrong[name, "forward"].status == "ok"
    assert wrong["right", "encode"].status == "ok"


NOTHING = {"nothing": "return None", "no_arrays": "return ('a', 'b', 'c')", "half": "return result.output"}


def test_what_is_no_answer_has_no_time(tmp_path: Path) -> None:
    rows = [numpy_row(tmp_path, name, after=after) for name, after in NOTHING.items()]
    found = last(measure(tmp_path, *map(read_row, rows)))
    for name in NOTHING:
        assert found[name, "encode"].status in ("invalid", "error"), found[name, "encode"]
        assert found[name, "encode"].samples_s == []
        assert found[name, "encode"].reason
        assert found[name, "forward"].status == "ok"


WITHOUT_MOMENTUM = """
    def load(self, parameters):
        super().load(parameters)
        self._optimizer = Signs()

class Signs:
    def step(self, parameters, gradients):
        for name, gradient in gradients.items():
            parameters[name] -= 1e-3 * gradient / (np.abs(gradient) + 1e-8)

def in_a_turn("""

TRAINS_WHEN_WATCHED = """
    def train_step(self, x, y, target):
        if in_a_turn():
            from impls.contract import TrainStep
            return TrainStep(np.float32(9.0), self._parameters)
        return super().train_step(x, y, target)

def in_a_turn("""


@pytest.mark.parametrize("warmed_s", [0.0, 1.0], ids=["all_calls_timed", "a_call_discarded"])
def test_training_that_is_not_training_is_caught(
    warmed_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interleave, "WARMED_S", warmed_s)
    rows = []
    for name, text in (("signs", WITHOUT_MOMENTUM), ("lazy", TRAINS_WHEN_WATCHED)):
        path = numpy_row(tmp_path, name)
        path.write_text(path.read_text().replace("\ndef in_a_turn(", text, 1))
        rows.append(read_row(path))
    right = read_row(numpy_row(tmp_path, "right"))
    found = last(measure(tmp_path, right, *rows, tasks=("train_step",)))
    assert found["right", "train_step"].ok, found["right", "train_step"].reason
    assert {found[name, "train_step"].status for name in ("signs", "lazy")} == {"invalid"}
    assert "is off by" in (found["signs", "train_step"].reason or "")
    assert "training stands still" in (found["lazy", "train_step"].reason or "")


def test_what_cannot_run_is_recorded_without_a_worker(tmp_path: Path) -> None:
    shy = numpy_row(tmp_path, "shy")
    shy.write_text(shy.read_text().replace('["numpy"]', '["numpy"], "unsupported": {"forward": "it is shy"}'))
    absent = numpy_row(tmp_path, "absent")
    absent.write_text(absent.read_text().replace('["numpy"]', '["no_such_framework"]'))
    records = measure(tmp_path, read_row(shy), read_row(absent))
    found = last(records)
    assert (found["shy", "forward"].status, found["shy", "forward"].reason) == ("unsupported", "it is shy")
    assert found["shy", "encode"].status == "ok"
    for task in ("encode", "forward"):
        record = found["absent", task]
        assert (record.status, record.reason) == ("unavailable", "no_such_framework is not installed")
    assert [record.block for record in records if not record.ok] == [0, 0, 0]


def refusing(path: Path, code: str) -> Row:
    """The row at the path, with something that its ``load`` does before it gives the model."""
    path.write_text(path.read_text().replace("    return Row(", f"    {code}\n    return Row("))
    return read_row(path)


def test_a_shape_that_load_refuses_is_unsupported_and_not_tried_in_later_blocks(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    refusal = f"open({str(tries)!r}, 'a').write('x')\n    raise NotImplementedError('only widths\\nof 512')"
    picky = refusing(numpy_row(tmp_path, "picky"), refusal)
    right = [read_row(numpy_row(tmp_path, name)) for name in ("one", "two")]
    records = measure(tmp_path, *right, picky, budget=replace(QUICK, min_blocks=2, max_blocks=2))
    assert {(record.status, record.block) for record in records if record.ok} == {("ok", 1), ("ok", 2)}
    refused = [record for record in records if record.cell.implementation == "picky"]
    assert [(record.status, record.block) for record in refused] == [("unsupported", 1)] * 2
    assert {record.reason for record in refused} == {"only widths of 512"}
    assert tries.read_text() == "xx"  # once a task
    assert not failures_of(records)


def test_only_load_can_refuse_and_without_words_its_line_is_the_reason(tmp_path: Path) -> None:
    rows = {name: numpy_row(tmp_path, name) for name in ("right", "mute")}
    rows["idle"] = numpy_row(tmp_path, "idle", before="raise NotImplementedError('no luck')")
    rows["lost"] = numpy_row(tmp_path, "lost", top="raise NotImplementedError('no luck')")
    refusing(rows["mute"], "raise NotImplementedError")
    found = last(measure(tmp_path, *map(read_row, rows.values()), tasks=["encode"]))
    for name in ("idle", "lost"):
        record = found[name, "encode"]
        assert record.status == "error"
        assert re.fullmatch(rf"{name}\.py:\d+: NotImplementedError: no luck", record.reason or "")
    mute = found["mute", "encode"]
    assert mute.status == "unsupported"
    assert re.fullmatch(
        r"mute\.py:\d+: NotImplementedError without words: raise NotImplementedError", mute.reason or ""
    )


def test_a_row_may_import_what_stands_beside_it(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('this is another one')\n")
    (tmp_path / "helper.py").write_text("import json\ndef unchanged(result):\n    return result\n")
    row = read_row(numpy_row(tmp_path, "mine", top="import json, helper", after="return helper.unchanged(result)"))
    assert last(measure(tmp_path, row, tasks=["encode"]))["mine", "encode"].status == "ok"


def test_records_are_on_disk_when_they_are_reported(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(lines: Sequence[Line]) -> None:
        written = (tmp_path / "records.jsonl").read_bytes()
        assert written.endswith(b"".join(map(record_line, lines)))
        seen.extend(type(line).__name__ for line in lines)

    carry_out(tmp_path, plan_of(read_row(numpy_row(tmp_path, "right")), tasks=["encode"]), Listener(kept=look))
    assert seen[:2] == ["Record", "Record"] and seen[-1] == "Block"


LEAVES = "import pathlib, tempfile; pathlib.Path(tempfile.gettempdir(), f'left-{os.getpid()}').touch()"
"""What a compiler does with its headers."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of the person who starts the bench."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # read again
    return folder


def test_what_a_row_keeps_in_the_temporary_folder_is_there_in_the_next_block_and_goes_with_the_run(
    tmp_path: Path, machine: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    own = f"tempfile.gettempdir().startswith({str(folder / 'cache')!r})"
    many = "len(list(pathlib.Path(tempfile.gettempdir()).glob('left-*')))"
    log = f"in_a_turn() and pathlib.Path({str(folder)!r}, 'many').open('a').write(str({many}) + ' ')"
    row = read_row(numpy_row(tmp_path, "leaves", top="import os", before=f"{LEAVES}; assert {own}; {log}"))
    budget = replace(QUICK, min_blocks=2, max_blocks=2, measures_memory=True)
    records = measure(folder, row, tasks=["encode"], budget=budget)
    assert {record.status for record in records} == {"ok"}, [record.reason for record in records]
    assert {memory.status for memory in peaks(folder).values()} == {"ok"}
    assert {"1", "2"} <= set((folder / "many").read_text().split())  # a block's own, and the one's before
    assert not list(machine.iterdir())
    assert not (folder / "cache").exists()


def test_what_a_row_keeps_in_the_temporary_folder_while_it_is_looked_at_is_gone(tmp_path: Path, machine: Path) -> None:
    seen = tmp_path / "seen"
    top = f"import os\n{LEAVES}; pathlib.Path({str(seen)!r}).write_text(tempfile.gettempdir())"
    preflight(read_row(numpy_row(tmp_path, "leaves", top=top)), "cpu", "", [NOTEBOOK])
    assert Path(seen.read_text()).parent == machine
    assert not list(machine.iterdir())


@pytest.mark.thorough
def test_a_compiler_leaves_nothing_in_the_temporary_folder(tmp_path: Path, machine: Path) -> None:
    need("torch")
    words = ("--workload", "seed", "--task", "encode", "--preset", "smoke", "--out", str(tmp_path / "out"))
    done = bench("run", "--impl", "torch/tuned", "torch/compiled", *words, timeout=600)
    assert done.returncode == 0, done.stderr
    assert {record.status for record in read_result(tmp_path / "out").records} == {"ok"}
    assert [path.name for path in machine.iterdir()] == [lock_file().name]
    assert not (tmp_path / "out" / "cache").exists()


def test_a_row_that_names_numpy_leaves_it_to_the_others(tmp_path: Path) -> None:
    mine = blocked(read_row(numpy_row(tmp_path, "mine")))
    assert {"torch", "jax", "thinc"} <= set(mine) and "numpy" not in mine
    theirs = blocked(find_rows()["torch/module"])
    assert {"jax", "thinc"} <= set(theirs) and not {"torch", "numpy", "scipy"} & set(theirs)
