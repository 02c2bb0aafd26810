"""What a run says of the time that it will take grows with what is asked for, and follows from what was measured."""

from __future__ import annotations

import msgspec
import pytest
from support.pretend import plan, row, sit
from support.recorded import EFFORT, block_of

from bench.measure.plan import BUDGETS
from bench.measure.stopping import Speed, after_s, expected_s, last_s, next_block, next_block_s
from bench.workloads.shapes import SEED, WORDS

ROWS = [row(name) for name in ("base", "fast", "slow")]
WORKLOADS = {one.name: one for one in (SEED, WORDS)}


def test_the_next_block_takes_as_long_as_one_like_it() -> None:
    due = next_block(plan(*ROWS), [])
    assert due is not None
    cells = sum(len(one.members) for one in due[1])
    assert next_block_s(due[1], []) == 0
    assert next_block_s(due[1], [block_of(cells, 60.0), block_of(cells, 40.0)]) == 40
    assert next_block_s(due[1], [block_of(cells, 40.0), block_of(1, 20.0)]) == 40, "a rest: little"
    assert next_block_s(due[1], [block_of(2 * cells, 60.0)]) == 30
    cold = block_of(cells, 60.0, cold=True, phases_s={"compile": 20.0, "check": 10.0, "turns": 30.0})
    assert next_block_s(due[1], [cold]) == after_s(cold, []) == pytest.approx(60 - 0.85 * 20 - 0.85 * 10)
    assert after_s(cold, [EFFORT]) == after_s(cold, []) - 4, "four rounds of a second fewer"
    again = block_of(cells, 60.0, block=5, cold=True, phases_s=cold.phases_s)
    assert after_s(again, [EFFORT]) == after_s(cold, []), "its turns had followed already"


@pytest.mark.parametrize("preset", ["smoke", "default", "full"])
def test_the_estimate_grows_with_what_is_asked_for_and_with_a_slow_machine(preset: str) -> None:
    few = expected_s(plan(*ROWS[:2], budget=BUDGETS[preset]), WORKLOADS, 2)
    asked = plan(*ROWS, budget=BUDGETS[preset])
    many, alone, slow = (expected_s(asked, WORKLOADS, slots, Speed(start)) for slots, start in ((2, 1), (1, 1), (2, 3)))
    assert 0 < few.first_block_s <= few.blocks_s(3) and few.first_block_s < many.first_block_s
    assert many.later_block_s < many.first_block_s < min(alone.first_block_s, slow.first_block_s)


def test_a_last_look_takes_what_starting_and_loading_took() -> None:
    own = plan(*ROWS)
    due = next_block(own, [])
    assert due is not None
    records = [record for planned in due[1] for record in sit(planned, 1, {})]
    slow = [msgspec.structs.replace(record, import_s=3.0, first_call_s=1.0) for record in records]
    assert last_s([], 2) == 0
    assert last_s(records, 2) == pytest.approx(last_s(records, 1) / 2)
    assert last_s(slow, 1) == pytest.approx(last_s(records, 1) + 4 * len(records))
