"""The order of turns and rows, of workers that are only pretended; and what later blocks load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import need
from support.measuring import QUICK, carry_out, plan_of
from support.pretend import row as pretended

from bench.machine.interpreters import Interpreter
from bench.measure.interleave import Interleaver, Member
from bench.measure.messages import AwaitTurns, Prepare, Prepared
from bench.measure.plan import Entry, Plan
from bench.measure.stopping import next_block
from bench.measure.worker_client import Setting
from bench.records.schema import CONTROL, Cell, Record
from impls import find_rows


class Pretended(Interleaver):
    """An interleaved block at which nobody works: a call takes as long as is said here, entry by entry."""

    call_s: Mapping[str, float]

    def _together(self, members: Iterable[Member], command: Any, kind: type | None = None) -> list[tuple[Member, Any]]:
        answers = []
        for one in members:
            asked = command(one, [0])
            if isinstance(asked, Prepare):
                answers.append((one, Prepared(self.call_s[one.entry.name])))
            elif isinstance(asked, AwaitTurns):
                own = {"block": self.block, "status": "ok", "samples_s": [1.0], "calls": asked.calls}
                one.record = Record(cell=one.cell, **own)
        return answers


def setting_of(plan: Plan, folder: Path, block: int) -> Setting:
    """What workers would be told."""
    return Setting(plan=plan, folder=folder, cache=folder, problems={}, memory_limit_bytes=None, mark="", block=block)


def test_rows_are_in_an_order_that_is_drawn_for_each_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    member = Interleaver._member

    def watch(table: Interleaver, entry: Entry, cell: Cell, attempt: int) -> Member:
        entered.append(entry.name)
        return member(table, entry, cell, attempt)

    monkeypatch.setattr(Interleaver, "_member", watch)
    plan = plan_of(*map(pretended, "abcdef"), tasks=["encode"])
    due = next_block(plan, [])
    assert due is not None
    for block in range(1, 9):
        with Pretended(setting_of(plan, tmp_path, block), [[0]], [0]) as table:
            table.call_s = dict.fromkeys([*"abcdef", CONTROL], 0.002)
            records = table.measure(due[1][0], 0, {}, lambda _: None)
        assert [record.cell.implementation for record in records] == plan.names[0]  # on file as they were planned
    entries = len(plan.names[0])
    assert len(entered) == 8 * entries
    assert len({*entered[::entries]}) > 2 and len({*entered[entries - 1 :: entries]}) > 2


@pytest.mark.parametrize("baseline", ["row@1.0", "row@2.0"])
def test_each_version_of_a_row_makes_its_own_calls_and_the_control_those_of_the_baseline(
    baseline: str, tmp_path: Path
) -> None:
    pythons = [Interpreter(version, tmp_path, "3.11", frozenset({"numpy"}), {}) for version in ("1.0", "2.0")]
    plan = plan_of(pretended("row"), tasks=["encode"], interpreters=pythons, baseline=baseline)
    due = next_block(plan, [])
    assert due is not None

    def sit(block: int, earlier: Sequence[Record], **call_s: float) -> list[Record]:
        with Pretended(setting_of(plan, tmp_path, block), [[0]], [0]) as table:
            table.call_s = call_s
            return table.measure(due[1][0], 0, {one.cell: one for one in earlier}, lambda _: None)

    first = sit(1, [], **{"row@1.0": 0.002, "row@2.0": 0.0005, CONTROL: 0.0011})
    calls = {record.cell.implementation: record.calls for record in first}
    assert calls.pop(CONTROL) == calls[baseline]
    assert len({*calls.values()}) == 2
    later = sit(2, first, **{"row@1.0": 0.005, "row@2.0": 0.005, CONTROL: 0.005})
    assert [record.calls for record in later] == [record.calls for record in first]


@pytest.mark.thorough
def test_later_blocks_load_what_the_first_has_compiled(tmp_path: Path) -> None:
    need("jax")
    budget = replace(QUICK, turn_s=0.002, min_turns=20, min_blocks=2, max_blocks=2, limit_s=120)
    records = carry_out(tmp_path, plan_of(find_rows()["jax/scan"], tasks=["train_step"], budget=budget))
    assert all(record.ok for record in records), [record.reason for record in records]
    for name in ("jax/scan", CONTROL):
        first, second = (
            next(one.compile_s for one in records if one.cell.implementation == name and one.block == block)
            for block in (1, 2)
        )
        assert first is not None and second is not None and second < first / 2
