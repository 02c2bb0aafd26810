"""What ``bench compare`` shows: text, Markdown and JSON, all from one comparison."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec
from rich.table import Table
from rich.text import Text

from bench import units
from bench.analysis.compare import Status
from bench.analysis.stats import PRACTICAL
from bench.analysis.two_runs import OF_TIMES
from bench.analysis.verdict import MIN_BLOCKS
from bench.here import as_typed, command, shown
from bench.records.schema import Struct
from bench.report.markdown import table as markdown_table
from bench.report.tables import NAME, Part, Tables
from bench.report.words import COLOURS, SMOKE, about_control, about_end
from impls.contract import Device, Precision, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import RenderableType

    from bench.analysis.compare import Comparison
    from bench.analysis.verdict import Verdict
    from bench.records.schema import Result

ABSOLUTE = "absolute times"

OTHER_MACHINE = (
    "Two machines. It may not be concluded that anything became faster or slower: absolute times are not compared, and"
    " there are no verdicts. What is given is how the ratio to a row that is the same in both differs between the"
    " machines."
)

APART = {
    "now failing": "Had a time, and has none now (counts as slower)",
    "now works": "Had no time, and has one now",
    "no time": "Without a time in either",
    "new": "In NEW only",
    "gone": "In OLD only",
}
"""The statuses that are listed beneath the tables."""


class ChangeRow(Struct, frozen=True, kw_only=True):
    """A cell in two runs, flat: what ``--format json`` gives."""

    implementation: str
    framework: str
    tier: str
    workload: str
    shape: str
    task: Task
    device: Device
    precision: Precision
    threads: int
    status: Status
    reason: str | None
    ratio: float | None
    """NEW over OLD: above 1 is slower."""
    ratio_low: float | None
    ratio_high: float | None
    verdict: Verdict | None
    through: str | None
    """The row that the ratio is relative to, or ``absolute times``."""
    blocks_old: int
    blocks_new: int
    old_median_s: float | None
    new_median_s: float | None


def change_rows(comparison: Comparison) -> list[ChangeRow]:
    """Every cell as a flat row."""
    return [
        ChangeRow(
            implementation=one.cell.implementation,
            framework=one.cell.framework,
            tier=one.cell.tier,
            workload=one.cell.workload,
            shape=one.shape,
            task=one.cell.task,
            device=one.cell.device,
            precision=one.cell.precision,
            threads=one.cell.threads,
            status=one.status,
            reason=one.reason,
            ratio=one.change.ratio if one.change else None,
            ratio_low=one.change.low if one.change else None,
            ratio_high=one.change.high if one.change else None,
            verdict=one.verdict,
            through=(one.through or ABSOLUTE) if one.change else None,
            blocks_old=len(one.old.blocks) if one.old else 0,
            blocks_new=len(one.new.blocks) if one.new else 0,
            old_median_s=one.old.median_s if one.old else None,
            new_median_s=one.new.median_s if one.new else None,
        )
        for one in comparison.cells
    ]


def to_json(comparison: Comparison) -> str:
    """A list of flat objects."""
    return msgspec.json.format(msgspec.json.encode(change_rows(comparison)), indent=2).decode() + "\n"


def doubts(comparison: Comparison) -> list[str]:
    """What puts the comparison in doubt: to be read first."""
    words = [OTHER_MACHINE] if comparison.other_machine else []
    for name, analysis in (("OLD", comparison.old), ("NEW", comparison.new)):
        result = analysis.result
        if doubt := about_control(analysis.control, doubts_only=True):
            words.append(f"{name}: {doubt}")
        if result.run.preset == "smoke":
            words.append(f"{name}: {SMOKE}")
        elif not result.whole:
            words.append(f"{name}: {about_end(result)}")
    return words


def summary(comparison: Comparison) -> str:
    """How many cells have which verdict."""
    counts = comparison.counts
    return ", ".join(f"{number} {word}" for word, number in counts.most_common()) or "no cell in either"


def render(comparison: Comparison) -> Iterator[RenderableType]:
    """The comparison on a terminal, as wide as that is, and readable when piped."""
    for doubt in doubts(comparison):
        yield Text(as_typed(doubt), style="bold red")
    for name, result in (("OLD", comparison.old.result), ("NEW", comparison.new.result)):
        yield Text(f"{name}: {_about(result)}")
    yield Text(summary(comparison), style="bold")
    if comparison.unlike:
        unlike = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("what differs", "OLD", "NEW"):
            unlike.add_column(heading, overflow="fold")
        for difference in comparison.unlike:
            unlike.add_row(*map(Text, difference))
        yield Text()
        yield unlike
    if rows := _shown(comparison):
        yield _tables(rows, comparison)
    for status, heading in APART.items():
        if rows := [row for row in change_rows(comparison) if row.status == status]:
            yield Text(f"\n{heading}", style="bold red" if status == "now failing" else "bold")
        for row in rows:
            yield Text(f" {_apart(row)}")
    for number, caption in enumerate(captions(comparison)):
        yield Text("\n" * (number == 0) + caption, style="dim")


def to_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, for a pull request."""
    parts = [f"**{summary(comparison)}**\n"]
    parts += [f"> **{_plain(doubt)}**\n" for doubt in doubts(comparison)]
    results = ("OLD", comparison.old.result), ("NEW", comparison.new.result)
    parts.append("\n".join(f"- {name}: {_plain(_about(result))}" for name, result in results) + "\n")
    if comparison.unlike:
        parts.append(markdown_table(["what differs", "OLD", "NEW"], comparison.unlike, left=3))
    for (workload, shape), of_workload in groupby(_shown(comparison), key=lambda row: (row.workload, row.shape)):
        parts.append(f"## {workload}\n\n{_plain(shape)}\n")
        for title, of_group in groupby(of_workload, key=_title):
            header = [title, "OLD", "NEW", "ratio", "95 %", "verdict", "through"]
            lines = [[f"`{row.implementation}`", *_numbers(row), _through(row)] for row in of_group]
            parts.append(markdown_table(header, lines))
    for status, heading in APART.items():
        if rows := [row for row in change_rows(comparison) if row.status == status]:
            parts.append(f"**{heading}**\n\n" + "\n".join(f"- {_plain(_apart(row))}" for row in rows) + "\n")
    parts += [f"{caption}\n" for caption in captions(comparison)]
    return "\n".join(parts)


def captions(comparison: Comparison) -> Iterator[str]:
    """How to read the numbers, as far as this comparison has them."""
    rows = _shown(comparison)
    if not rows:
        return
    yield (
        "ratio: NEW over OLD, above 1 is slower; 95 %: its interval. verdict: at a stricter level, as in `bench run`;"
        f" SAME is surely less than {100 * PRACTICAL:.0f} % apart; – is fewer than {MIN_BLOCKS} blocks in a run"
        f"{', or two machines' if comparison.other_machine else ''}."
    )
    if through := dict.fromkeys(row.through for row in rows if row.through not in (None, ABSOLUTE)):
        yield (
            f"through {', '.join(str(name) for name in through)}: the same code and versions in both runs. The ratio to"
            " it is compared, so that what slows both alike cancels; so does what changed for both."
        )
        yield _about_movement(comparison)
    if any(row.status == "reference" for row in rows):
        yield "reference: the row that others are compared through. Its own change is the drift of the machine."
    if any(row.through == ABSOLUTE and row.status == "compared" for row in rows):
        yield (
            f"{ABSOLUTE}: no row that could be compared through is the same in both runs. The drift of the machine from"
            f" one run to the other is in the ratio; the interval supposes that it has a standard deviation of"
            f" {100 * OF_TIMES:.0f} %, so that small changes stay UNCLEAR: better to compare through an"
            " unchanged row."
        )
    if comparison.drift is not None:
        yield f"The machine: a fixed NumPy product took {comparison.drift:.2f}× as long in NEW as in OLD."
    if any(row.status == "identical" for row in rows):
        yield (
            "same records: one measurement that stands in both runs, and not two. Its change is exactly 1, and nothing"
            " about it is uncertain."
        )
    if any(row.status == "not comparable" for row in rows):
        yield "not comparable: no row of the group is the same on both machines, and absolute times mean nothing."


def _about_movement(comparison: Comparison) -> str:
    if comparison.allowed is None or comparison.findable is None:
        return "The 95 % intervals are those of the blocks: how much ratios move from run to run is not in them."
    moved = comparison.moved
    seen = (
        f"ratios of unchanged rows moved by {100 * moved.deviation:.1f} % (standard deviation, {moved.cells} cells)"
        " beyond what the blocks of either show"
        if moved
        else "no unchanged row has blocks enough to show how much ratios move"
    )
    return (
        f"From OLD to NEW, {seen}. {_range(comparison.allowed)} is allowed for: a change has"
        f" to be larger than {_range(comparison.findable)} to be told, and SAME is hardly ever sure. Rows that are"
        " measured in one run can be told apart more finely."
    )


def _range(of: tuple[float, float]) -> str:
    least, most = (f"{100 * one:.1f}" for one in of)
    return f"{least} %" if least == most else f"{least} to {most} %"


def _shown(comparison: Comparison) -> list[ChangeRow]:
    """The rows that the tables have."""
    return [row for row in change_rows(comparison) if row.status not in APART]


def _title(row: ChangeRow) -> str:
    return f"{row.task} {units.place(row.device, row.threads, row.precision)}"


LEAST_FIRST = ("through", "OLD", "NEW", "95 %")
"""What is left out where there is little room, the least important first."""


def _tables(rows: Sequence[ChangeRow], comparison: Comparison) -> Tables[ChangeRow]:
    parts: list[Part[ChangeRow]] = []
    for (workload, shape), of_workload in groupby(rows, key=lambda row: (row.workload, row.shape)):
        above: Text | None = Text(f"\n{workload}", style="bold").append(f"  {shape}", style="not bold dim")
        for title, of_group in groupby(of_workload, key=_title):
            parts.append(Part(above, title, list(of_group)))
            above = None
    paths = shown(comparison.old.result.path), shown(comparison.new.result.path)
    return Tables(
        parts=parts,
        columns=[NAME, *NUMBERS, "verdict", "through"],
        cells=_cells,
        least_first=LEAST_FIRST,
        words=(NAME, "verdict", "through"),
        every=f"`{command('compare', *paths, '--format', 'markdown')}`",
    )


NUMBERS = ("OLD", "NEW", "ratio", "95 %")


def _cells(row: ChangeRow, _columns: Collection[str]) -> dict[str, Text]:
    *numbers, verdict = _numbers(row)
    through = "absolute" if _through(row) == ABSOLUTE else _through(row)
    words = {NAME: row.implementation, "through": through, **dict(zip(NUMBERS, numbers, strict=True))}
    cells = {name: Text(word) for name, word in words.items()}
    return cells | {"verdict": Text(verdict, style=COLOURS.get(verdict, ""))}


def _numbers(row: ChangeRow) -> list[str]:
    """Old time, new time, ratio, its interval, verdict."""
    return [
        units.seconds(row.old_median_s),
        units.seconds(row.new_median_s),
        "–" if row.ratio is None else f"{_digits(row.ratio)}×",
        "–"
        if row.ratio_low is None or row.ratio_high is None
        else f"[{_digits(row.ratio_low)}, {_digits(row.ratio_high)}]",
        row.verdict or ("–" if row.status == "compared" else row.status),
    ]


def _digits(ratio: float) -> str:
    """Enough of them to show a change of a tenth of a percent, where that is not absurd."""
    return f"{ratio:.3f}" if ratio < 9.9995 else units.bare(ratio)


def _through(row: ChangeRow) -> str:
    return "same records" if row.status == "identical" else row.through or "–"


def _apart(row: ChangeRow) -> str:
    """A cell that no table has, its time where there is one, and what else there is to say."""
    time = row.new_median_s if row.status in ("new", "now works") else row.old_median_s
    said = [units.seconds(time) if time else "", row.reason or ""]
    return ": ".join(
        [f"{row.implementation} {row.workload} {_title(row)}", *filter(None, [", ".join(filter(None, said))])]
    )


def _about(result: Result) -> str:
    run = result.run
    return f"{result.path} ({run.started_at[:16].replace('T', ' ')}, {run.preset}, {run.environment.cpu})"


def _plain(words: str) -> str:
    """On one line, and no HTML."""
    return " ".join(words.replace("<", "&lt;").split())
