"""What all charts share: colours, shapes, scales, axes, and the page's settings of Vega-Lite. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""Verdict to colour and shape; the colours are ColorBrewer's Dark2, distinguishable by the colour-blind, too."""

TIERS: Mapping[str, tuple[str, list[int]]] = {
    "idiomatic": ("circle", [1, 0]),
    "loop": ("cross", [6, 3]),
    "kernel": ("square", [2, 2]),
    "tuned": ("diamond", [12, 3]),
    "wrapper": ("triangle-up", [8, 3, 2, 3]),
    "engine": ("triangle-down", [2, 4]),
}
"""Tier to shape, and to how its lines are dashed."""

FRAMEWORKS = {
    "torch": "#d95f02",
    "jax": "#1f78b4",
    "thinc": "#1b9e77",
    "keras": "#a6761d",
    "onnxruntime": "#7570b3",
}
"""Framework to colour: the same on every page. Others get what is next."""

SECONDS = (
    "datum.value >= 0.9995 ? format(datum.value, ',.3~f') + ' s' : datum.value >= 0.9995e-3 ?"
    " format(1e3 * datum.value, '.3~r') + ' ms' : format(1e6 * datum.value, '.3~r') + ' µs'"
)
"""A label of an axis of seconds, in the unit that fits."""

TIMES = "format(datum.value, '~r') + '×'"
"""A label of an axis of ratios."""

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": alt.ViewConfig(stroke=None),
    "axis": alt.AxisConfig(
        labelColor=INK,
        titleColor=INK,
        tickColor=GREY,
        domainColor=GREY,
        gridColor=GREY,
        gridOpacity=0.25,
        labelFontSize=12,
        titleFontSize=12,
        titleFontWeight="normal",
        labelLimit=190,
    ),
    "header": alt.HeaderConfig(
        labelColor=INK, titleColor=INK, labelFontSize=13, labelFontWeight="bold", labelLimit=420
    ),
    "legend": alt.LegendConfig(
        labelColor=INK, titleColor=INK, labelFontSize=12, titleFontSize=12, orient="top", labelLimit=220, columns=4
    ),
    "text": alt.MarkConfig(color=INK),
}


def rows(by: str = "median_s") -> alt.Y:
    """The rows' names, sorted by a field."""
    return alt.Y(
        "implementation:N",
        title=None,
        sort=alt.EncodingSortField(field=by, op="min"),
        axis=alt.Axis(grid=False, ticks=False, domain=False, labelPadding=6),
    )


def log_x(field: str, labels: str, ticks: int) -> alt.X:
    """A field along, on a logarithmic scale."""
    scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(labelExpr=labels, tickCount=ticks, labelOverlap=True)
    return alt.X(f"{field}:Q", title=None, scale=scale, axis=axis)


def log_y(field: str, labels: str, ticks: int = 5, **scale: Any) -> alt.Y:
    """A field upwards, on a logarithmic scale."""
    axis = alt.Axis(labelExpr=labels, tickCount=ticks)
    return alt.Y(f"{field}:Q", title=None, scale=alt.Scale(type="log", nice=False, **scale), axis=axis)


def _scale(of: Mapping[str, Any]) -> alt.Scale:
    return alt.Scale(domain=list(of), range=list(of.values()))


FRAMEWORK = alt.Color("framework:N", title="framework", scale=_scale(FRAMEWORKS))
TIER_SHAPE = alt.Shape("tier:N", title="tier", scale=_scale({tier: shape for tier, (shape, _) in TIERS.items()}))
TIER_DASH = alt.StrokeDash("tier:N", title="tier", scale=_scale({tier: dash for tier, (_, dash) in TIERS.items()}))


def verdict(field: str = "verdict") -> dict[str, Any]:
    """The colour and the shape of a verdict."""
    colours, shapes = ({name: own[place] for name, own in VERDICTS.items()} for place in (0, 1))
    return {
        "color": alt.Color(f"{field}:N", title="verdict", scale=_scale(colours)),
        "shape": alt.Shape(f"{field}:N", title="verdict", scale=_scale(shapes)),
    }


def colour(field: str, title: str | None = None, scheme: str = "tableau20") -> alt.Color:
    """A colour for each value of a field."""
    return alt.Color(f"{field}:N", title=title, scale=alt.Scale(scheme=scheme))  # type: ignore[arg-type]


def tooltip(*fields: str) -> list[alt.Tooltip]:
    """What is said where the pointer rests; fields are words unless they end in their type."""
    return [alt.Tooltip(field if ":" in field else f"{field}:N", title=field.partition(":")[0]) for field in fields]


def in_facets(chart: Any, field: str) -> Any:
    """A small multiple of the chart for each value of a field, whose name may have two lines."""
    header = alt.Header(title=None, labelAnchor="start", labelExpr="split(datum.value, '\\n')")
    order = alt.EncodingSortField(field="facet_order", op="min")
    return chart.facet(
        facet=alt.Facet(f"{field}:N", header=header, sort=order), columns=2, spacing={"row": 24, "column": 24}
    ).resolve_scale(x="independent", y="independent")
