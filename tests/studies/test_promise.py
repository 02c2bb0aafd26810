"""How soon default runs had decided stands beside what they are to keep, and what is missed is named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.page_results import result_of
from support.recorded import BLOCK

from bench.records.schema import VerdictChange
from bench.report import featured
from bench.workloads.shapes import SEED
from studies import promise

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Result


@pytest.fixture(autouse=True)
def one_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featured, "WORKLOADS", {"seed": SEED})


def run(
    folder: Path, at_s: tuple[float, ...], first_block_s: float, outside_s: float, budget_s: float = 1200
) -> Result:
    """A default run of four ratios, of which one was decided at each of these times."""
    made = result_of(folder, "torch/module", "jax/scan", "thinc/layers", budget_s=budget_s)
    records = [one for one in made.records if one.block == 1 and one.cell.implementation != "torch/module"]
    said = [
        VerdictChange(cell=one.cell, block=3, verdict="SLOWER", elapsed_s=when)
        for one, when in zip(records, at_s, strict=False)
    ]
    first = msgspec.structs.replace(BLOCK, block=1, elapsed_s=first_block_s, cold=True)
    later = [
        msgspec.structs.replace(BLOCK, block=number, elapsed_s=outside_s + 40, cold=False, phases_s={"turns": 40.0})
        for number in (2, 3, 7)
    ]
    plan = msgspec.structs.replace(made.run.plan, min_blocks=3)
    whole = msgspec.structs.replace(made.run, plan=plan)
    return replace(made, run=whole, said=said, blocks=[first, *later])


def test_what_a_default_run_misses_is_bold(tmp_path: Path) -> None:
    good = run(tmp_path / "good", (400.0, 450.0, 700.0, 1100.0), 180.0, 50.0)
    poor = run(tmp_path / "poor", (600.0, 650.0), 300.0, 61.0)
    by_hand = run(tmp_path / "by hand", (400.0,), 180.0, 50.0, budget_s=3600)
    lines = [line for line in promise.section([good, poor, by_hand]).splitlines() if line.startswith("| `")]
    assert lines == [
        "| `poor` | **10.0 min** | **never** | **never** | **300 s** | **61 s** |",
        "| `good` | 6.7 min | 11.7 min | 11.7 min | 180 s | 50 s |",
    ]
    assert promise.section([replace(good, said=[])]) == ""


def test_a_verdict_that_is_taken_back_counts_no_more(tmp_path: Path) -> None:
    one = run(tmp_path / "one", (400.0, 450.0, 700.0), 180.0, 50.0)
    back = msgspec.structs.replace(one.said[0], verdict="UNCLEAR", elapsed_s=500.0)
    taken = replace(one, said=[*one.said[:2], back, one.said[2]])
    assert taken.decided_after == {400.0: 1, 450.0: 2, 500.0: 1, 700.0: 2}
    assert (promise.until_s(taken), promise.until_s(taken, 0.5), promise.until_s(taken, 0.75)) == (400.0, 450.0, None)
