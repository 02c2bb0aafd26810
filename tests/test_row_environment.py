"""What a row asks of its environment reaches its worker, and what it asks of one processor no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from frameworks import BACKEND_VARIABLES
from measuring import measure
from processes import numpy_row

from bench.environment import DISTRIBUTIONS, environment_of
from bench.machine.processor import features
from impls import find_rows, read_row

if TYPE_CHECKING:
    from pathlib import Path

ASKS = """
import os
from impls.reference import Reference

ROW = {
    "tier": "tuned",
    "summary": "asks for variables",
    "frameworks": ["numpy"],
    "unsupported": {"states": "not written"},
    "environment": {"ALWAYS": "1"},
    "environment_with": {"wings": {"FLIES": "1"}, "fins": {"SWIMS": "1", "ALWAYS": "2"}},
}
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nflags\t\t: fpu\n", {"fpu", "avx2", "avx512f"}),
        ("processor\t: 0\nFeatures\t: fp asimd sve\n", {"fp", "asimd", "sve"}),
        ("", set()),
    ],
)
def test_features_are_those_that_linux_names(tmp_path: Path, text: str, found: set[str]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(text)
    assert features(tmp_path) == found


def test_variables_for_a_feature_are_set_where_the_processor_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "asks.py"
    path.write_text(ASKS + "def load(config, parameters, device): return Reference(config, parameters, 'f')\n")
    row = read_row(path)
    monkeypatch.setattr("bench.environment.features", lambda: frozenset({"wings"}))
    assert environment_of(row) == {"ALWAYS": "1", "FLIES": "1"}
    monkeypatch.setattr("bench.environment.features", lambda: frozenset({"fins"}))
    assert environment_of(row) == {"ALWAYS": "2", "SWIMS": "1"}
    monkeypatch.setattr("bench.environment.features", lambda: frozenset())
    assert environment_of(row) == {"ALWAYS": "1"}


def test_a_worker_has_what_its_row_asks_for(tmp_path: Path) -> None:
    feature = min(features())
    asking = numpy_row(
        tmp_path, "asking", after="import os; result.h_n[0] += os.environ['FLIES'] != '1'; return result"
    )
    text = asking.read_text()
    asking.write_text(
        text.replace("ROW = {", "ROW = {\n" + f"    'environment_with': {{{feature!r}: {{'FLIES': '1'}}}},", 1)
    )
    records = measure(tmp_path, read_row(asking), tasks=("encode",))
    assert {record.status for record in records} == {"ok"}, [record.reason for record in records]


def test_idiomatic_rows_ask_for_nothing_but_their_backend() -> None:
    for row in find_rows().values():
        if row.tier == "idiomatic":
            assert row.environment.keys() <= BACKEND_VARIABLES, row.name
            assert not row.environment_with, row.name


def test_a_result_says_the_version_of_every_rows_framework() -> None:
    """By the package that has its name."""
    assert {row.framework for row in find_rows().values()} <= {*DISTRIBUTIONS}
