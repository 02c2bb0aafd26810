"""Thinc has no profiler: its kernels are timed by name, and NumPy's operations by NumPy's own hooks.

While a profile is recorded, every array of the row is a ``TimedArray``, which NumPy asks to carry out whatever is to be
done with it (NEP 13 and 18). It does so on plain arrays, and notes when that began and ended: what it costs to ask
falls between the operations, and is left out of them. Imports Thinc where it is used only.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from functools import wraps
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from impls.profiling import CALL, Recording, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from impls.profiling import Kind, Mark, TraceEvent

    Spans = Callable[[str, Kind], AbstractContextManager[object]]

SAYS = (
    "this program's own timers, for Thinc has no profiler: around each operation on NumPy's arrays, by NumPy's hooks,"
    " and around Thinc's kernels; views and Python are overhead"
)

PRODUCTS = frozenset({"matmul", "dot", "vdot", "inner", "tensordot", "einsum", "vecdot", "matvec", "vecmat"})

MOVEMENT = frozenset(
    {
        *("concatenate", "stack", "copy", "copyto", "repeat", "tile", "ascontiguousarray", "zeros", "ones", "full"),
        *("zeros_like", "ones_like", "full_like", "array", "where", "flip", "roll", "vstack", "hstack", "pad"),
        *("setitem", "astype", "fill", "ravel", "reshape", "flatten"),
    }
)

NO_WORK = frozenset(
    {
        *("empty", "empty_like", "split", "array_split", "transpose", "broadcast_to", "expand_dims", "squeeze"),
        *("moveaxis", "swapaxes", "shape", "ndim", "size", "may_share_memory", "shares_memory", "result_type"),
        *("atleast_1d", "atleast_2d", "atleast_3d"),
    }
)
"""Views, allocation and questions: overhead."""

KERNELS: dict[str, Kind] = {
    "adam": "elementwise",
    "lstm_forward_training": "fused",
    "lstm_forward_inference": "fused",
    "backprop_lstm": "fused",
}
"""Thinc's own, by the name of the method of its operations."""

MAKERS = frozenset({"zeros", "ones", "full", "empty", "array", "ascontiguousarray"})
"""Functions of NumPy that make an array of what need not be one."""


def kind_of(name: str) -> Kind | None:
    """The kind of NumPy's function, ufunc or method of that name; None for a view, allocation or a question."""
    if name in NO_WORK:
        return None
    if name in PRODUCTS:
        return "product"
    if name in MOVEMENT:
        return "movement"
    plain = name.partition(".")[0]
    return "elementwise" if isinstance(getattr(np, plain, None), np.ufunc) or plain in ("sum", "mean") else "other"


def prepare() -> None:
    """Do nothing: nothing has to be set."""


def record(frameworks: Sequence[str], calls: Callable[[Mark], None]) -> Recording:
    """What is said of these calls; where the row wraps PyTorch, by PyTorch's profiler, with Thinc's kernels in it."""
    if "torch" in frameworks:
        from torch.profiler import record_function

        from impls.torch import _profile

        with kernels_in_spans(lambda name, _kind: record_function(f"thinc::{name}")):
            return _profile.record_with(calls, {f"thinc::{name}": kind for name, kind in KERNELS.items()})
    timer = Timer()
    with kernels_in_spans(timer.span), timed_arrays(timer):
        calls(lambda: timer.span(CALL, CALL))
    return Recording(timer.events, own_s())


def own_s() -> float:
    """What the clock shows where nothing is between its two readings: the median of many."""
    times = []
    for _ in range(1000):
        start_s = time.perf_counter()
        end_s = time.perf_counter()
        times.append(end_s - start_s)
    return median(times)


class Timer:
    """Keeps when spans began and ended."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, int, float, float, str]] = []

    def add(self, name: str, start_s: float, end_s: float, kind: str | None) -> None:
        """Note a span; one without a kind is none."""
        if kind is not None:
            self._spans.append((name, threading.get_ident(), start_s, end_s, kind))

    @contextmanager
    def span(self, name: str, kind: str) -> Iterator[None]:
        """Note what the context lasts."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, start_s, time.perf_counter(), kind)

    @property
    def events(self) -> list[TraceEvent]:
        """The spans as events, whose time begins with the first."""
        began_s = min((start for _, _, start, _, _ in self._spans), default=0.0)
        return [
            span(name, thread, start - began_s, end - began_s, kind) for name, thread, start, end, kind in self._spans
        ]


@contextmanager
def kernels_in_spans(spans: Spans) -> Iterator[None]:
    """Thinc's kernels run in spans of their names."""
    from thinc.api import NumpyOps

    with ExitStack() as stack:
        for name, kind in KERNELS.items():
            stack.enter_context(patch.object(NumpyOps, name, _in_span(getattr(NumpyOps, name), spans, name, kind)))
        yield


def _in_span(method: Callable[..., Any], spans: Spans, name: str, kind: Kind) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        with spans(name, kind):
            return method(*arguments, **named)

    return call


@contextmanager
def timed_arrays(timer: Timer) -> Iterator[None]:
    """Arrays that Thinc makes are timed: those of its operations, and those of the NumPy that these hand out."""
    from thinc.api import NumpyOps

    timed = timed_kind(timer)
    plain_asarray = NumpyOps.asarray

    def asarray(self: Any, *arguments: Any, **named: Any) -> Any:
        return plain_asarray(self, *arguments, **named).view(timed)

    with patch.object(NumpyOps, "asarray", asarray), patch.object(NumpyOps, "xp", TimedNumPy(timer, timed)):
        yield


class TimedNumPy:
    """NumPy, whose functions that make an array make a timed one. All others hear of it from their arguments."""

    def __init__(self, timer: Timer, timed: type[np.ndarray]) -> None:
        for name in MAKERS:
            setattr(self, name, self._maker(getattr(np, name), timer, timed))

    def __getattr__(self, name: str) -> Any:
        """All else is NumPy's."""
        return getattr(np, name)

    @staticmethod
    def _maker(function: Callable[..., Any], timer: Timer, timed: type[np.ndarray]) -> Callable[..., Any]:
        kind, plain = kind_of(function.__name__), _plain(timed)

        def make(*arguments: Any, **named: Any) -> Any:
            arguments = plain(arguments)
            start_s = time.perf_counter()
            made = function(*arguments, **named)
            end_s = time.perf_counter()
            timer.add(function.__name__, start_s, end_s, kind)
            return made.view(timed)

        return make


def _plain(timed: type[np.ndarray]) -> Callable[[Any], Any]:
    """What turns timed arrays into plain ones, in lists, tuples and dicts too."""

    def plain(value: Any) -> Any:
        if type(value) is timed:
            return value.view(np.ndarray)
        if type(value) in (list, tuple):
            return type(value)(map(plain, value))
        if type(value) is dict:
            return {key: plain(own) for key, own in value.items()}
        return value

    return plain


def timed_kind(timer: Timer) -> type[np.ndarray]:
    """A kind of array that notes in the timer what is done with it."""

    class TimedArray(np.ndarray):
        """An array that carries out operations on plain ones, and notes how long they last."""

        def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
            """Carry out a ufunc, or one of its methods, such as ``add.reduce``."""
            name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            return carry_out(name, getattr(ufunc, method), inputs, named)

        def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
            """Carry out a function of NumPy's."""
            return carry_out(function.__name__, function, arguments, named)

        def __setitem__(self, key: Any, value: Any) -> None:
            """Set numbers."""
            carry_out("setitem", np.ndarray.__setitem__, (self, key, value), {})

        def copy(self, *arguments: Any) -> Any:
            """A copy."""
            return carry_out("copy", np.ndarray.copy, (self, *arguments), {})

        def astype(self, *arguments: Any, **named: Any) -> Any:
            """A copy of another kind."""
            return carry_out("astype", np.ndarray.astype, (self, *arguments), named)

        def dot(self, *arguments: Any) -> Any:
            """A product."""
            return carry_out("dot", np.ndarray.dot, (self, *arguments), {})

        def reshape(self, *arguments: Any, **named: Any) -> Any:
            """The same numbers in another shape: a view, or else a copy."""
            return carry_out("reshape", np.ndarray.reshape, (self, *arguments), named)

        def ravel(self, *arguments: Any) -> Any:
            """The same numbers in a row: a view, or else a copy."""
            return carry_out("ravel", np.ndarray.ravel, (self, *arguments), {})

    plain = _plain(TimedArray)
    kinds: dict[str, Kind | None] = {}

    def carry_out(name: str, function: Callable[..., Any], arguments: Any, named: Any) -> Any:
        """Do it with plain arrays; what was to be written into is given back, and a new array is timed again."""
        arguments, written, named = plain(arguments), named.get("out"), plain(named) if named else named
        start_s = time.perf_counter()
        result = function(*arguments, **named)
        end_s = time.perf_counter()
        if name not in kinds:
            kinds[name] = kind_of(name)
        kind = kinds[name]
        if name in ("reshape", "ravel") and np.may_share_memory(result, arguments[0]):
            kind = None
        timer.add(name, start_s, end_s, kind)
        if written is not None:
            return written[0] if isinstance(written, tuple) else written
        if type(result) is np.ndarray:
            return result.view(TimedArray)
        if type(result) in (list, tuple):
            return type(result)(own.view(TimedArray) if type(own) is np.ndarray else own for own in result)
        return result

    return TimedArray
