"""What is said of a scaling run's fits: in Markdown, in JSON, on a terminal, and as maps for a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.means import TaskAt
from bench.analysis.stats import PRACTICAL, median
from bench.forecast.features import CACHE_BYTES, KNOTS, Coefficients, features, identifiable
from bench.forecast.model import CONFIDENCE, Checked, Fitted, Model, check, forecast, model_of, shape_of, tied
from bench.here import as_typed
from bench.page.series import Map
from bench.page.series import in_words as sizes_in_words
from bench.records.schema import Struct
from bench.report.export import rounded
from bench.report.markdown import environment_line, table
from bench.workloads.flops import BatchSizes
from bench.workloads.sweeps import SCALING, doubled, sizes
from impls.contract import Device, InvalidInput, Precision, Seq2seqConfig, Task

PAGE_FILE, FACTS_FILE = "scaling.md", "scaling.json"
DIGITS = 4
"""Significant ones of every number in JSON: what is beyond them differs from processor to processor."""

SHARED = "?"
"""In the place of a coefficient that is not identifiable."""

COLUMNS = (
    *("a call", "a step", "a state", "a weight"),
    *(f"products, {knot} sequence{'s' * (knot > 1)}" for knot in KNOTS),
    "far weights",
)


class OfTask(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The rows' costs at a task, and the held-out shapes."""

    task: Task
    device: Device
    precision: Precision
    threads: int
    fits: list[Fitted]
    held_out: list[Checked]

    @property
    def at(self) -> TaskAt:
        """The task, and where it was measured."""
        return TaskAt(self.task, self.device, self.precision, self.threads)


class Scaling(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """All that is derived from a scaling run: what ``scaling.json`` holds."""

    started_at: str
    """The run's: the raw records stand beside it."""
    machine: str
    knots: tuple[int, ...]
    """Numbers of sequences at which the products have a coefficient."""
    cache_bytes: int
    tasks: list[OfTask]


def scaling_files(analysis: Analysis) -> dict[str, str]:
    """By name: what is fitted to the run, to read and as JSON; nothing of a run that is no scaling run.

    Raises:
        InvalidInput: it has too few shapes.
    """
    return files(model_of(analysis)) if analysis.run.preset == SCALING else {}


def files(model: Model) -> dict[str, str]:
    """By name: the tables in Markdown, and all that is derived from the run as JSON."""
    run = model.run
    scaling = Scaling(
        started_at=run.started_at,
        machine=run.environment.machine,
        knots=KNOTS,
        cache_bytes=CACHE_BYTES,
        tasks=_of_tasks(model),
    )
    facts = msgspec.json.encode(rounded(msgspec.to_builtins(scaling), DIGITS))
    return {PAGE_FILE: page(model), FACTS_FILE: msgspec.json.format(facts, indent=1).decode() + "\n"}


def _of_tasks(model: Model) -> list[OfTask]:
    return [OfTask(**at._asdict(), fits=fits, held_out=check(model, at)) for at, fits in model.fits.items()]


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
        f" –: no coefficient, that is, none that shows; {SHARED}: not identifiable from these shapes. What"
        " one coefficient lacks another may have: a single coefficient is less certain than their sum. *Leave-one-out*:"
        " the median by which a fit to all other shapes is off at one of them; *held out*: by which the fit is off at"
        " shapes that it has not seen.\n",
    ]
    for of_task in _of_tasks(model):
        parts += [f"## {of_task.task}, {of_task.at.place}\n", _costs(model, of_task)]
        if of_task.held_out:
            parts += [f"{about(of_task.held_out)}\n", _held_out(of_task)]
    return "\n".join(parts)


def _costs(model: Model, of_task: OfTask) -> str:
    workloads, lines = model.run.workloads, []
    for row in of_task.fits:
        leave_one_out = [abs(math.expm1(-off)) for name, off in row.off.items() if not workloads[name].held_out]
        fitted = [name for name in model.times_s[of_task.at][row.implementation] if not workloads[name].held_out]
        distinct = identifiable([features(*shape_of(model.run, name), of_task.task) for name in fitted])
        seen = [one.errors[row.implementation] for one in of_task.held_out]
        off = (median(leave_one_out), median(seen) if seen else None, max(seen, default=None))
        lines.append([f"`{row.implementation}`", *columns(row.coefficients, distinct), *map(units.percent, off)])
    return table(["row", *COLUMNS, "leave-one-out", "held out", "worst"], lines)


def columns(coefficients: Coefficients, distinct: Sequence[bool]) -> list[str]:
    """The coefficients as people read them; ``distinct``: which are identifiable, in the order of the features."""
    words = [
        *map(coefficient, coefficients.terms[:4]),
        _far_rate(coefficients.far_byte_s) or "–",
        *(units.rate(1 / seconds if seconds else None) for seconds in coefficients.flop_s),
    ]
    shown = [word if own else SHARED for word, own in zip(words, distinct, strict=True)]
    return [*shown[:4], *shown[5:], shown[4]]


def _far_rate(far_byte_s: float) -> str:
    """How fast weights beyond the cache are read; empty where they cost nothing."""
    return f"{1e-9 / far_byte_s:.0f} GB/s" if far_byte_s else ""


def in_words(coefficients: Coefficients) -> str:
    """``40.0 µs a call + 1.10 µs a step + … + products at 50.0 GFLOP/s to 190 GFLOP/s``: what is not nothing."""
    words = ("a call", "a step", "a number of the state", "a weight")
    terms = [
        f"{coefficient(seconds)} {what}" for seconds, what in zip(coefficients.terms, words, strict=False) if seconds
    ]
    rates = [1 / seconds for seconds in coefficients.flop_s if seconds]
    if rates:
        terms.append(f"products at {' to '.join(dict.fromkeys(map(units.rate, (min(rates), max(rates)))))}")
    if far := _far_rate(coefficients.far_byte_s):
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
                units.percent(median([*one.errors.values()])),
            ]
        )
    return table(["held out", "expected to be the fastest", "was", "in", "right", "times off by"], lines, left=3)


def about(checked: Sequence[Checked]) -> str:
    """How well the forecasts of held-out shapes did, in words; of one shape at least."""
    errors = [error for one in checked for error in one.errors.values()]
    within = [inside for one in checked for inside in one.within]
    named = [one.is_right for one in checked if len(one.tied) == 1]
    several = [one for one in checked if len(one.tied) > 1]
    regrets = [one.regret for one in checked]
    ties = "none a tie"
    if several:
        average = f"of {np.mean([len(one.tied) for one in several]):.1f} rows on average"
        ties = f"{len(several)} a tie, {average}, with it in the tie on {sum(one.is_right for one in several)}"
    nine_of_ten, inside = float(np.quantile(errors, CONFIDENCE)), float(np.mean(within))
    right = float(np.mean([one.is_right for one in checked]))
    return (
        f"On {len(checked)} held-out shapes, times were off by {units.percent(median(errors))} (median over shapes and"
        f" rows; nine of ten by less than {units.percent(nine_of_ten)}), and {units.percent(inside)} of them"
        f" were in their intervals, which are made for 90 %. Of one row it was said on {len(named)} shapes that it is"
        f" the fastest: on {sum(named)} it was, or was within {units.percent(PRACTICAL)} of it; {ties}: right on"
        f" {units.percent(right)} of the shapes. Who takes the row with the shortest expected time loses"
        f" {units.percent(median(regrets))} (median; at worst {units.percent(max(regrets))})."
    )


def render(model: Model) -> Iterator[RenderableType]:
    """For a terminal of 80 columns: of each task the rows' costs, and a sentence on the held-out shapes."""
    for of_task in _of_tasks(model):
        yield Text(f"\n{of_task.task} {of_task.at.place}", style="bold")
        for row in of_task.fits:
            errors = [one.errors[row.implementation] for one in of_task.held_out]
            off = f" (held out: off by {units.percent(median(errors))})" if errors else ""
            words = f" {in_words(row.coefficients)}{off}"
            yield Padding(Text(row.implementation, style="bold").append(words, style="not bold"), (0, 0, 0, 1))
        if of_task.held_out:
            yield Padding(Text(about(of_task.held_out)), (0, 0, 0, 1))
    how_to_read = (
        "\nstate: a number of the hidden states, at each step; weight: once a call. A single coefficient is less"
        " certain than their sum. `python -m bench advise --shape …` says what to expect of a shape."
    )
    yield Text(as_typed(how_to_read), style="dim")


def maps(number: int, analysis: Analysis) -> Iterator[Map]:
    """Of a scaling run: who is expected to win over batch size and hidden size, all else as where its sweeps cross."""
    if analysis.run.preset != SCALING:
        return
    try:
        model = model_of(analysis)
    except InvalidInput:  # it was ended before it had shapes enough
        return
    for at in model.fits:
        yield from _map(number, model, at)


def _map(number: int, model: Model, at: TaskAt) -> Iterator[Map]:
    fitted = [name for name in model.timed(at) if not model.run.workloads[name].held_out]
    shapes = [sizes(*shape_of(model.run, name)) for name in fitted]
    crossing = {size: Counter(own[size] for own in shapes).most_common(1)[0][0] for size in shapes[0]}
    grids = {
        size: doubled(min(own[size] for own in shapes), max(own[size] for own in shapes))
        for size in ("batch_size", "hidden_dim")
    }
    others = sizes_in_words({size: value for size, value in crossing.items() if size not in grids})
    for batch_size in grids["batch_size"]:
        for hidden_dim in grids["hidden_dim"]:
            config = Seq2seqConfig(
                embedding_dim=crossing["embedding_dim"],
                hidden_dim=hidden_dim,
                num_encoder_layers=crossing["num_encoder_layers"],
                num_decoder_layers=crossing["num_decoder_layers"],
                bidirectional=crossing["directions"] == 2,
            )
            batch = BatchSizes(crossing["sequence_length"], crossing["output_seq_length"], batch_size)
            expected = forecast(model, at, config, [batch])
            yield Map(
                result=number,
                label=f"{at.task} {at.place}\nat {others}",
                **at._asdict(),
                batch_size=batch_size,
                hidden_dim=hidden_dim,
                winner=expected[0].implementation,
                tied=tied(expected),
                time_s=expected[0].time_s,
            )
