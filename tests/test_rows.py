"""Every row, found by discovery, against the oracle."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from crosschecks import (
    CHECKS,
    NOTEBOOK,
    Case,
    check_decode,
    check_encode,
    check_forward,
    check_gradients,
    check_training,
    draw,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impls import load_row
from impls.contract import Seq2seqConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row
    from impls.numpy_model import NumpyModel

CASE = draw(NOTEBOOK, t_x=10, t_y=9, batch=2)


@cache
def model_of(row: Row, device: str) -> NumpyModel:
    """The row at the notebook's configuration: one for all checks, since some rows compile."""
    return load_row(row, NOTEBOOK, CASE.parameters, device)


@pytest.mark.parametrize("check", CHECKS)
def test_row_equals_the_oracle(row: Row, check: str, device: str, require: Callable[[Row], None]) -> None:
    require(row)
    task, run = CHECKS[check]
    if reason := row.unsupported.get(task):
        pytest.skip(f"{row.name} has no {task}: {reason}")
    run(model_of(row, device), CASE)


@st.composite
def cases(draw_from: st.DrawFn) -> Case:
    """Configurations of odd sizes: layer counts that differ, one or two directions, batch 1, time 1."""
    size = st.integers(1, 9)
    config = Seq2seqConfig(
        embedding_dim=draw_from(size),
        hidden_dim=draw_from(size),
        num_encoder_layers=draw_from(st.integers(1, 3)),
        num_decoder_layers=draw_from(st.integers(1, 3)),
        bidirectional=draw_from(st.booleans()),
    )
    lengths = st.integers(1, 6)
    seed = draw_from(st.integers(0, 2**16))
    return draw(config, draw_from(lengths), draw_from(lengths), draw_from(st.integers(1, 4)), seed=seed)


def agrees(model: NumpyModel, case: Case, row: Row) -> None:
    """Every value that the row can give equals the oracle's."""
    check_encode(model, case)
    check_decode(model, case)
    check_forward(model, case)
    if "gradients" not in row.unsupported:
        check_gradients(model, case)
    if "train_step" not in row.unsupported:
        check_training(model, case)


DRAWS = 25
DRAWS_THAT_COMPILE = 2


def test_row_equals_the_oracle_for_any_configuration(row: Row, device: str, require: Callable[[Row], None]) -> None:
    require(row)

    @settings(
        max_examples=DRAWS_THAT_COMPILE if row.compiles else DRAWS,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=cases())
    def any_case(case: Case) -> None:
        agrees(load_row(row, case.config, case.parameters, device), case, row)

    any_case()


EDGES = {
    "one of everything": (
        Seq2seqConfig(embedding_dim=1, hidden_dim=1, num_encoder_layers=1, num_decoder_layers=1, bidirectional=False),
        1,
        1,
        1,
    ),
    "more decoder layers, both directions, time 1": (
        Seq2seqConfig(embedding_dim=3, hidden_dim=7, num_encoder_layers=1, num_decoder_layers=3, bidirectional=True),
        1,
        4,
        3,
    ),
    "more encoder layers, one direction, batch 1": (
        Seq2seqConfig(embedding_dim=7, hidden_dim=5, num_encoder_layers=3, num_decoder_layers=1, bidirectional=False),
        6,
        1,
        1,
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_row_equals_the_oracle_at_the_edges(row: Row, edge: str, device: str, require: Callable[[Row], None]) -> None:
    require(row)
    config, t_x, t_y, batch = EDGES[edge]
    case = draw(config, t_x, t_y, batch)
    agrees(load_row(row, config, case.parameters, device), case, row)
