"""At any width rows stand whole; what is least important is left out first, and that is said."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from rich.console import Console, RenderableType
from support.recorded import END, LONG, RUN, a_whole_run, record, renamed, write
from support.tables import shown

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse
from bench.records.schema import BOUND, Record, Result
from bench.records.store import read_result
from bench.report import text
from bench.report.progress import live_summary
from bench.report.rows import TableRow, table_rows
from bench.report.text import Tables

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
