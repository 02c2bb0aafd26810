"""What kind an operation is, by names that the frameworks' profilers have given. Imports no framework but NumPy."""

from __future__ import annotations

import pytest

from impls.jax._profile import as_event, is_event, kinds_of
from impls.profiling import CALL, plain_name, shortest_s, span
from impls.thinc import _profile as thinc_profile
from impls.torch import _profile as torch_profile

TORCH = {
    "aten::addmm": "product",
    "aten::mm": "product",
    "aten::mkldnn_rnn_layer": "fused",
    "aten::mkldnn_rnn_layer_backward": "fused",
    "aten::lerp_": "elementwise",
    "aten::addcdiv_": "elementwise",
    "aten::_fused_adam_": "elementwise",
    "aten::_foreach_add_": "elementwise",
    "aten::mse_loss_backward": "elementwise",
    "aten::sum": "elementwise",
    "aten::copy_": "movement",
    "aten::cat": "movement",
    "aten::zero_": "movement",
    "aten::lstm": None,
    "aten::select": None,
    "aten::empty": None,
    "aten::_to_copy": None,
    "MkldnnRnnLayerBackward0": None,
    "autograd::engine::evaluate_function: MkldnnRnnLayerBackward0": None,
    "torch::autograd::AccumulateGrad": None,
    "Optimizer.step#Adam.step": None,
    "graph_0_cpp_fused_add_mul_sigmoid_split_tanh_3": "elementwise",
    "cpp_fused_add_mul_sum_12": "fused",
    "aten::fold_the_laundry": "other",
}


@pytest.mark.parametrize("name", TORCH)
def test_pytorchs_operations_are_told_apart(name: str) -> None:
    assert torch_profile.kind_of(name) == TORCH[name]


def test_pytorchs_events_keep_all_but_their_category() -> None:
    event = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "ts": 1.0, "dur": 2.0, "args": {"x": 1}}
    assert torch_profile.as_event(event, {}) == event | {"cat": "product"}
    assert "cat" not in torch_profile.as_event(event | {"name": "aten::view"}, {})
    named = torch_profile.as_event(event | {"name": "thinc::adam"}, {"thinc::adam": "elementwise"})
    assert named["cat"] == "elementwise"
    assert torch_profile.as_event(event | {"name": CALL}, {})["cat"] == CALL


NUMPY = {
    "matmul": "product",
    "dot": "product",
    "multiply": "elementwise",
    "tanh": "elementwise",
    "add.reduce": "elementwise",
    "concatenate": "movement",
    "setitem": "movement",
    "zeros": "movement",
    "empty": None,
    "split": None,
    "fold_the_laundry": "other",
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpys_operations_are_told_apart(name: str) -> None:
    assert thinc_profile.kind_of(name) == NUMPY[name]


PROGRAM = """HloModule jit_forward, is_scheduled=true, entry_computation_layout={(f32[2,40]{1,0})->f32[2,80]{1,0}}

%fused_computation (param_0: f32[2,20], param_1: f32[20,80]) -> f32[2,80] {
  %param_0 = f32[2,20]{1,0} parameter(0)
  %param_1 = f32[20,80]{1,0} parameter(1)
  ROOT %dot.1 = f32[2,80]{1,0} dot(%param_0, %param_1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%fused_computation.32 (param_0.1: f32[10,2,20], param_1.1: s32[], param_2: f32[2,20]) -> f32[10,2,20] {
  %param_0.1 = f32[10,2,20]{2,1,0} parameter(0)
  %param_2 = f32[2,20]{1,0} parameter(2)
  %bitcast.9 = f32[1,2,20]{2,1,0} bitcast(%param_2)
  %param_1.1 = s32[] parameter(1)
  %constant.5 = s32[] constant(0)
  ROOT %dynamic-update-slice.4 = f32[10,2,20]{2,1,0} dynamic-update-slice(%param_0.1, %bitcast.9, %param_1.1)
}

%fused_computation.35 (param_0.2: f32[80]) -> f32[20] {
  %param_0.2 = f32[80]{0} parameter(0)
  %slice.1 = f32[20]{0} slice(%param_0.2), slice={[0:20]}
  ROOT %tanh.2 = f32[20]{0} tanh(%slice.1), metadata={op_name="jit(forward)/tanh"}
}

%wrapped_add_computation (param_0.3: s32[]) -> s32[] {
  %param_0.3 = s32[] parameter(0)
  ROOT %add.3 = s32[] add(%param_0.3, %param_0.3)
}

%body (arg: (s32[], f32[2,20], /*index=2*/f32[10,2,20])) -> (s32[], f32[2,20], f32[10,2,20]) {
  %arg = (s32[], f32[2,20]{1,0}, /*index=2*/f32[10,2,20]{2,1,0}) parameter(0)
  %ynn_fusion.1 = f32[2,80]{1,0} fusion(%arg, %arg), kind=kCustom, calls=%fused_computation
  %wrapped_add = s32[] fusion(%arg), kind=kLoop, calls=%wrapped_add_computation
  %slice_tanh_fusion = f32[20]{0} fusion(%ynn_fusion.1), kind=kLoop, calls=%fused_computation.35
  %bitcast_dynamic-update-slice_fusion.11 = f32[10,2,20]{2,1,0} fusion(%arg), kind=kLoop, calls=%fused_computation.32
  ROOT %tuple.1 = (s32[], f32[2,20]{1,0}, /*index=2*/f32[10,2,20]{2,1,0}) tuple(%wrapped_add, %arg, %arg)
}

ENTRY %main.5 (x: f32[2,40]) -> f32[2,80] {
  %x = f32[2,40]{1,0} parameter(0), metadata={op_name="x"}
  %copy.85 = f32[2,40]{0,1} copy(%x)
  %while.18 = (s32[], f32[2,20]{1,0}, /*index=2*/f32[10,2,20]{2,1,0}) while(%tuple), condition=%cond, body=%body
  %custom-call.3 = f32[2,80]{1,0} custom-call(%x), custom_call_target="__cublas$gemm"
  %custom-call.4 = f32[2,80]{1,0} custom-call(%x), custom_call_target="laundry"
  ROOT %dot.7 = f32[2,80]{1,0} dot(%copy.85, %x), lhs_contracting_dims={1}
}
"""


def test_what_is_in_xlas_instructions_is_read_from_the_program() -> None:
    kinds = kinds_of(PROGRAM)
    assert {name: kind for name, kind in kinds.items() if "fusion" in name or name.split(".")[0] in SHOWN} == {
        "ynn_fusion.1": "product",
        "slice_tanh_fusion": "elementwise",
        "bitcast_dynamic-update-slice_fusion.11": "movement",
        "copy.85": "movement",
        "custom-call.3": "product",
        "custom-call.4": "other",
        "dot.1": "product",  # inside a fusion: it has no event
        "dot.7": "product",
    }


SHOWN = ("copy", "custom-call", "dot", "while", "wrapped_add")


def test_xlas_events_have_the_kind_of_their_instruction() -> None:
    kinds = {"jit_forward": kinds_of(PROGRAM)}
    event = {"ph": "X", "name": "ynn_fusion.1", "args": {"hlo_op": "ynn_fusion.1", "hlo_module": "jit_forward"}}
    assert as_event(event, kinds)["cat"] == "product"
    assert "cat" not in as_event(event | {"args": {"hlo_op": "while.18", "hlo_module": "jit_forward"}}, kinds)
    assert "cat" not in as_event({"ph": "X", "name": "ThunkExecutor::Execute"}, kinds)
    assert as_event({"ph": "X", "name": CALL}, kinds)["cat"] == CALL
    assert not is_event({}) and not is_event({"ph": "X", "name": "end: copy.85"}) and is_event(event)


@pytest.mark.parametrize(
    ("name", "plain"), [("fusion.12", "fusion"), ("dot.7.clone.1", "dot"), ("dot", "dot"), ("aten::mm", "aten::mm")]
)
def test_alike_operations_of_a_program_have_one_name(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_the_profilers_own_time_is_that_of_the_shortest_operation_there_often_is() -> None:
    often = [span("copy", 1, 0, 1e-6, "movement")] * 20 + [span("mm", 1, 0, 5e-6, "product")] * 20
    once = [span("fill", 1, 0, 1e-9, "movement"), span("view", 1, 0, 1e-9)]
    assert shortest_s([*often, *once]) == pytest.approx(1e-6)
    assert shortest_s(once) == 0
