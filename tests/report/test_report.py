"""Tables: sorted, with ratios to the right baseline, in every format, within 80 columns."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from rich.console import Console
from support.processes import bench
from support.recorded import END, LONG, RUN, a_whole_run, record, six_blocks, write
from support.tables import shown

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse
from bench.analysis.stats import median
from bench.page.build import words_of
from bench.page.data import page_data
from bench.publish import readme
from bench.records.schema import CONTROL, REFUSED, Record
from bench.records.store import read_result
from bench.report import export, markdown
from bench.report.progress import live_summary
from bench.report.rows import table_rows
from bench.report.words import HINTS
from bench.workloads.flops import BatchSizes

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Flag, Line, Result


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
    rows = [row for row in table_rows([Analysis(result)]) if row.workload == "seed"]
    assert [row.implementation for row in rows] == ["jax/scan", "torch/module", "thinc/layers", "torch/cell"]
    assert [row.ratio for row in rows] == [pytest.approx(0.5), 1.0, pytest.approx(2.0), None]


def test_without_the_baseline_the_first_valid_row_stands_in(tmp_path: Path) -> None:
    records = [record("jax/scan", status="error", samples_s=[]), record("thinc/layers"), record("torch/cell")]
    result = read_result(write(tmp_path, *records))
    rows = table_rows([Analysis(result)])
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
    found = {(row.implementation, row.device, row.threads): row.ratio for row in table_rows([Analysis(result)])}
    assert found[("jax/scan", "cpu", 2)] == 2.0
    assert found[("torch/module", "gpu", 1)] == 1.0


def test_results_are_shown_together_with_their_devices(tmp_path: Path) -> None:
    cpu = read_result(write(tmp_path / "cpu", record()))
    gpu = read_result(write(tmp_path / "gpu", record(device="gpu")))
    words = shown(table_rows([Analysis(cpu), Analysis(gpu)]), cpu, gpu)
    assert "cpu×1" in words and "gpu" in words
    lines = [line.split() for line in words.splitlines() if line.strip().startswith("torch/module ") and " ms " in line]
    assert [line[-1] for line in lines] == ["A", "B"]  # which result it is from
    unwrapped = "".join(words.split())
    assert f"runA:{tmp_path / 'cpu'}" in unwrapped and f"runB:{tmp_path / 'gpu'}" in unwrapped
    assert max(map(len, words.splitlines())) <= 80 and "…" not in words


def test_two_folders_of_one_name_are_two_runs(tmp_path: Path) -> None:
    results = [read_result(write(tmp_path / parent / "out", record())) for parent in ("first", "second")]
    lines = shown(table_rows([*map(Analysis, results)]), *results).splitlines()
    assert [line.split()[-1] for line in lines if line.strip().startswith("torch/module ")] == ["A", "B"]


def test_every_result_has_letters_of_its_own_however_many_there_are(tmp_path: Path) -> None:
    results = [read_result(write(tmp_path / f"{number}", record(), END)) for number in range(60)]
    output = shown(table_rows([*map(Analysis, results)]), *results, width=400)
    named = re.findall(r"^run ([A-Z]+): (?=/)", output, flags=re.MULTILINE)
    assert len(set(named)) == 60 and named[24:29] == ["Y", "Z", "AA", "AB", "AC"]
    assert {line.split()[-1] for line in output.splitlines() if "baseline" in line.split()} == set(named)
    assert "?" not in output


def test_one_name_with_two_sizes_is_two_tables(tmp_path: Path) -> None:
    other = msgspec.structs.replace(
        RUN, workloads=RUN.workloads | {"seed": msgspec.structs.replace(RUN.workloads["seed"], shape="E 99")}
    )
    results = [read_result(write(tmp_path / "a", record())), read_result(write(tmp_path / "b", record(), run=other))]
    words = shown(table_rows([*map(Analysis, results)]), *results)
    assert "seed  E 10" in words and "seed  E 99" in words


def test_a_result_that_is_not_whole_says_so(tmp_path: Path) -> None:
    write(tmp_path, record(), record("jax/scan"))
    (tmp_path / "records.jsonl").write_bytes((tmp_path / "records.jsonl").read_bytes()[:-9])
    result = read_result(tmp_path)
    words = " ".join(shown(table_rows([Analysis(result)]), result).split())
    assert (
        "1 block; not whole: it was cut short, `" in words
        and f"python-mbenchrun--resume{tmp_path}`goeson" in words.replace(" ", "")
    )
    assert "its last line is half-written and left out" in words


def test_the_table_fits_80_columns_and_says_why_there_is_no_time(result: Result) -> None:
    words = shown(table_rows([Analysis(result)]), result)
    assert max(map(len, words.splitlines())) <= 80
    assert "h_n is off by 1e-02" in " ".join(words.split())
    assert "…" not in words  # nothing is cut


@pytest.mark.parametrize("fields", [{}, {"device": "gpu", "precision": "tf32"}, {"workload": "e1024-h1024-l4+4-d2"}])
def test_long_names_and_all_verdicts_fit_80_columns(fields: dict[str, str], tmp_path: Path) -> None:
    workloads = RUN.workloads | {"e1024-h1024-l4+4-d2": RUN.workloads["g2p"]}
    run = msgspec.structs.replace(RUN, workloads=workloads)
    result = read_result(write(tmp_path, *a_whole_run(**fields), run=run))
    words = shown(table_rows([Analysis(result)]), result)
    assert max(map(len, words.splitlines())) <= 80
    assert "…" not in words, words
    joined = " ".join(words.split())
    for word in ("FASTER", "SLOWER", "SAME", "UNCLEAR", "baseline", "out of memory", "contended throttled", *LONG):
        assert word in joined
    assert "control: the baseline against itself is" in joined and "as it should be" in joined
    assert "10 blocks; all that can be decided is" in joined
    assert "Done first, import and compiling included" in joined


@pytest.mark.parametrize("flag", ["restless", "extra_processors", "oversubscribed"])
def test_what_was_noticed_of_a_row_is_explained_and_what_is_refused_has_no_verdict(flag: Flag, tmp_path: Path) -> None:
    lines = [
        msgspec.structs.replace(one, flags=[flag])
        if isinstance(one, Record) and one.cell.implementation == LONG[0]
        else one
        for one in a_whole_run()
    ]
    result = read_result(write(tmp_path, *lines))
    rows = table_rows([Analysis(result)])
    for words in (
        shown(rows, result),
        markdown.full(rows, [Analysis(result)]),
        *(words_of(page_data([*map(Analysis, some)]))[-1] for some in ([result], [result, result])),
    ):
        assert f"{flag}: {HINTS[flag]}" in " ".join(words.split())
    (own,) = (row for row in rows if row.implementation == LONG[0])
    assert (own.verdict is None) == (flag in REFUSED) and own.ratio is not None


def is_of(line: Line, *implementations: str) -> bool:
    """Whether it is a record of one of these."""
    return isinstance(line, Record) and line.cell.implementation in implementations


def test_the_standing_marks_ties(tmp_path: Path) -> None:
    near = [one for one in a_whole_run() if not is_of(one, "jax/scan", CONTROL)]
    result = read_result(write(tmp_path, *near))
    stream = io.StringIO()
    Console(file=stream, width=80).print(live_summary(analyse(result.records, RUN.baseline).values()))
    assert "1= torch/" in stream.getvalue()


def test_where_nothing_tells_them_apart_more_than_one_may_be_done_first(tmp_path: Path) -> None:
    result = read_result(write(tmp_path, *a_whole_run()))
    assert (
        ", or" not in shown(table_rows([Analysis(result)]), result).partition("Done first")[2]
    )  # twice as fast: it is known
    near = [one for one in a_whole_run() if not is_of(one, "jax/scan", CONTROL)]
    result = read_result(write(tmp_path / "near", *near))
    assert "torch/module, or 1 more" in " ".join(
        shown(table_rows([Analysis(result)]), result).partition("Done first")[2].split()
    )


def test_who_is_not_told_from_the_first_shares_its_place_though_another_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # the fastest is too rough to be told from the last; the second is not
    rough = [0.5, 0.3, 1.5, 0.4, 1.3, 0.6, 0.4, 1.4]
    lines = [
        record(name, block=block, samples_s=(seconds * rng.lognormal(0, 1e-4, 7)).tolist())
        for block, first in enumerate(rough, 1)
        for name, seconds in (("jax/scan", first), ("jax/nnx", 0.8), ("torch/module", 1.0), ("thinc/layers", 30.0))
    ]
    result = read_result(write(tmp_path, *lines))
    found = {row.implementation: (row.rank, row.verdict) for row in table_rows([Analysis(result)])}
    assert found["jax/nnx"] == ("1=", "FASTER") and found["jax/scan"] == ("1=", "UNCLEAR")
    assert found["torch/module"][0] == "1=" and found["thinc/layers"] == ("4", "SLOWER")
    few = read_result(write(tmp_path / "few", *(line for line in lines if line.block < 3)))
    assert {row.rank for row in table_rows([Analysis(few)])} == {None}


def test_a_control_that_fails_is_said_first(tmp_path: Path) -> None:
    lines = a_whole_run()
    biased = [
        msgspec.structs.replace(line, samples_s=[1.02 * sample for sample in line.samples_s])
        if isinstance(line, Record) and line.cell.implementation == CONTROL
        else line
        for line in lines
    ]
    result = read_result(write(tmp_path, *biased))
    assert shown(table_rows([Analysis(result)]), result).startswith(
        "NOT TO BE TRUSTED: the baseline, entered twice, differs"
    )
    assert markdown.full(table_rows([Analysis(result)]), [Analysis(result)]).startswith("**NOT TO BE TRUSTED")


def test_json_is_a_list_of_flat_objects_with_the_promised_fields(tmp_path: Path) -> None:
    promised = {
        *("implementation", "framework", "tier", "workload", "task", "device", "precision", "threads"),
        *("status", "reason", "median_s", "max_relative_error", "compile_s", "first_call_s"),
        *("ci_low_s", "ci_high_s", "ratio", "ratio_low", "ratio_high", "verdict", "blocks", "samples"),
        *("peak_bytes", "flags"),
    }
    result = read_result(write(tmp_path, *a_whole_run()))
    rows = json.loads(export.to_json(table_rows([Analysis(result)])))
    for row in rows:
        assert promised <= row.keys()
        assert not any(isinstance(value, dict | list) for value in row.values())
    found = {row["implementation"]: row for row in rows}
    assert found.keys() == {"torch/module", "jax/scan", *LONG, "torch/unclear", "thinc/greedy_wrapper"}
    verdicts = {name: row["verdict"] for name, row in found.items()}
    assert verdicts == {
        "torch/module": None,
        "jax/scan": "FASTER",
        LONG[0]: "SLOWER",
        LONG[1]: "SAME",
        "torch/unclear": "UNCLEAR",
        "thinc/greedy_wrapper": None,
    }
    for name, row in found.items():
        if name == "thinc/greedy_wrapper":
            assert (row["status"], row["reason"], row["median_s"]) == ("out_of_memory", "it was greedy", None)
            continue
        assert 0 < row["ci_low_s"] <= row["median_s"] <= row["ci_high_s"]
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert (row["blocks"], row["samples"], row["peak_bytes"]) == (10, 70, 2**20)
    assert found[LONG[0]]["flags"] == "contended throttled"
    assert found[LONG[0]]["compile_s"] == 123.4 and found["jax/scan"]["compile_s"] is None
    assert found["jax/scan"]["pays_after"] == 0.0 and found[LONG[0]]["pays_after"] is None


def test_the_baseline_of_several_tables_counts_its_blocks_once(tmp_path: Path) -> None:
    lines = [
        record(name, block=block, pool=table)
        for block in (1, 2)
        for table, other in enumerate(["jax/scan", "torch/cell"])
        for name in ("torch/module", other, CONTROL)
    ]
    rows = table_rows([Analysis(read_result(write(tmp_path, *lines)))])
    assert {(row.implementation, row.blocks, row.samples) for row in rows} == {
        ("torch/module", 2, 12),
        ("jax/scan", 2, 6),
        ("torch/cell", 2, 6),
    }


def test_tokens_a_second_are_those_of_all_batches_over_the_median(tmp_path: Path) -> None:
    sizes = (BatchSizes(10, 9, 2), BatchSizes(3, 4, 5))
    workloads = {"seed": msgspec.structs.replace(RUN.workloads["seed"], batches=sizes), "g2p": RUN.workloads["g2p"]}
    lines = six_blocks(record(samples_s=[0.5] * 3), record(workload="g2p"))
    folder = write(tmp_path / "run", *lines, run=msgspec.structs.replace(RUN, workloads=workloads))
    rows = {row.workload: row for row in table_rows([Analysis(read_result(folder))])}
    assert rows["seed"].tokens_per_s == (2 * 19 + 5 * 7) / 0.5
    assert rows["g2p"].tokens_per_s is None  # it does not say of what sizes its batches are
    assert units.tokens(rows["seed"].tokens_per_s) == "146" and units.tokens(85_500.0) == "85.5 k"


def test_csv_has_the_same_rows(result: Result) -> None:
    rows = list(csv.DictReader(io.StringIO(export.to_csv(table_rows([Analysis(result)])))))
    assert [row["implementation"] for row in rows][:2] == ["jax/scan", "torch/module"]


def test_markdown_has_every_row_and_time_per_word(result: Result) -> None:
    words = markdown.full(table_rows([Analysis(result)]), [Analysis(result)])
    assert words.count("\n| `") == 5 + 1  # and the geometric mean of the one that has both workloads
    assert "1.00 ms" in words  # 256 ms over 256 words
    assert RUN.environment.cpu in words


def test_what_was_compiled_stands_below_the_table_where_it_is_not_the_whole(tmp_path: Path) -> None:
    in_part = record("torch/compiled", compile_s=9.4, compiled="the cell, 4 programs,")
    result = read_result(write(tmp_path, record(), record("jax/scan", compile_s=1.5), in_part))
    written = markdown.full(table_rows([Analysis(result)]), [Analysis(result)])
    assert "`torch/compiled` cpu×1 compiled the cell, 4 programs, in 9.40 s." in written
    assert written.count(" compiled ") == 1


def test_rows_with_several_baselines_have_no_mean(tmp_path: Path) -> None:
    def means(folder: Path, baseline_status: str) -> bool:
        lines: list[Line] = []
        for block in range(1, 7):
            lines += [record(name, block=block) for name in ("torch/module", "jax/scan", "thinc/layers")]
            lines += [record(name, block=block, workload="g2p") for name in ("jax/scan", "thinc/layers")]
            works: dict[str, object] = {} if baseline_status == "ok" else {"samples_s": [], "reason": "no"}
            lines.append(record("torch/module", block=block, workload="g2p", status=baseline_status, **works))
        found = read_result(write(folder, *lines, END))
        return "geometric mean" in markdown.full(table_rows([Analysis(found)]), [Analysis(found)])

    assert means(tmp_path / "one", "ok")
    assert not means(tmp_path / "two", "error"), "jax/scan stands in at g2p: a mean of ratios to two rows says nothing"


def test_no_name_is_read_as_markup(tmp_path: Path) -> None:
    write(
        tmp_path / "one[/y]", record("torch/module"), record("x[/y]"), record("y[bold]", status="error", reason="[/z]")
    )
    done = bench("table", str(tmp_path / "one[/y]"))
    assert done.returncode == 0 and done.stderr == ""
    assert all(words in done.stdout for words in ("x[/y]", "y[bold]", "[/z]"))


def test_readmes_table_has_ratios_and_the_baselines_times_and_marks_the_first_places(tmp_path: Path) -> None:
    times = {"torch/module": 0.0100, "jax/scan": 0.0104, "thinc/layers": 0.0130}
    noise = np.random.default_rng(1).lognormal(0, 0.03, (6, 3)).tolist()
    records = [
        record(name, task=task, block=block, samples_s=[time * noise[block - 1][column]])
        for task in ("forward", "train_step")
        for block in range(1, 7)
        for column, (name, time) in enumerate(times.items())
    ]
    untimed = {"status": "unsupported", "samples_s": []}
    records += [
        record("thinc/layers", task="train_step", block=0, workload="g2p", reason="no words", **untimed),
        record("jax/cudnn", block=0, reason="no GPU", **untimed),
    ]
    lines = readme.table(table_rows([Analysis(read_result(write(tmp_path, *records)))])).splitlines()
    cells = {line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")[3:-1]] for line in lines[:5]}
    assert cells["row"] == ["training: seed", "training: g2p", "inference: seed"]
    assert [*cells][2:] == ["torch/module", "jax/scan", "thinc/layers"], "the fastest on average first"
    for training, words, inference in (cells[name] for name in ("torch/module", "jax/scan")):
        assert training == inference and words == ""
    assert re.fullmatch(r"\*\*\d+\.\d+ ms\*\*", cells["torch/module"][0])
    assert re.fullmatch(r"\*\*1\.0\d× UNCLEAR\*\*", cells["jax/scan"][0])
    assert re.fullmatch(r"1\.[23]\d× SLOWER", cells["thinc/layers"][0]) and cells["thinc/layers"][1] == "unsupported"
    assert lines[5:] == ["", "Not timed: `thinc/layers` training – no words; `jax/cudnn` – no GPU."]


def test_markdown_cannot_be_broken_by_what_a_record_says(tmp_path: Path) -> None:
    result = read_result(write(tmp_path, record(status="error", reason="a | b\n| c |", samples_s=[])))
    lines = markdown.full(table_rows([Analysis(result)]), [Analysis(result)]).splitlines()
    assert [line for line in lines if "a \\| b \\| c \\|" in line.replace("  ", " ")]


def test_statistics_are_those_of_the_samples() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0


def test_a_row_of_the_table_is_all_that_is_derived(result: Result) -> None:
    stored = {name for own in result.records for name in msgspec.to_builtins(own)}
    assert not {"median_s", "ratio", "spread"} & stored
