"""The charts as files for papers and READMEs: SVG and PNG, drawn by Vega without a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import vl_convert

from bench.page.build import VEGA_LITE
from bench.page.charts import CHARTS, Chart
from bench.page.data import datasets
from bench.page.style import INK
from bench.records.schema import BOUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.page.data import PageData

    Datum = dict[str, Any]

WIDTH_PX = 330
"""Of each small multiple."""

KINDS = ("svg", "png")

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is what is measured here; the others have the same widths where it is not."""

MOST_FACETS = 8
"""A chart has at most so many small multiples: those of thousands of cells are read one workload at a time."""

SCALE = 2
"""Pixels of a PNG for each of the SVG: it is still sharp where a screen or a printer has more of them."""


def pictures(data: PageData) -> Iterator[tuple[str, bytes]]:
    """File name and content of each chart that has something to draw: black on white, twice."""
    for name, svg in svgs(data):
        yield name, svg.encode()
        yield name.replace(".svg", ".png"), vl_convert.svg_to_png(svg, scale=SCALE)


def svgs(data: PageData) -> Iterator[tuple[str, str]]:
    """File name and content of each chart that has something to draw, as SVG."""
    sets = {**datasets(data), "lines": lines(data)}
    for chart in CHARTS:
        if some := of_chart(chart, sets[chart.data]):
            spec = json.loads(json.dumps(chart.spec()).replace(INK, "black"))
            spec["config"] |= {"background": "white", "font": FONT}
            spec["padding"] = 16
            spec["datasets"] = {chart.data: some}
            spec["spec"]["width"] = WIDTH_PX
            many = len(facets_of(chart, sets[chart.data]))
            left_out = f"the first {MOST_FACETS} of {many}" if many > MOST_FACETS else ""
            spec["title"] = {"text": chart.title, "subtitle": left_out, "anchor": "start", "offset": 12}
            yield f"{chart.name}.svg", vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)


def lines(data: PageData) -> list[Datum]:
    """Every row that has a time, against the baseline of its run: the page's script has those of any baseline."""
    found = []
    for group in data.groups:
        for row, fixed_s in zip(group.rows, group.fixed_s, strict=True):
            if row.median_s is not None and row.tier != BOUND:
                verdict = "baseline" if row.implementation == row.baseline else row.verdict or "no verdict"
                bound = row.flops_per_s / row.bound_share if row.flops_per_s and row.bound_share else None
                more = {"result": group.result, "group": group.label, "fixed_s": fixed_s, "verdict": verdict}
                found.append(msgspec.to_builtins(row) | more | {"bound_flops_per_s": bound})
    return found


def drawable(chart: Chart, some: Sequence[Datum]) -> list[Datum]:
    """Those of a data set that have all that the chart needs."""
    return [one for one in some if all(one[name] is not None for name in chart.needs)]


def facets_of(chart: Chart, some: Sequence[Datum]) -> list[str]:
    """What the small multiples of the chart would be, were there no more than it may have."""
    return list(dict.fromkeys(one[chart.facet] for one in drawable(chart, some)))


def of_chart(chart: Chart, some: Sequence[Datum]) -> list[Datum]:
    """What the chart draws of a data set: no more than `MOST_FACETS` small multiples."""
    places = {facet: place for place, facet in enumerate(facets_of(chart, some)[:MOST_FACETS])}
    return [
        one | {"facet_order": places[one[chart.facet]]} for one in drawable(chart, some) if one[chart.facet] in places
    ]
