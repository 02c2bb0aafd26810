"""JAX's profiler, ``jax.profiler``. Imports JAX where it is used only: names can be told apart without it.

XLA's trace has an event for each instruction that it carries out, under its name in the compiled program. What is in an
instruction, a fusion above all, the program says, which XLA keeps as long as it may be run.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from impls.profiling import CALL, Recording, shortest_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from impls.profiling import Kind, Mark, TraceEvent

SAYS = (
    "jax.profiler, what is in a fusion by the compiled program; an instruction in which a product is fused with other"
    " operations counts as product, one in which arithmetic is fused with copies as elementwise"
)

PRODUCTS = frozenset({"dot", "convolution", "ragged-dot"})

MOVEMENT = frozenset(
    {
        *("copy", "transpose", "broadcast", "slice", "dynamic-slice", "dynamic-update-slice", "concatenate", "pad"),
        *("reverse", "gather", "scatter", "reshape", "copy-start", "copy-done", "iota"),
    }
)

STRUCTURE = frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "bitcast-convert", "while", "call"),
        *("conditional", "fusion", "after-all", "opt-barrier", "partition-id", "replica-id", "async-start"),
        *("async-update", "async-done", "add-dependency", "domain", "infeed", "outfeed"),
    }
)
"""What computes nothing itself. Loops and calls show their instructions inside them; their own time is overhead."""

FLOATS = re.compile(r"\b(?:f\d|bf16|c64|c128)")

INSTRUCTION = re.compile(
    r"^\s*(?:ROOT )?%?(?P<name>[\w.-]+) = (?P<shape>\([^=]*?\)|\S+) (?P<opcode>[a-z][a-z0-9-]*)\((?P<rest>.*)$"
)

COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.-]+) \(.*\{$")

CALLED = re.compile(r"\b(?:calls|to_apply)=%?([\w.-]+)")

TARGET = re.compile(r'custom_call_target="([^"]*)"')


def kinds_of(program: str) -> dict[str, Kind]:
    """Name to kind of each instruction of a compiled program, as XLA prints it; without those that are none.

    Arithmetic on whole numbers alone is the control of a loop, and no kind.
    """
    computations: dict[str, list[re.Match[str]]] = {}
    inside: list[re.Match[str]] = []
    for line in program.splitlines():
        if header := COMPUTATION.match(line):
            inside = computations.setdefault(header["name"], [])
        elif instruction := INSTRUCTION.match(line):
            inside.append(instruction)

    def all_in(instruction: re.Match[str]) -> Iterable[Kind | None]:
        """The kinds of an instruction, or of those that are fused in it."""
        called = CALLED.search(instruction["rest"])
        if instruction["opcode"] in ("fusion", "call") and called:
            for own in computations.get(called[1], ()):
                yield from all_in(own)
        else:
            yield _kind(instruction)

    kinds: dict[str, Kind] = {}
    for instructions in computations.values():
        for instruction in instructions:
            if instruction["opcode"] == "call":  # shows its instructions inside it
                continue
            found = set(all_in(instruction))
            for kind in ("product", "fused", "other", "elementwise", "movement"):
                if kind in found:
                    kinds[instruction["name"]] = kind  # type: ignore[assignment]
                    break
    return kinds


def _kind(instruction: re.Match[str]) -> Kind | None:
    opcode = instruction["opcode"]
    if opcode in PRODUCTS:
        return "product"
    if opcode == "custom-call":
        target = TARGET.search(instruction["rest"])
        words = target[1].lower() if target else ""
        if any(word in words for word in ("gemm", "matmul", "dot")):
            return "product"
        return "fused" if "rnn" in words else "other"
    if opcode in STRUCTURE:
        return None
    is_float = FLOATS.search(instruction["shape"]) is not None
    if opcode in MOVEMENT:
        return "movement"
    return "elementwise" if is_float else None


def prepare() -> None:
    """Do nothing: nothing has to be set."""


def record(frameworks: Sequence[str], calls: Callable[[Mark], None]) -> Recording:
    """What the profiler says of these calls."""
    import jax

    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
            calls(lambda: jax.profiler.TraceAnnotation(CALL))
        (path,) = Path(folder).rglob("perfetto_trace.json.gz")
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    kinds: dict[str, dict[str, Kind]] = {}
    for executable in jax.devices()[0].client.live_executables():
        for module in executable.hlo_modules():
            kinds.setdefault(module.name, {}).update(kinds_of(module.to_string()))
    events = [as_event(event, kinds) for event in events if is_event(event)]
    return Recording(events, shortest_s(events))


def is_event(event: TraceEvent) -> bool:
    """Whether it is one: XLA ends its list with an empty one, and the start and end of a region last no time."""
    return "ph" in event and not event["name"].startswith(("end: ", "ThreadpoolListener"))


def as_event(event: TraceEvent, kinds: Mapping[str, Mapping[str, Kind]]) -> TraceEvent:
    """The event with its kind as ``cat``; ``kinds``: by program, and name of the instruction."""
    if event["name"] == CALL:
        return event | {"cat": CALL}
    said = event.get("args", {})
    kind = kinds.get(said.get("hlo_module"), {}).get(said.get("hlo_op", ""))
    return event | {"cat": kind} if kind else event
