"""PyTorch's profiler, ``torch.profiler``. Imports PyTorch where it is used only: names can be told apart without it."""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from impls.profiling import CALL, Recording, shortest_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from impls.profiling import Kind, Mark, TraceEvent

SAYS = (
    "torch.profiler; an operation's time has PyTorch's own dispatch of it inside. nn.LSTM is one kernel of oneDNN a"
    " layer and direction, and compiled code may write products as sums: what of these is products is not told"
)

PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot", "mkldnn_linear", "_mkl_linear"})

FUSED = frozenset({"mkldnn_rnn_layer", "mkldnn_rnn_layer_backward", "_cudnn_rnn", "_cudnn_rnn_backward"})

MOVEMENT = frozenset({"copy_", "cat", "fill_", "zero_", "flip", "index", "index_select", "gather", "index_put_"})

ELEMENTWISE = frozenset(
    {
        *("add", "sub", "mul", "div", "neg", "pow", "sqrt", "exp", "abs", "rsub", "reciprocal", "addcmul", "addcdiv"),
        *("lerp", "sigmoid", "tanh", "sigmoid_backward", "tanh_backward", "relu", "maximum", "minimum", "where"),
        *("sum", "mean", "mse_loss", "mse_loss_backward", "_fused_adam", "square", "native_layer_norm"),
        *("_thnn_fused_lstm_cell", "_thnn_fused_lstm_cell_backward", "_local_scalar_dense"),
    }
)
"""Without the underscore of those that work in place."""

NO_WORK = frozenset(
    {
        *("empty", "empty_like", "empty_strided", "resize_", "set_", "new_empty", "new_empty_strided"),
        *("view", "as_strided", "select", "slice", "narrow", "expand", "unsqueeze", "squeeze", "transpose", "t"),
        *(
            "permute",
            "detach",
            "alias",
            "unbind",
            "split",
            "split_with_sizes",
            "chunk",
            "unsafe_split",
            "unsafe_chunk",
            "unflatten",
            "_unsafe_view",
        ),
        *("_reshape_alias", "lift_fresh", "view_as", "expand_as", "diagonal", "movedim", "swapaxes", "mT"),
        *("is_nonzero", "cudnn_is_acceptable", "result_type", "can_cast", "_has_compatible_shallow_copy_type"),
        *("is_same_size", "item", "resolve_conj", "resolve_neg", "broadcast_tensors", "broadcast_to", "expand_copy"),
    }
)
"""Views, allocation and questions: overhead."""

COMPOSITE = frozenset(
    {
        *("lstm", "linear", "matmul", "stack", "clone", "contiguous", "to", "_to_copy", "zeros", "zeros_like", "ones"),
        *("ones_like", "new_zeros", "full", "full_like", "reshape", "hstack", "vstack", "concat", "type_as", "float"),
        *("_efficientzerotensor", "value_selecting_reduction_backward", "slice_backward", "select_backward", "square_"),
        *("unbind_backward", "cat_backward", "lstm_cell", "sum_to_size", "scalar_tensor", "flatten", "tensor_split"),
    }
)
"""Operations made of others, which the profiler shows inside them; their own time is overhead."""

COMPILED = re.compile(r"(?:graph_\d+_)?(?:cpp_|triton_)\w*fused_(?P<names>\w+)")
"""What PyTorch's compiler calls its kernels: after the operations that are in them."""


def kind_of(name: str) -> Kind | None:
    """The kind of the operation of that name; None for what is no operation: a view, an annotation, a step of autograd.

    A kernel of the compiler that sums may have a product in it.
    """
    if compiled := COMPILED.search(name):
        words = compiled["names"].split("_")
        if {"mm", "bmm", "addmm", "linear"} & set(words):
            return "product"
        return "fused" if "sum" in words else "elementwise"
    space, _, plain = name.rpartition("::")
    plain = plain.partition(".")[0]
    if space not in ("aten", "mkldnn", "mkl", "inductor", "quantized", "onednn"):
        return None
    if plain in NO_WORK or plain in COMPOSITE:
        return None
    if plain in PRODUCTS or "_linear" in plain:
        return "product"
    if plain in FUSED:
        return "fused"
    if plain in MOVEMENT:
        return "movement"
    if plain.removesuffix("_") in ELEMENTWISE or plain.startswith("_foreach_"):
        return "elementwise"
    return "other"


def prepare() -> None:
    """Let kernels of the compiler show themselves to the profiler."""
    import torch._inductor.config

    torch._inductor.config.cpp.enable_kernel_profile = True


def record(frameworks: Sequence[str], calls: Callable[[Mark], None]) -> Recording:
    """What the profiler says of these calls."""
    return record_with(calls, {})


def record_with(calls: Callable[[Mark], None], kinds: Mapping[str, Kind]) -> Recording:
    """What the profiler says of these calls, with the kinds of ranges that the caller has given names."""
    from torch.profiler import ProfilerActivity, profile, record_function

    @contextmanager
    def mark() -> Iterator[None]:
        with record_function(CALL):
            yield

    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        calls(mark)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_bytes())["traceEvents"]
    events = [as_event(event, kinds) for event in events]
    return Recording(events, shortest_s(events))


def as_event(event: TraceEvent, kinds: Mapping[str, Kind]) -> TraceEvent:
    """The event with its kind as ``cat``; what PyTorch had there, if anything, goes."""
    name = event["name"]
    kind = CALL if name == CALL else kinds.get(name) or kind_of(name)
    rest = {key: value for key, value in event.items() if key != "cat"}
    return rest | {"cat": kind} if kind and event["ph"] == "X" else rest
