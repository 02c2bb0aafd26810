"""What single rows promise beyond the contract."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.crosschecks import NOTEBOOK, draw, slack_of, solve
from support.frameworks import need

from impls import find_rows, load_row
from impls.contract import TASKS, Compiled, DeviceUnavailable, LayerStates, Seq2seqConfig
from impls.equality import LIMITS, deviations, relative_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls import Row

CASE = draw(NOTEBOOK, t_x=5, t_y=7, batch=3)


@pytest.mark.parametrize("name", ["torch/module", "thinc/pytorch"])
def test_where_nn_lstm_is_inside_there_are_no_hidden_states_but_the_last_layers(name: str) -> None:
    assert "last layer only" in find_rows()[name].unsupported["states"]


def test_a_row_has_the_hidden_states_of_every_layer_or_says_that_it_has_not(
    row: Row, device: str, require: Callable[[Row], None]
) -> None:
    require(row)
    model = load_row(row, NOTEBOOK, CASE.parameters, device)
    assert isinstance(model.row, LayerStates) is ("states" not in row.unsupported)
    if "states" in row.unsupported:
        with pytest.raises(NotImplementedError, match=r"last layer's hidden states only: .* says why"):
            model.states(CASE.x, CASE.y)


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


def test_what_is_compiled_of_a_row_is_said() -> None:
    """By the record and below the table: ``torch.compile`` leaves out more than one would think."""
    need("torch")
    model = load_row(find_rows()["torch/compiled"], NOTEBOOK, CASE.parameters)
    assert isinstance(model.row, Compiled)
    assert model.row.compiled() == "the cell, 0 programs,"
    model.forward(CASE.x, CASE.y)
    assert re.fullmatch(r"the cell, [1-9]\d* programs,", model.row.compiled())


def test_an_unrolled_program_sees_the_weights_that_training_moves() -> None:
    need("torch")
    few = draw(NOTEBOOK, t_x=3, t_y=2, batch=1)
    tuned, module = (load_row(find_rows()[name], NOTEBOOK, few.parameters) for name in ("torch/tuned", "torch/module"))
    tuned.forward(few.x, few.y)
    assert tuned.row.compiled() == "forward, 1 of 1 shapes,"
    for model in (tuned, module):
        for _ in range(3):
            model.train_step(few.x, few.y, few.target)
    assert relative_error(tuned.forward(few.x, few.y), module.forward(few.x, few.y)) < LIMITS["forward"]
    tuned.forward(CASE.x, CASE.y)
    assert tuned.row.compiled() == "forward, 1 of 2 shapes,"


def test_a_kept_program_of_another_pytorch_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("torch")
    import torch

    class Found(Exception):
        pass

    def find(path: str) -> None:
        asked.append(Path(path).name)
        raise Found

    def make(_exported: object, package_path: str) -> str:
        Path(package_path).touch()
        return package_path

    asked: list[str] = []
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch.export.export", lambda *_: None)
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", make)
    monkeypatch.setattr("torch._inductor.aoti_load_package", find)
    few = draw(NOTEBOOK, t_x=2, t_y=1, batch=1)
    for version in (torch.__version__, torch.__version__, "another"):
        monkeypatch.setattr(torch, "__version__", version)
        with pytest.raises(Found):
            load_row(find_rows()["torch/tuned"], NOTEBOOK, few.parameters).forward(few.x, few.y)
    assert asked[0] == asked[1] != asked[2]


@pytest.mark.thorough
def test_an_unrolled_program_is_kept_where_pytorch_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("torch")
    import torch

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    few = draw(NOTEBOOK, t_x=2, t_y=1, batch=1)
    first = load_row(find_rows()["torch/tuned"], NOTEBOOK, few.parameters).forward(few.x, few.y)
    assert len(list((tmp_path / "cache").glob("unrolled-*.pt2"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr("torch.export.export", None)  # nothing is compiled again
        again = load_row(find_rows()["torch/tuned"], NOTEBOOK, few.parameters).forward(few.x, few.y)
    assert np.array_equal(first, again)
    monkeypatch.setattr(torch, "__version__", "another")
    load_row(find_rows()["torch/tuned"], NOTEBOOK, few.parameters).forward(few.x, few.y)
    assert len(list((tmp_path / "cache").glob("unrolled-*.pt2"))) == 2  # not the old one, whatever it is


BOTH_WAYS = Seq2seqConfig(
    embedding_dim=9, hidden_dim=130, num_encoder_layers=2, num_decoder_layers=1, bidirectional=True
)
LARGE = Seq2seqConfig(
    embedding_dim=256, hidden_dim=384, num_encoder_layers=1, num_decoder_layers=1, bidirectional=False
)
CLASHING = replace(LARGE, embedding_dim=512, hidden_dim=512)
"""jax/tuned pads inputs and states that are so wide, and cuts their gradients."""


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [1, 4, 32])
@pytest.mark.parametrize("wide", [BOTH_WAYS, LARGE, CLASHING], ids=["both ways", "large", "clashing"])
@pytest.mark.parametrize(
    ("name", "several"),
    [("jax/tuned", False), ("jax/tuned", True), ("thinc/tuned", None)],
    ids=["jax on one processor", "jax on several", "thinc"],
)
def test_wide_layers_are_equal_however_they_multiply(
    name: str, several: bool | None, wide: Seq2seqConfig, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jax/tuned multiplies otherwise for one, a few and many sequences, thinc/tuned goes back over parts."""
    need(name.partition("/")[0])
    if several is not None:
        need("optax")
        monkeypatch.setattr("impls.jax.tuned.SEVERAL", several)
    case = draw(wide, t_x=4, t_y=3, batch=batch)
    model = load_row(find_rows()[name], wide, case.parameters)
    for task in TASKS:
        slack = slack_of(case, "float32") if task == "train_step" else None
        for found in deviations(task, solve(model, case, task), solve(case.oracle(), case, task), slack):
            assert found.within, found
        model.load(case.parameters)


def test_adam_in_blocks_is_thincs() -> None:
    need("thinc")
    from thinc.api import Adam

    from impls.thinc._adapter import adam
    from impls.thinc._blocked_adam import BLOCK, BlockedAdam

    rng = np.random.default_rng(0)
    blocks, whole = (rng.standard_normal((3, BLOCK // 2 + 1)).astype("f") for _ in range(2))
    whole[:] = blocks
    optimizers = adam(BlockedAdam), adam(Adam)
    for _ in range(20):
        gradient = rng.standard_normal(blocks.shape).astype("f")
        for optimizer, weights in zip(optimizers, (blocks, whole), strict=True):
            own = gradient.copy()
            optimizer((1, "W"), weights, own)
            optimizer.step_schedules()
            assert not own.any()
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
    assert np.abs(blocks).max() > 1


def test_a_backprop_that_has_used_up_its_gates_says_so() -> None:
    need("thinc")
    case = draw(NOTEBOOK, t_x=3, t_y=2, batch=2)
    model = load_row(find_rows()["thinc/tuned"], NOTEBOOK, case.parameters).row.model
    output, backprop = model.begin_update((case.x, case.y))
    backprop(np.ones_like(output))
    with pytest.raises(RuntimeError, match="called before"):
        backprop(np.ones_like(output))
