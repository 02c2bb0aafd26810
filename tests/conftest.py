"""Which rows the tests run over, on which device, and what a missing framework means."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from support.frameworks import other_process

from impls import find_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from impls import Row

LOCK = Path(tempfile.gettempdir(), f"seq2seq-lstm-bench-tests-{os.getuid()}.lock")
"""What all processes of tests hold while they run one; the runs that tests start have a ``TMPDIR`` of their own."""

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--impl", action="append", metavar="ROW", help="test these rows only; a missing framework fails")
    parser.addoption("--device", default="cpu", choices=("cpu", "gpu"), help="where the rows run (default: cpu)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") == "gpu":
        # JAX leaves memory to the others, and cuDNN gives the same result twice; both are read on import
        os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "CUBLAS_WORKSPACE_CONFIG": ":4096:2"}
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        rows = find_rows()
        names = metafunc.config.getoption("--impl") or list(rows)
        if unknown := [name for name in names if name not in rows]:
            raise pytest.UsageError(f"--impl {unknown[0]}: no such row; there are {', '.join(rows)}")
        metafunc.parametrize("row", [pytest.param(rows[name], id=name) for name in names])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need quiet processors come last."""
    items.sort(key=lambda item: item.get_closest_marker("quiet") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that is marked ``quiet`` waits, its fixtures too, until no other runs, and none runs beside it."""
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if item.get_closest_marker("quiet") else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A ``TMPDIR`` of the tests' own: the runs that they start lock it, and neither wait for nor end a person's run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("machine")))
        patch.setattr(tempfile, "tempdir", None)  # read again
        yield
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Where the rows run."""
    chosen: str = request.config.getoption("--device")
    return chosen


@pytest.fixture(scope="session")
def require(request: pytest.FixtureRequest, device: str) -> Callable[[Row], None]:
    """A check that a row can run: it skips with the reason, or fails where the row was asked for or CI is set.

    CI does not ask that a row run in a process that is not for it.
    """
    named = bool(request.config.getoption("--impl"))
    insist = named or bool(os.environ.get("CI"))

    def check(row: Row) -> None:
        if row.fault:
            pytest.fail(row.fault)
        if reason := row.missing():
            (pytest.fail if insist else pytest.skip)(f"{row.name}: {reason}")
        if reason := other_process(row):
            (pytest.fail if named else pytest.skip)(f"{row.name}: {reason}")
        if device not in row.devices:
            pytest.skip(f"{row.name} has no {device}: {row.unsupported[device]}")

    return check
