"""What a row asks of its environment reaches its worker, and what it asks of one processor no other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, get_args

import pytest
from support.frameworks import BACKEND_VARIABLES, need
from support.measuring import last, measure
from support.processes import numpy_row, python

from bench.here import ROOT
from bench.machine.describe import DISTRIBUTIONS, blas_in
from bench.machine.facts import features
from bench.measure.worker_environment import blas_of_workers, environment_of
from impls import find_bounds, find_rows, read_row
from impls.settings import SETTINGS, Setting

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from impls import Row

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
    monkeypatch.setattr("bench.measure.worker_environment.features", lambda: frozenset({"wings"}))
    assert environment_of(row) == {"ALWAYS": "1", "FLIES": "1"}
    monkeypatch.setattr("bench.measure.worker_environment.features", lambda: frozenset({"fins"}))
    assert environment_of(row) == {"ALWAYS": "2", "SWIMS": "1"}
    monkeypatch.setattr("bench.measure.worker_environment.features", lambda: frozenset())
    assert environment_of(row) == {"ALWAYS": "1"}


def test_a_row_may_name_settings_that_others_need_too(tmp_path: Path) -> None:
    assert get_args(Setting) == (*SETTINGS,)
    path = tmp_path / "asks.py"
    named = ASKS.replace('{"ALWAYS": "1"}', str([*SETTINGS]))
    path.write_text(named + "def load(config, parameters, device): return Reference(config, parameters, 'f')\n")
    assert read_row(path).environment == SETTINGS["memory kept"] | SETTINGS["xla for recurrences"]


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


def test_numpy_in_a_worker_chooses_its_kernels_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OpenBLAS is told by the environment of the person who starts the bench, for another build's sake."""
    plain = blas_of_workers()
    assert plain
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    if blas_in(os.environ | {"PYTHONPATH": str(ROOT)}) == plain:
        pytest.skip(f"{plain} does not heed OPENBLAS_CORETYPE=Prescott")
    assert blas_of_workers() == plain
    row = numpy_row(tmp_path, "mine", after=f"assert blas() == {plain!r}, blas(); return result", top=IMPORTS_BLAS)
    (record,) = last(measure(tmp_path, read_row(row), tasks=("encode",))).values()
    assert record.status == "ok", record.reason


IMPORTS_BLAS = "from bench.machine.describe import blas"


def asking(rows: dict[str, Row]) -> list[str]:
    """Those with variables of their own; what chooses a backend is no such, and ``test_keras.py`` sets it."""
    return [
        name
        for name, row in rows.items()
        if (row.environment or row.environment_with) and not BACKEND_VARIABLES & row.environment.keys()
    ]


def checked(row: Row, file: str, which: str, *options: str, **also: str) -> subprocess.CompletedProcess[str]:
    """The tests of the file in a process that has the row's variables from its start, as a worker has them."""
    for framework in row.frameworks:
        need(framework)
    return python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/impls/{file}", "-k", which, *options),
        env=environment_of(row) | also,
        timeout=600,
    )


@pytest.mark.parametrize("name", asking(find_rows()))
def test_a_row_equals_the_oracle_with_its_own_variables(name: str, device: str) -> None:
    options = ("--impl", name, "--device", device)
    done = checked(find_rows()[name], "test_rows.py", f"edges and both and {name}", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("framework", asking(find_bounds()))
def test_a_bounds_products_are_right_with_its_own_variables(framework: str) -> None:
    done = checked(find_bounds()[framework], "test_products.py", f"products_are_right and {framework}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_variables_reach_the_row_that_is_tested() -> None:
    """XLA ends the process of a row that names a flag that it does not know."""
    name, flag = "jax/tuned", "--xla_no_such_flag=true"
    options = ("-s", "--impl", name)  # what XLA says would end with the process that pytest captures it in
    done = checked(find_rows()[name], "test_rows.py", f"edges and both and {name}", *options, XLA_FLAGS=flag)
    assert done.returncode != 0
    assert "xla_no_such_flag" in done.stdout + done.stderr


def test_idiomatic_rows_ask_for_nothing_but_their_backend() -> None:
    for row in find_rows().values():
        if row.tier == "idiomatic":
            assert row.environment.keys() <= BACKEND_VARIABLES, row.name
            assert not row.environment_with, row.name


def test_a_result_says_the_version_of_every_rows_framework() -> None:
    """By the package that has its name."""
    assert {row.framework for row in find_rows().values()} <= {*DISTRIBUTIONS}
