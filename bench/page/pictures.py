"""The charts as files for papers and READMEs: SVG and PNG, drawn by Vega without a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import vl_convert

from bench.page.build import VEGA_LITE
from bench.page.charts import CHARTS
from bench.page.datasets import MOST_FACETS, facets_of, fixed, lines, of_chart
from bench.page.drawings import INK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.page.data import PageData

WIDTH_PX = 330
"""Of each small multiple."""

KINDS = ("svg", "png")

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is what is measured here; the others have the same widths where it is not."""

SCALE = 2
"""Pixels of a PNG for each of the SVG: it is still sharp where a screen or a printer has more of them."""


def pictures(data: PageData) -> Iterator[tuple[str, bytes]]:
    """File name and content of each chart that has something to draw: black on white, twice."""
    for name, svg in svgs(data):
        yield name, svg.encode()
        yield name.replace(".svg", ".png"), vl_convert.svg_to_png(svg, scale=SCALE)


def svgs(data: PageData) -> Iterator[tuple[str, str]]:
    """File name and content of each chart that has something to draw, as SVG."""
    datasets = {**fixed(data), "lines": lines(data)}
    for chart in CHARTS:
        if some := of_chart(chart, datasets[chart.data]):
            spec = json.loads(json.dumps(chart.spec()).replace(INK, "black"))
            spec["config"] |= {"background": "white", "font": FONT}
            spec["padding"] = 16
            spec["datasets"] = {chart.data: some}
            spec["spec"]["width"] = WIDTH_PX
            many = len(facets_of(chart, datasets[chart.data]))
            left_out = f"the first {MOST_FACETS} of {many}" if many > MOST_FACETS else ""
            spec["title"] = {"text": chart.title, "subtitle": left_out, "anchor": "start", "offset": 12}
            yield f"{chart.name}.svg", vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
