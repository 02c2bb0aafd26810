"""The charts of the page: what each draws, as Vega-Lite by Altair, without data; colours, shapes, scales. Pure.

Each reads one data set, by name, and has a small multiple for each value of one field: a group of cells, a curve, a
map. Verdicts have a shape as well as a colour, tiers too. The docstring of a drawing is the caption of its chart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import altair as alt

from bench.analysis.stats import PRACTICAL
from bench.records.schema import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

TEXT: dict[str, Any] = {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12}
LINES: dict[str, Any] = {"tickColor": GREY, "domainColor": GREY, "gridColor": GREY, "gridOpacity": 0.25}

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": alt.ViewConfig(stroke=None),
    "axis": alt.AxisConfig(**TEXT, **LINES, titleFontWeight="normal", labelLimit=190),
    "header": alt.HeaderConfig(
        labelColor=INK, titleColor=INK, labelFontSize=13, labelFontWeight="bold", labelLimit=420
    ),
    "legend": alt.LegendConfig(**TEXT, orient="top", labelLimit=220, columns=4),
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


def log_x(field: str, labels: str, ticks: int = 5) -> alt.X:
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


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what stands with it."""

    name: str
    title: str
    caption: str
    """What it shows, for those who cannot see it, too."""
    data: str
    """The data set that it reads."""
    facet: str
    """The field that each small multiple has one value of."""
    draw: Callable[[], Any]
    needs: tuple[str, ...]
    """Fields without which there is nothing to draw of a datum."""

    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite without data, at the page's settings; what stands over it may have two lines."""
        header = alt.Header(title=None, labelAnchor="start", labelExpr="split(datum.value, '\\n')")
        order = alt.EncodingSortField(field="facet_order", op="min")
        facet = alt.Facet(f"{self.facet}:N", header=header, sort=order)
        chart = self.draw().properties(data=alt.NamedData(self.data))
        chart = chart.facet(facet=facet, columns=2, spacing={"row": 24, "column": 24})
        chart = chart.resolve_scale(x="independent", y="independent").configure(**CONFIG)
        spec: dict[str, Any] = chart.to_dict()
        return spec | {"description": f"{self.title}. {self.caption}"}

    def for_page(self) -> dict[str, Any]:
        """What the page's script has to know."""
        fields = {name: getattr(self, name) for name in ("name", "title", "data", "facet", "needs")}
        return fields | {"spec": self.spec()}


def _chart(
    title: str, data: str = "lines", facet: str = "group", needs: tuple[str, ...] = ()
) -> Callable[[Callable[[], Any]], Chart]:
    """Makes a chart of a drawing, named and captioned by it."""

    def made(draw: Callable[[], Any]) -> Chart:
        return Chart(draw.__name__, title, " ".join((draw.__doc__ or "").split()), data, facet, draw, needs)

    return made


@_chart("Ratio to the baseline", needs=("ratio",))
def ratio() -> Any:
    """Left of 1× is faster than the baseline, paired turn by turn, with the 95 % interval. In the grey band, within 2 %
    of 1, a difference is of no interest. Shape and colour are the verdict, which asks for more than the interval.
    """
    base, judged = alt.Chart().encode(y=rows("ratio")), verdict()
    zone = base.transform_calculate(low=str(1 / (1 + PRACTICAL)), high=str(1 + PRACTICAL))
    zone = zone.mark_bar(color=GREY, opacity=0.25, height=STEP).encode(x=log_x("low", TIMES), x2="high:Q")
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=log_x("ratio_low", TIMES), x2="ratio_high:Q", color=judged["color"]
    )
    middles = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=log_x("ratio", TIMES), tooltip=OF_A_ROW, **judged
    )
    return alt.layer(zone, intervals, middles, height=alt.Step(STEP))


OF_A_ROW = tooltip("implementation", "group", "tier", "time", "interval", "ratio_words", "verdict")


@_chart("Time of a call")
def time() -> Any:
    """Median of the process medians with its 95 % interval, on a logarithmic scale; fastest first."""
    base = alt.Chart().encode(y=rows(), color=FRAMEWORK)
    intervals = base.mark_rule(strokeWidth=2).encode(x=log_x("ci_low_s", SECONDS, 4), x2="ci_high_s:Q")
    medians = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=log_x("median_s", SECONDS, 4), tooltip=OF_A_ROW, shape=TIER_SHAPE
    )
    return alt.layer(intervals, medians, height=alt.Step(STEP))


def _bars(field: str, title: str, *words: str) -> Any:
    x = alt.X(f"{field}:Q", title=title, axis=alt.Axis(format="~s", tickCount=4, labelOverlap=True))
    said = tooltip("implementation", "group", *words)
    return alt.Chart().mark_bar(height=STEP - 7).encode(y=rows(), x=x, color=FRAMEWORK, tooltip=said)


@_chart("Achieved rate against the machine's limit", needs=("flops_per_s",))
def rate() -> Any:
    """Bars: what the row does of the model's matrix products a second. Tick: those products alone, in the framework
    that makes them. Dashed: the best square product of any framework on this machine.
    """
    bars = _bars("flops_per_s", "FLOP/s", "rate", "bound_words", "machine_words")
    bound = alt.Chart().mark_tick(thickness=3, size=STEP - 3, color=INK)
    bound = bound.encode(y=rows(), x=alt.X("bound_flops_per_s:Q"))
    machine = alt.Chart().mark_rule(strokeDash=[5, 3], color=INK)
    machine = machine.encode(x=alt.X("machine_flops_per_s:Q", aggregate="max"))
    return alt.layer(bars, bound, machine, height=alt.Step(STEP))


@_chart("When compiling pays", needs=("fixed_s",))
def break_even() -> Any:
    """Time from nothing until so many calls are done: import, build, compile, and the calls. Where two lines cross, the
    row with the larger fixed cost begins to pay, if the medians are right: lines have no interval.
    """
    return (
        alt.Chart(height=240)
        .transform_filter("isValid(datum.fixed_s)")
        .transform_calculate(power="sequence(0, 6.01, 0.5)")
        .transform_flatten(["power"])
        .transform_calculate(calls="pow(10, datum.power)", total_s="datum.fixed_s + datum.calls * datum.median_s")
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("calls:Q", title="calls", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=4)),
            y=log_y("total_s", SECONDS),
            color=colour("implementation"),
            strokeDash=TIER_DASH,
            tooltip=tooltip("implementation", "group", "fixed", "time", "pays_after_words"),
        )
    )


@_chart("Peak memory of a call", needs=("peak_bytes",))
def memory() -> Any:
    """In a process that does nothing else, less what it held when the model was loaded."""
    return _bars("peak_bytes", "bytes", "memory").properties(height=alt.Step(STEP))


@_chart("Scaling", "points", "curve")
def scaling() -> Any:
    """Time over one size, or over the number of threads, all else alike; both scales are logarithmic."""
    scale = alt.Scale(type="log", base=2, nice=False)
    axis = alt.Axis(tickCount=6, labelExpr="datum.value % 1 ? '' : datum.value")
    x = alt.X("value:Q", title=None, scale=scale, axis=axis)
    base = alt.Chart().encode(x=x, color=colour("implementation"))
    intervals = base.mark_rule().encode(y=alt.Y("low_s:Q"), y2="high_s:Q")
    line = base.mark_line(point=True).encode(
        y=log_y("median_s", SECONDS), tooltip=tooltip("implementation", "curve", "value:Q", "time", "interval")
    )
    return alt.layer(intervals, line, height=240)


@_chart("Who is expected to win, by batch and hidden size", "maps", "label")
def winners() -> Any:
    """A forecast from the costs fitted to the scaling run, not a measurement. Pale with a number: so many rows are
    tied, for all that is known.
    """
    base = alt.Chart().encode(
        x=alt.X("batch_size:O", title="batch_size", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("hidden_dim:O", title="hidden_dim", sort="descending"),
    )
    cells = base.mark_rect(stroke=GREY, strokeWidth=0.5).encode(
        color=colour("winner", "expected to be the fastest"),
        opacity=alt.condition("datum.many > 1", alt.value(0.4), alt.value(1.0)),
        tooltip=tooltip("batch_size:O", "hidden_dim:O", "winner", "ties", "time"),
    )
    ties = base.transform_filter("datum.many > 1").mark_text(fontSize=11).encode(text="many:Q")
    return alt.layer(cells, ties, height=alt.Step(26))


@_chart("History", "moments", "series")
def history() -> Any:
    """The same cell in one result after the other, or under one version after the other. Triangles: a verdict says that
    it became faster or slower; whatever else the line does is not distinguishable from the noise between runs.
    """
    sort, axis = alt.EncodingSortField(field="order", op="min"), alt.Axis(labelAngle=-30, labelLimit=120)
    base, step = alt.Chart().encode(x=alt.X("at:N", title=None, sort=sort, axis=axis)), verdict("step")
    y = log_y("median_s", SECONDS, 4, padding=8)
    line = base.mark_line(color=GREY, strokeWidth=1.5).encode(y=y, detail="series:N")
    intervals = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low_s:Q"), y2="high_s:Q", color=step["color"])
    words = tooltip("implementation", "cell_group", "at", "time", "interval", "change_words", "step", "packages")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(y=y, tooltip=words, **step)
    return alt.layer(line, intervals, points, height=130)


@_chart("Machines side by side", "machines", "series")
def machines() -> Any:
    """The ratio of each row to the named baseline, which took turns with it, in the newest result of each machine that
    has both.
    """
    base = alt.Chart().encode(
        y=rows("ratio"), yOffset=alt.YOffset("machine:N"), color=colour("machine", "machine", "dark2")
    )
    intervals = base.mark_rule(strokeWidth=2).encode(x=log_x("ratio_low", TIMES), x2="ratio_high:Q")
    middles = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=log_x("ratio", TIMES),
        tooltip=tooltip("machine", "implementation", "cell_group", "ratio_words", "verdict"),
    )
    return alt.layer(intervals, middles, height=alt.Step(STEP))


@_chart("Drift over the run", "drift", "run")
def drift() -> Any:
    """Blue: the baseline against itself, which should be 1× in every block. Orange: a fixed product over its median,
    which shows how the machine's speed moved meanwhile. Lines: medians.
    """
    kinds = ["A/A control over baseline", "fixed product over its median"]
    base = alt.Chart().encode(
        x=alt.X("block:Q", title="block", axis=alt.Axis(tickMinStep=1, grid=False)),
        y=log_y("ratio", TIMES, padding=8),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["#3182bd", "#d95f02"])),
    )
    points = base.mark_point(filled=True, opacity=0.6).encode(
        shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["circle", "square"])),
        tooltip=tooltip("group", "block:Q", "ratio_words", "kind"),
    )
    middles = base.mark_line(strokeWidth=2).encode(y=alt.Y("median(ratio):Q"))
    even = alt.Chart().mark_rule(color=GREY, strokeDash=[4, 4]).encode(y=alt.datum(1))
    return alt.layer(even, points, middles, height=240)


@_chart("Where the time of each block went", "spent", "run")
def spent() -> Any:
    """Start: processes and imports. Load: models and weights. Compile: first calls of rows that compile. Check:
    comparing with the oracle. Turns: what is timed, and what is around each. What runs side by side counts as long as
    it took.
    """
    phases = [*get_args(Phase), "other"]
    seconds = alt.Axis(labelExpr="format(datum.value, '~r') + ' s'", tickCount=5)
    base = alt.Chart(height=240).mark_bar()
    return base.encode(
        x=alt.X("block:O", title="block", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("sum(seconds):Q", title=None, axis=seconds),
        color=alt.Color("phase:N", title=None, scale=alt.Scale(domain=phases, scheme="tableau10"), sort=phases),
        order=alt.Order("phase_order:Q"),
        tooltip=tooltip("block:O", "phase", "spent_words"),
    ).transform_calculate(phase_order=f"indexof({json.dumps(phases)}, datum.phase)")


CHARTS = (ratio, time, rate, break_even, memory, scaling, winners, history, machines, drift, spent)
"""In the order of the page."""
