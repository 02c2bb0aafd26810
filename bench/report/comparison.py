"""What ``bench compare`` shows: text, Markdown and JSON, all from one comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.stats import PRACTICAL
from bench.analysis.two_runs import OF_TIMES
from bench.analysis.verdict import MIN_BLOCKS
from bench.here import as_typed, command, shown
from bench.report.markdown import table as markdown_table
from bench.report.rows import CellRow
from bench.report.text import NAME, Tables, in_cells, parts_of, plain_table
from bench.report.words import SMOKE, about_control, about_end, with_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

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

NUMBERS = ("OLD", "NEW", "ratio", "95 %")

LEAST_FIRST = ("through", "OLD", "NEW", "95 %")
"""What is left out where there is little room, the least important first."""


class ChangeRow(CellRow, frozen=True, kw_only=True):
    """A cell in two runs, flat: what ``--format json`` gives. Its status is one of `bench.analysis.compare.Status`."""

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
            **msgspec.structs.asdict(one.cell),
            shape=one.shape,
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


def doubts(comparison: Comparison) -> list[str]:
    """What puts the comparison in doubt: to be read first."""
    words = [OTHER_MACHINE] if comparison.other_machine else []
    for name, analysis in _both(comparison):
        result = analysis.result
        if doubt := about_control(analysis.control, doubts_only=True):
            words.append(f"{name}: {doubt}")
        if result.run.preset == "smoke":
            words.append(f"{name}: {SMOKE}")
        elif not result.whole:
            words.append(f"{name}: {with_folder(about_end(result), result)}")
    return words


def render(comparison: Comparison) -> Iterator[RenderableType]:
    """The comparison on a terminal, as wide as that is, and readable when piped."""
    for doubt in doubts(comparison):
        yield Text(as_typed(doubt), style="bold red")
    for name, one in _both(comparison):
        yield Text(f"{name}: {_about(one.result)}")
    yield Text(_summary(comparison), style="bold")
    if comparison.unlike:
        unlike = plain_table()
        for heading in ("what differs", "OLD", "NEW"):
            unlike.add_column(heading, overflow="fold")
        for difference in comparison.unlike:
            unlike.add_row(*map(Text, difference))
        yield Text()
        yield unlike
    rows, apart = _parted(comparison)
    if rows:
        paths = shown(comparison.old.result.path), shown(comparison.new.result.path)
        yield Tables(
            parts=parts_of(rows),
            columns=[NAME, *NUMBERS, "verdict", "through"],
            cells=_cells,
            least_first=LEAST_FIRST,
            words=(NAME, "verdict", "through"),
            every=f"`{command('compare', *paths, '--format', 'markdown')}`",
        )
    for status, of_status in apart.items():
        yield Text(f"\n{APART[status]}", style="bold red" if status == "now failing" else "bold")
        for row in of_status:
            yield Text(f" {_apart(row)}")
    for number, caption in enumerate(_captions(rows, comparison)):
        yield Text("\n" * (number == 0) + caption, style="dim")


def to_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, for a pull request."""
    parts = [f"**{_summary(comparison)}**\n"]
    parts += [f"> **{_plain(doubt)}**\n" for doubt in doubts(comparison)]
    parts.append("\n".join(f"- {name}: {_plain(_about(one.result))}" for name, one in _both(comparison)) + "\n")
    if comparison.unlike:
        parts.append(markdown_table(["what differs", "OLD", "NEW"], comparison.unlike, left=3))
    rows, apart = _parted(comparison)
    for part in parts_of(rows):
        if part.above is not None:
            parts.append(f"## {part.rows[0].workload}\n\n{_plain(part.rows[0].shape)}\n")
        lines = [[f"`{row.implementation}`", *_numbers(row), _verdict(row), _through(row)] for row in part.rows]
        parts.append(markdown_table([part.title, *NUMBERS, "verdict", "through"], lines))
    for status, of_status in apart.items():
        lines_apart = "\n".join(f"- {_plain(_apart(row))}" for row in of_status)
        parts.append(f"**{APART[status]}**\n\n{lines_apart}\n")
    parts += [f"{caption}\n" for caption in _captions(rows, comparison)]
    return "\n".join(parts)


def _both(comparison: Comparison) -> Iterator[tuple[str, Analysis]]:
    yield "OLD", comparison.old
    yield "NEW", comparison.new


def _summary(comparison: Comparison) -> str:
    """How many cells have which verdict."""
    return ", ".join(f"{number} {word}" for word, number in comparison.counts.most_common()) or "no cell in either"


def _parted(comparison: Comparison) -> tuple[list[ChangeRow], Mapping[str, list[ChangeRow]]]:
    """The rows that the tables have, and by status those that stand beneath them."""
    rows = change_rows(comparison)
    apart = {status: [row for row in rows if row.status == status] for status in APART}
    return [row for row in rows if row.status not in APART], {status: own for status, own in apart.items() if own}


def _captions(rows: Sequence[ChangeRow], comparison: Comparison) -> Iterator[str]:
    """How to read the numbers, as far as this comparison has them."""
    if not rows:
        return
    statuses = {row.status for row in rows}
    yield (
        "ratio: NEW over OLD, above 1 is slower; 95 %: its interval. verdict: at a stricter level, as in `bench run`;"
        f" SAME is surely less than {100 * PRACTICAL:.0f} % apart; – is fewer than {MIN_BLOCKS} blocks in a run"
        f"{', or two machines' if comparison.other_machine else ''}."
    )
    if through := dict.fromkeys(row.through for row in rows if row.through not in (None, ABSOLUTE)):
        yield (
            f"through {', '.join(map(str, through))}: the same code and versions in both runs. The ratio to"
            " it is compared, so that what slows both alike cancels; so does what changed for both."
        )
        yield _about_movement(comparison)
    if "reference" in statuses:
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
    if "identical" in statuses:
        yield (
            "same records: one measurement that stands in both runs, and not two. Its change is exactly 1, and nothing"
            " about it is uncertain."
        )
    if "not comparable" in statuses:
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
        " measured in one run are distinguishable more finely."
    )


def _range(of: tuple[float, float]) -> str:
    least, most = (f"{100 * one:.1f}" for one in of)
    return f"{least} %" if least == most else f"{least} to {most} %"


def _cells(row: ChangeRow, _columns: Collection[str]) -> dict[str, Text]:
    through = "absolute" if _through(row) == ABSOLUTE else _through(row)
    words = {NAME: row.implementation, "verdict": _verdict(row), "through": through}
    return in_cells(words | dict(zip(NUMBERS, _numbers(row), strict=True)))


def _numbers(row: ChangeRow) -> list[str]:
    """Old time, new time, ratio, its interval."""
    ratio = interval = "–"
    if row.ratio is not None and row.ratio_low is not None and row.ratio_high is not None:
        ratio, interval = f"{_digits(row.ratio)}×", f"[{_digits(row.ratio_low)}, {_digits(row.ratio_high)}]"
    return [units.seconds(row.old_median_s), units.seconds(row.new_median_s), ratio, interval]


def _digits(ratio: float) -> str:
    """Enough of them to show a change of a tenth of a percent, where that is not absurd."""
    return f"{ratio:.3f}" if ratio < 9.9995 else units.bare(ratio)


def _verdict(row: ChangeRow) -> str:
    return row.verdict or ("–" if row.status == "compared" else row.status)


def _through(row: ChangeRow) -> str:
    return "same records" if row.status == "identical" else row.through or "–"


def _apart(row: ChangeRow) -> str:
    """A cell that no table has, its time where there is one, and what else there is to say."""
    time = row.new_median_s if row.status in ("new", "now works") else row.old_median_s
    said = ", ".join(filter(None, [units.seconds(time) if time else "", row.reason]))
    name = f"{row.implementation} {row.workload} {row.task} {row.place}"
    return f"{name}: {said}" if said else name


def _about(result: Result) -> str:
    run = result.run
    return f"{result.path} ({run.started_at[:16].replace('T', ' ')}, {run.preset}, {run.environment.cpu})"


def _plain(words: str) -> str:
    """On one line, and no HTML."""
    return " ".join(words.replace("<", "&lt;").split())
