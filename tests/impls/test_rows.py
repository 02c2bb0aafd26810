"""Every row, found by discovery, against the oracle."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from support.any_sizes import Sizes, any_sizes
from support.crosschecks import (
    CHECKS,
    CONFIGS,
    EDGES,
    agrees,
    draw,
)

from impls import load_row
from impls.contract import CONTEXTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row
    from impls.contract import Context
    from impls.numpy_model import NumpyModel

CASES = {context: draw(config, t_x=10, t_y=9, batch=2) for context, config in CONFIGS.items()}


@cache
def model_of(row: Row, context: Context, device: str) -> NumpyModel:
    """The row at the notebook's configuration: one for all checks, since some rows compile."""
    return load_row(row, CONFIGS[context], CASES[context].parameters, device)


def supported(row: Row, *what: str) -> None:
    """Skip, with the reason, what the row declares that it cannot."""
    for one in what:
        if one in row.unsupported:
            pytest.skip(f"{row.name} has no {one}: {row.unsupported[one]}")


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("check", CHECKS)
def test_row_equals_the_oracle(
    row: Row, check: str, context: Context, device: str, require: Callable[[Row], None]
) -> None:
    require(row)
    needed, run = CHECKS[check]
    supported(row, needed, context)
    run(model_of(row, context, device), CASES[context])


DRAWS = 25
DRAWS_THAT_COMPILE = 2


@pytest.mark.thorough
def test_row_equals_the_oracle_for_any_configuration(row: Row, device: str, require: Callable[[Row], None]) -> None:
    require(row)
    contexts = tuple(context for context in CONTEXTS if context not in row.unsupported)

    @settings(
        max_examples=DRAWS_THAT_COMPILE if row.compiles else DRAWS,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(sizes=any_sizes(contexts))
    def any_case(sizes: Sizes) -> None:
        case = draw(*sizes)
        agrees(load_row(row, case.config, case.parameters, device), case, row)

    any_case()


TELLING = ("one of everything", "both directions, more decoder layers, time 1")
"""The rest is for thoroughness: what they have in common with these and with the notebook's shape shows nothing new."""


@pytest.mark.parametrize(
    "edge", [edge if edge in TELLING else pytest.param(edge, marks=pytest.mark.thorough) for edge in EDGES]
)
def test_row_equals_the_oracle_at_the_edges(row: Row, edge: str, device: str, require: Callable[[Row], None]) -> None:
    require(row)
    config, t_x, t_y, batch = EDGES[edge]
    supported(row, config.context)
    case = draw(config, t_x, t_y, batch)
    agrees(load_row(row, config, case.parameters, device), case, row)
