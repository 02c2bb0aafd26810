"""What stands in the page: the numbers of the tables, ratios of all pairs, curves, steps; and the files beside it."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import signal
import subprocess
from hashlib import sha256
from math import log
from typing import TYPE_CHECKING

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_results import GRID, noisy, run_of, several_runs
from support.processes import bench, start, wait_until
from support.recorded import BLOCK, END, RUN, memory, record, write
from support.said import embedded, raw_files
from support.sweeping import write_scaling

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.verdict import compare
from bench.forecast.report import maps
from bench.here import ROOT
from bench.page import build
from bench.page.build import MOST_FACETS, lines, of_chart, pictures, samples
from bench.page.charts import CHARTS
from bench.page.data import in_order, page_data
from bench.records.schema import CONTROL, CodeFacts
from bench.records.store import read_result
from bench.report.rows import table_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.records.schema import Result


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return read_result(
        write(tmp_path / "one", *run_of("torch/module", "jax/scan", "thinc/layers"), memory(), BLOCK, END)
    )


SCRIPT = (ROOT / "bench" / "page" / "page.js").read_text(encoding="utf-8")


def test_the_scripts_numbers_read_like_ours() -> None:
    """Asked of node alone; ``test_page_browser`` asks a whole page."""
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no node")
    ours: dict[str, Callable[[float], str]] = {
        "seconds": units.seconds,
        "ratio": units.ratio,
        "percent": units.percent,
        "rate": lambda value: units.rate(1e6 * value),
        "bytes": lambda value: units.size(int(1e6 * value)),
    }
    drawn = random.Random(1)
    values = [*GRID, *(10 ** drawn.uniform(-8, 6) for _ in range(2000))]
    numbers = SCRIPT[SCRIPT.index("// Numbers as people read them") : SCRIPT.index("// The name of a group")]
    asks = f"""{numbers}
    const values = {json.dumps(values)};
    const large = (format) => (value) => format(1e6 * value);
    const said = {{ seconds, ratio, percent, rate: large(rate), bytes: large((value) => bytes(Math.trunc(value))) }};
    const all = Object.entries(said).map(([name, format]) => [name, values.map(format)]);
    console.log(JSON.stringify(Object.fromEntries(all)));"""
    done = subprocess.run([node, "-"], input=asks, capture_output=True, text=True, timeout=60, check=True)
    theirs = json.loads(done.stdout)
    for name, in_words in ours.items():
        assert dict(zip(values, theirs[name], strict=True)) == {value: in_words(value) for value in values}, name


def test_the_page_has_the_numbers_of_the_table(result: Result) -> None:
    data = embedded(build.page(page_data([Analysis(result)]), [Analysis(result)]), "data")
    shown = [dict(zip(data["columns"], values, strict=True)) for group in data["groups"] for values in group["rows"]]
    expected = [msgspec.to_builtins(row) for row in table_rows([Analysis(result)])]
    for row in expected:
        assert row.pop("result") == str(result.path)
    assert len(shown) == len(expected) == 12
    for ours, theirs in zip(shown, expected, strict=True):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            assert ours[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name


def test_the_page_does_not_say_where_it_was_made(result: Result) -> None:
    assert str(result.path.parent) not in build.page(page_data([Analysis(result)]), [Analysis(result)])


def test_the_page_has_the_raw_files_as_they_are_and_is_the_same_each_time(result: Result) -> None:
    html = build.page(page_data([Analysis(result)]), [Analysis(result)])
    assert html == build.page(page_data([Analysis(result)]), [Analysis(result)])
    files = {name: sha256((result.path / name).read_bytes()).hexdigest() for name in ("records.jsonl", "run.json")}
    assert raw_files(html) == {f"{name}-0": own for name, own in files.items()}


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_a_ratio_seen_from_the_other_side_has_the_signs_and_the_verdict_turned(log_ratios: list[float]) -> None:
    """What the page's script relies on when a reader picks a baseline: a pair is stored once."""
    ours, theirs = compare(log_ratios), compare([-one for one in log_ratios])
    assert [log(value) for value in (ours.estimate, ours.low, ours.high)] == pytest.approx(
        [-log(value) for value in (theirs.estimate, theirs.high, theirs.low)], abs=1e-9
    )
    turned = {"FASTER": "SLOWER", "SLOWER": "FASTER"}
    assert turned.get(ours.verdict or "", ours.verdict) == theirs.verdict


def test_an_unfinished_run_and_one_without_any_time_have_a_page(tmp_path: Path) -> None:
    for name, own in (("empty", []), ("failed", [record(status="error", reason="no", samples_s=[])])):
        one = read_result(write(tmp_path / name, *own))
        data = page_data([Analysis(one)])
        assert "not whole" in build.page(data, [Analysis(one)])
        assert not list(pictures(data))


def test_a_scaling_run_has_curves_of_each_size_and_a_map_that_tells_ties(tmp_path: Path) -> None:
    data = page_data([Analysis(read_result(write_scaling(tmp_path / "scaling")))], maps)
    points, own_maps = data.datasets["points"], data.datasets["maps"]
    assert {"hidden_dim", "batch_size", "sequence_length"} <= {point["size"] for point in points}
    for point in points:
        assert point["low_s"] <= point["median_s"] <= point["high_s"]
    of_scan = [point for point in points if point["implementation"] == "jax/scan"]
    assert {16, 128, 512} <= {point["value"] for point in of_scan if point["size"] == "hidden_dim"}
    cells = {(one["task"], one["batch_size"], one["hidden_dim"]): one for one in own_maps}
    assert len(cells) == len(own_maps) == 2 * 7 * 6
    assert cells["forward", 1, 16]["winner"] == "jax/scan"  # its steps are cheap, see `sweeping.ROWS`
    assert all(one["winner"] in one["tied"] and one["many"] == len(one["tied"]) for one in own_maps)


def test_history_marks_the_step_that_a_verdict_calls_one(tmp_path: Path) -> None:
    data = page_data([*map(Analysis, several_runs(tmp_path))])
    assert [one.name for one in data.results] == ["second", "elsewhere", "first"]
    steps = {(one["implementation"], one["order"]): one for one in data.datasets["moments"]}
    assert steps["jax/scan", 1]["verdict"] == "SLOWER"
    assert steps["jax/scan", 1]["change"] == pytest.approx(1.5, rel=0.02)
    assert steps["jax/scan", 1]["packages"] == "jax 0.10.2"
    assert {steps[name, 1]["verdict"] for name in ("thinc/layers", "torch/cell")} <= {"SAME", "UNCLEAR"}
    assert all(one["verdict"] is None for (_, order), one in steps.items() if order == 0)
    assert {one["machine"] for one in data.datasets["machines"]} == {"a-processor-2-cores", "another-processor"}


def test_a_run_whose_baseline_differs_from_itself_has_no_verdict_on_its_page(tmp_path: Path) -> None:
    """Neither beside a ratio, nor as a step of its history; its doubt is said before all else."""
    names = {"torch/module@2.9.1": 0.003, "torch/module@2.13.0": 0.002, CONTROL: 0.006}
    own = [one for name, seconds in names.items() for one in noisy(name, seconds=seconds)]
    rows = {name: CodeFacts(code="x", versions={}) for name in names if name != CONTROL}
    run = msgspec.structs.replace(RUN, baseline="torch/module@2.9.1", rows=rows)
    data = page_data([Analysis(read_result(write(tmp_path / "leaning", *own, END, run=run)))])
    assert [one["verdict"] for one in data.datasets["moments"]] == [None, None]
    (group,) = data.groups
    assert {(row.verdict, row.rank) for row in group.rows} == {(None, None)}
    assert [ratio.verdict for ratio in group.ratios if ratio] == [None]
    assert any("NOT TO BE TRUSTED" in words for words in build.words_of(data))


def test_what_compares_rows_comes_before_sweeps_however_new_they_are(tmp_path: Path) -> None:
    sweep = read_result(write_scaling(tmp_path / "sizes"))
    own = noisy("torch/module@2.9.1")
    late = msgspec.structs.replace(RUN, started_at="2027-01-01T12:00:00+00:00", rows={})
    rows = {"torch/module@2.9.1": CodeFacts(code="x", versions={})}
    versions = read_result(write(tmp_path / "versions", *own, END, run=msgspec.structs.replace(late, rows=rows)))
    first, second, elsewhere = several_runs(tmp_path)
    ordered = in_order([Analysis(sweep), Analysis(versions), Analysis(first), Analysis(second), Analysis(elsewhere)])
    assert [one.result.path.name for one in ordered[:3]] == ["second", "elsewhere", "first"]
    assert {one.result.path.name for one in ordered[3:]} == {"sizes", "versions"}


def test_versions_that_took_turns_have_a_history_of_their_own(tmp_path: Path) -> None:
    names = {f"torch/module@{version}": seconds for version, seconds in (("2.9.1", 0.003), ("2.13.0", 0.002))}
    own = [one for name, seconds in (*names.items(), (CONTROL, 0.003)) for one in noisy(name, seconds=seconds)]
    rows = {name: CodeFacts(code="x", versions={"torch": name.partition("@")[2]}) for name in names}
    run = msgspec.structs.replace(RUN, baseline="torch/module@2.9.1", rows=rows)
    result = read_result(write(tmp_path / "versions", *own, END, run=run))
    old, new = page_data([Analysis(result)]).datasets["moments"]
    fields = ("at", "order", "verdict", "packages")
    assert [old[name] for name in fields] == ["2.9.1", 0, None, "torch 2.9.1"]
    assert [new[name] for name in fields] == ["2.13.0", 1, "FASTER", "torch 2.13.0"]
    assert new["change"] == pytest.approx(2 / 3, rel=0.02)
    assert "versions of torch, run A" in new["series"]


def test_every_chart_asks_for_fields_that_its_data_have(tmp_path: Path) -> None:
    results = [*several_runs(tmp_path), read_result(write_scaling(tmp_path / "scaling"))]
    data = page_data([*map(Analysis, results)], maps)
    sets = {**data.datasets, "lines": lines(data)}
    derived = {"low", "high", "power", "calls", "total_s", "facet_order", "phase_order"}
    words = {  # made by the page's script, for the pointer
        *("time", "interval", "ratio_words", "change_words", "rate", "bound_words", "machine_words", "memory", "fixed"),
        "pays_after_words",
        "spent_words",
    }
    for chart in CHARTS:
        asked = set(re.findall(r'"field": "(\w+)"', json.dumps(chart.spec()))) - derived - words
        assert sets[chart.data], chart.name
        for one in sets[chart.data]:
            assert asked <= set(one), chart.name
        assert chart.facet in sets[chart.data][0]


def test_a_chart_has_so_many_small_multiples_and_no_more() -> None:
    some = [{"group": f"{number // 2}", "ratio": 1.0 if number % 2 else None} for number in range(100)]
    chart = next(chart for chart in CHARTS if chart.name == "ratio")
    drawn, many = of_chart(chart, some)
    assert many == 50 and [one["group"] for one in drawn] == [str(number) for number in range(MOST_FACETS)]
    assert f"const MOST_FACETS = {MOST_FACETS};" in SCRIPT


def test_pictures_are_drawn_black_on_white_twice(result: Result) -> None:
    made = dict(pictures(page_data([Analysis(result)])))
    assert {"ratio.svg", "ratio.png", "time.svg", "break_even.png", "memory.svg", "drift.svg"} <= set(made)
    svg = made["ratio.svg"].decode()
    for name in ("torch/module", "jax/scan", "thinc/layers", "seed forward cpu×1", "FASTER", "Ratio to the baseline"):
        assert name in svg
    assert "currentColor" not in svg and "NaN" not in svg
    assert made["ratio.png"].startswith(b"\x89PNG\r\n")


def test_samples_are_all_there_with_what_they_are_of(result: Result) -> None:
    found = list(csv.DictReader(io.StringIO(samples([result]))))
    timed = [one for one in result.records if one.ok]
    assert len(found) == sum(len(one.samples_s) for one in timed)
    assert [float(line["seconds_a_call"]) for line in found] == [value for one in timed for value in one.samples_s]
    first = found[0]
    assert (first["implementation"], first["block"], first["turn"], first["disturbed"]) == (
        "torch/module",
        "1",
        "0",
        "False",
    )


def test_the_command_writes_page_pictures_and_samples(tmp_path: Path, result: Result) -> None:
    done = bench("page", str(result.path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(result.path / "report.html")
    assert (result.path / "pictures" / "ratio.svg").exists()
    assert (result.path / "samples.csv").read_text().startswith("result,machine,started_at,implementation,")
    again = bench("page", str(result.path), str(result.path), "--out", str(tmp_path / "a" / "site"))
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a" / "site" / "report.html").read_bytes() == (result.path / "report.html").read_bytes()


def test_who_interrupts_it_is_told_and_has_nothing_half(tmp_path: Path) -> None:
    """At any moment: the files are written when all of them are made."""
    slow = write_scaling(tmp_path / "scaling")
    process = start("page", str(slow), "--out", str(tmp_path / "site"))
    drawing = psutil.Process(process.pid)
    wait_until(lambda: drawing.memory_info().rss > 150 * 2**20, "it has the libraries that draw")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("bench: interrupted\n")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "page: name at least one result folder"),
        (["/nowhere"], "/nowhere: no such folder"),
        (["RESULT", "--out", "/proc/page"], "/proc/page"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], words: str, result: Result) -> None:
    done = bench("page", *(str(result.path) if word == "RESULT" else word for word in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: ") and words in done.stderr
    assert done.stderr.count("\n") == 1
