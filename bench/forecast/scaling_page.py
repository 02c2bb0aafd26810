"""A scaling run's fits in Markdown and JSON: what the rows' calls cost, and how that does on held-out shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bench import units
from bench.analysis.stats import PRACTICAL
from bench.forecast.features import CACHE_BYTES, KNOTS, identifiable
from bench.forecast.held_out import Checked, check, score
from bench.forecast.model import Fitted, TaskAt, features_of
from bench.records.schema import Struct
from bench.report.export import rounded
from bench.report.markdown import environment_line, table
from impls.contract import Device, Precision, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.forecast.features import Coefficients
    from bench.forecast.held_out import Score
    from bench.forecast.model import Model

PAGE_FILE = "scaling.md"
FACTS_FILE = "scaling.json"
DIGITS = 4
"""Significant ones of every number in JSON: what is beyond them differs from processor to processor."""


class OfTask(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The rows' costs at a task, and the held-out shapes."""

    task: Task
    device: Device
    precision: Precision
    threads: int
    fits: list[Fitted]
    held_out: list[Checked]


class Scaling(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """All that is derived from a scaling run: what ``scaling.json`` holds."""

    started_at: str
    """The run's: the raw records stand beside it."""
    machine: str
    knots: tuple[int, ...]
    """Numbers of sequences at which the products have a coefficient."""
    cache_bytes: int
    tasks: list[OfTask]


def scaling_of(model: Model) -> Scaling:
    """What is derived from the run."""
    return Scaling(
        started_at=model.run.started_at,
        machine=model.run.environment.machine,
        knots=KNOTS,
        cache_bytes=CACHE_BYTES,
        tasks=[OfTask(**at._asdict(), fits=fits, held_out=check(model, at)) for at, fits in model.fits.items()],
    )


def to_json(model: Model) -> str:
    """All that is derived from the run, for programs."""
    facts = rounded(msgspec.to_builtins(scaling_of(model)), DIGITS)
    return msgspec.json.format(msgspec.json.encode(facts), indent=1).decode() + "\n"


def page(model: Model) -> str:
    """The tables, in Markdown."""
    run = model.run
    parts = [
        "# What a call costs, by its shape\n",
        f"{environment_line(run.environment)}  \n{run.started_at}, `{run.command}`\n",
        f"Fitted to {model.fitted()} shapes: sweeps of one size at a time, and shapes drawn between them. A call's"
        " time is the sum of what it has of each column times its coefficient: batches; time steps, of all layers and"
        " directions; numbers of the hidden states (steps × sequences × `hidden_dim`); weights; operations of the"
        " products, whose rate depends on the number of sequences, and goes from one to the next in between; and, at"
        f" each step, recurrent weights of a layer beyond {units.size(CACHE_BYTES)} (in float32, of the forward pass)."
        f" –: no coefficient, that is, none that shows; {SHARED}: these shapes do not tell it apart from others. What"
        " one coefficient lacks another may have: a single coefficient is less certain than their sum. *Left out*:"
        " the median by which a fit to all other shapes is off at one of them; *held out*: by which the fit is off at"
        " shapes that it has not seen.\n",
    ]
    for of_task in scaling_of(model).tasks:
        where = units.place(of_task.device, of_task.threads, of_task.precision)
        at = TaskAt(of_task.task, of_task.device, of_task.precision, of_task.threads)
        parts += [f"## {of_task.task}, {where}\n", _prices(model, at, of_task)]
        if of_task.held_out:
            found = score(of_task.held_out)
            parts += [f"{about(found)}\n", _held_out(of_task)]
    return "\n".join(parts)


def _prices(model: Model, at: TaskAt, of_task: OfTask) -> str:
    workloads = model.run.workloads
    errors = [one.errors for one in of_task.held_out]
    lines = []
    for row in of_task.fits:
        leave_one_out = [abs(math.expm1(-off)) for name, off in row.off.items() if not workloads[name].held_out]
        fitted = [name for name in model.times_s[at][row.implementation] if not workloads[name].held_out]
        apart = identifiable([features_of(model.run, name, at.task) for name in fitted])
        seen = [of_shape[row.implementation] for of_shape in errors]
        lines.append(
            [
                f"`{row.implementation}`",
                *columns(row.coefficients, apart),
                units.percent(float(np.median(leave_one_out))),
                units.percent(float(np.median(seen)) if seen else None),
                units.percent(max(seen, default=None)),
            ]
        )
    return table(["row", *COLUMNS, "left out", "held out", "worst"], lines)


COLUMNS = (
    "a call",
    "a step",
    "a state",
    "a weight",
    *(f"products, {knot} sequence{'s' * (knot > 1)}" for knot in KNOTS),
    "far weights",
)


SHARED = "?"
"""In the place of a coefficient that the shapes do not tell apart from others."""


def columns(coefficients: Coefficients, apart: Sequence[bool]) -> list[str]:
    """The coefficients as people read them; ``apart``: which of them the shapes tell apart, in the order of the
    features."""
    call, step, state, weight, far, *flop = apart
    words = [
        *(
            coefficient(seconds)
            for seconds in (coefficients.call_s, coefficients.step_s, coefficients.state_s, coefficients.weight_s)
        ),
        *(units.rate(1 / seconds if seconds else None) for seconds in coefficients.flop_s),
        far_rate(coefficients) or "–",
    ]
    order = (call, step, state, weight, *flop, far)
    return [word if own else SHARED for word, own in zip(words, order, strict=True)]


def far_rate(coefficients: Coefficients) -> str:
    """How fast weights beyond the cache are read; empty where they cost nothing."""
    return f"{1e-9 / coefficients.far_byte_s:.0f} GB/s" if coefficients.far_byte_s else ""


def in_words(coefficients: Coefficients) -> str:
    """``40.0 µs a call + 1.10 µs a step + … + products at 50.0 GFLOP/s to 190 GFLOP/s``: what is not nothing."""
    words = ("a call", "a step", "a number of the state", "a weight")
    terms = [
        f"{coefficient(seconds)} {what}"
        for seconds, what in zip(
            (coefficients.call_s, coefficients.step_s, coefficients.state_s, coefficients.weight_s),
            words,
            strict=True,
        )
        if seconds
    ]
    rates = [1 / seconds for seconds in coefficients.flop_s if seconds]
    if rates:
        terms.append(f"products at {' to '.join(dict.fromkeys(map(units.rate, (min(rates), max(rates)))))}")
    if far := far_rate(coefficients):
        terms.append(f"weights beyond {units.size(CACHE_BYTES)} at {far}")
    return " + ".join(terms)


def coefficient(seconds: float) -> str:
    """Three digits and the unit that fits, down to picoseconds; a dash for nothing."""
    if seconds >= 1e-6 or not seconds:
        return units.seconds(seconds or None)
    unit, size = ("ns", 1e-9) if seconds >= 1e-9 else ("ps", 1e-12)
    return f"{seconds / size:.3g} {unit}"


def _held_out(of_task: OfTask) -> str:
    lines = []
    for one in of_task.held_out:
        rows = ", ".join(f"`{name}`" for name in one.tied)
        lines.append(
            [
                one.workload,
                rows if len(one.tied) == 1 else f"a tie: {rows}",
                f"`{one.fastest}`",
                units.seconds(one.measured_s[one.fastest]),
                "yes" if one.is_right else f"no, {units.percent(one.regret)} slower",
                units.percent(float(np.median(list(one.errors.values())))),
            ]
        )
    return table(["held out", "expected to be the fastest", "was", "in", "right", "times off by"], lines, left=3)


def about(found: Score) -> str:
    """How well the forecasts of held-out shapes did, in words."""
    several = found.shapes - found.named
    ties = (
        f"{several} a tie, of {found.mean_tied:.1f} rows on average, with it in the tie on {found.tied_right}"
        if several
        else "none a tie"
    )
    return (
        f"On {found.shapes} held-out shapes, times were off by {units.percent(found.error)} (median over shapes and"
        f" rows; nine of ten by less than {units.percent(found.error_90)}), and {units.percent(found.covered)} of them"
        f" were in their intervals, which are made for 90 %. Of one row it was said on {found.named} shapes that it is"
        f" the fastest: on {found.named_right} it was, or was within {units.percent(PRACTICAL)} of it; {ties}: right on"
        f" {units.percent(found.right)} of the shapes. Who takes the row with the shortest expected time loses"
        f" {units.percent(found.regret)} (median; at worst {units.percent(found.worst_regret)})."
    )
