"""Where a block's time goes is written down; what was right is checked less often, and once more at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.measuring import QUICK, blocks, carry_out, lines, measure, peaks, plan_of
from support.processes import numpy_row
from support.recorded import EFFORT

from bench.measure import runner
from bench.measure.interleave import Interleaver
from bench.measure.messages import Check
from bench.measure.plan import BUDGETS
from bench.records.schema import Effort, Memory, VerdictChange
from bench.records.store import RECORDS_FILE
from impls import read_row

if TYPE_CHECKING:
    from pathlib import Path

WRONG_IN = "import os\nopen({starts!r}, 'a').write('x')\nSTARTS = len(open({starts!r}).read())"


def test_the_phases_of_a_block_fill_it(tmp_path: Path) -> None:
    slow = numpy_row(tmp_path, "slow", top="import time\ntime.sleep(1.5)", before="time.sleep(0.02)")
    measure(tmp_path, read_row(slow), tasks=["encode"], budget=replace(QUICK, min_blocks=2, max_blocks=2))
    first, second = blocks(tmp_path)
    assert (first.cold, second.cold) == (True, False)
    for one in (first, second):
        assert one.phases_s.keys() >= {"start", "load", "warm-up", "check", "turns"}
        assert 0.8 * one.elapsed_s <= sum(one.phases_s.values()) <= one.elapsed_s
        assert one.phases_s["start"] > 1.5 > one.phases_s["load"]
        assert one.phases_s["turns"] >= 2 * 2 * 0.02  # of the row and the control


def test_an_unseen_input_is_met_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, bool] = {}
    together = Interleaver._together

    def watch(table, members, command, kind=None):
        def heard(one, slot):
            made = command(one, slot)
            if isinstance(made, Check):
                asked[table.block] = made.unseen
            return made

        return together(table, members, heard, kind)

    monkeypatch.setattr(Interleaver, "_together", watch)
    row = read_row(numpy_row(tmp_path, "row"))
    measure(tmp_path, row, tasks=["encode"], budget=replace(QUICK, min_blocks=7, max_blocks=7))
    assert [block for block, unseen in asked.items() if unseen] in ([1, 4, 7], [1, 5, 7], [1, 6, 7])
    assert [*asked] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("does", "status", "looked_at_after"),
    [
        ("return type(result)(*(part * 1.01 for part in result))", "invalid", {"ok"}),
        ("raise ValueError('not today')", "error", {"ok", "error"}),
    ],
)
def test_a_row_that_is_wrong_at_the_end_has_no_time(
    does: str, status: str, looked_at_after: set[str], tmp_path: Path
) -> None:
    """It is right in its two blocks, and wrong in the third process that it has."""
    top = WRONG_IN.format(starts=str(tmp_path / "starts"))
    turns = numpy_row(tmp_path, "turns", top=top, after=f"if STARTS > 2: {does}\n        return result")
    right = read_row(numpy_row(tmp_path, "right"))
    budget = replace(QUICK, min_blocks=2, max_blocks=2, measures_memory=True)
    records = carry_out(tmp_path, plan_of(right, read_row(turns), tasks=["encode"], budget=budget))
    own = [record for record in records if record.cell.implementation == "turns"]
    assert {record.status for record in own[:-1]} == {"ok"} and own[-1].status == status
    assert "once more, at the end" in (own[-1].reason or "")
    assert {one.status for one in peaks(tmp_path).values()} == looked_at_after


def test_who_is_wrong_at_the_end_loses_the_verdict_that_it_had(tmp_path: Path) -> None:
    top = WRONG_IN.format(starts=str(tmp_path / "starts")) + "\nimport time"
    after = "return result if STARTS < 6 else type(result)(*(part * 1.01 for part in result))"
    fast = numpy_row(tmp_path, "fast", top="import time", before="time.sleep(0.02)")
    slow = numpy_row(tmp_path, "slow", top=top, before="time.sleep(0.2)", after=after)
    budget = replace(QUICK, min_blocks=5, max_blocks=5, limit_s=60, measures_memory=True)
    carry_out(tmp_path, plan_of(read_row(fast), read_row(slow), tasks=["encode"], budget=budget))
    said = [(line.verdict, line.block) for line in lines(tmp_path) if isinstance(line, VerdictChange)]
    assert [verdict for verdict, _ in said] == ["SLOWER", "UNCLEAR"] and said[-1][1] == 5


def test_a_run_that_goes_on_looks_once_more_at_what_it_has_measured_since(tmp_path: Path) -> None:
    rows = [read_row(numpy_row(tmp_path, name)) for name in "ab"]

    def looked(blocks: int) -> list[int]:
        plan = plan_of(
            *rows, tasks=["encode"], budget=replace(QUICK, min_blocks=blocks, max_blocks=blocks, measures_memory=True)
        )
        known = lines(tmp_path) if (tmp_path / RECORDS_FILE).exists() else []
        carry_out(tmp_path, plan, known=known)
        return [line.block for line in lines(tmp_path) if isinstance(line, Memory)]

    assert looked(1) == [1, 1]
    assert looked(2) == [1, 1, 2, 2]
    assert looked(2) == [1, 1, 2, 2], "nothing is new"


def test_a_group_that_was_cut_off_in_the_first_block_follows_from_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def efforts(_records, seconds, _baselines, _budget, block):
        """Of each group that may follow now: on a busy machine none of its turns may be fit to say how many."""
        places = [{"workload": group.workload, "task": group.task, "pool": pool} for pool, group in seconds]
        return [msgspec.structs.replace(EFFORT, block=block, **place) for place in places]

    monkeypatch.setattr(runner, "efforts", efforts)
    rows = [read_row(numpy_row(tmp_path, name)) for name in "ab"]
    plan = plan_of(*rows, tasks=["encode", "forward"], budget=replace(QUICK, min_blocks=3, max_blocks=3, adapts=True))
    (whole := tmp_path / "whole").mkdir()
    first = [one for one in carry_out(whole, plan) if (one.block, one.attempt, one.cell.task) == (1, 0, "encode")]
    known = [msgspec.structs.replace(one, flags=[]) for one in first]  # a contended group would be measured again
    (cut := tmp_path / "cut").mkdir()
    carry_out(cut, plan, known=known)
    for folder, expected in ((whole, [("encode", 1), ("forward", 1)]), (cut, [("encode", 2), ("forward", 1)])):
        assert sorted((line.task, line.block) for line in lines(folder) if isinstance(line, Effort)) == expected


def test_later_blocks_have_the_turns_that_follow_from_the_first(tmp_path: Path) -> None:
    rows = [read_row(numpy_row(tmp_path, name, before="time.sleep(0.001)", top="import time")) for name in "ab"]
    budget = replace(BUDGETS["default"], timed_s=0.2, min_turns=3, min_blocks=3, max_blocks=3, measures_memory=False)
    records = carry_out(tmp_path, plan_of(*rows, tasks=["encode"], budget=budget))
    (effort,) = [line for line in lines(tmp_path) if isinstance(line, Effort)]
    assert effort.before == min(len(one.samples_s) for one in records if one.block == effort.block)
    for one in records:
        if one.block > effort.block:
            assert effort.turns <= len(one.samples_s) <= budget.most_rounds * effort.turns
    assert effort.round_s > 0 and effort.around_s > 0 and effort.turn_sd > 0


def test_each_verdict_is_written_down_with_its_time(tmp_path: Path) -> None:
    """Both rows sleep for most of their time, so that a busy machine does not spread their ratio."""
    fast, slow = (
        numpy_row(tmp_path, name, top="import time", before=f"time.sleep({s})")
        for name, s in [("fast", 0.02), ("slow", 0.2)]
    )
    budget = replace(QUICK, min_blocks=5, max_blocks=5, limit_s=60)
    carry_out(tmp_path, plan_of(read_row(fast), read_row(slow), tasks=["encode"], budget=budget), had_s=100.0)
    (said,) = [line for line in lines(tmp_path) if isinstance(line, VerdictChange)]
    assert (said.cell.implementation, said.verdict) == ("slow", "SLOWER")
    assert 3 <= said.block <= 5
    spent = sum(one.elapsed_s for one in blocks(tmp_path) if one.block <= said.block)
    assert 100 + spent <= said.elapsed_s < 100 + spent + 10


@pytest.mark.parametrize(("sure", "expected"), [(1, 1), (3, 3)])
def test_sure_blocks_are_measured_whatever_the_budget(sure: int, expected: int, tmp_path: Path) -> None:
    rows = [read_row(numpy_row(tmp_path, name)) for name in "ab"]
    budget = replace(QUICK, min_blocks=3, max_blocks=None, total_s=0.1, sure_blocks=sure)
    records = carry_out(tmp_path, plan_of(*rows, tasks=["encode"], budget=budget))
    assert max(one.block for one in records) == expected
