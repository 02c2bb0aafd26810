"""What the time of a call goes to, on traces whose answer is known."""

from __future__ import annotations

import pytest
from support.profiled import profile

from bench.profiling.profiles import attribute, operations_of, typical
from impls.profiling import CALL, TraceEvent, span


def call(start: float, end: float) -> TraceEvent:
    return span(CALL, 9, start, end, CALL)


def only(*events: TraceEvent) -> dict:
    (found,) = attribute([call(0, 10), *events])
    return {name: [round(own, 9) for own in seconds] for (name, _), seconds in found.items()}


def test_an_operation_has_its_own_time_and_what_is_inside_it_has_its() -> None:
    events = [span("outer", 1, 1, 9, "elementwise"), span("inner", 1, 2, 4, "product"), span("view", 1, 5, 6)]
    assert only(*events) == {"outer": [5.0], "inner": [2.0]}  # a view is overhead, wherever it is


def test_what_no_operation_has_is_nobodys() -> None:
    assert only(span("loop", 1, 0, 10), span("dot.1", 1, 2, 3, "product"), span("dot.2", 1, 5, 7, "product")) == {
        "dot": [1.0, 2.0]
    }


def test_threads_that_work_at_once_share_the_time() -> None:
    events = [span("dot", 1, 0, 4, "product"), span("add", 2, 2, 6, "elementwise"), span("wait", 3, 0, 10)]
    assert only(*events) == {"dot": [3.0], "add": [3.0]}


def test_an_operation_counts_as_far_as_it_is_in_the_call() -> None:
    events = [call(0, 10), call(20, 30), span("dot", 1, 8, 22, "product"), span("add", 1, 40, 50, "elementwise")]
    first, second = attribute(events)
    assert first == second == {("dot", "product"): [pytest.approx(2)]}


def test_all_that_threads_are_in_where_a_call_begins_counts() -> None:
    events = [call(10, 110), span("a", 1, 0, 60, "product"), span("b", 2, 0, 60, "elementwise")]
    (found,) = attribute(events)
    assert found == {
        ("a", "product"): [pytest.approx(25)],
        ("b", "elementwise"): [pytest.approx(25)],
    }
    assert attribute([call(0, 10)]) == [{}]


def test_an_event_that_outlasts_the_one_around_it_is_cut() -> None:
    assert only(span("outer", 1, 0, 4, "elementwise"), span("inner", 1, 3, 5, "product")) == {
        "outer": [3.0],
        "inner": [1.0],
    }


def test_what_disturbs_a_call_here_and_another_there_does_not_count() -> None:
    dot = ("dot", "product")
    calls = [{dot: [1.0 + 7 * (n == 0), 2.0 + 7 * (n == 1)]} for n in range(4)]
    (found,) = operations_of(calls, 0.5)
    assert (found.count, found.seconds) == (2, 0.5 + 1.5)
    assert typical([3.0, 1.0, 2.0, 4.0, 9.0]) == 2.0


def test_what_a_call_has_typically_is_counted() -> None:
    dot, rare = ("dot", "product"), ("print", "other")
    calls = [{dot: [1.0, 0.2, 1.0]}] * 19
    calls.append({dot: [1.0] * 30, rare: [5.0]})
    (found,) = operations_of(calls, 0.5)
    assert (found.name, found.count, found.seconds) == ("dot", 3, 1.0)  # one that the profiler's own outlasts is there


def test_categories_add_up_to_the_call() -> None:
    one = profile(("product", 4.0), ("fused", 1.0))
    assert one.categories_s == {
        **{"product": 4.0, "elementwise": 0.0, "movement": 0.0, "fused": 1.0, "other": 0.0},
        "overhead": 5.0,
    }
    assert one.slowdown == 2.0 and one.scale == 1.0 and one.waited == pytest.approx(1 / 11)


def test_operations_that_outlast_the_call_are_scaled_to_it() -> None:
    one = profile(("product", 15.0), ("elementwise", 5.0))
    assert one.scale == 0.5
    assert sum(one.categories_s.values()) == pytest.approx(one.call_s)
    assert one.categories_s["product"] == 7.5 and one.categories_s["overhead"] == 0
