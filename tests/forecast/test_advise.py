"""``bench advise``, end to end: on pretended scaling runs, in this process and as a real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.processes import ROOT, ask, bench, one_line
from support.publishing import published, publisher
from support.recorded import END, RUN, record, write
from support.sweeping import ROWS, SHAPES, coefficients, scaling_run, write_scaling

from bench.analysis.analysis import Analysis
from bench.analysis.means import TaskAt
from bench.forecast import advise, report
from bench.forecast.model import model_of
from bench.here import command
from bench.machine.describe import code_facts, describe
from bench.publish import commits
from bench.publish.readme import END as END_OF_RESULTS
from bench.publish.readme import START
from bench.records.store import read_result
from bench.workloads.sweeps import BASE, preset_shapes
from impls import find_rows
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Run
    from bench.workloads.shapes import Workload

FORWARD = TaskAt("forward", "cpu", "float32", 1)
SHAPE = ("--shape", "hidden_dim=200,batch_size=24,sequence_length=20")


def here(**fields: object) -> Run:
    """The head of a scaling run of this machine, by the rows as they are."""
    machine = msgspec.structs.replace(RUN.environment, machine=describe().machine)
    rows = {name: code_facts(find_rows()[name]) for name in ROWS}
    return scaling_run(**{"environment": machine, "rows": rows} | fields)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing measured."""
    monkeypatch.setattr(advise, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_it_says_who_is_expected_to_be_the_fastest_and_how_sure_that_is(house: Path) -> None:
    write_scaling(house / "local" / "new", run=here())
    done = ask("advise", *SHAPE)
    assert done.returncode == 0 and done.stderr == ""
    said = " ".join(done.stdout.split())
    for task in ("forward", "train_step"):
        assert f"{task} cpu×1" in said
    assert said.count("torch/module is expected to be the fastest; ") == 2
    assert all(said.count(f" {row} ") >= 2 for row in ROWS)
    assert "Inside of what was swept. On 16 held-out shapes times were off by" in said
    fitted = sum(not workload.held_out for workload in SHAPES)
    assert f"from a scaling run of {fitted} shapes on this machine, 2026-01-31: new" in said
    words = ("--shape", "hidden_dim=200,batch_size=24,sequence_length=20", "--task", "forward", "train_step")
    assert done.stdout.endswith(f"\n {command('run', *words)}\n")
    assert "ANOTHER" not in said and "changed" not in said


def test_a_tie_is_stated(house: Path) -> None:
    rows = {"torch/module": coefficients(), "jax/scan": coefficients(), "thinc/layers": coefficients(step_s=9e-5)}
    write_scaling(house / "local" / "new", run=here(), rows=rows, unlike=0.03)
    done = ask("advise", *SHAPE, "--task", "forward")
    row = r"(jax/scan|torch/module)"
    tie = rf"{row} is expected to be the fastest, but {row} is within the error: a tie;"
    assert re.search(tie, " ".join(done.stdout.split()))
    assert "train_step" not in done.stdout


def test_outside_of_what_was_swept_it_says_so_and_where(house: Path) -> None:
    write_scaling(house / "local" / "new", run=here())
    said = " ".join(ask("advise", "--shape", "hidden_dim=2048,batch_size=128").stdout.split())
    assert "OUTSIDE of what was swept" in said
    assert "hidden_dim 2048 (swept: 16 to 512); batch_size 128 (swept: 1 to 64)" in said
    corner = " ".join(ask("advise", "--shape", "hidden_dim=500,batch_size=64,sequence_length=64").stdout.split())
    assert re.search(r"OUTSIDE .* GFLOP in products a call, and no shape had more than", corner)


def test_what_a_run_had_planned_and_not_reached_is_outside(house: Path) -> None:
    reached = [shape for shape in SHAPES if shape.config.hidden_dim <= 128]
    write_scaling(house / "local" / "cut-short", run=here(), shapes=reached)
    said = " ".join(ask("advise", "--shape", "hidden_dim=512").stdout.split())
    assert "OUTSIDE of what was swept" in said and re.search(r"hidden_dim 512 \(swept: 16 to \d+\)", said)
    fitted = sum(not shape.held_out for shape in reached)
    assert f"from a scaling run of {fitted} shapes" in said


def test_the_newest_run_of_this_machine_is_taken_wherever_it_is(house: Path) -> None:
    write_scaling(house / "local" / "old", run=here(started_at="2026-01-01T00:00:00+00:00"))
    write_scaling(house / "published", run=here(started_at="2026-01-02T00:00:00+00:00"))
    write_scaling(house / "elsewhere", run=scaling_run(started_at="2026-01-03T00:00:00+00:00"))
    write(house / "local" / "no-sweep", record(), END, run=msgspec.structs.replace(RUN, environment=here().environment))
    (house / "local" / "damaged").mkdir()
    (house / "local" / "damaged" / "run.json").write_text("{")
    few = SHAPES[:5]
    write_scaling(house / "local" / "cut-short", run=here(started_at="2026-01-04T00:00:00+00:00"), shapes=few)
    machine = describe().machine
    assert advise.newest(machine, [FORWARD]).path == house / "published"
    shutil.rmtree(house / "published")
    assert advise.newest(machine, [FORWARD]).path == house / "local" / "old"
    two = FORWARD._replace(threads=2)
    write_scaling(house / "local" / "threads", run=here(started_at="2026-01-05T00:00:00+00:00"), threads=2)
    assert advise.newest(machine, [FORWARD]).path == house / "local" / "old", "it has what is asked for"
    assert advise.newest(machine, [two]).path == house / "local" / "threads"
    assert advise.newest(machine, [FORWARD, two]).path == house / "local" / "threads", "none has both"


def test_another_machines_run_is_better_than_none_and_is_told(house: Path) -> None:
    write_scaling(house / "elsewhere", run=scaling_run())
    said = " ".join(ask("advise", *SHAPE).stdout.split())
    assert "on ANOTHER machine, A Processor" in said
    assert "times are another machine's" in said
    doubt = "since then, code or versions have changed, and so may have errors: "
    assert f"{doubt}jax/scan, thinc/layers, torch/module" in said


def test_a_shape_that_was_measured_is_told(house: Path) -> None:
    write_scaling(house / "local" / "new", run=here())
    shape = "embedding_dim=64,hidden_dim=64,num_encoder_layers=1,num_decoder_layers=1,sequence_length=16,"
    said = ask("advise", "--shape", f"{shape}output_seq_length=16,batch_size=16").stdout
    assert "this very shape was measured" in " ".join(said.split())


def test_nothing_to_go_by_is_one_line(house: Path) -> None:
    one_line(ask("advise", *SHAPE), "no scaling run to go by; `.*python.* -m bench run --preset scaling` makes one")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((), "(?i)--shape"),
        (("--shape", "depth=2"), "--shape: unknown name 'depth'"),
        ((*SHAPE, "--task", "sleep"), 'Invalid value "sleep" for --task'),
        ((*SHAPE, "--task", "gradients"), r"has no gradients at cpu×1; .*--preset scaling"),
        ((*SHAPE, "--precision", "bfloat16"), r"has no forward at cpu×1 bfloat16; .*--precision as here"),
        ((*SHAPE, "--threads", "none"), "--threads none: must be a whole number"),
        ((*SHAPE, "--device", "tpu"), 'Invalid value "tpu" for --device'),
        ((*SHAPE, "--precision", "tf32"), "--precision tf32: is a GPU's"),
        ((*SHAPE, "--result", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], answer: str, house: Path) -> None:
    write_scaling(house / "local" / "new", run=here())
    one_line(ask("advise", *words), answer)


def test_measure_goes_on_and_measures_the_very_shape(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scaling(house / "local" / "new", run=here())
    asked = []
    monkeypatch.setattr("bench.cli.run.carry_out", lambda request, _: nullcontext(asked.append(request) or 1))
    monkeypatch.setattr("bench.cli.run.show", lambda ended, _: ended)
    done = ask("advise", *SHAPE, "--task", "forward", "--measure")
    assert done.returncode == 1, "the run's own exit code"
    (request,) = asked
    assert [workload.name for workload in request.workloads] == ["e10-h200-l2+2-d2-t20+9-b24"]
    assert request.tasks == ("forward",) and request.threads == (1,)
    assert "--shape hidden_dim=200,batch_size=24,sequence_length=20" in request.command


def test_where_there_is_no_room_the_rows_stand_whole(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scaling(house / "local" / "new", run=here())
    for width, leave_one_out in (("60", "9 of 10 within"), ("40", "9 of 10 within, within, fastest")):
        monkeypatch.setenv("COLUMNS", width)
        said = ask("advise", *SHAPE, "--task", "forward").stdout
        assert f"no room for {leave_one_out}: a terminal" in " ".join(said.split())
        assert {line.split()[0] for line in said.splitlines() if "×" in line and "/" in line.split()[0]} >= {*ROWS}


def test_a_real_process_answers_and_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    folder = write_scaling(tmp_path / "run")
    done = bench("advise", *SHAPE, "--result", str(folder))
    assert done.returncode == 0 and "expected to be the fastest" in done.stdout
    narrow = bench("advise", *SHAPE, "--result", str(folder), env={"COLUMNS": "80"}).stdout
    assert max(len(line) for line in narrow.splitlines() if "python -m bench run" not in line) <= 80
    command = f"{sys.executable} -m bench advise {' '.join(SHAPE)} --result {folder}"
    gone = subprocess.run(
        f"{command} | head -c 1", shell=True, cwd=ROOT, capture_output=True, text=True, env=os.environ
    )
    assert gone.stderr == ""
    helped = bench("advise", "--help")
    assert helped.returncode == 0 and "python -m bench advise --shape" in helped.stdout


CLEAN = msgspec.structs.replace(RUN.environment, git_dirty=False)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing published."""
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(f"# Ours\n\n{START}\noutdated\n{END_OF_RESULTS}\n")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(commits, "known", lambda commit, repository: "it is an ancestor")
    return tmp_path


HELD_OUT = [shape for shape in SHAPES if shape.held_out]
FEW = [shape for shape in SHAPES if not shape.held_out][:14] + HELD_OUT[:3]


@pytest.mark.parametrize("shapes", [FEW, pytest.param(SHAPES, marks=pytest.mark.thorough)], ids=["few", "all"])
def test_what_is_published_of_a_scaling_run_is_made_from_its_records(
    shapes: list[Workload], repository: Path, tmp_path: Path
) -> None:
    run = scaling_run(shapes, environment=CLEAN)
    target = publisher(tmp_path).publish(write_scaling(tmp_path / "run", run=run, shapes=shapes))
    held_out = sum(shape.held_out for shape in shapes)
    page, data = target / report.PAGE_FILE, target / report.FACTS_FILE
    files = dict(publisher(tmp_path).made())
    assert {page, data} < files.keys()
    assert all(path.read_text() == text for path, text in files.items())
    assert f"[{target.name}]({target.name}/scaling.md)" in (repository / "results" / "README.md").read_text()
    assert "outdated" in (repository / "README.md").read_text(), "sweeps do not answer the README's question"
    facts = msgspec.json.decode(data.read_bytes(), type=report.Scaling)
    assert {of_task.task for of_task in facts.tasks} == {"forward", "train_step"}
    for of_task in facts.tasks:
        assert [row.implementation for row in of_task.fits] == list(ROWS)
        assert len(of_task.held_out) == held_out
    text = page.read_text()
    assert f"On {held_out} held-out shapes, times were off by" in text and "| `jax/scan` |" in text


def test_the_numbers_of_a_published_fit_are_those_of_its_coefficients(tmp_path: Path) -> None:
    assert report.columns(ROWS["torch/module"], [True] * 9) == [
        *("40.0 µs", "2.00 µs", "2 ns", "300 ps"),
        *("20.0 GFLOP/s", "33.3 GFLOP/s", "100 GFLOP/s", "200 GFLOP/s"),
        "20 GB/s",
    ]
    text = report.page(model_of(Analysis(read_result(write_scaling(tmp_path)))))
    (line,) = (line for line in text.split("## train_step")[0].splitlines() if line.startswith("| `torch/module` | "))
    shown = dict(zip(report.COLUMNS, line.split(" | ")[1:], strict=False))
    assert shown["products, 64 sequences"].startswith("20"), shown


def test_a_coefficient_that_is_not_identifiable_is_not_shown(tmp_path: Path) -> None:
    shapes = preset_shapes(BASE, {"hidden_dim": tuple(range(16, 512, 16))})
    text = report.page(model_of(Analysis(read_result(write_scaling(tmp_path, run=scaling_run(shapes), shapes=shapes)))))
    (line,) = (line for line in text.split("## train_step")[0].splitlines() if line.startswith("| `torch/module` | "))
    shown = dict(zip(report.COLUMNS, line.split(" | ")[1:], strict=False))
    assert shown["products, 8 sequences"] == shown["products, 64 sequences"] == report.SHARED


def test_a_row_without_a_time_at_a_held_out_shape_leaves_the_other_rows_columns_alone(tmp_path: Path) -> None:
    whole = report.page(model_of(Analysis(read_result(write_scaling(tmp_path / "whole")))))
    held_out = {shape.name for shape in SHAPES if shape.held_out}
    lines = [
        one
        for one in read_result(tmp_path / "whole").records
        if one.cell.implementation != "jax/scan" or one.cell.workload not in held_out
    ]
    lacking = report.page(model_of(Analysis(read_result(write(tmp_path / "lacking", *lines, END, run=scaling_run())))))

    def leave_one_out(page: str) -> list[str]:
        return [line.split(" | ")[-3] for line in page.splitlines() if line.startswith("| `torch/module` | ")]

    assert leave_one_out(lacking) == leave_one_out(whole)


def test_a_scaling_run_with_too_few_blocks_or_shapes_is_not_published(repository: Path, tmp_path: Path) -> None:
    run = scaling_run(environment=CLEAN)
    with pytest.raises(InvalidInput, match="has 2 blocks, and 3 were planned"):
        publisher(tmp_path).publish(write_scaling(tmp_path / "short", run=run, blocks=2))
    with pytest.raises(InvalidInput, match="has no row with times of 12 shapes"):
        publisher(tmp_path).publish(write_scaling(tmp_path / "few", run=run, shapes=SHAPES[:5]))
    assert published(tmp_path) == []


def test_a_coefficient_is_shown_in_the_unit_that_fits() -> None:
    assert [report.coefficient(value) for value in (0.0, 2e-3, 1.5e-6, 2.349e-9, 3e-10)] == [
        "–",
        "2.00 ms",
        "1.50 µs",
        "2.35 ns",
        "300 ps",
    ]
    words = report.in_words(coefficients(weight_s=0.0))
    assert words == (
        "40.0 µs a call + 2.00 µs a step + 2 ns a number of the state + products at 20.0 GFLOP/s to 200 GFLOP/s"
        " + weights beyond 2.0 MiB at 20 GB/s"
    )
