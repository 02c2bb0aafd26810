"""The sentence that a person would say: what verdicts allow, in the table's own figures, in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import ask
from support.recorded import END, RUN, record, write

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse
from bench.analysis.means import means
from bench.records.schema import CONTROL, Record, Result, Run, WorkloadFacts
from bench.report.sentence import WORDS, sentence

if TYPE_CHECKING:
    from bench.analysis.cells import CellAnalysis
    from bench.records.schema import Line

NAMES = ("torch/module", "jax/scan", "jax/tuned", "thinc/layers", "thinc/pytorch", "keras/jax")


def blocks_of(times: dict[str, list[float]], *, control: float | None = 1.0, **fields: object) -> list[Record]:
    """A record for each row and block, and the control's, which takes so many times as long as the baseline."""
    lines = []
    rows = times | ({CONTROL: [control * one for one in times["torch/module"]]} if control else {})
    for name, of_row in rows.items():
        tier = "wrapper" if name == "thinc/pytorch" else "idiomatic"
        lines += [
            record(name, tier=tier, block=block, samples_s=[0.001 * value] * 3, **fields)
            for block, value in enumerate(of_row, 1)
        ]
    return lines


def said(lines: list[Record], run: Run = RUN) -> str:
    return sentence(Analysis(Result(Path("result"), run, lines)), "this machine")


def steady(value: float, blocks: int = 8) -> list[float]:
    """Times that hardly vary."""
    return [value * (1 + 1e-4 * (block % 3)) for block in range(blocks)]


TWO = {"torch/module": steady(1.0), "jax/tuned": steady(0.75), "thinc/layers": steady(2.1)}


def test_one_group_is_said_as_a_person_would() -> None:
    words = said(blocks_of(TWO, workload="g2p", task="train_step"))
    assert re.fullmatch(
        r"On this machine, for g2p training, jax/tuned is 1\.33 times as fast as torch/module \[1\.33, 1\.33\];"
        r" thinc/layers takes 2\.10 times as long \[2\.10, 2\.10\]\.",
        words,
    )


def test_ties_are_named_as_ties() -> None:
    words = said(blocks_of(TWO | {"jax/scan": steady(0.75)}))
    assert "jax/tuned and jax/scan share the first place, and jax/tuned is 1.33 times as fast as torch/module" in words
    words = said(blocks_of({"torch/module": steady(1.0), "jax/scan": steady(1.001)}))
    assert words == (
        "On this machine, for seed inference, torch/module and jax/scan share the first place, for no verdict"
        " distinguishes them."
    )


ROUGH = [1.5, 0.6, 1.3, 0.5, 1.2, 0.7, 1.1, 0.6]


def test_what_is_unclear_is_said_to_be() -> None:
    words = said(blocks_of({"torch/module": steady(1.0), "jax/tuned": steady(0.1), "thinc/layers": ROUGH}))
    assert words.endswith("thinc/layers is not distinguishable from torch/module.")


def test_the_baseline_may_win() -> None:
    words = said(blocks_of({"torch/module": steady(1.0), "jax/scan": steady(1.5), "thinc/layers": steady(2.0)}))
    assert words.startswith(
        "On this machine, for seed inference, torch/module has the first place; jax/scan takes 1.50"
    )
    assert "thinc/layers takes 2.00 times as long [" in words


def test_without_a_verdict_nothing_is_decided_and_the_way_is_named() -> None:
    few = {name: of_row[:2] for name, of_row in TWO.items()}
    words = said(blocks_of(few))
    assert (
        "nothing is decided yet, for there is no verdict below 3 blocks" in words
        and "--resume RESULT` goes on" in words
    )
    assert "without --preset smoke" in said(blocks_of(few), msgspec.structs.replace(RUN, preset="smoke"))
    assert "times" not in words and "first place" not in words


def test_who_is_refused_is_named_where_nothing_else_may_be_said() -> None:
    flagged = [
        msgspec.structs.replace(one, flags=["restless"] * (one.cell.implementation == "torch/module"))
        for one in blocks_of(TWO)
    ]
    assert said(flagged) == (
        "On this machine there is no verdict: torch/module did what no row may (what was noticed says what)."
    )


def test_a_control_that_fails_forbids_to_speak() -> None:
    words = said(blocks_of(TWO, control=1.1))
    assert "nothing may be said, for the baseline differs from itself" in words and "fast" not in words


def test_a_row_alone_is_compared_with_nothing() -> None:
    assert "there is nothing to compare" in said(blocks_of({"torch/module": steady(1.0)}))
    assert "there is nothing to compare" in said([])


def test_a_comparison_without_a_verdict_yet_is_counted() -> None:
    few = {name: of_row[:2] for name, of_row in TWO.items()}
    words = said([*blocks_of(TWO), *blocks_of(few, workload="g2p")])
    assert words.endswith("; 1 other comparison has no verdict yet.")


def test_several_groups_are_one_sentence_with_a_mean_for_each_task() -> None:
    lines = [
        one
        for task, speed in (("forward", 0.5), ("train_step", 0.8))
        for workload in ("seed", "g2p")
        for one in blocks_of(TWO | {"jax/tuned": steady(speed)}, workload=workload, task=task)
    ]
    assert said(lines) == (
        "On this machine, over 2 workloads, jax/tuned has or shares the first place in 4 of 4 comparisons; jax/tuned is"
        " on average 2.00 times as fast as torch/module for inference [2.00, 2.00] and is on average 1.25 times as fast"
        " for training [1.25, 1.25]."
    )


def test_a_mean_of_wins_and_losses_is_not_called_faster() -> None:
    lines = [
        *blocks_of(TWO | {"jax/tuned": steady(0.1)}, workload="seed"),
        *blocks_of(TWO | {"jax/tuned": steady(1.5)}, workload="g2p"),
    ]
    words = said(lines)
    assert "is faster than torch/module for inference with 1 of 2 workloads and slower with 1" in words
    assert "times as fast" not in words


def test_sweeps_say_who_came_out_first_and_that_no_verdict_bears_it_out() -> None:
    shape = WorkloadFacts(shape="E 1", sequences=1, source="a draw", held_out=True)
    run = msgspec.structs.replace(RUN, preset="scaling", workloads=RUN.workloads | {"a": shape, "b": shape})
    few = {name: of_row[:3] for name, of_row in TWO.items()}
    lines = [*blocks_of(few), *blocks_of(few, workload="a"), *blocks_of(few, workload="b")]
    words = said(lines, run)
    assert "jax/tuned came out first in inference at 2 of 2 held-out shapes, which no verdict bears out" in words


TIMES = st.dictionaries(
    st.sampled_from(NAMES[1:]),
    st.tuples(st.floats(0.2, 5.0), st.sampled_from([1e-4, 0.02, 0.3])),
    max_size=4,
)
GROUPS = st.dictionaries(
    st.tuples(st.sampled_from(["seed", "g2p"]), st.sampled_from(list(WORDS)), st.sampled_from([1, 2])),
    st.tuples(TIMES, st.integers(1, 9)),
    min_size=1,
    max_size=5,
)


def lines_of(groups: dict, random: st.DataObject | None = None) -> list[Record]:
    lines: list[Record] = []
    for number, ((workload, task, threads), (rows, blocks)) in enumerate(groups.items()):
        times = {"torch/module": [1.0] * blocks}
        for name, (ratio, noise) in rows.items():
            # noise of a fixed pattern, of its own for each row
            times[name] = [
                ratio * (1 + noise * ((7 * block + 3 * number + len(name)) % 11 / 5 - 1)) for block in range(blocks)
            ]
        lines += blocks_of(times, control=1.0 if blocks else None, workload=workload, task=task, threads=threads)
    return lines


def claims(words: str) -> list[tuple[str, str, str, str, str, str]]:
    """Row, number, ``fast`` or ``long``, task and threads, low, high: of each claim, in order."""
    pattern = (
        r"(?P<average>on average )?(?:takes )?(?:on average )?(?P<times>[\d.]+) times as (?P<what>fast|long)"
        r"(?: as \S+)?(?: for (?P<at>[a-z]+(?: on \d threads)?))? \[(?P<low>[\d.]+), (?P<high>[\d.]+)\]"
    )
    return [
        (
            re.findall(r"(\w+/\w+) (?:is|takes|on average|cannot|share)", words[: found.end()])[-1],
            *found.group("times", "what"),
            found["at"] or "",
            *found.group("low", "high"),
        )
        for found in re.finditer(pattern, words)
    ]


@settings(max_examples=60)
@given(GROUPS)
def test_it_is_one_sentence_and_claims_what_verdicts_and_the_table_bear_out(groups: dict) -> None:
    lines = lines_of(groups)
    judged = analyse(lines, RUN.baseline)
    words = said(lines)
    assert "\n" not in words and words.endswith(".") and ". " not in words and words.startswith("On this machine")
    found = claims(words)
    assert len(found) == words.count("times as")
    averages = means(judged.values())
    for name, times, what, at, low, high in found:
        verdict = "FASTER" if what == "fast" else "SLOWER"
        ours = [
            one
            for one in judged.values()
            if one.cell.implementation == name and (not at or at == place(one)) and one.ratio and one.is_compared
        ]
        verdicts = [one.ratio.verdict for one in ours if one.ratio]
        assert verdict in verdicts, words
        if at:  # of several workloads or of one
            assert not {"FASTER", "SLOWER"} - {verdict} & {*verdicts}, words
        ratios = [one.ratio for one in ours] + [of_place[name] for of_place in averages.values() if name in of_place]
        shown = {
            (units.ratio(1 / one.estimate)[:-1], *units.between(1 / one.high, 1 / one.low)[1:-1].split(", "))
            if what == "fast"
            else (units.ratio(one.estimate)[:-1], *units.between(one.low, one.high)[1:-1].split(", "))
            for one in ratios
            if one
        }
        assert (times, low, high) in shown, words
    if not any(one.ratio and one.ratio.verdict for one in judged.values() if one.is_compared):
        assert not found and "first place" not in words


def place(one: CellAnalysis) -> str:
    return WORDS[one.cell.task] + (f" on {one.cell.threads} threads" if one.cell.threads > 1 else "")


@given(st.text(min_size=1, max_size=12))
def test_no_name_breaks_the_line(name: str) -> None:
    words = said(blocks_of({"torch/module": steady(1.0), name: steady(0.5)}))
    assert len(words.splitlines()) <= 1 + sum(name.count(sign) for sign in "\x1c\x1d\x1e\x85  ") and words.endswith(".")


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_table_ends_with_it_and_is_whole_when_piped(
    columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[Line] = [*blocks_of(TWO), END]
    folder = write(tmp_path / "run", *lines)
    monkeypatch.setenv("COLUMNS", columns)
    shown = ask("table", str(folder)).stdout
    assert "\x1b" not in shown and max(map(len, shown.splitlines())) <= int(columns)
    assert " ".join(shown.split()).endswith(
        "On A Processor, for seed inference, jax/tuned is 1.33 times as fast as torch/module [1.33, 1.33]; thinc/layers"
        " takes 2.10 times as long [2.10, 2.10]."
    )
