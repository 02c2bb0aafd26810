"""Tables: sorted, with ratios to the right baseline, in every format, within 80 columns."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console
from test_records import RUN, record, write

from bench.records import read_result
from bench.report import export, markdown, text, units
from bench.report.rows import table_rows
from bench.stats import median, spread

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records import Result


@pytest.fixture
def result(tmp_path: Path) -> Result:
    return read_result(
        write(
            tmp_path / "one",
            record("thinc/layers", samples_s=[0.004]),
            record("jax/scan", samples_s=[0.001], compile_s=1.5),
            record("torch/module", samples_s=[0.002]),
            record("torch/cell", status="invalid", reason="h_n is off by 1e-02, limit 1e-05", samples_s=[]),
            record("torch/module", workload="g2p", samples_s=[0.256]),
        )
    )


def test_rows_are_sorted_by_time_and_failures_come_last(result: Result) -> None:
    rows = [row for row in table_rows([result]) if row.workload == "seed"]
    assert [row.implementation for row in rows] == ["jax/scan", "torch/module", "thinc/layers", "torch/cell"]
    assert [row.ratio for row in rows] == [0.5, 1.0, 2.0, None]


def test_without_the_baseline_the_first_valid_row_stands_in(tmp_path: Path) -> None:
    records = [record("jax/scan", status="error", samples_s=[]), record("thinc/layers"), record("torch/cell")]
    result = read_result(write(tmp_path, *records))
    rows = table_rows([result])
    assert {row.baseline for row in rows} == {"thinc/layers"}
    assert "thinc/layers" in shown(rows, result)


def test_devices_and_threads_are_compared_each_on_its_own(tmp_path: Path) -> None:
    result = read_result(
        write(
            tmp_path,
            record(samples_s=[4.0]),
            record(samples_s=[2.0], threads=2),
            record(samples_s=[1.0], device="gpu"),
            record("jax/scan", samples_s=[4.0], threads=2),
        )
    )
    found = {(row.implementation, row.device, row.threads): row.ratio for row in table_rows([result])}
    assert found[("jax/scan", "cpu", 2)] == 2.0
    assert found[("torch/module", "gpu", 1)] == 1.0


def test_results_are_shown_together_with_their_devices(tmp_path: Path) -> None:
    cpu = read_result(write(tmp_path / "cpu", record()))
    gpu = read_result(write(tmp_path / "gpu", record(device="gpu")))
    words = shown(table_rows([cpu, gpu]), cpu, gpu)
    assert "cpu×1" in words and "gpu" in words
    for line in words.splitlines():
        if line.strip().startswith("torch/module") and " ms " in line:
            assert line.split()[-1] == ("A" if "cpu×1" in line else "B")  # which result it is from
    unwrapped = "".join(words.split())
    assert f"runA:{tmp_path / 'cpu'}" in unwrapped and f"runB:{tmp_path / 'gpu'}" in unwrapped
    assert max(map(len, words.splitlines())) <= 80 and "…" not in words


def test_two_folders_of_one_name_are_two_runs(tmp_path: Path) -> None:
    results = [read_result(write(tmp_path / parent / "out", record())) for parent in ("first", "second")]
    lines = shown(table_rows(results), *results).splitlines()
    assert [line.split()[-1] for line in lines if line.strip().startswith("torch/module ")] == ["A", "B"]


def test_one_name_with_two_sizes_is_two_tables(tmp_path: Path) -> None:
    other = msgspec.structs.replace(
        RUN, workloads=RUN.workloads | {"seed": msgspec.structs.replace(RUN.workloads["seed"], shape="E 99")}
    )
    results = [read_result(write(tmp_path / "a", record())), read_result(write(tmp_path / "b", record(), run=other))]
    words = shown(table_rows(results), *results)
    assert "seed  E 10" in words and "seed  E 99" in words


def test_a_result_that_is_not_whole_says_so(tmp_path: Path) -> None:
    write(tmp_path, record(), record("jax/scan"))
    (tmp_path / "records.jsonl").write_bytes((tmp_path / "records.jsonl").read_bytes()[:-9])
    result = read_result(tmp_path)
    words = " ".join(shown(table_rows([result]), result).split())
    assert "1 of 2 cells are missing; its last record is half-written and left out" in words


def shown(rows: list, *results: Result, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(*text.render(rows, results), sep="\n")
    return stream.getvalue()


def test_the_table_fits_80_columns_and_says_why_there_is_no_time(result: Result) -> None:
    words = shown(table_rows([result]), result)
    assert max(map(len, words.splitlines())) <= 80
    assert "h_n is off by 1e-02" in " ".join(words.split())
    assert "…" not in words  # nothing is cut


def test_json_is_a_list_of_flat_objects_with_the_promised_fields(result: Result) -> None:
    promised = {
        *("implementation", "framework", "tier", "workload", "task", "device", "precision", "threads"),
        *("status", "reason", "median_s", "max_relative_error", "compile_s", "first_call_s"),
    }
    rows = json.loads(export.to_json(table_rows([result])))
    assert len(rows) == 5
    for row in rows:
        assert promised <= row.keys()
        assert not any(isinstance(value, dict | list) for value in row.values())


def test_csv_has_the_same_rows(result: Result) -> None:
    rows = list(csv.DictReader(io.StringIO(export.to_csv(table_rows([result])))))
    assert [row["implementation"] for row in rows][:2] == ["jax/scan", "torch/module"]


def test_markdown_has_every_row_and_time_per_word(result: Result) -> None:
    words = markdown.full(table_rows([result]), [result])
    assert words.count("| `") == 5
    assert "1.00 ms" in words  # 256 ms over 256 words
    assert RUN.environment.cpu in words


def test_the_short_table_marks_the_fastest_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    times = {"torch/module": 0.0100, "jax/scan": 0.0104, "thinc/layers": 0.0130}
    result = read_result(write(tmp_path, *(record(name, samples_s=[time]) for name, time in times.items())))
    lines = markdown.short(table_rows([result]), "forward").splitlines()
    assert [line for line in lines if "**10.0 ms (1.00×)**" in line and "torch/module" in line]
    assert [line for line in lines if "**10.4 ms (1.04×)**" in line and "jax/scan" in line]
    assert [line for line in lines if "| 13.0 ms (1.30×) |" in line and "thinc/layers" in line]


def test_markdown_cannot_be_broken_by_what_a_record_says(tmp_path: Path) -> None:
    result = read_result(write(tmp_path, record(status="error", reason="a | b\n| c |", samples_s=[])))
    lines = markdown.full(table_rows([result]), [result]).splitlines()
    assert [line for line in lines if "a \\| b \\| c \\|" in line.replace("  ", " ")]


def test_statistics_are_those_of_the_samples() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.000312, "312 µs"),
        (0.00124, "1.24 ms"),
        (35.14, "35.1 s"),
        (3e-8, "0.03 µs"),
        (None, "–"),
        (0.0999, "99.9 ms"),
    ],
)
def test_seconds_come_in_the_unit_that_fits(value: float | None, words: str) -> None:
    assert units.seconds(value) == words


def test_a_row_of_the_table_is_all_that_is_derived(result: Result) -> None:
    stored = {name for own in result.records for name in msgspec.to_builtins(own)}
    assert not {"median_s", "ratio", "spread"} & stored
