"""What changed between two results: a slower row is found, a slower machine is not mistaken for one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.changes import BASE, MANY, TIMES, cells, changed, here, records, replace, result, slower, words
from support.recorded import BLOCK, record, write

from bench.analysis.analysis import Analysis
from bench.analysis.compare import compare
from bench.analysis.two_runs import OF_RATIOS
from bench.analysis.verdict import MIN_BLOCKS
from bench.records.schema import CONTROL
from bench.records.store import read_result
from bench.report import comparison as report
from bench.report import export

if TYPE_CHECKING:
    from bench.records.schema import Record, Result


@pytest.fixture
def old(tmp_path: Path) -> Result:
    return result(tmp_path / "old", *records(TIMES, seed=1))


@pytest.fixture
def old_of_many(tmp_path: Path) -> Result:
    return result(tmp_path / "old of many", *records(MANY, seed=1))


def test_what_slows_all_rows_alike_is_no_change(old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(slower(torch=1.5, jax=1.5, thinc=1.5), seed=2))
    found = cells(compare(Analysis(old), Analysis(new)))
    for name in ("jax/scan", "thinc/layers"):
        assert (found[name].verdict, found[name].through, found[name].status) == ("UNCLEAR", "torch/module", "compared")
    reference = found["torch/module"]
    assert (reference.verdict, reference.status, reference.through) == (None, "reference", None)
    assert reference.change is not None and reference.change.ratio == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "SLOWER"), (0.8, "FASTER"), (1.0, "UNCLEAR")])
def test_a_row_that_changed_is_found_on_a_machine_that_changed_as_well(
    factor: float, verdict: str, old: Result, tmp_path: Path
) -> None:
    new = result(
        tmp_path / "new",
        *records(slower(torch=0.7, jax=0.7 * factor, thinc=0.7), seed=3),
        run=changed("jax/scan"),
    )
    found = cells(compare(Analysis(old), Analysis(new)))
    assert found["jax/scan"].verdict == verdict
    assert found["thinc/layers"].verdict == "UNCLEAR"
    change = found["jax/scan"].change
    assert change is not None
    assert change.low < change.ratio < change.high
    assert change.ratio == pytest.approx(factor, rel=0.01)


def test_where_the_baseline_changed_another_unchanged_row_takes_its_place(old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(slower(torch=1.2), seed=4), run=changed("torch/module", "jax/scan"))
    found = cells(compare(Analysis(old), Analysis(new)))
    assert (found["torch/module"].verdict, found["torch/module"].through) == ("SLOWER", "thinc/layers")
    assert (found["jax/scan"].verdict, found["jax/scan"].through) == ("UNCLEAR", "thinc/layers")
    assert found["thinc/layers"].status == "reference"


@pytest.mark.parametrize("who", ["jax/scan", "torch/module"])
@pytest.mark.parametrize("which", ["before", "after"])
def test_a_row_or_reference_that_is_refused_gives_no_verdict(who: str, which: str, tmp_path: Path) -> None:
    made = {"before": records(TIMES, seed=1), "after": records(TIMES | {"jax/scan": 0.030}, seed=2)}
    made[which] = [replace(one, flags=["restless"] * (one.cell.implementation == who)) for one in made[which]]
    results = [result(tmp_path / name, *lines) for name, lines in made.items()]
    compared = [
        one for one in compare(*[*map(Analysis, results)]).cells if one.through == who or one.cell.implementation == who
    ]
    assert compared and all(one.change is not None and one.verdict is None for one in compared)


def test_rows_of_two_tables_are_compared_through_the_baseline_of_each(tmp_path: Path) -> None:
    def of(seed: int, jax: float) -> list[Record]:
        first = records({"torch/module": 0.010, "jax/scan": 0.020 * jax}, seed=seed, pool=0)
        return first + records({"torch/module": 0.010, "thinc/layers": 0.040}, seed=seed + 50, pool=1)

    old = result(tmp_path / "old", *of(1, 1.0))
    new = result(tmp_path / "new", *of(2, 1.2), run=changed("torch/module", "jax/scan"))
    found = cells(compare(Analysis(old), Analysis(new)))
    assert found["jax/scan"].through == "thinc/layers"
    assert found["jax/scan"].verdict == "SLOWER"


def test_without_an_unchanged_row_absolute_times_are_compared_and_it_is_said(old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(slower(torch=2, jax=2, thinc=2), seed=5), run=changed(*TIMES))
    comparison = compare(Analysis(old), Analysis(new))
    for one in comparison.cells:
        assert (one.through, one.status, one.verdict) == (None, "compared", "SLOWER")
        assert one.change is not None
        assert one.change.high / one.change.low > 1.05  # the machine's noise is in it, as it is not in a ratio
    shown = words(comparison)
    assert [line.split()[-1] for line in shown.splitlines() if "SLOWER" in line][1:] == ["absolute"] * len(TIMES)
    assert "absolute times: no row that could be compared through" in " ".join(shown.split())
    assert "absolute times" in report.to_markdown(comparison)
    assert {row["through"] for row in json.loads(export.to_json(report.change_rows(comparison)))} == {"absolute times"}


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_a_run_is_the_same_as_itself(blocks: int, tmp_path: Path) -> None:
    one = result(tmp_path / "old", *records(TIMES, seed=1, blocks=blocks), record("jax/nnx", status="error"))
    comparison = compare(Analysis(one), Analysis(one))
    timed = [cell for cell in comparison.cells if cell.cell.implementation != "jax/nnx"]
    assert [(cell.verdict, cell.status) for cell in timed] == [("SAME", "identical")] * 3
    assert {cell.change for cell in timed} == {(1.0, 1.0, 1.0, "SAME")}
    assert cells(comparison)["jax/nnx"].status == "no time"
    assert not comparison.worse
    assert not comparison.unlike
    assert "one measurement that stands in both runs" in " ".join(words(comparison).split())


def test_on_another_machine_there_are_ratios_of_ratios_and_no_verdict(old: Result, tmp_path: Path) -> None:
    times = slower(torch=0.3, jax=0.6, thinc=0.3)
    new = result(tmp_path / "new", *records(times, seed=6), run=here(cpu="Another Processor"))
    comparison = compare(Analysis(old), Analysis(new))
    found = cells(comparison)
    assert comparison.other_machine
    change = found["jax/scan"].change
    assert change is not None and change.ratio == pytest.approx(2.0, rel=0.02)
    assert found["torch/module"].change is None
    assert not comparison.worse
    assert {one.verdict for one in comparison.cells} == {None}
    shown = " ".join(words(comparison).split())
    assert shown.startswith("Two machines. It may not be concluded that anything became faster or slower")
    assert "Another Processor" in shown


def test_on_another_machine_rows_that_changed_are_not_compared(old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(TIMES, seed=7), run=here(changed(*TIMES), machine="another"))
    comparison = compare(Analysis(old), Analysis(new))
    assert {(one.status, one.change) for one in comparison.cells} == {("not comparable", None)}
    assert "absolute times mean nothing" in " ".join(words(comparison).split())


def test_a_cell_that_lost_its_time_is_worse(old: Result, tmp_path: Path) -> None:
    lines = [one for one in records(TIMES, seed=8) if one.cell.implementation != "jax/scan"]
    new = result(tmp_path / "new", *lines, record("jax/scan", status="invalid", reason="h_n is off", samples_s=[]))
    comparison = compare(Analysis(old), Analysis(new))
    assert [one.cell.implementation for one in comparison.worse] == ["jax/scan"]
    assert cells(comparison)["jax/scan"].status == "now failing"
    shown = " ".join(words(comparison).split())
    lost = (
        r"Had a time, and has none now \(counts as slower\) jax/scan seed forward cpu×1: 20\.\d ms, invalid: h_n is off"
    )
    assert re.search(lost, shown)
    back = compare(Analysis(new), Analysis(old))
    assert cells(back)["jax/scan"].status == "now works"
    assert not back.worse


def test_cells_of_one_run_only_are_listed_and_never_worse(old: Result, tmp_path: Path) -> None:
    lines = [one for one in records(TIMES | {"jax/nnx": 0.1}, seed=9) if one.cell.implementation != "thinc/layers"]
    comparison = compare(Analysis(old), Analysis(result(tmp_path / "new", *lines)))
    assert (cells(comparison)["jax/nnx"].status, cells(comparison)["thinc/layers"].status) == ("new", "gone")
    assert not comparison.worse
    shown = " ".join(words(comparison).split())
    assert re.search(r"In NEW only jax/nnx seed forward cpu×1: \d+(\.\d)? ms", shown)
    assert re.search(r"In OLD only thinc/layers seed forward cpu×1: \d+\.\d ms", shown)


def test_other_sizes_are_another_cell(old: Result, tmp_path: Path) -> None:
    sizes = replace(BASE, workloads=BASE.workloads | {"seed": replace(BASE.workloads["seed"], shape="E 99")})
    comparison = compare(Analysis(old), Analysis(result(tmp_path / "new", *records(TIMES, seed=1), run=sizes)))
    assert sorted(one.status for one in comparison.cells) == ["gone"] * 3 + ["new"] * 3
    assert {one.reason for one in comparison.cells} == {"the other run has E 10", "the other run has E 99"}


@pytest.mark.parametrize("other", [{"threads": 2}, {"task": "encode"}, {"precision": "tf32"}, {"workload": "g2p"}])
def test_only_the_same_cell_is_compared(other: dict[str, object], old: Result, tmp_path: Path) -> None:
    comparison = compare(Analysis(old), Analysis(result(tmp_path / "new", *records(TIMES, seed=1, **other))))
    assert {one.status for one in comparison.cells} == {"new", "gone"}


@pytest.mark.parametrize("blocks", [1, MIN_BLOCKS - 1])
def test_below_three_blocks_there_is_no_verdict(blocks: int, old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(slower(jax=3.0), seed=10, blocks=blocks), run=changed("jax/scan"))
    one = cells(compare(Analysis(old), Analysis(new)))["jax/scan"]
    assert one.verdict is None
    assert one.change is not None and one.change.low < 3.0 < one.change.high
    assert not one.is_worse
    assert "– is fewer than 3 blocks" in " ".join(words(compare(Analysis(old), Analysis(new))).split())


def test_what_differs_is_listed(old: Result, tmp_path: Path) -> None:
    run = here(changed("jax/scan"), python="3.13.1", versions={"torch": "2.14.0"}, facts={"governor": "powersave"})
    comparison = compare(Analysis(old), Analysis(result(tmp_path / "new", *records(TIMES, seed=11), run=run)))
    assert {one.name: (one.old, one.new) for one in comparison.unlike} == {
        "python": ("3.11.7", "3.13.1"),
        "torch": ("2.13.0", "2.14.0"),
        "governor": ("–", "powersave"),
        "code of jax/scan": ("jax/scan", "other"),
    }
    for shown in (words(comparison), report.to_markdown(comparison)):
        assert "3.13.1" in shown and "powersave" in shown


def test_what_puts_a_run_in_doubt_is_said_first(old: Result, tmp_path: Path) -> None:
    off = slower() | {CONTROL: 0.011}
    new = result(tmp_path / "new", *records(off, seed=12))
    comparison = compare(Analysis(old), Analysis(new))
    assert CONTROL not in cells(comparison)
    assert words(comparison).startswith("NEW: NOT TO BE TRUSTED")
    assert words(compare(Analysis(new), Analysis(old))).startswith("OLD: NOT TO BE TRUSTED")
    assert "NOT TO BE TRUSTED" in report.to_markdown(comparison)

    smoke = result(tmp_path / "smoke", *records(TIMES, seed=13, blocks=1), run=replace(BASE, preset="smoke"))
    assert words(compare(Analysis(old), Analysis(smoke))).startswith("NEW: smoke shows that all works")
    cut = read_result(write(tmp_path / "cut", *records(TIMES, seed=14), run=BASE))
    assert words(compare(Analysis(old), Analysis(cut))).startswith("NEW: 8 blocks; not whole")


def test_the_drift_of_the_machine_is_shown(tmp_path: Path) -> None:
    old = result(tmp_path / "old", *records(TIMES, seed=1), BLOCK)
    new = result(tmp_path / "new", *records(TIMES, seed=2), replace(BLOCK, product_s=[0.13, 0.13]))
    comparison = compare(Analysis(old), Analysis(new))
    assert comparison.drift == pytest.approx(1.3)
    assert "took 1.30× as long in NEW" in " ".join(words(comparison).split())


def test_where_there_is_no_room_columns_are_left_out_and_rows_stand_whole(tmp_path: Path) -> None:
    first = result(tmp_path / "first", *records(TIMES, seed=1))
    second = result(tmp_path / "second", *records(TIMES | {"jax/scan": 0.05}, seed=2))
    comparison = compare(Analysis(first), Analysis(second))
    assert "no room" not in words(comparison)
    for width, left_out in ((60, "OLD, through"), (50, "OLD, NEW, through"), (40, "OLD, NEW, 95 %, through")):
        shown = words(comparison, width)
        assert f"no room for {left_out}: a terminal" in " ".join(shown.split())
        (row,) = [line.split() for line in shown.splitlines() if line.split()[:1] == ["jax/scan"]]
        assert row[-1] == cells(comparison)["jax/scan"].verdict and [
            word for word in row if re.fullmatch(r"2\.\d\d\d×", word)
        ]


def test_text_fits_80_columns_whatever_rows_are_called(old: Result, tmp_path: Path) -> None:
    long = "torch/" + "a_very_long_name_" * 6
    times = TIMES | {long: 123.456}
    first = result(tmp_path / "first", *records(times, seed=1), run=here(cpu="A Very Long Processor Name " * 4))
    second = result(tmp_path / "second", *records(times, seed=2), run=here(cpu="A Very Long Processor Name " * 4))
    for comparison in (
        compare(Analysis(first), Analysis(second)),
        compare(Analysis(first), Analysis(first)),
        compare(Analysis(old), Analysis(first)),
    ):
        shown = words(comparison)
        assert max(map(len, shown.splitlines())) <= 80
        assert "…" not in shown
        assert "torch/a_very" in shown


def test_json_is_flat_and_has_the_promised_fields(old: Result, tmp_path: Path) -> None:
    new = result(tmp_path / "new", *records(TIMES, seed=2), record("jax/nnx", status="error", samples_s=[]))
    rows = json.loads(export.to_json(report.change_rows(compare(Analysis(old), Analysis(new)))))
    promised = {
        *("implementation", "framework", "tier", "workload", "task", "device", "precision", "threads"),
        *("ratio", "ratio_low", "ratio_high", "verdict", "through", "blocks_old", "blocks_new"),
        *("old_median_s", "new_median_s", "status"),
    }
    assert len(rows) == 4
    for row in rows:
        assert promised <= row.keys()
        assert not any(isinstance(value, dict | list) for value in row.values())
    by_name = {row["implementation"]: row for row in rows}
    assert by_name["jax/scan"]["through"] == "torch/module"
    assert by_name["jax/scan"]["blocks_old"] == by_name["jax/scan"]["blocks_new"] == 8
    assert by_name["jax/scan"]["old_median_s"] == pytest.approx(0.020, rel=0.2)
    assert (by_name["jax/nnx"]["status"], by_name["jax/nnx"]["ratio"]) == ("new", None)


def test_markdown_cannot_be_broken_by_what_a_record_says(old: Result, tmp_path: Path) -> None:
    lines = [one for one in records(TIMES, seed=8) if one.cell.implementation != "jax/scan"]
    wrong = record("jax/scan", status="error", reason="a | b\n# c <b>", samples_s=[])
    shown = report.to_markdown(compare(Analysis(old), Analysis(result(tmp_path / "new", *lines, wrong))))
    assert "error: a | b # c &lt;b>" in shown
    assert not [line for line in shown.splitlines() if line.startswith("# c")]


MOVED = 0.02
"""Standard deviation of what moves a time from run to run, and no block of either shows."""


def moved(rng: np.random.Generator, factor: float = 1.0) -> dict[str, float]:
    """The times in another run, in which each has moved by its own amount, and that of jax/scan has changed."""
    times = slower(MANY, jax=factor)
    return {name: time * float(np.exp(rng.normal(0, MOVED))) for name, time in times.items()}


def test_ratios_that_move_from_run_to_run_are_not_mistaken_for_changes(old_of_many: Result, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wrong, deviations = 0, []
    for seed in range(60):
        new = result(tmp_path / str(seed), *records(moved(rng), seed=seed), run=changed("jax/scan"))
        comparison = compare(Analysis(old_of_many), Analysis(new))
        # what is judged is no part of what the movement is seen in
        wrong += cells(comparison)["jax/scan"].verdict in ("FASTER", "SLOWER")
        assert comparison.moved is not None and comparison.moved.cells == len(MANY) - 2
        deviations.append(comparison.moved.deviation)
    assert wrong <= 1
    # all are relative to one row, which has moved as well
    assert np.sqrt(np.mean(np.square(deviations))) == pytest.approx(MOVED * 2**0.5, rel=0.25)
    shown = " ".join(words(comparison).split())
    assert f"moved by {100 * deviations[-1]:.1f} % (standard deviation, {len(MANY) - 2} cells)" in shown
    assert re.search(r"has to be larger than (\d+\.\d) % to be told", shown)


def test_without_that_allowance_they_would_be(old_of_many: Result, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("bench.analysis.compare.between_runs", lambda *_, **__: 0.0)
    rng = np.random.default_rng(0)
    wrong = 0
    for seed in range(20):
        new = result(tmp_path / str(seed), *records(moved(rng), seed=seed), run=changed("jax/scan"))
        wrong += cells(compare(Analysis(old_of_many), Analysis(new)))["jax/scan"].verdict in ("FASTER", "SLOWER")
    assert wrong > 5


def test_a_change_larger_than_ratios_move_is_found_nevertheless(old_of_many: Result, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for seed in range(10):
        new = result(tmp_path / str(seed), *records(moved(rng, factor=1.4), seed=seed), run=changed("jax/scan"))
        assert cells(compare(Analysis(old_of_many), Analysis(new)))["jax/scan"].verdict == "SLOWER"


def test_where_no_row_is_unchanged_the_movement_is_supposed(old: Result, tmp_path: Path) -> None:
    comparison = compare(
        Analysis(old),
        Analysis(result(tmp_path / "new", *records(TIMES, seed=2), run=changed("jax/scan", "thinc/layers"))),
    )
    assert comparison.moved is None and comparison.allowed == (OF_RATIOS, OF_RATIOS)
    assert {one.verdict for one in comparison.cells if one.status == "compared"} == {"UNCLEAR"}
    shown = " ".join(words(comparison).split())
    assert "no unchanged row has blocks enough to show how much ratios move. 4.0 % is allowed for" in shown


def test_a_row_that_jumped_does_not_hide_the_others(old_of_many: Result, tmp_path: Path) -> None:
    times = MANY | {"thinc/0": MANY["thinc/0"] * 2, "jax/scan": MANY["jax/scan"] * 1.4}
    found = cells(
        compare(
            Analysis(old_of_many), Analysis(result(tmp_path / "new", *records(times, seed=2), run=changed("jax/scan")))
        )
    )
    assert found["thinc/0"].verdict == found["jax/scan"].verdict == "SLOWER"


def test_a_run_that_went_on_is_not_two_samples(tmp_path: Path) -> None:
    """Blocks that stand in both results say nothing about what lies between two runs."""
    lines = records(MANY, seed=1, blocks=12)
    first = result(tmp_path / "first", *[line for line in lines if line.block <= 6])
    assert compare(Analysis(first), Analysis(result(tmp_path / "whole", *lines))).moved is None


# As real processes
