"""The charts of the page, in its order: a drawing each, with its title and what it shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt

from bench.page import drawings
from bench.page.drawings import GREY, INK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what stands with it."""

    name: str
    title: str
    caption: str
    """What it shows, for whoever cannot see it, too."""
    data: str
    """The data set that it reads."""
    facet: str
    """The field that each small multiple has one value of."""
    draw: Callable[[], Any]
    needs: tuple[str, ...] = ()
    """Fields without which there is nothing to draw of a datum."""

    def spec(self) -> dict[str, Any]:
        """The chart as Vega-Lite without data, at the page's settings."""
        spec: dict[str, Any] = self.draw().configure(**CONFIG).to_dict()
        return spec | {"description": f"{self.title}. {self.caption}"}

    def for_page(self) -> dict[str, Any]:
        """What the page's script has to know."""
        return {
            "name": self.name,
            "title": self.title,
            "data": self.data,
            "facet": self.facet,
            "needs": self.needs,
            "spec": self.spec(),
        }


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


CHARTS = (
    Chart(
        "ratio",
        "Ratio to the baseline",
        "Left of 1× is faster than the baseline, paired turn by turn, with the 95 % interval. In the grey band, within"
        " 2 % of 1, a difference is of no interest. Shape and colour are the verdict, which asks for more than the"
        " interval.",
        "lines",
        "group",
        drawings.ratios,
        ("ratio",),
    ),
    Chart(
        "time",
        "Time of a call",
        "Median of the process medians with its 95 % interval, on a logarithmic scale; fastest first.",
        "lines",
        "group",
        drawings.times,
    ),
    Chart(
        "rate",
        "Achieved rate against the machine's limit",
        "Bars: what the row does of the model's matrix products a second. Tick: those products alone, in the framework"
        " that makes them. Dashed: the best square product of any framework on this machine.",
        "lines",
        "group",
        drawings.rates,
        ("flops_per_s",),
    ),
    Chart(
        "break_even",
        "When compiling pays",
        "Time from nothing until so many calls are done: import, build, compile, and the calls. Where two lines cross,"
        " the row with the larger fixed cost begins to pay, if the medians are right: lines have no interval.",
        "lines",
        "group",
        drawings.break_even,
        ("fixed_s",),
    ),
    Chart(
        "memory",
        "Peak memory of a call",
        "In a process that does nothing else, less what it held when the model was loaded.",
        "lines",
        "group",
        drawings.memory,
        ("peak_bytes",),
    ),
    Chart(
        "scaling",
        "Scaling",
        "Time over one size, or over the number of threads, all else alike; both scales are logarithmic.",
        "points",
        "curve",
        drawings.scaling,
    ),
    Chart(
        "winners",
        "Who is expected to win, by batch and hidden size",
        "A forecast from the costs fitted to the scaling run, not a measurement. Pale with a number: so many rows are"
        " tied, for all that is known.",
        "maps",
        "label",
        drawings.winners,
    ),
    Chart(
        "history",
        "History",
        "The same cell in one result after the other, or under one version after the other. Triangles: a verdict says"
        " that it became faster or slower; whatever else the line does is not told from the noise between runs.",
        "moments",
        "series",
        drawings.history,
    ),
    Chart(
        "machines",
        "Machines side by side",
        "The ratio of each row to the named baseline, which took turns with it, in the newest result of each machine"
        " that has both.",
        "machines",
        "series",
        drawings.machines,
    ),
    Chart(
        "drift",
        "Drift over the run",
        "Blue: the baseline against itself, which should be 1× in every block. Orange: a fixed product over its median,"
        " which shows how the machine's speed moved meanwhile. Lines: medians.",
        "drift",
        "run",
        drawings.drift,
    ),
    Chart(
        "spent",
        "Where the time of each block went",
        "Start: processes and imports. Load: models and weights. Compile: first calls of rows that compile. Check:"
        " comparing with the oracle. Turns: what is timed, and what is around each. What runs side by side counts as"
        " long as it took.",
        "spent",
        "run",
        drawings.spent,
    ),
)
"""In the order of the page."""
