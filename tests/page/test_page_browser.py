"""The page in a real Chromium: charts are drawn, filters filter, nothing is fetched, and no record becomes a script."""

from __future__ import annotations

import csv
import io
import os
import random
import re
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.browser import chromium, opened
from support.page_results import GRID, big_page, noisy, run_of, several_runs
from support.recorded import END, RUN, memory, record, write

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import analyse, ratio_of
from bench.forecast.report import maps
from bench.here import ROOT
from bench.page.build import page
from bench.page.data import page_data
from bench.records.schema import CONTROL
from bench.records.store import read_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from bench.records.schema import Result

__all__ = ["chromium"]

DRAWN = ("ratio", "time", "drift")
ROWS = ("torch/module", "torch/cell", "jax/scan", "thinc/layers")
PICTURE = ROOT / "docs" / "page.png"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Four rows at two workloads and two tasks, one of which has no time."""
    folder = tmp_path_factory.mktemp("result")
    looked_at_after = [memory(name, tier="loop" if name == "torch/cell" else "idiomatic") for name in ROWS]
    return read_result(write(folder, *run_of(*ROWS), *looked_at_after, END))


@pytest.fixture(scope="module")
def path(result: Result) -> Path:
    """Its page."""
    return written([result], result.path / "report.html")


def written(results: list[Result], path: Path) -> Path:
    path.write_text(page(page_data([*map(Analysis, results)], maps), [*map(Analysis, results)]), encoding="utf-8")
    return path


def test_charts_are_drawn_and_every_cell_stands_in_the_table(chromium: Browser, path: Path, result: Result) -> None:
    with opened(chromium, path) as it:
        timed = {one.cell for one in result.records if one.ok and one.cell.implementation != CONTROL}
        assert len(it.column("row")) == len(timed) == 14
        assert it.page.get_by_role("status").inner_text() == "16 of 16 cells, in 4 of 4 groups"
        for name in ("ratio", "time", "break_even", "memory", "drift"):
            assert it.page.locator(f"#{name} svg").is_visible()
            assert it.page.locator(f"#{name} svg").bounding_box()["height"] > 150
        for name, field in (("ratio", "ratio"), ("time", "median_s"), ("memory", "bytes")):
            drawn = [mark for mark in it.marks(name) if f"{field}: " in mark]
            assert len(drawn) == (4 if name == "memory" else len(timed)), drawn
        for name in ("scaling", "winners", "history", "machines", "rate"):  # there is nothing to draw in them
            assert not it.page.locator(f"#{name}").is_visible()
            assert not it.page.locator(f"#contents a[href='#{name}']").is_visible()
        assert "thinc/layers" in it.page.locator("#untimed").inner_text()
        assert "an engine for inference" in it.page.locator("#untimed").inner_text()


@pytest.mark.parametrize(
    ("name", "value", "column", "cells"),
    [
        ("workload", "g2p", "workload", 7),
        ("task", "train_step", "task", 6),
        ("tier", "loop", "tier", 4),
        ("framework", "jax", "row", 4),
    ],
)
def test_filters_filter_table_and_charts(
    name: str, value: str, column: str, cells: int, chromium: Browser, path: Path
) -> None:
    with opened(chromium, path) as it:
        before = {chart: it.marks(chart) for chart in DRAWN}
        it.choose(name, value)
        assert len(it.column(column)) == cells
        assert all(text.startswith(value) for text in it.column(column))
        for chart in DRAWN:
            after = it.marks(chart)
            assert {*after} <= {*before[chart]}
            assert (len(after) < len(before[chart])) == (chart != "drift" or name in ("workload", "task")), chart
        it.page.get_by_role("button", name="Show all").click()
        it.drawn()
        assert len(it.column(column)) == 14
        assert {chart: it.marks(chart) for chart in DRAWN} == before


def test_the_readers_baseline_gives_the_ratios_that_the_statistics_give(
    chromium: Browser, path: Path, result: Result
) -> None:
    judged = analyse(result.records, "torch/module")
    with opened(chromium, path) as it:
        for baseline in ("jax/scan", "torch/cell"):
            it.choose("baseline", baseline)
            columns = [it.column(name) for name in ("row", "workload", "task", "ratio", "95 % of it", "verdict", "MDE")]
            assert baseline in it.page.get_by_role("status").inner_text()
            for name, workload, task, ratio, interval, verdict, mde in zip(*columns, strict=True):
                ours, theirs = (
                    next(one for cell, one in judged.items() if (cell.implementation, cell.workload, cell.task) == key)
                    for key in ((name, workload, task), (baseline, workload, task))
                )
                if name == baseline:
                    assert (ratio, verdict) == ("1.00×", "baseline")
                    continue
                expected = ratio_of(ours, theirs)
                assert expected is not None
                assert ratio == units.ratio(expected.estimate)
                assert interval == units.between(expected.low, expected.high)
                assert verdict == expected.verdict
                assert mde == units.percent(expected.mde)
            with it.page.expect_download() as waited:
                it.page.get_by_role("button", name="Save these rows as CSV").click()
            lines = csv.DictReader(io.StringIO(waited.value.path().read_text(encoding="utf-8")))
            assert {line["baseline"] for line in lines if line["status"] == "ok"} == {baseline}
        assert any("verdict: FASTER" in mark for mark in it.marks("ratio"))


def test_numbers_read_as_they_do_in_the_other_tables(chromium: Browser, tmp_path: Path) -> None:
    """The script has units of its own, and says the same with them."""
    said: dict[str, tuple[str, float, Callable[[float], str]]] = {
        "median": ("median_s", 1, units.seconds),
        "MDE": ("detectable", 1e-2, units.percent),
        "rate": ("flops_per_s", 1e9, units.rate),
        "tokens/s": ("tokens_per_s", 1e3, units.tokens),
        "of its products": ("bound_share", 1e-2, units.percent),
        "peak memory": ("peak_bytes", 1e6, lambda value: units.size(int(value))),
        "error": ("max_relative_error", 1e-3, units.error),
        "break-even (calls)": ("pays_after", 1, lambda value: units.calls(value).removesuffix(" calls")),
    }
    values = [
        {field: int(scale * one) if field == "peak_bytes" else scale * one for field, scale, _ in said.values()}
        for one in GRID
    ]
    path = tmp_path / "report.html"
    path.write_text(big_page(groups=1, rows=len(GRID), values=values), encoding="utf-8")
    with opened(chromium, path) as it:
        for name, (field, _, in_words) in said.items():
            expected = [in_words(float(f"{one[field]:.6g}")) for one in values]
            assert it.column(name)[1:] == expected[1:], name  # the first is the baseline


def test_cells_of_any_place_and_name_say_where_they_are(chromium: Browser, tmp_path: Path) -> None:
    places = {"cpu×2": {"threads": 2}, "gpu": {"device": "gpu"}, "gpu tf32": {"device": "gpu", "precision": "tf32"}}
    own = [one for fields in places.values() for one in noisy(workload="a shape · of mine", **fields)]
    run = msgspec.structs.replace(RUN, workloads={"a shape · of mine": RUN.workloads["seed"]})
    results = []
    for day in (30, 31):
        later = msgspec.structs.replace(run, started_at=f"2026-01-{day}T12:00:00+00:00")
        taken = [msgspec.structs.replace(one, started_at=str(day)) for one in own]
        results.append(read_result(write(tmp_path / str(day), *taken, END, run=later)))
    with opened(chromium, written(results, tmp_path / "report.html")) as it:
        assert sorted(it.column("where")) == sorted([*places] * 2)
        assert it.page.locator("#history svg").is_visible()
        it.choose("run", "B")
        assert it.page.locator("#history svg").is_visible(), "a run that is chosen has its history, too"


def test_a_click_sorts_and_what_is_not_known_comes_last(chromium: Browser, path: Path) -> None:
    with opened(chromium, path) as it:
        head = it.page.get_by_role("columnheader", name="median")
        for state, backwards in (("ascending", False), ("descending", True)):
            head.get_by_role("button").click()
            assert head.get_attribute("aria-sort") == state
            seconds = [_seconds(text) for text in it.column("median")]
            assert seconds == sorted(seconds, reverse=backwards)
        compile_head = it.page.get_by_role("columnheader", name="compile")
        for _ in range(2):
            compile_head.get_by_role("button").click()
            assert it.column("compile")[-1] == "–"
        assert it.column("compile")[0] != "–"


def _seconds(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit]


def test_what_is_saved_is_what_was_measured(chromium: Browser, path: Path, result: Result) -> None:
    with opened(chromium, path) as it:
        for name in ("records.jsonl", "run.json"):
            with it.page.expect_download() as waited:
                it.page.get_by_role("button", name=f"Save {name}").click()
            assert waited.value.suggested_filename == name
            assert waited.value.path().read_bytes() == (result.path / name).read_bytes()
        it.choose("workload", "g2p")
        with it.page.expect_download() as waited:
            it.page.get_by_role("button", name="Save these rows as CSV").click()
        lines = list(csv.DictReader(io.StringIO(waited.value.path().read_text(encoding="utf-8"))))
        assert {line["workload"] for line in lines} == {"g2p"}
        assert len(lines) == 8
        assert all(float(line["median_s"]) > 0 for line in lines if line["status"] == "ok")


HOSTILE = [
    '</script><script>document.title = "taken"</script>',
    '<img src="https://example.org/a.png" onerror="document.title = \'taken\'">',
    "<!-- <script>",
    "${document.title='taken'} {{7*7}} &lt;b&gt;",
    "javascript:alert(1)\n\t\u2028\u202e",
]


def test_text_in_a_record_stays_text(chromium: Browser, tmp_path: Path) -> None:
    lines = []
    for number, words in enumerate(HOSTILE):
        lines += noisy("torch/module", framework=words)
        lines += noisy(f"mine{words}", tier=words)
        lines.append(record(f"broken{number}", status="error", reason=words, samples_s=[]))
    environment = msgspec.structs.replace(
        RUN.environment, cpu=HOSTILE[0], versions={"torch": HOSTILE[1]}, facts={HOSTILE[2]: HOSTILE[3]}
    )
    facts = msgspec.structs.replace(RUN.workloads["seed"], shape=HOSTILE[1], source=HOSTILE[0])
    run = msgspec.structs.replace(
        RUN, command=HOSTILE[0], environment=environment, workloads=RUN.workloads | {"seed": facts}
    )
    result = read_result(write(tmp_path / "run", *lines, END, run=run))
    with opened(chromium, written([result], tmp_path / "report.html")) as it:
        assert it.page.title() == f"One seq2seq LSTM, several frameworks: {HOSTILE[0]}"
        assert it.page.locator("img").count() == 0
        assert it.page.locator("script").count() == 6  # data, charts, two raw files, Vega and the page's own
        seen = it.page.locator("body").inner_text()
        for words in HOSTILE:
            assert re.sub(r"\s+", " ", words) in re.sub(r"\s+", " ", seen)


OUTSIDE = "https://example.org/a.png"


@pytest.mark.parametrize(
    ("addition", "policy", "words"),
    [
        (f'<img src="{OUTSIDE}">', True, "Content Security Policy"),
        ("<script>document.title = 'taken'</script>", True, "Content Security Policy"),
        ("<a id='x' onclick='1'>x</a><script>fetch('https://example.org')</script>", True, "Content Security Policy"),
        (f'<img src="{OUTSIDE}" onerror="this.remove()">', False, "asked for"),
        ("<script>throw new Error('mine')</script>", False, "mine"),
    ],
)
def test_the_guards_see_a_page_that_asks_outside_or_runs_what_is_not_its_own(
    addition: str, policy: bool, words: str, chromium: Browser, path: Path, tmp_path: Path
) -> None:
    """Without the page's own policy, too, which keeps most from happening at all."""
    whole = path.read_text(encoding="utf-8").replace("</main>", f"{addition}</main>")
    changed = tmp_path / "changed.html"
    changed.write_text(whole if policy else re.sub("<meta http-equiv[^>]*>", "", whole), encoding="utf-8")
    titles = []
    with pytest.raises(AssertionError, match=words), opened(chromium, changed) as it:
        titles.append(it.page.title())
        if not policy and OUTSIDE in addition:
            it.complaints.clear()  # that the network is not there is another complaint
    assert titles and "taken" not in titles


def test_it_is_readable_in_the_dark_on_a_phone_and_on_paper(chromium: Browser, path: Path) -> None:
    def luminance(colour: str) -> float:
        red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for scheme in ("light", "dark"):
        with opened(chromium, path, color_scheme=scheme, viewport={"width": 360, "height": 740}) as it:
            paper, ink = (
                luminance(it.page.locator("body").evaluate(f"one => getComputedStyle(one).{name}"))
                for name in ("backgroundColor", "color")
            )
            assert (paper > 0.9, ink < 0.2) == ((scheme == "light"),) * 2
            label = it.page.locator("#ratio svg .role-axis-label text").first
            assert luminance(label.evaluate("one => getComputedStyle(one).fill")) == pytest.approx(ink, abs=0.05)
            assert it.page.locator("html").evaluate("one => one.scrollWidth") <= 360, (
                "the page itself never scrolls aside"
            )
            assert it.page.locator("#ratio svg").bounding_box()["width"] <= 360
            it.page.emulate_media(media="print", color_scheme=scheme)
            assert luminance(it.page.locator("body").evaluate("one => getComputedStyle(one).color")) == 0
            assert not it.page.locator("#filters").is_visible()
            assert it.page.locator("#ratio svg").is_visible()
            assert it.page.locator("#table thead button").first.is_visible(), "columns have their names on paper"
            assert len(it.page.pdf()) > 20_000


def test_everything_can_be_done_with_a_keyboard_and_has_a_name(chromium: Browser, path: Path) -> None:
    with opened(chromium, path) as it:
        it.page.keyboard.press("Tab")
        assert it.page.locator(":focus").inner_text() == "Skip to the table"
        it.page.get_by_label("workload", exact=True).focus()
        it.page.keyboard.press("ArrowDown")
        it.drawn()
        assert "8 of 16 cells" in it.page.get_by_role("status").inner_text()
        head = it.page.get_by_role("columnheader", name="ratio")
        head.get_by_role("button").focus()
        it.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        for name in ("ratio", "time"):
            drawing = it.page.locator(f"#{name} [role='graphics-document']").first
            assert len(drawing.get_attribute("aria-label") or "") > 50
        unnamed = it.page.locator("select, button, a").evaluate_all(
            "all => all.filter(one => !(one.innerText || one.ariaLabel || one.labels?.length)).length"
        )
        assert unnamed == 0
        assert it.page.locator("h1").count() == 1


def test_several_results_stand_side_by_side_and_over_time(chromium: Browser, tmp_path: Path) -> None:
    results = several_runs(tmp_path)
    with opened(chromium, written(results, tmp_path / "report.html")) as it:
        assert it.page.locator("#machines svg").is_visible()
        steps = [mark for mark in it.marks("history") if "jax/scan" in mark]
        assert any("step: SLOWER" in mark for mark in steps)
        assert not any("step: FASTER" in mark for mark in steps)
        assert {*it.column("run")} == {"A", "B", "C"}
        it.choose("run", "A")
        assert {*it.column("run")} == {"A"}


def test_usage_has_a_picture_of_the_page_of_readmes_machine(chromium: Browser, tmp_path: Path) -> None:
    """With PICTURE=1 in the environment the picture is made again: do so when what it shows has changed."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (machine,) = re.findall(r"\(results/machines/([^/)]+)/ratio\.svg\)", readme)
    results = [read_result(folder) for folder in sorted((ROOT / "results").glob(f"{machine}-*/"))]
    picture = PICTURE if os.environ.get("PICTURE") else tmp_path / "page.png"
    with opened(chromium, written(results, tmp_path / "report.html")) as it:
        it.page.screenshot(path=picture)
    assert f"]({PICTURE.name})" in (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    assert size_of(picture) == size_of(PICTURE) == (1280, 900)


def size_of(png: Path) -> tuple[int, int]:
    """Width and height of a picture, of which its header speaks (PNG specification, 11.2.2)."""
    head = png.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def some_megabytes(folder: Path) -> Result:
    """A result with raw records as large as those of a long run."""
    result = read_result(write(folder / "raw", record(), END))
    (result.path / "records.jsonl").write_bytes(random.Random(1).randbytes(6 * 2**20))
    return result


OPENS_S = FILTERS_S = 2.0
"""Until the reader has the table and what is in sight of the charts; the rest is drawn meanwhile."""

MARKED = "name => performance.getEntriesByName(name)[0].startTime"
"""When the page has marked something, in milliseconds since it was asked for."""


@pytest.mark.quiet
@pytest.mark.thorough
def test_the_page_of_5000_cells_opens_and_filters_in_under_two_seconds(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(big_page(groups=200, rows=25, raw=some_megabytes(tmp_path)), encoding="utf-8")
    opens, filters = [], []
    choices = (("workload", "shape-7"), ("workload", ""), ("baseline", "row-3"))
    for _ in range(3):  # the machine may be busy: what the page can do is what it does once
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        one = context.new_page()
        one.goto(path.as_uri())
        one.wait_for_selector('body[data-drawn="1"]', state="attached")
        opens.append(one.evaluate(MARKED, "shown-1") / 1000)
        assert one.get_by_role("status").inner_text() == "5000 of 5000 cells, in 200 of 200 groups"
        assert one.locator("#ratio svg").is_visible()
        for number, (name, value) in enumerate(choices, 2):
            one.get_by_label(name, exact=True).select_option(value)
            one.wait_for_selector(f'body[data-drawn="{number}"]', state="attached")
            asked, shown = (one.evaluate(MARKED, f"{what}-{number}") for what in ("asked", "shown"))
            filters.append((shown - asked) / 1000)
        context.close()
    print(f"opens in {opens}, filters in {filters} (s)")
    assert min(opens) < OPENS_S
    assert max(min(filters[start::3]) for start in range(3)) < FILTERS_S
