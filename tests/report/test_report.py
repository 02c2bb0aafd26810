"""Tables: sorted, with ratios to the right baseline, in every format, within 80 columns."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.processes import bench
from support.recorded import BLOCK, END, RUN, memory, record, renamed, write

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse
from bench.analysis.stats import median
from bench.page.build import words_of
from bench.page.data import page_data
from bench.publish import readme
from bench.records.schema import BOUND, CONTROL, REFUSED, Record
from bench.records.store import read_result
from bench.report import export, markdown, text
from bench.report.progress import live_summary
from bench.report.rows import table_rows
from bench.report.text import Tables
from bench.report.words import HINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from bench.records.schema import Flag, Line, Result
    from bench.report.rows import TableRow


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


def shown(rows: list, *results: Result, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(*text.render(rows, [*map(Analysis, results)]), sep="\n")
    return stream.getvalue()


def test_the_table_fits_80_columns_and_says_why_there_is_no_time(result: Result) -> None:
    words = shown(table_rows([Analysis(result)]), result)
    assert max(map(len, words.splitlines())) <= 80
    assert "h_n is off by 1e-02" in " ".join(words.split())
    assert "…" not in words  # nothing is cut


LONG = ("torch/cell_compiled", "thinc/pytorch_wrapper")


def a_whole_run(**fields: object) -> list[Line]:
    """Ten blocks of rows with long names, with each of the verdicts, and what is noticed."""
    ratios = {"torch/module": 1.0, CONTROL: 1.0, "jax/scan": 0.5, LONG[0]: 12.4, LONG[1]: 1.001, "torch/unclear": 1.1}
    rng = np.random.default_rng(1)
    lines: list[Line] = []
    for block in range(1, 11):
        for name, ratio in ratios.items():
            rough = 0.3 if name == "torch/unclear" else 0.001
            seconds = (0.12345 * ratio * rng.lognormal(0, rough) * rng.lognormal(0, 1e-4, 7)).tolist()
            flags = ["contended", "throttled"] if name == LONG[0] else []
            compiles = 123.4 if name in LONG else None
            costs = {"import_s": 1.5, "build_s": 0.1, "first_call_s": 130.0, "compile_s": compiles}
            lines.append(record(name, block=block, samples_s=seconds, flags=flags, **(costs | fields)))
        lines.append(msgspec.structs.replace(BLOCK, block=block))
    lines += [memory(name, **{key: fields[key] for key in fields if key != "samples_s"}) for name in ratios]
    lines.append(record("thinc/greedy_wrapper", status="out_of_memory", reason="it was greedy", samples_s=[], **fields))
    return [*lines, END]


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


FASTEST = "torch/tuned@2.13.0+cpu"


def versioned(folder: Path) -> Result:
    """A run whose rows have names with versions, at two numbers of threads, one of them without a time."""
    names = {"jax/scan": FASTEST, LONG[0]: "torch/module@2.13.0", LONG[1]: "thinc/pytorch@8.3.14"}
    lines = [
        renamed(line, names.get(line.cell.implementation, line.cell.implementation))
        for threads in (1, 2)
        for line in a_whole_run(threads=threads)
        if isinstance(line, Record)
    ]
    return read_result(write(folder, *lines, END))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Result]]:
    """One, of names with versions, two side by side, and of a name that no terminal has room for."""
    folder = tmp_path_factory.mktemp("runs")
    one = read_result(write(folder / "one", *a_whole_run()))
    long = record("mine/" + "a_very_long_name_" * 2, samples_s=[0.2])
    return {
        "one": [one],
        "versions": [versioned(folder / "versions")],
        "two": [one, read_result(write(folder / "two", *a_whole_run()))],
        "long": [read_result(write(folder / "long", *a_whole_run(), long))],
    }


def printed(part: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(part)
    return stream.getvalue()


def stand_whole(rows: Sequence[TableRow], table: str) -> None:
    """Check that the rows follow each other, each with its name, its ratio and verdict, or why it has no time."""
    words, places = table.split(), [-1]
    for row in rows:
        places.append(words.index(row.implementation + "*" * bool(row.flags), places[-1] + 1))
    for row, begin, end in zip(rows, places[1:], [*places[2:], len(words)], strict=True):
        verdict = "baseline" if row.implementation == row.baseline else row.verdict or "–"
        timed = [units.ratio(row.ratio), *([] if row.tier == BOUND else [verdict])]
        wanted = timed if row.median_s is not None else row.status.split("_")
        assert {*wanted} <= {*words[begin:end]}, (row.implementation, words[begin:end])


@pytest.mark.parametrize("what", ["one", "versions", "two", "long"])
def test_at_any_width_each_row_stands_whole_with_its_ratio_and_verdict(
    what: str, runs: dict[str, list[Result]]
) -> None:
    rows = table_rows([*map(Analysis, runs[what])])
    (tables,) = (part for part in text.render(rows, [*map(Analysis, runs[what])]) if isinstance(part, Tables))
    for width in (*range(40, 100), *range(100, 201, 20)):
        table = printed(tables, width).partition("\nno room for ")[0]
        assert max(map(len, table.splitlines())) <= width
        stand_whole(rows, table)


def test_what_is_least_important_is_left_out_first_and_it_is_said(runs: dict[str, list[Result]]) -> None:
    rows = table_rows([*map(Analysis, runs["versions"])])
    (tables,) = (part for part in text.render(rows, [*map(Analysis, runs["versions"])]) if isinstance(part, Tables))
    order = []
    for width in range(90, 30, -1):
        said = printed(tables, width).partition("\nno room for ")[2]
        left_out, _, more = " ".join(said.split()).partition(": ")
        order += [name for name in left_out.split(", ") if name and name not in order]
        if said:
            least = int(more.removeprefix("a terminal ").partition(" ")[0])
            assert "no room" not in printed(tables, least) and "no room" in printed(tables, least - 1)
            assert re.search("-m bench table .* --format markdown` has it all$", more)
    assert order[:4] == ["tier", "±", "95 %", "place"] and set(order) <= {*text.LEAST_FIRST}


@pytest.mark.parametrize("width", [80, 72, 60])
def test_what_is_done_first_is_told_in_whole_words(width: int, runs: dict[str, list[Result]]) -> None:
    (result,) = runs["versions"]
    words = shown(table_rows([Analysis(result)]), result, width=width).partition("Done first")[2].split()
    named = {word.strip(";,") for word in words[: words.index("or")] if "/" in word}
    assert named and named <= {row.implementation for row in table_rows([Analysis(result)])}


def test_the_standing_of_a_group_with_a_long_name_fits_80_columns(tmp_path: Path) -> None:
    name = "e1024-h1024-l4+4-d2-bi-t128+128-b64"
    run = msgspec.structs.replace(RUN, workloads={name: RUN.workloads["g2p"]})
    result = read_result(write(tmp_path, *a_whole_run(workload=name), run=run))
    stream = io.StringIO()
    Console(file=stream, width=80).print(live_summary(analyse(result.records, RUN.baseline).values()))
    assert "…" not in stream.getvalue() and "3 of 4" in stream.getvalue()
    assert "jax/scan" in stream.getvalue() and "idiomatic" in stream.getvalue() and "FASTER" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


def test_the_standing_stands_whole_where_there_is_little_room(runs: dict[str, list[Result]]) -> None:
    (result,) = runs["versions"]
    for width in (80, 72, 60, 50, 40):
        said = printed(live_summary(analyse(result.records, RUN.baseline).values()), width)
        words = said.partition("\nno room for ")[0].split()
        assert words.count(FASTEST) == words.count("FASTER") == 2 and "0.50×" in words
        assert max(map(len, said.splitlines())) <= width


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


@pytest.mark.parametrize(
    ("value", "words"), [(0.051, "5.1 %"), (0.5, "50 %"), (99.9, "9990 %"), (7.8e15, "> 9999 %"), (None, "–")]
)
def test_what_is_beyond_all_bounds_has_no_digits(value: float | None, words: str) -> None:
    assert units.percent(value) == words


def value_of(words: str) -> float:
    """The number that words stand for."""
    number, _, unit = words.replace("×", "").partition(" ")
    return float(number) * SIZES[unit.removesuffix("FLOP/s").removesuffix("FLOP")]


SIZES = {"": 1.0, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "%": 0.01}
SIZES |= {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "MiB": 2.0**20, "GiB": 2.0**30}

# each, and from where to where it has so many digits
IN_WORDS: dict[str, tuple[Callable[[Any], str], float, float]] = {
    "seconds": (units.seconds, 1e-6, 999),
    "ratio": (units.ratio, 1.0, 999),
    "rate": (units.rate, 1e3, 9.99e14),
    "flops": (units.flops, 1e3, 9.99e14),
}


def near(what: str) -> st.SearchStrategy[float]:
    """Values of all orders, many of them where another digit or unit begins."""
    _, least, most = IN_WORDS[what]
    edges = st.builds(
        lambda digits, power, off: digits * 10.0**power * (1 + off),
        st.sampled_from([1.0, 9.995, 9.9949999, 9.996, 9.95, 9.9999999]),
        st.integers(-9, 15),
        st.sampled_from([0.0, 1e-16, -1e-16, 2e-16, -2e-16, 1e-9, -1e-9]),
    )
    every = st.floats(math.log10(least) - 3, math.log10(most) + 3).map(lambda power: 10.0**power)
    return edges | every


@pytest.mark.parametrize("what", IN_WORDS)
@given(data=st.data())
def test_numbers_have_three_digits_the_nearest_ones_and_never_a_thousand(what: str, data: st.DataObject) -> None:
    in_words, least, most = IN_WORDS[what]
    value, other = sorted(data.draw(st.tuples(near(what), near(what))))
    words = in_words(value)
    number = words.removesuffix("×").partition(" ")[0]
    digits = len(number.replace(".", "").lstrip("0"))
    if least <= value <= most:
        assert digits == 3, words
        unit = value_of(words) / float(number.replace(".", ""))  # of the last digit
        assert abs(value_of(words) - value) <= 0.5 * unit * (1 + 1e-9)
    elif value < least:
        assert number == f"{float(number):.2f}", words  # two behind the point
    else:
        assert "." not in number
    assert float(number) < 1000 or value > most
    assert value_of(words) <= value_of(in_words(other)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("words", "at_least"),
    [
        (units.seconds(0.9996e-3), "1.00 ms"),
        (units.seconds(0.00999951), "10.0 ms"),
        (units.seconds(0.9995), "1.00 s"),
        (units.seconds(0.09996), "100 ms"),
        (units.percent(99.996), "> 9999 %"),
        (units.size(2**30 - 2**15), "1.00 GiB"),
        (units.duration(119.6), "2 min"),
        (units.duration(7175), "2.0 h"),
        (units.rate(999.6e9), "1.00 TFLOP/s"),
    ],
)
def test_what_would_be_rounded_up_to_the_next_unit_is_in_it(words: str, at_least: str) -> None:
    assert words == at_least


@given(value=st.floats(0, 1e6), other=st.floats(0, 1e6))
def test_longer_durations_do_not_read_as_shorter_ones(value: float, other: float) -> None:
    value, other = sorted((value, other))
    assert value_of(units.duration(value)) <= value_of(units.duration(other)) * (1 + 1e-12)
    assert value_of(units.size(int(1e4 * value))) <= value_of(units.size(int(1e4 * other))) * (1 + 1e-12)


def test_a_row_of_the_table_is_all_that_is_derived(result: Result) -> None:
    stored = {name for own in result.records for name in msgspec.to_builtins(own)}
    assert not {"median_s", "ratio", "spread"} & stored
