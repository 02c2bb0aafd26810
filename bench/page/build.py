"""The page as one file: data, charts, style, script and Vega inside it; nothing is fetched, nothing in it is evaluated.

What a record says can be anything, and is text: it stands in the page as JSON without ``<``, and the script sets it as
text. A policy in the page allows no script but the two that are part of it, by their hashes, and no connection.
"""

from __future__ import annotations

import gzip
import html
import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

import vl_convert

from bench.analysis.analysis import Analysis
from bench.page.charts import CHARTS
from bench.page.data import PageData, in_order, to_json
from bench.records.store import RECORDS_FILE, RUN_FILE
from bench.report.words import hints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.records.schema import Result

VEGA_LITE = "6.4"
"""The version that Altair's charts are written for, of those that come with vl-convert."""


def page(data: PageData, analyses: Sequence[Analysis]) -> str:
    """The page of these results, of which ``data`` is known."""
    ordered = [one.result for one in in_order(analyses)]
    vega, script = vega_code(), script_code()
    policy = (
        f"default-src 'none'; script-src {_hash(vega)} {_hash(script)}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    return Template(_file("page.html")).substitute(
        policy=policy,
        title=html.escape(title_of(data)),
        words="".join(f"<p>{html.escape(words)}</p>" for words in words_of(data)),
        style=_file("page.css"),
        figures="\n".join(_figure(chart.name, chart.title, chart.caption) for chart in CHARTS),
        data=_json(to_json(data).decode()),
        charts=_json(json.dumps([chart.for_page() for chart in CHARTS])),
        records="\n".join(
            f'<script type="application/octet-stream" id="{name}-{number}">{_packed(result, name)}</script>'
            for number, result in enumerate(ordered)
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
        doubt = [only.doubt] if only.doubt else []
        return [*said, *doubt, f"{only.started_at[:10]}, {only.end}{control}.", *noticed]
    days = sorted(one.started_at[:10] for one in data.results)
    doubts = [f"{one.letter}, {one.name}: {one.doubt}" for one in data.results if one.doubt]
    return [
        *said,
        *doubts,
        f"{len(data.results)} results, {days[0]} to {days[-1]}; the one that compares most comes first, then the"
        " newest, and at the end those that hold sizes or versions against each other.",
        *noticed,
    ]


@cache
def vega_code() -> str:
    """Vega, Vega-Lite and what embeds them, as one script that may stand in a page."""
    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return code.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def script_code() -> str:
    """The page's own script."""
    return _file("page.js")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return files("bench.page").joinpath(name).read_text(encoding="utf-8")


def _json(text: str) -> str:
    """JSON that cannot end the element that it stands in."""
    return text.replace("<", "\\u003c")


def _figure(name: str, title: str, caption: str) -> str:
    return (
        f'<figure id="{name}" hidden><figcaption><h2>{html.escape(title)}</h2><p>{html.escape(caption)}</p>'
        '<p class="note"></p></figcaption><div class="chart"></div></figure>'
    )


def _packed(result: Result, name: str) -> str:
    """A file of the result, as it is, in gzip and base64."""
    return b64encode(gzip.compress((result.path / name).read_bytes(), mtime=0)).decode()
