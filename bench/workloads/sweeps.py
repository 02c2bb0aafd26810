"""Sweeps: one size at a time takes every value from low to high, the others stay at the base. Pure.

The preset ``scaling`` sweeps several sizes around one base, and has shapes drawn between them: to some costs are fitted
as well, on the others, which are held out, the fit is evaluated.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.workloads.flops import expected_call_s
from bench.workloads.shapes import SHAPE_DEFAULTS, choose, parse_shape, parse_size, parse_sizes, shape_workload
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bench.workloads.flops import BatchSizes
    from bench.workloads.shapes import Workload
    from impls.contract import Seq2seqConfig


SCALING = "scaling"
"""The preset whose runs costs are fitted to."""

THREADS = "threads"
"""What may be swept beside the sizes of a shape, and the preset that does, up to all processors."""

SIZES = tuple(name for name in SHAPE_DEFAULTS if name != "bidirectional")

BASE: dict[str, int | bool] = {
    "embedding_dim": 64,
    "hidden_dim": 128,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "bidirectional": True,
    "sequence_length": 16,
    "output_seq_length": 16,
    "batch_size": 16,
}
"""Where the sweeps cross, but for what ``--shape`` names: there, neither calls nor arithmetic are all of a time."""


Sweeps = dict[str, tuple[int, ...]]
"""A name of ``--shape``, or ``threads``, to the values that it takes, smallest first."""

SWEEPS: Sweeps = {
    "sequence_length": (4, 8, 16, 32, 64),
    "output_seq_length": (4, 16, 64),
    "batch_size": (1, 2, 4, 8, 16, 32, 64),
    "hidden_dim": (16, 32, 64, 128, 256, 512),
    "embedding_dim": (8, 64, 512),
    "num_encoder_layers": (1, 2),
    "num_decoder_layers": (1, 2),
}
"""Those of the preset ``scaling``; it has the base in one direction, too."""

BESIDE = 16
"""How many shapes off the lines the preset has to fit to: the lines do not say how sizes count together."""

HELD_OUT = 16
"""How many more it has to judge the fit on."""

LONGEST_CALL_S = 0.08
"""None of them has a forward call that is expected to last longer: the corners of the box would take all the time."""

SEED = 2018
"""Draws them: the same ones in every run."""


def parse_sweeps(texts: Iterable[str]) -> Sweeps:
    """The sweeps that ``hidden_dim=64:2048`` and the like describe: values double from low on, and end with high.

    Raises:
        InvalidInput: one is malformed, or its name is none, or its values are no sizes or do not rise; or one is named
            twice, or threads are swept beside sizes.
    """
    sweeps: Sweeps = {}
    for text in texts:
        if "," in text:
            raise InvalidInput(
                f"--sweep: {text!r} has a comma; a space stands between sweeps: hidden_dim=64:2048 batch_size=1:64"
            )
        name, equals, values = (part.strip() for part in text.partition("="))
        low, colon, high = (part.strip() for part in values.partition(":"))
        if not (name and equals and low and colon and high):
            raise InvalidInput(f"--sweep: {text!r} is not name=low:high; example: hidden_dim=64:2048")
        if name not in (*SIZES, THREADS):
            raise InvalidInput(f"--sweep: unknown name {name!r}; choose from {', '.join((*SIZES, THREADS))}")
        first, last = (parse_size("--sweep", name, value) for value in (low, high))
        if first >= last:
            raise InvalidInput(f"--sweep: {name} must rise, and {first}:{last} does not")
        if name in sweeps:
            raise InvalidInput(f"--sweep: {name} is given twice")
        sweeps[name] = doubled(first, last)
    if THREADS in sweeps and len(sweeps) > 1:
        raise InvalidInput("--sweep: threads are swept alone; --threads measures every shape with each number of them")
    return sweeps


def doubled(first: int, last: int) -> tuple[int, ...]:
    """Values that double from the first on, and end with the last."""
    doublings = math.ceil(math.log2(last / first))
    return (*(first * 2**power for power in range(doublings)), last)


def choose_sweeps(texts: Sequence[str], preset: str, processors: int) -> Sweeps:
    """The sweeps that are described; those of the preset ``threads``, up to so many, where that is asked for.

    Raises:
        InvalidInput: one is malformed, or both are asked for.
    """
    if preset != THREADS:
        return parse_sweeps(texts)
    if texts:
        raise InvalidInput(f"--preset threads sweeps threads; leave --sweep {texts[0]} out, or the preset")
    return {THREADS: doubled(1, processors)}


def base_of(shape: str | None) -> dict[str, int | bool]:
    """``BASE``, but for what a ``--shape`` names.

    Raises:
        InvalidInput: the shape is malformed.
    """
    return BASE | (parse_sizes(shape) if shape is not None else {})


def choose_workloads(
    names: Sequence[str], preset: str, device: str, shape: str | None, sweeps: Sweeps
) -> list[Workload]:
    """The workloads named, the shapes of the sweeps, and the shape; those of the preset where none is named.

    Raises:
        InvalidInput: there is no such workload, the shape is malformed, or a sweep does not fit the preset.
    """
    if preset == SCALING:
        if names or THREADS in sweeps:
            raise InvalidInput("--preset scaling sweeps sizes; leave --workload and threads out of it, or the preset")
        return preset_shapes(base_of(shape), sweeps or SWEEPS)
    workloads = choose(names, preset, device) if names or (shape is None and not sweeps) else []
    if sweeps and THREADS not in sweeps:
        return workloads + swept(base_of(shape), sweeps)
    if shape is not None:
        return [*workloads, parse_shape(shape)]
    return workloads or [shape_workload(**BASE)]


def choose_threads(threads: Sequence[str], sweeps: Sweeps) -> Sequence[str]:
    """The numbers of threads that are given, or swept.

    Raises:
        InvalidInput: they are both.
    """
    if THREADS not in sweeps:
        return threads
    if list(threads) != ["1"]:
        raise InvalidInput("--threads: a sweep of threads says how many; leave --threads out")
    return [str(value) for value in sweeps[THREADS]]


def swept(base: Mapping[str, int | bool], sweeps: Sweeps) -> list[Workload]:
    """The shapes of the sweeps, each once."""
    shapes = (dict(base) | {name: value} for name, values in sweeps.items() for value in values)
    workloads = (replace(shape_workload(**shape), source="--sweep") for shape in shapes)
    return list({workload.name: workload for workload in workloads}.values())


def preset_shapes(base: Mapping[str, int | bool], sweeps: Sweeps = SWEEPS) -> list[Workload]:
    """What the preset ``scaling`` measures: the sweeps, the base in the other directions, and shapes off the lines.

    Raises:
        InvalidInput: the sweeps leave no room for those.
    """
    turned = dict(base) | {"bidirectional": not base["bidirectional"]}
    lines = [*swept(base, sweeps), replace(shape_workload(**turned), source="--sweep")]
    off = drawn(base, sweeps, BESIDE + HELD_OUT, frozenset(workload.name for workload in lines))
    return [*lines, *off[:BESIDE], *(replace(one, source="held out", held_out=True) for one in off[BESIDE:])]


def drawn(base: Mapping[str, int | bool], sweeps: Sweeps, count: int, lines: Collection[str] = ()) -> list[Workload]:
    """Shapes within what the sweeps span, drawn evenly in the logarithm of each size, in one direction or both.

    None is among the ``lines``, nor longer than ``LONGEST_CALL_S`` allows.

    Raises:
        InvalidInput: there are not so many.
    """
    random = np.random.default_rng(SEED)
    found: dict[str, Workload] = {}
    for _ in range(1000 * count):
        shape = dict(base) | {"bidirectional": bool(random.integers(2))}
        for name, values in sweeps.items():
            low, high = values[0], values[-1]
            size = round(math.exp(random.uniform(math.log(low - 0.5), math.log(high + 0.5))))
            shape[name] = min(max(size, low), high)
        workload = replace(shape_workload(**shape), source="drawn between the sweeps")
        if workload.name not in lines and expected_call_s(workload, "forward") <= LONGEST_CALL_S:
            found[workload.name] = workload
        if len(found) == count:
            return list(found.values())
    raise InvalidInput(f"--sweep: there are no {count} shapes between these that do not take too long; choose others")


def sizes(config: Seq2seqConfig, batches: Sequence[BatchSizes]) -> dict[str, int]:
    """The sizes of a shape, under the names that ``--shape`` has; of several batches, the first one's."""
    return {
        "embedding_dim": config.embedding_dim,
        "hidden_dim": config.hidden_dim,
        "num_encoder_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "directions": config.num_directions,
        "sequence_length": batches[0].t_x,
        "output_seq_length": batches[0].t_y,
        "batch_size": batches[0].batch,
    }
