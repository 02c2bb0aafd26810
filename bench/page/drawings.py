"""The drawings, as Vega-Lite by Altair: what is drawn of which fields, without data, colours of text or sizes. Pure.

Each reads one data set, by name, and has a small multiple for each value of one field: a group of cells, a curve, a
map. Verdicts have a shape as well as a colour, tiers too.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import altair as alt

from bench.analysis.stats import PRACTICAL
from bench.records.schema import Phase

INK = "currentColor"
"""Of text and axes on the page: whatever the page's own is, in the light, in the dark and on paper."""

GREY = "#8a8a8a"
STEP = 20
"""Pixels a row."""

VERDICTS = {
    "FASTER": ("#1b9e77", "triangle-left"),
    "SLOWER": ("#d95f02", "triangle-right"),
    "SAME": ("#7570b3", "square"),
    "UNCLEAR": (GREY, "circle"),
    "no verdict": (GREY, "cross"),
    "baseline": ("#3182bd", "diamond"),
}
"""Verdict to colour and shape; the colours are ColorBrewer's Dark2, told apart by the colour-blind, too."""

TIERS = {
    "idiomatic": "circle",
    "loop": "cross",
    "kernel": "square",
    "tuned": "diamond",
    "wrapper": "triangle-up",
    "engine": "triangle-down",
}

SECONDS = (
    "datum.value >= 0.9995 ? format(datum.value, ',.3~f') + ' s' : datum.value >= 0.9995e-3 ?"
    " format(1e3 * datum.value, '.3~r') + ' ms' : format(1e6 * datum.value, '.3~r') + ' µs'"
)
"""A label of an axis of seconds, in the unit that fits."""


WHOLE = "datum.value % 1 ? '' : datum.value"
"""A label of an axis of sizes."""


FRAMEWORKS = {
    "torch": "#d95f02",
    "jax": "#1f78b4",
    "thinc": "#1b9e77",
    "keras": "#a6761d",
    "onnxruntime": "#7570b3",
}
"""Framework to colour: the same on every page. Others get what is next."""

FRAMEWORK_SCALE = alt.Scale(domain=list(FRAMEWORKS), range=list(FRAMEWORKS.values()))

DASHES = {
    "idiomatic": [1, 0],
    "loop": [6, 3],
    "kernel": [2, 2],
    "tuned": [12, 3],
    "wrapper": [8, 3, 2, 3],
    "engine": [2, 4],
}
"""Tier to how its lines are dashed."""

DASH_SCALE = alt.Scale(domain=list(DASHES), range=list(DASHES.values()))


def _row(by: str = "median_s") -> alt.Y:
    """The rows' names, sorted by a field."""
    return alt.Y(
        "implementation:N",
        title=None,
        sort=alt.EncodingSortField(field=by, op="min"),
        axis=alt.Axis(grid=False, ticks=False, domain=False, labelPadding=6),
    )


def _seconds(field: str, **more: Any) -> alt.X:
    return alt.X(
        f"{field}:Q",
        title=None,
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(labelExpr=SECONDS, tickCount=4, labelOverlap=True),
        **more,
    )


def _verdict_colour(field: str = "verdict") -> dict[str, Any]:
    domain, colours, shapes = (
        list(VERDICTS),
        [one for one, _ in VERDICTS.values()],
        [one for _, one in VERDICTS.values()],
    )
    return {
        "color": alt.Color(f"{field}:N", title="verdict", scale=alt.Scale(domain=domain, range=colours)),
        "shape": alt.Shape(f"{field}:N", title="verdict", scale=alt.Scale(domain=domain, range=shapes)),
    }


def _tier_shape() -> dict[str, Any]:
    return {
        "color": alt.Color("framework:N", title="framework", scale=FRAMEWORK_SCALE),
        "shape": alt.Shape("tier:N", title="tier", scale=alt.Scale(domain=list(TIERS), range=list(TIERS.values()))),
    }


def _tooltip(*fields: str) -> list[alt.Tooltip]:
    return [alt.Tooltip(field, title=field.partition(":")[0]) for field in fields]


OF_A_ROW = _tooltip("implementation:N", "group:N", "tier:N", "time:N", "interval:N", "ratio_words:N", "verdict:N")


LINES = "split(datum.value, '\\n')"
"""The name of a small multiple may have two lines."""


def _in_groups(chart: Any, field: str = "group") -> Any:
    header = alt.Header(title=None, labelAnchor="start", labelExpr=LINES)
    order = alt.EncodingSortField(field="facet_order", op="min")
    return chart.facet(
        facet=alt.Facet(f"{field}:N", header=header, sort=order), columns=2, spacing={"row": 24, "column": 24}
    ).resolve_scale(x="independent", y="independent")


def times() -> Any:
    """The median of each row with its 95 % interval."""
    base = alt.Chart().encode(y=_row())
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=_seconds("ci_low_s"), x2="ci_high_s:Q", color=_tier_shape()["color"]
    )
    medians = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=_seconds("median_s"), tooltip=OF_A_ROW, **_tier_shape()
    )
    return _in_groups(alt.layer(intervals, medians, data=alt.NamedData("lines"), height=alt.Step(STEP)))


def ratios() -> Any:
    """The ratio of each row to the baseline with its 95 % interval, and the zone that is of no interest."""
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(labelExpr="format(datum.value, '~r') + '×'", tickCount=5, labelOverlap=True)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=None, scale=scale, axis=axis)

    base = alt.Chart().encode(y=_row("ratio"))
    zone = base.transform_calculate(low=str(1 / (1 + PRACTICAL)), high=str(1 + PRACTICAL))
    zone = zone.mark_bar(color=GREY, opacity=0.25, height=STEP).encode(x=x("low"), x2="high:Q")
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=x("ratio_low"), x2="ratio_high:Q", color=_verdict_colour()["color"]
    )
    middles = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=x("ratio"), tooltip=OF_A_ROW, **_verdict_colour()
    )
    return _in_groups(alt.layer(zone, intervals, middles, data=alt.NamedData("lines"), height=alt.Step(STEP)))


def rates() -> Any:
    """The rate of each row, of its products alone, and of the machine."""
    axis = alt.Axis(format="~s", tickCount=4, labelOverlap=True)
    base = alt.Chart().encode(y=_row())
    tooltip = [*_tooltip("implementation:N", "group:N", "rate:N", "bound_words:N", "machine_words:N")]
    bars = base.mark_bar(height=STEP - 7).encode(
        x=alt.X("flops_per_s:Q", title="FLOP/s", axis=axis), color=_tier_shape()["color"], tooltip=tooltip
    )
    bound = base.mark_tick(thickness=3, size=STEP - 3, color=INK).encode(x=alt.X("bound_flops_per_s:Q"))
    machine = (
        alt.Chart().mark_rule(strokeDash=[5, 3], color=INK).encode(x=alt.X("machine_flops_per_s:Q", aggregate="max"))
    )
    return _in_groups(alt.layer(bars, bound, machine, data=alt.NamedData("lines"), height=alt.Step(STEP)))


def memory() -> Any:
    """The peak memory of each row's call."""
    axis = alt.Axis(format="~s", tickCount=4, labelOverlap=True)
    bars = alt.Chart(alt.NamedData("lines"), height=alt.Step(STEP)).mark_bar(height=STEP - 7)
    return _in_groups(
        bars.encode(
            y=_row(),
            x=alt.X("peak_bytes:Q", title="bytes", axis=axis),
            color=_tier_shape()["color"],
            tooltip=_tooltip("implementation:N", "group:N", "memory:N"),
        )
    )


def break_even() -> Any:
    """How long a number of calls takes from nothing: import, build, compile, and the calls."""
    chart = (
        alt.Chart(alt.NamedData("lines"), height=240)
        .transform_filter("isValid(datum.fixed_s)")
        .transform_calculate(power="sequence(0, 6.01, 0.5)")
        .transform_flatten(["power"])
        .transform_calculate(calls="pow(10, datum.power)", total_s="datum.fixed_s + datum.calls * datum.median_s")
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("calls:Q", title="calls", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=4)),
            y=alt.Y(
                "total_s:Q",
                title=None,
                scale=alt.Scale(type="log", nice=False),
                axis=alt.Axis(labelExpr=SECONDS, tickCount=5),
            ),
            color=alt.Color("implementation:N", title=None, scale=alt.Scale(scheme="tableau20")),
            strokeDash=alt.StrokeDash("tier:N", title="tier", scale=DASH_SCALE),
            tooltip=_tooltip("implementation:N", "group:N", "fixed:N", "time:N", "pays_after_words:N"),
        )
    )
    return _in_groups(chart)


def scaling() -> Any:
    """The time of each row over a size, all other sizes alike."""
    base = alt.Chart().encode(
        x=alt.X(
            "value:Q",
            title=None,
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(tickCount=6, labelExpr=WHOLE),
        ),
        color=alt.Color("implementation:N", title=None, scale=alt.Scale(scheme="tableau20")),
    )
    y = alt.Y(
        "median_s:Q",
        title=None,
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(labelExpr=SECONDS, tickCount=5),
    )
    intervals = base.mark_rule().encode(y=alt.Y("low_s:Q"), y2="high_s:Q")
    line = base.mark_line(point=True).encode(
        y=y, tooltip=_tooltip("implementation:N", "curve:N", "value:Q", "time:N", "interval:N")
    )
    return _in_groups(alt.layer(intervals, line, data=alt.NamedData("points"), height=240), "curve")


def winners() -> Any:
    """Who is expected to be the fastest over batch size and hidden size, and where that is a tie."""
    base = alt.Chart().encode(
        x=alt.X("batch_size:O", title="batch_size", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("hidden_dim:O", title="hidden_dim", sort="descending"),
    )
    fields = _tooltip("batch_size:O", "hidden_dim:O", "winner:N", "ties:N", "time:N")
    cells = base.mark_rect(stroke=GREY, strokeWidth=0.5).encode(
        color=alt.Color("winner:N", title="expected to be the fastest", scale=alt.Scale(scheme="tableau20")),
        opacity=alt.condition("datum.many > 1", alt.value(0.4), alt.value(1.0)),
        tooltip=fields,
    )
    ties = base.transform_filter("datum.many > 1").mark_text(fontSize=11).encode(text="many:Q")
    chart = alt.layer(cells, ties, data=alt.NamedData("maps"), height=alt.Step(26))
    return _in_groups(chart, "label").resolve_scale(x="independent", y="independent")


def drift() -> Any:
    """The baseline against itself, block by block, and the machine's speed beside it."""
    scale = alt.Scale(type="log", nice=False, padding=8)
    x = alt.X("block:Q", title="block", axis=alt.Axis(tickMinStep=1, grid=False))
    y = alt.Y(
        "ratio:Q", title=None, scale=scale, axis=alt.Axis(labelExpr="format(datum.value, '~r') + '×'", tickCount=5)
    )
    kinds = ["control over baseline", "fixed product over its median"]
    kind = alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["#3182bd", "#d95f02"]))
    shape = alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["circle", "square"]))
    base = alt.Chart().encode(x=x, y=y, color=kind)
    points = base.mark_point(filled=True, opacity=0.6).encode(
        shape=shape, tooltip=_tooltip("group:N", "block:Q", "ratio_words:N", "kind:N")
    )
    middles = base.mark_line(strokeWidth=2).encode(y=alt.Y("median(ratio):Q"))
    even = alt.Chart().mark_rule(color=GREY, strokeDash=[4, 4]).encode(y=alt.datum(1))
    return _in_groups(alt.layer(even, points, middles, data=alt.NamedData("drift"), height=240), "run")


def spent() -> Any:
    """The wall time of each block, by what it went to."""
    phases = [*get_args(Phase), "other"]
    base = alt.Chart(data=alt.NamedData("spent"), height=240).mark_bar()
    chart = base.encode(
        x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("sum(seconds):Q", title=None, axis=alt.Axis(labelExpr="format(datum.value, '~r') + ' s'", tickCount=5)),
        color=alt.Color("phase:N", title=None, scale=alt.Scale(domain=phases, scheme="tableau10"), sort=phases),
        order=alt.Order("phase_order:Q"),
        tooltip=_tooltip("block:O", "phase:N", "spent_words:N"),
    ).transform_calculate(phase_order=f"indexof({json.dumps(phases)}, datum.phase)")
    return _in_groups(chart, "run")


def history() -> Any:
    """The time of a cell over results, or over versions; what a verdict calls a change has its shape and colour."""
    base = alt.Chart().encode(
        x=alt.X(
            "at:N",
            title=None,
            sort=alt.EncodingSortField(field="order", op="min"),
            axis=alt.Axis(labelAngle=-30, labelLimit=120),
        )
    )
    y = alt.Y(
        "median_s:Q",
        title=None,
        scale=alt.Scale(type="log", nice=False, padding=8),
        axis=alt.Axis(labelExpr=SECONDS, tickCount=4),
    )
    line = base.mark_line(color=GREY, strokeWidth=1.5).encode(y=y, detail="series:N")
    intervals = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("low_s:Q"), y2="high_s:Q", color=_verdict_colour("step")["color"]
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y,
        tooltip=_tooltip(
            "implementation:N", "cell_group:N", "at:N", "time:N", "interval:N", "change_words:N", "step:N", "packages:N"
        ),
        **_verdict_colour("step"),
    )
    return _in_groups(alt.layer(line, intervals, points, data=alt.NamedData("moments"), height=130), "series")


def machines() -> Any:
    """The ratio of each row to the baseline, machine beside machine."""
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(labelExpr="format(datum.value, '~r') + '×'", tickCount=5, labelOverlap=True)
    colour = alt.Color("machine:N", title="machine", scale=alt.Scale(scheme="dark2"))
    base = alt.Chart().encode(y=_row("ratio"), yOffset=alt.YOffset("machine:N"), color=colour)
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("ratio_low:Q", title=None, scale=scale, axis=axis), x2="ratio_high:Q"
    )
    middles = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("ratio:Q", title=None, scale=scale, axis=axis),
        tooltip=_tooltip("machine:N", "implementation:N", "cell_group:N", "ratio_words:N", "verdict:N"),
    )
    chart = alt.layer(intervals, middles, data=alt.NamedData("machines"), height=alt.Step(STEP))
    return _in_groups(chart, "series")
