"""Which of several results speaks for all: not the newest, but the one that says most of which row to choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.page_results import result_of
from support.recorded import record, write
from support.sweeping import write_scaling

from bench.measure.plan import BUDGETS
from bench.records.store import read_result
from bench.report import featured
from bench.report.featured import answers_readme, weight
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def one_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(featured, "WORKLOADS", {"seed": SEED})


def test_a_short_new_run_does_not_take_the_place_of_a_whole_one(tmp_path: Path) -> None:
    whole = result_of(tmp_path / "whole", "torch/module", "jax/scan", "thinc/layers")
    short = result_of(tmp_path / "short", "torch/module", "jax/scan", began="2026-05-31")
    part = result_of(tmp_path / "part", "torch/module", "jax/scan", "thinc/layers", "torch/cell", tasks=("forward",))
    assert [answers_readme(one) for one in (whole, short, part)] == [True, True, False]
    assert featured.featured_result([whole, short, part]) is whole
    again = result_of(tmp_path / "again", "torch/module", "jax/scan", "thinc/layers", began="2026-05-31")
    assert featured.featured_result([again, whole, short]) is again


def test_readers_are_shown_what_readmes_command_gives_them(tmp_path: Path) -> None:
    default = result_of(tmp_path / "default", "torch/module", "jax/scan")
    longer = result_of(tmp_path / "longer", "torch/module", "jax/scan", "keras/jax", began="2026-05-31", budget_s=1440)
    assert BUDGETS["default"].total_s == 1200
    assert featured.featured_result([longer, default]) is default


def test_sweeps_of_sizes_and_versions_speak_only_where_nothing_else_does(tmp_path: Path) -> None:
    sizes = read_result(write_scaling(tmp_path / "sizes"))
    versions = result_of(tmp_path / "versions", *(f"torch/module@{number}" for number in range(9)), began="2026-05-31")
    plain = result_of(tmp_path / "plain", "torch/module", "jax/scan", tasks=("forward",))
    assert featured.featured_result([sizes, versions, plain]) is plain
    assert weight(versions) > weight(
        read_result(write(tmp_path / "failed", record("a@1", status="error", samples_s=[])))
    )
    assert featured.featured_result([]) is None
