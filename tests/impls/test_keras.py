"""Keras's rows, each in a process with its own backend: Keras takes one when it is imported, and keeps to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.frameworks import BACKEND_VARIABLES, need
from support.processes import ROOT, WITH_TESTS, python

from impls import find_rows

ROWS = {name: row for name, row in find_rows().items() if BACKEND_VARIABLES & row.environment.keys()}


@pytest.fixture(params=ROWS)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A row whose frameworks are there; its processes leave the home folder, where Keras has its settings, alone."""
    for framework in ROWS[request.param].frameworks:
        need(framework)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return str(request.param)


def test_there_is_a_row_for_each_backend() -> None:
    assert {row.environment["KERAS_BACKEND"] for row in ROWS.values()} == {"jax", "torch"}


def test_the_row_equals_the_oracle(name: str, device: str) -> None:
    files = ("tests/impls/test_rows.py", "tests/impls/test_rows_in_particular.py")
    done = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", *files),
        *("-k", name, "--impl", name, "--device", device),
        env=ROWS[name].environment,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


FORWARD = """
import sys
from support.crosschecks import NOTEBOOK, check_forward, draw
from bench.measure.worker import block
from bench.measure.worker_client import blocked
from impls import find_rows, load_row

row = find_rows()[sys.argv[1]]
block(blocked(row))
case = draw(NOTEBOOK, t_x=3, t_y=2, batch=2)
model = load_row(row, case.config, case.parameters)
check_forward(model, case)
seq2seq = model.row.seq2seq
both = [own for layer in seq2seq.encoder_layers for own in (layer.forward_layer, layer.backward_layer)]
print(*{layer.use_cudnn for layer in (*both, *seq2seq.decoder_layers)})
print(sys.modules["keras"].__file__)
print(sorted({"torch", "jax", "flax", "optax", "thinc"} & sys.modules.keys()))
"""


def test_a_worker_has_the_one_backend_and_no_other_framework_and_jax_is_kept_from_cudnn(name: str) -> None:
    done = python("-c", FORWARD, name, env=ROWS[name].environment | WITH_TESTS)
    assert done.returncode == 0, done.stderr
    cudnn, where, loaded = done.stdout.splitlines()
    assert cudnn == {"keras/jax": "False", "keras/torch": "auto"}[name]  # in every layer
    assert not Path(where).is_relative_to(ROOT / "impls")
    assert loaded == f"['{ROWS[name].environment['KERAS_BACKEND']}']"


LOAD = """
import os, sys
from support.crosschecks import NOTEBOOK, draw
from impls import find_rows, load_row
from impls.contract import InvalidInput

for backend in ("", sys.argv[2]):
    os.environ["KERAS_BACKEND"] = backend
    try:
        load_row(find_rows()[sys.argv[1]], NOTEBOOK, draw(NOTEBOOK, t_x=3, t_y=2, batch=2).parameters)
    except InvalidInput as error:
        print(error)
"""


def test_a_row_refuses_another_backend(name: str) -> None:
    wanted = ROWS[name].environment["KERAS_BACKEND"]
    (other,) = {"jax", "torch"} - {wanted}
    need(other)
    done = python("-c", LOAD, name, other, env=WITH_TESTS)
    assert "KERAS_BACKEND is not set" in done.stdout, done.stderr
    assert f"{name} needs KERAS_BACKEND={wanted} before Keras is imported; in this process" in done.stdout, done.stderr
