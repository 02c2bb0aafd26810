"""What a run says of itself while it lasts: what will be known when, and never nothing for long."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from support.pretend import plan, row
from support.recorded import EFFORT, END, RUN, block_of, record

from bench.measure.plan import BUDGETS
from bench.records.schema import Result, VerdictChange
from bench.report import progress
from bench.report.progress import Progress, after_the_first, announced, followed
from bench.report.words import about_end

DEFAULT = plan(row("base"), row("fast"), budget=BUDGETS["default"])
BY_HAND = replace(DEFAULT, budget=replace(DEFAULT.budget, total_s=300.0, sure_blocks=1))
FIRST = block_of(100, 400.0, cold=True, phases_s={"compile": 200.0})


def of_run(first_s: float, three_s: float) -> str:
    facts = msgspec.structs.replace(RUN.plan, min_blocks=3, first_block_s=first_s, min_blocks_s=three_s)
    return "\n".join(announced(msgspec.structs.replace(RUN, plan=facts), DEFAULT))


def test_the_plan_says_what_will_be_known_when() -> None:
    said = of_run(180.0, 420.0)
    assert "budget 20 min" in said
    assert "the first table after about 3 min; verdicts from about 7 min on (block 3)" in said
    assert "a block every 2 min" in said


def test_a_budget_by_hand_that_will_not_do_is_told_at_once() -> None:
    facts = msgspec.structs.replace(RUN.plan, min_blocks=3, first_block_s=200.0, min_blocks_s=600.0)
    run = msgspec.structs.replace(RUN, plan=facts)
    assert "will hardly do for 3 blocks" in "\n".join(announced(run, BY_HAND))
    assert "hardly" not in "\n".join(announced(run, DEFAULT))
    on = "\n".join(announced(run, BY_HAND, have=3))
    assert "hardly" not in on and "first table" not in on and "verdicts" not in on, "a run that goes on has them"
    assert "verdicts from about 7 min on (block 3)" in "\n".join(announced(run, DEFAULT, have=1))


@pytest.mark.parametrize(
    ("own", "elapsed_s", "words"),
    [
        (DEFAULT, 410.0, "block 3, and with it the first verdicts, after about 14 min"),
        (DEFAULT, 1000.0, "beyond the budget of 20 min, and it goes on until then"),
        (BY_HAND, 410.0, "beyond the budget of 5 min, so that there will be none"),
    ],
)
def test_after_the_first_block_it_is_said_when_there_will_be_verdicts(own, elapsed_s: float, words: str) -> None:
    assert "in block 1 and from now on" in followed([EFFORT]) and "seed forward 7 → 3" in followed([EFFORT])
    assert words in after_the_first(own, FIRST, [EFFORT], elapsed_s)


def test_where_there_is_no_bar_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENCE_S", 0.2)
    out = io.StringIO()
    result = Result(Path("result"), RUN, [])
    began = time.monotonic()
    with Progress(plan(row("base"), row("fast")), result, Console(file=out)) as shown:
        shown.say("the oracle works out seed")
        time.sleep(0.9)
    told = out.getvalue().count("the oracle works out seed")
    assert 2 <= told <= (time.monotonic() - began) / 0.2 + 1, "once in each silence, and no more"
    time.sleep(0.5)
    assert out.getvalue().count("the oracle works out seed") == told, "it ends with the run"


def test_a_result_says_when_its_verdicts_came() -> None:
    def said(name: str, verdict: str, number: int, elapsed_s: float) -> VerdictChange:
        return VerdictChange(cell=record(name).cell, block=number, verdict=verdict, elapsed_s=elapsed_s)

    verdicts = [
        said("jax/scan", "FASTER", 3, 400.0),
        said("torch/cell", "SLOWER", 3, 400.0),
        said("torch/cell", "UNCLEAR", 4, 520.0),
        said("torch/cell", "SLOWER", 5, 640.0),
    ]
    result = Result(Path("result"), RUN, [record()], ends=[END], said=verdicts)
    assert "verdicts: 2 after 7 min, 1 after 9 min, 2 after 11 min" in about_end(result)
    assert "verdicts" not in about_end(replace(result, said=[]))
