"""The precision that is asked for is the one computed in, and the limits of each fit what it does. Needs no GPU."""

from __future__ import annotations

import ast
import os
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import pytest
from support.crosschecks import CONFIGS, NOTEBOOK, Case, draw, slack_of, solve
from support.frameworks import need
from support.wrong_rows import HandOffReversed, MissingBias, SwappedGate

from bench.machine.facts import features
from bench.measure.plan import cells_of
from bench.workloads import reference_outputs
from bench.workloads.shapes import WORKLOADS
from impls import contract, find_rows, load_row, reference
from impls.contract import PRECISION_VARIABLE, TASKS, DeviceUnavailable, InvalidInput, Precision, precision
from impls.equality import LIMITS, PRECISION_LIMITS, TF32_LIMITS, answer, deviations, wrong_dtype
from impls.reference import Reference, TrainingSlack

if TYPE_CHECKING:
    from collections.abc import Callable

    from impls.contract import Task
    from impls.equality import Answer
    from impls.numpy_model import NumpyModel

TF32: Precision = "tf32"
BFLOAT16: Precision = "bfloat16"
CASE = draw(NOTEBOOK, t_x=10, t_y=9, batch=4)


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts without any of the variables, and leaves none behind."""
    for name in (PRECISION_VARIABLE, "NVIDIA_TF32_OVERRIDE", "CUPY_TF32"):
        monkeypatch.setenv(name, "")  # so that whatever a test sets is taken back
        monkeypatch.delenv(name)


def test_float32_is_the_default() -> None:
    assert precision() == "float32"


@pytest.mark.parametrize("name", contract.PRECISIONS)
def test_the_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, name)
    assert precision() == name


@pytest.mark.parametrize("value", ["", "TF32", "float16", "1"])
def test_anything_else_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(PRECISION_VARIABLE, value)
    with pytest.raises(InvalidInput, match=f"{PRECISION_VARIABLE} is '{value}', expected one of float32, tf32"):
        precision()


@pytest.mark.parametrize(("name", "override"), [("float32", "1"), ("tf32", "0")])
def test_a_contradiction_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, override: str) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    monkeypatch.setenv(PRECISION_VARIABLE, name)
    with pytest.raises(InvalidInput, match="contradict"):
        precision()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", str(1 - int(override)))
    assert precision() == name


def test_every_precision_has_its_limits() -> None:
    assert get_args(Precision) == contract.PRECISIONS
    assert PRECISION_LIMITS.keys() == TrainingSlack.GRADIENT_NOISE.keys() == set(contract.PRECISIONS)


# --- the adapters obey -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", contract.PRECISIONS)
def test_torch_obeys(monkeypatch: pytest.MonkeyPatch, name: Precision) -> None:
    need("torch")
    import torch

    from impls.torch import _adapter

    monkeypatch.setenv(PRECISION_VARIABLE, name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    _adapter.use_precision("float32" if name == "tf32" else "tf32")
    try:
        assert _adapter.find_device("gpu") == torch.device("cuda")
        assert torch.backends.cudnn.allow_tf32 is (name == "tf32")
        assert torch.backends.cuda.matmul.allow_tf32 is (name == "tf32")
        # what kernels and torch.compile read: the newer settings, which must not contradict the older ones
        newer = {"tf32"} if name == "tf32" else {"none", "ieee"}
        assert torch.backends.cudnn.rnn.fp32_precision in newer
        assert torch.backends.cuda.matmul.fp32_precision in newer
        assert torch.get_float32_matmul_precision() == ("high" if name == "tf32" else "highest")
    finally:
        _adapter.use_precision("float32")


@pytest.mark.parametrize("name", contract.PRECISIONS)
def test_jax_obeys(monkeypatch: pytest.MonkeyPatch, name: Precision) -> None:
    need("jax")
    import jax
    import jax.numpy as jnp

    from impls.jax import _arrays

    monkeypatch.setenv(PRECISION_VARIABLE, name)
    _arrays.use_precision("float32" if name == "tf32" else "tf32")
    try:
        _arrays.find_device("cpu")
        assert jax.config.jax_default_matmul_precision == _arrays.MATMUL_PRECISION[name]
        # and it reaches a compiled product: XLA takes TF32 for anything below the highest
        program = jax.jit(jnp.dot).lower(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)).as_text()
        assert ("HIGHEST" in program) is (name != "tf32")
    finally:
        _arrays.use_precision("float32")


@pytest.mark.parametrize(("name", "value"), [("float32", "0"), ("tf32", "1")])
def test_thinc_obeys(monkeypatch: pytest.MonkeyPatch, name: Precision, value: str) -> None:
    need("thinc")
    from impls.thinc import _adapter

    monkeypatch.setenv(PRECISION_VARIABLE, name)
    monkeypatch.setattr(_adapter, "require_gpu", lambda: True)
    monkeypatch.setattr(_adapter, "get_ops", lambda kind: kind)
    assert _adapter.find_ops("gpu") == "cupy"
    assert os.environ["CUPY_TF32"] == value


# --- the limits fit --------------------------------------------------------------------------------------------------


def rounded(array: np.ndarray) -> np.ndarray:
    """To the nearest number of 10 bits of mantissa."""
    return cut((array.astype(np.float32).view(np.uint32) + np.uint32(1 << 12)).view(np.float32))


def cut(array: np.ndarray) -> np.ndarray:
    """What is beyond 10 bits of mantissa, thrown away: the most that a tensor core does to a factor."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


class Products(ast.NodeTransformer):
    """``a @ b`` becomes ``product(a, b)``."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        return ast.copy_location(ast.Call(ast.Name("product", ast.Load()), [node.left, node.right], []), node)


def simulated(factor: Callable[[np.ndarray], np.ndarray], name: str) -> type[Reference]:
    """The oracle's code with ``factor`` applied to both factors of every product."""
    module = types.ModuleType(f"reference_with_{name}_factors")
    sys.modules[module.__name__] = module  # dataclasses look themselves up
    tree = ast.fix_missing_locations(Products().visit(ast.parse(Path(reference.__file__).read_text("utf-8"))))
    namespace = vars(module)
    namespace["product"] = lambda a, b: factor(a) @ factor(b)
    exec(compile(tree, module.__name__, "exec"), namespace)
    return cast("type[Reference]", module.Reference)


SIMULATED = {"rounded": simulated(rounded, "rounded"), "cut": simulated(cut, "cut")}


def worst(row: type[Reference], task: Task, own: Precision) -> Any:
    actual = solve(row(NOTEBOOK, CASE.parameters, np.float32), CASE, task)
    slack = slack_of(CASE, own) if task == "train_step" else None
    return deviations(task, actual, solve(CASE.oracle(), CASE, task), slack, precision=own)[0]


def test_the_simulation_rounds_as_tf32_does() -> None:
    numbers = np.array([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-12, -(1 + 2**-11 + 2**-20)], np.float32)
    assert list(rounded(numbers)) == [1 + 2**-10, 1 + 2**-10, 1 + 2**-10, -(1 + 2**-10)]
    assert list(cut(numbers)) == [1 + 2**-10, 1, 1, -1]


@pytest.mark.parametrize("factors", SIMULATED)
@pytest.mark.parametrize("task", TF32_LIMITS)
def test_tf32_is_within_its_limits(task: Task, factors: str) -> None:
    found = worst(SIMULATED[factors], task, "tf32")
    assert found.within, found
    assert found.limit == TF32_LIMITS[task]


@pytest.mark.parametrize("factors", SIMULATED)
@pytest.mark.parametrize("task", TASKS)
def test_tf32_is_not_within_the_limits_of_float32(task: Task, factors: str) -> None:
    """A row that computes in TF32 where float32 was asked for is caught."""
    assert not worst(SIMULATED[factors], task, "float32").within


@pytest.mark.parametrize("task", TASKS)
def test_float32_is_within_both(task: Task) -> None:
    for own in contract.PRECISIONS:
        assert worst(Reference, task, own).within


@pytest.mark.parametrize("own", [TF32, BFLOAT16])
@pytest.mark.parametrize("wrong", [SwappedGate, MissingBias, HandOffReversed])
@pytest.mark.parametrize("task", ["forward", "gradients", "train_step"])
def test_wider_limits_still_see_a_wrong_row(task: Task, wrong: type[Reference], own: Precision) -> None:
    assert not worst(wrong, task, own).within


@pytest.mark.parametrize("own", [TF32, BFLOAT16])
def test_wider_limits_still_see_a_step_not_taken(own: Precision) -> None:
    class Still(Reference):
        def train_step(self, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> contract.TrainStep:
            return super().train_step(x, y, target)._replace(parameters=CASE.parameters)

    assert not worst(Still, "train_step", own).within


ROWS_IN_BFLOAT16 = {row.name: row for row in find_rows().values() if "bfloat16" in row.precisions}
SHAPES = {
    "notebook": NOTEBOOK,
    "every step": CONFIGS["every_step"],
    "one way": replace(NOTEBOOK, bidirectional=False),
}


def in_bfloat16(monkeypatch: pytest.MonkeyPatch, name: str, case: Case) -> NumpyModel:
    """The row with the case's weights, told to compute in bfloat16; skip where its kernel has none here."""
    row = ROWS_IN_BFLOAT16[name]
    for framework in row.frameworks:
        need(framework)
    monkeypatch.setenv(PRECISION_VARIABLE, BFLOAT16)
    try:
        return load_row(row, case.config, case.parameters)
    except DeviceUnavailable as error:
        assert name in ("torch/module", "torch/tuned")
        assert "avx512bw" not in features()
        pytest.skip(str(error))


def check_bfloat16(task: Task, actual: Answer, expected: Answer, slack: Answer | None = None) -> None:
    """Within the limits of bfloat16, and, where no slack hides it, beyond those of float32."""
    found = deviations(task, actual, expected, slack, precision=BFLOAT16)[0]
    assert wrong_dtype(actual) is None
    assert found.within, found
    if slack is None:
        assert found.error > 10 * LIMITS[task], f"{found}: computed in float32"


@pytest.mark.parametrize(
    "shape", [shape if shape == "every step" else pytest.param(shape, marks=pytest.mark.thorough) for shape in SHAPES]
)
@pytest.mark.parametrize("name", ROWS_IN_BFLOAT16)
def test_a_row_that_says_bfloat16_computes_in_it(monkeypatch: pytest.MonkeyPatch, name: str, shape: str) -> None:
    """Within its limits, and beyond those of float32: it does not silently compute in that."""
    case = draw(SHAPES[shape], t_x=10, t_y=9, batch=4)
    model = in_bfloat16(monkeypatch, name, case)
    for task in TASKS if shape == "notebook" else TASKS[:-1]:  # a training step takes longest to compile
        slack = slack_of(case, BFLOAT16) if task == "train_step" else None
        check_bfloat16(task, solve(model, case, task), solve(case.oracle(), case, task), slack)
        model.load(case.parameters)
    decoded, expected = (answer(own.decode(case.y, case.h_0)) for own in (model, case.oracle()))
    check_bfloat16("encode", decoded, expected)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="every layer's hidden states are worked out in float32, whatever is asked",
)
@pytest.mark.parametrize("name", [name for name, row in ROWS_IN_BFLOAT16.items() if "states" not in row.unsupported])
def test_the_hidden_states_of_every_layer_are_bfloat16s(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = in_bfloat16(monkeypatch, name, CASE)
    actual, expected = (answer(own.states(CASE.x, CASE.y)) for own in (model, CASE.oracle()))
    check_bfloat16("encode", actual, expected)


def test_a_processor_without_bfloat16_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    need("torch")
    from impls.torch import _adapter

    monkeypatch.setenv(PRECISION_VARIABLE, BFLOAT16)
    monkeypatch.setattr(_adapter, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(DeviceUnavailable, match=r"no bfloat16 on this processor.*AVX-512"):
        load_row(find_rows()["torch/module"], NOTEBOOK, CASE.parameters)
    load_row(find_rows()["torch/cell"], NOTEBOOK, CASE.parameters)


def test_a_row_that_does_not_say_bfloat16_has_no_time_in_it() -> None:
    layers = find_rows()["thinc/layers"]
    cells, skipped = cells_of(layers, [WORKLOADS["seed"]], ("forward",), "cpu", 1, BFLOAT16)
    assert not cells
    assert [(one.status, one.reason) for one in skipped] == [("unsupported", "the row does not compute in bfloat16")]


def test_the_slack_of_each_precision_is_kept_on_disk(tmp_path: Path) -> None:
    problem = reference_outputs.pose(WORKLOADS["seed"], ("train_step",), contract.PRECISIONS)
    reference_outputs.save(problem, tmp_path / "problem.safetensors")
    again = reference_outputs.load(tmp_path / "problem.safetensors")
    assert (
        problem.slack.keys() == again.slack.keys() == {(own, index) for own in contract.PRECISIONS for index in (0, 1)}
    )
    for key, slack in problem.slack.items():
        assert slack.keys() == problem.parameters.keys()
        for name, array in slack.items():
            assert np.array_equal(again.slack[key][name], array)
    sizes = [np.max(problem.slack[own, 0]["decoder.bias_l0"]) for own in contract.PRECISIONS]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert {own for own, _ in reference_outputs.pose(WORKLOADS["seed"], ("train_step",)).slack} == {"float32"}
