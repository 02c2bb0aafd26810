"""What single rows promise beyond the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from crosschecks import NOTEBOOK, draw
from frameworks import need

from impls import find_rows, load_row
from impls.contract import DeviceUnavailable, Seq2seqConfig
from impls.equality import LIMITS, relative_error
from impls.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row

CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)


def test_torch_cell_offers_every_layers_hidden_states() -> None:
    need("torch")
    import torch

    model = load_row(find_rows()["torch/cell"], NOTEBOOK, CASE.parameters)
    with torch.inference_mode():
        encoder_states, _, _ = model.row.model.encoder_states(torch.from_numpy(CASE.x))
        decoder_states, _, _ = model.row.model.decoder_states(torch.from_numpy(CASE.y), torch.from_numpy(CASE.h_0))
    for layers, states in ((1, encoder_states[0]), (2, encoder_states[1])):
        shallow = Seq2seqConfig(
            embedding_dim=10, hidden_dim=20, num_encoder_layers=layers, num_decoder_layers=2, bidirectional=True
        )
        oracle = Reference(shallow, {name: CASE.parameters[name] for name in shallow.parameter_shapes})
        assert relative_error(states.numpy(), oracle.encode(CASE.x).output) < LIMITS["encode"]
    assert np.array_equal(decoder_states[-1].numpy(), model.decode(CASE.y, CASE.h_0).output)
    assert [tuple(states.shape) for states in decoder_states] == [(7, 3, 40)] * 2


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
