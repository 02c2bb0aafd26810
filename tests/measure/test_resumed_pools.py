"""A run that goes on has the same rows in the same pools."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recorded import RUN, write
from support.requests import ABLE, BOUNDS, facts_of, python_of, request_of

from bench.machine.interpreters import Interpreter
from bench.measure import run
from bench.measure.plan import Plan
from bench.measure.request import Options, Request
from bench.measure.run import check_resume
from bench.records.schema import CONTROL
from bench.records.versions import join
from impls.contract import PRECISIONS, InvalidInput


def pools_of(
    request: Request,
    entries: int,
    *,
    now: tuple[Interpreter, ...] = (),
    written: list[list[str]] | None = None,
) -> tuple[Plan, Plan]:
    """A run's plan, and that of its continuation, which knows no more than what the run has written down.

    ``entries``: how many there is room for in a pool, when the run begins. ``now``: the interpreters as they are
    later. ``written``: what stands in the result instead of its pools.
    """
    rows, bounds = ({row.name: row for row in some} for some in (request.rows, request.bounds))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(
            run,
            entries_that_fit=lambda *_: entries,
            describe=lambda: RUN.environment,
            code_facts=facts_of,
            find_rows=lambda: rows,
            find_bounds=lambda: bounds,
            choose_interpreters=lambda *_: now or request.interpreters,
        ),
    ):
        begun = run.planned(request, 7)
        begins = run._head(request, begun)
        facts = msgspec.structs.replace(begins.plan, pools=written or begins.plan.pools)
        result = write(Path(folder) / "run", run=msgspec.structs.replace(begins, plan=facts))
        return begun, run.planned_again(check_resume(Options(resume=result)))


@given(data=st.data())
def test_a_run_that_goes_on_has_the_same_rows_in_the_same_pools(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*ABLE]), min_size=1, unique=True))
    versions = data.draw(st.lists(st.sampled_from(["1.0", "2.0", "10.0"]), max_size=3, unique=True))
    lacks = st.sets(st.sampled_from([*ABLE]), max_size=2)
    interpreters = tuple(python_of(version, *data.draw(lacks)) for version in versions) or (
        python_of("", *data.draw(lacks)),
    )
    request = request_of(
        names,
        interpreters,
        data.draw(st.sampled_from([join(f"{name}/row", one.version) for name in names for one in interpreters])),
        bounds=() if versions else BOUNDS,
        device="gpu",
        threads=tuple(data.draw(st.permutations([1, 2, 3]))[: data.draw(st.integers(1, 3))]),
        precisions=tuple(data.draw(st.permutations(PRECISIONS))[: data.draw(st.integers(1, 3))]),
    )
    begun, again = pools_of(request, data.draw(st.integers(3, 14)))
    assert again == replace(begun, budget=again.budget)


def test_the_baselines_row_is_the_first_entry_of_a_run_and_of_its_continuation() -> None:
    request = request_of("ab", (python_of("1.0"), python_of("2.0")), "b/row@2.0")
    begun, again = pools_of(request, 4)
    assert begun.names == [
        ["b/row@2.0", "b/row@1.0", "a/row@1.0", CONTROL],
        ["b/row@2.0", "a/row@2.0", CONTROL],
    ]
    assert again.names == begun.names


def test_what_was_installed_since_has_no_entry_in_a_run_that_goes_on() -> None:
    request = request_of("abc", (python_of("1.0", "b"), python_of("2.0")))
    begun, again = pools_of(request, 4, now=(python_of("1.0"), python_of("2.0")))
    assert again.names == begun.names
    assert "b/row@1.0" not in {name for table in again.names for name in table}
    skipped = [{(one.cell, one.status) for one in plan.skipped} for plan in (begun, again)]
    assert skipped[0] == skipped[1]
    said = {one.reason for one in again.skipped if one.cell.implementation == "b/row@1.0"}
    assert said == {"was not installed when the run began"}


def test_a_run_on_a_gpu_does_not_go_on_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = msgspec.structs.replace(RUN.environment, gpus=["NVIDIA H100"])
    monkeypatch.setattr(run, "describe", lambda: msgspec.structs.replace(environment, gpus=["NVIDIA L4"]))
    plan = msgspec.structs.replace(RUN.plan, device="gpu")
    folder = write(tmp_path / "run", run=msgspec.structs.replace(RUN, environment=environment, plan=plan))
    with pytest.raises(
        InvalidInput, match=r"gpus not the same \(\['NVIDIA H100'\], now \['NVIDIA L4'\]\); start a new run"
    ):
        check_resume(Options(resume=folder))
    folder = write(tmp_path / "cpu", run=msgspec.structs.replace(RUN, environment=environment, rows={}))
    with pytest.raises(InvalidInput, match="does not say which rows"):  # to which a GPU does not matter
        check_resume(Options(resume=folder))


def test_a_run_whose_pools_would_differ_does_not_go_on() -> None:
    request = request_of("ab", (python_of(""),))
    with pytest.raises(InvalidInput, match=r"--resume .*run: other rows would share its pools; start a new run"):
        pools_of(request, 4, written=[["a/row", CONTROL, "b/row"]])
