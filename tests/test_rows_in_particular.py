"""What single rows promise beyond the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from crosschecks import NOTEBOOK, draw
from frameworks import need

from impls import find_rows, load_row
from impls.contract import DeviceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row

CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)


@pytest.mark.parametrize("name", ["torch/module", "thinc/pytorch"])
def test_where_nn_lstm_is_inside_there_are_no_hidden_states_but_the_last_layers(name: str) -> None:
    row = find_rows()[name]
    for framework in row.frameworks:
        need(framework)
    assert "last layer only" in row.unsupported["states"]
    with pytest.raises(NotImplementedError, match=r"last layer's hidden states only: .* says why"):
        load_row(row, NOTEBOOK, CASE.parameters).states(CASE.x, CASE.y)


def test_no_row_falls_back_to_the_cpu_where_a_gpu_is_asked_for(row: Row, require: Callable[[Row], None]) -> None:
    require(row)
    try:
        model = load_row(row, NOTEBOOK, CASE.parameters, "gpu")
    except DeviceUnavailable as error:
        assert "gpu" in str(error).lower() or "cuda" in str(error).lower()
        return
    assert "gpu" in row.devices
    array = model.row.to_device(CASE.x)
    assert "cuda" in str(getattr(array, "device", "")).lower()


def test_the_native_kernel_says_why_it_does_not_train() -> None:
    need("thinc")
    model = load_row(find_rows()["thinc/native"], NOTEBOOK, CASE.parameters)
    with pytest.raises(NotImplementedError, match="wrong gradients"):
        model.gradients(CASE.x, CASE.y, CASE.d_output)
