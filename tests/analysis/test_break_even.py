"""What an engineer decides by: the cost of N calls, who is done first, and when compiling has paid for itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.recorded import record

from bench.analysis.break_even import COUNTS, Cost, cost_of, costs, rivals, winner
from bench.analysis.cells import analyse
from bench.records.schema import CONTROL

COSTS = st.builds(Cost, st.sampled_from([record(name).cell for name in "abc"]), st.floats(0, 1e3), st.floats(1e-6, 10))


@given(one=COSTS, other=COSTS)
def test_a_row_pays_where_the_two_lines_cross(one: Cost, other: Cost) -> None:
    after = one.breaks_even(other)
    if after is None:
        assert one.call_s > other.call_s or (one.call_s == other.call_s and one.fixed_s >= other.fixed_s)
        return
    assert after >= 0
    if one.fixed_s <= other.fixed_s:
        assert after == 0
    else:
        assert math.isclose(one.of(after), other.of(after), rel_tol=1e-6)
    assume(other.call_s - one.call_s > 1e-9 * other.call_s)
    later = math.ceil(after * 1.001 + 1)
    assert one.of(later) < other.of(later)


@given(one=COSTS, other=COSTS)
def test_at_most_one_of_two_is_worth_waiting_for(one: Cost, other: Cost) -> None:
    after, before = one.breaks_even(other), other.breaks_even(one)
    assert after is None or before is None


@given(group=st.lists(COSTS, min_size=1), calls=st.sampled_from(COUNTS))
def test_the_winner_is_done_first(group: list[Cost], calls: int) -> None:
    assert winner(group, calls).of(calls) == min(cost.of(calls) for cost in group)


def test_a_cost_is_import_build_compile_and_the_calls() -> None:
    records = [
        record(block=1, samples_s=[0.01], import_s=1.0, build_s=0.1, compile_s=5.0),
        record(block=2, samples_s=[0.02], import_s=3.0, build_s=0.3, compile_s=0.5),  # loaded from the cache
        record(block=3, samples_s=[0.03], import_s=2.0, build_s=0.2, compile_s=0.5),
        record(CONTROL, block=1),
        record("jax/scan", block=1, status="error", samples_s=[]),
        record("thinc/layers", block=1, samples_s=[0.5]),
    ]
    judged = analyse(records, "torch/module")
    of_group = list(costs(judged.values()).values())
    ours, theirs = of_group
    assert (ours.cell.implementation, theirs.cell.implementation) == ("torch/module", "thinc/layers")
    assert ours.of(0) == pytest.approx(2.0 + 0.2 + 5.0)
    assert ours.of(1000) == pytest.approx(7.2 + 1000 * 0.02)
    assert theirs.of(10) == pytest.approx(5.0)
    assert [winner(of_group, count).cell.implementation for count in COUNTS] == ["thinc/layers"] + ["torch/module"] * 2
    assert ours.breaks_even(theirs) == pytest.approx(7.2 / 0.48)
    assert theirs.breaks_even(ours) is None
    assert [cost_of(one) for one in judged.values() if one.failure] == [None]


def test_who_may_be_first_for_all_that_is_known_is_a_rival() -> None:
    noise = [0.97, 1.03, 0.99, 1.02, 0.98, 1.01]
    records = [
        record(name, block=block, samples_s=[seconds * (factor if name == "jax/scan" else 1.0)], import_s=imports)
        for block, factor in enumerate(noise, 1)
        for name, seconds, imports in (("torch/module", 1.0, 1.0), ("jax/scan", 1.002, 3.0))
    ]
    judged = analyse(records, "torch/module")
    of_group = list(costs(judged.values()).values())
    found = {count: [cost.cell.implementation for cost in rivals(of_group, judged, count)] for count in COUNTS}
    assert [winner(of_group, count).cell.implementation for count in COUNTS] == ["torch/module"] * 3
    # the import that jax/scan has to make good for is dear at one call, and nothing beside a thousand
    assert found == {1: [], 1_000: ["jax/scan"], 1_000_000: ["jax/scan"]}


def test_of_several_attempts_and_tables_the_one_that_found_no_cache_says_what_compiling_costs() -> None:
    records = [
        record(block=1, pool=0, attempt=0, compile_s=0.2),  # sat second: loaded what table 1 had compiled
        record(block=1, pool=1, attempt=0, compile_s=4.0),
        record(block=1, pool=1, attempt=1, compile_s=0.0),
        record(block=2, pool=1, compile_s=9.0),
    ]
    (one,) = analyse(records, "torch/module").values()
    cost = cost_of(one)
    assert cost is not None and cost.fixed_s == pytest.approx(4.0)
