"""The page as one file, its charts as pictures, the raw samples: made, and written to where they are wanted.

The page has data, charts, style, script and Vega inside it; nothing is fetched, nothing in it is evaluated. What a
record says can be anything, and is text: it stands in the page as JSON without ``<``, and the script sets it as text. A
policy in the page allows no script but the two that are part of it, by their hashes, and no connection.
"""

from __future__ import annotations

import csv
import gzip
import html
import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from io import StringIO
from string import Template
from typing import TYPE_CHECKING

import msgspec
import vl_convert

from bench.analysis.analysis import Analysis
from bench.page import REPORT_FILE
from bench.page.charts import CHARTS, INK, Chart
from bench.page.data import MapsOf, PageData, in_order, page_data, to_json
from bench.records.atomic import write_atomic
from bench.records.schema import BOUND, Cell
from bench.records.store import RECORDS_FILE, RUN_FILE
from bench.report.words import hints
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bench.page.series import Datum
    from bench.records.schema import Result

VEGA_LITE = "6.4"
"""The version that Altair's charts are written for, of those that come with vl-convert."""

WIDTH_PX = 330
"""Of each small multiple of a picture."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is what is measured here; the others have the same widths where it is not."""

MOST_FACETS = 8
"""A chart has at most so many small multiples: those of thousands of cells are read one workload at a time."""

SCALE = 2
"""Pixels of a PNG for each of the SVG: it is still sharp where a screen or a printer has more of them."""


def write_report(analyses: Sequence[Analysis], folder: Path, maps: MapsOf) -> Path:
    """The page of these results, written into the folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(folder / REPORT_FILE, page(page_data(analyses, maps), analyses).encode())
    return folder / REPORT_FILE


def write_all(analyses: Sequence[Analysis], folder: Path, tell: Callable[[str], None], maps: MapsOf) -> Path:
    """The page, its charts as pictures, and the raw samples, written into the folder; where the page is.

    ``tell`` hears what goes on.

    Raises:
        InvalidInput: something cannot be written. What was written before is whole.
    """
    tell("gathers the cells")
    data = page_data(analyses, maps)
    made = {REPORT_FILE: page(data, analyses).encode()}
    for name, content in pictures(data):
        tell(f"draws {name}")
        made[f"pictures/{name}"] = content
    tell("writes all")
    made["samples.csv"] = samples([one.result for one in analyses]).encode()
    try:  # all is made by now: who interrupts it before has nothing half
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            write_atomic(folder / name, content)
        for name in {f"pictures/{chart.name}.{kind}" for chart in CHARTS for kind in ("svg", "png")} - made.keys():
            (folder / name).unlink(missing_ok=True)  # of a page that was there before
    except OSError as error:
        raise InvalidInput(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    return folder / REPORT_FILE


def page(data: PageData, analyses: Sequence[Analysis]) -> str:
    """The page of these results, of which ``data`` is known."""
    vega, script = vega_code(), _file("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(vega)} {_hash(script)}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    return Template(_file("page.html")).substitute(
        policy=policy,
        title=html.escape(title_of(data)),
        words="".join(f"<p>{html.escape(words)}</p>" for words in words_of(data)),
        style=_file("page.css"),
        figures="\n".join(map(_figure, CHARTS)),
        data=_json(to_json(data).decode()),
        charts=_json(json.dumps([chart.for_page() for chart in CHARTS])),
        records="\n".join(
            f'<script type="application/octet-stream" id="{name}-{number}">{_packed(one.result, name)}</script>'
            for number, one in enumerate(in_order(analyses))
            for name in (RECORDS_FILE, RUN_FILE)
        ),
        vega=vega,
        script=script,
    )


def title_of(data: PageData) -> str:
    """What the page is about, in a line."""
    machines = dict.fromkeys(one.facts["processor"] for one in data.results)
    where = ", ".join(machines) if len(machines) < 4 else f"{len(machines)} machines"
    return f"One seq2seq LSTM, several frameworks: {where}"


def words_of(data: PageData) -> list[str]:
    """What is to be said first: who won on each machine, what is to be doubted, how it came about, what was noticed."""
    first = {one.machine: one.sentence for one in reversed(data.results)}
    said = [first[machine] for machine in dict.fromkeys(one.machine for one in data.results)]
    noticed = [f"{hint}." for hint in hints(row.flags for group in data.groups for row in group.rows)]
    if len(data.results) == 1:
        (only,) = data.results
        control = f"; {only.control}" if only.control else ""
        doubts = [only.doubt] if only.doubt else []
        about = f"{only.started_at[:10]}, {only.end}{control}."
    else:
        days = sorted(one.started_at[:10] for one in data.results)
        doubts = [f"{one.letter}, {one.name}: {one.doubt}" for one in data.results if one.doubt]
        about = (
            f"{len(data.results)} results, {days[0]} to {days[-1]}; the one that compares most comes first, then the"
            " newest, and at the end those that hold sizes or versions against each other."
        )
    return [*said, *doubts, about, *noticed]


@cache
def vega_code() -> str:
    """Vega, Vega-Lite and what embeds them, as one script that may stand in a page."""
    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return code.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return files("bench.page").joinpath(name).read_text(encoding="utf-8")


def _json(text: str) -> str:
    """JSON that cannot end the element that it stands in."""
    return text.replace("<", "\\u003c")


def _figure(chart: Chart) -> str:
    return (
        f'<figure id="{chart.name}" hidden><figcaption><h2>{html.escape(chart.title)}</h2>'
        f'<p>{html.escape(chart.caption)}</p><p class="note"></p></figcaption><div class="chart"></div></figure>'
    )


def _packed(result: Result, name: str) -> str:
    """A file of the result, as it is, in gzip and base64."""
    return b64encode(gzip.compress((result.path / name).read_bytes(), mtime=0)).decode()


def pictures(data: PageData) -> Iterator[tuple[str, bytes]]:
    """File name and content of each chart that has something to draw: black on white, as SVG and as PNG."""
    for name, svg in svgs(data):
        yield name, svg.encode()
        yield name.replace(".svg", ".png"), vl_convert.svg_to_png(svg, scale=SCALE)


def svgs(data: PageData) -> Iterator[tuple[str, str]]:
    """File name and content of each chart that has something to draw, as SVG, by Vega without a browser."""
    sets = {**data.datasets, "lines": lines(data)}
    for chart in CHARTS:
        some, many = of_chart(chart, sets[chart.data])
        if some:
            spec = json.loads(json.dumps(chart.spec()).replace(INK, "black"))
            spec["config"] |= {"background": "white", "font": FONT}
            spec["padding"] = 16
            spec["datasets"] = {chart.data: some}
            spec["spec"]["width"] = WIDTH_PX
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


def of_chart(chart: Chart, some: Sequence[Datum]) -> tuple[list[Datum], int]:
    """What the chart draws of a data set, in at most `MOST_FACETS` small multiples, and how many all of it would take.

    A datum is drawn if it has all that the chart needs.
    """
    drawable = [one for one in some if all(one[name] is not None for name in chart.needs)]
    facets = list(dict.fromkeys(one[chart.facet] for one in drawable))
    places = {facet: place for place, facet in enumerate(facets[:MOST_FACETS])}
    drawn = [one | {"facet_order": places[one[chart.facet]]} for one in drawable if one[chart.facet] in places]
    return drawn, len(facets)


def samples(results: Sequence[Result]) -> str:
    """The raw samples as CSV (RFC 4180), a line a turn, the header first: for statistics of a reader's own."""
    text = StringIO()
    table = csv.writer(text)
    if any(result.records for result in results):
        of_a_turn = ("block", "table", "attempt", "turn", "seconds_a_call", "calls", "disturbed")
        table.writerow(["result", "machine", "started_at", *Cell.__struct_fields__, *of_a_turn])
    for result in results:
        of_result = (result.path.resolve().name, result.run.environment.machine, result.run.started_at)
        for record in result.records:
            cell = msgspec.structs.astuple(record.cell)
            preempted = frozenset(record.preempted)
            for turn, seconds in enumerate(record.samples_s):
                where = (record.block, record.pool, record.attempt, turn)
                table.writerow([*of_result, *cell, *where, seconds, record.calls, turn in preempted])
    return text.getvalue()
