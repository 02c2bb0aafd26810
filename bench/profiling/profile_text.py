"""What ``bench profile`` prints. Fits 80 columns, and is plain text when piped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import units
from bench.profiling.profile_words import NAMES, doubts, slowdown_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from bench.profiling.profiles import Profile, Profiles

LARGEST = 10
"""How many operations are shown."""

LONGEST_NAME = 36


def render(found: Profiles, folder: Path) -> Iterator[RenderableType]:
    """Each profile: its categories, its largest operations, and where its trace is."""
    for profile in found.profiles:
        yield Text(f"\n{profile.implementation}", style="bold").append(
            f"  {profile.workload} {profile.task}, {units.place(profile.device, profile.threads)}"
            f" ({found.shapes[profile.workload]})",
            style="not bold dim",
        )
        if profile.status != "ok":
            yield Text(f" {profile.status}: {profile.reason}", style="yellow")
            continue
        yield from _of(profile, folder)
    if any(profile.trace for profile in found.profiles):
        yield Text("\nto see a trace, open its file at https://ui.perfetto.dev (it stays on this machine)", style="dim")
    yield Text("what the shares mean: docs/definitions.md, Profiles", style="dim")


def _of(profile: Profile, folder: Path) -> Iterator[RenderableType]:
    call = f" a call takes {units.seconds(profile.call_s)}"
    if profile.profiler is None:
        yield Text(f"{call}; there is no profiler for {profile.framework}: what it goes to is not known")
        return
    yield Text(f"{call}; {slowdown_in_words(profile)}")
    for doubt in doubts(profile):
        yield Text(f" {doubt}", style="yellow")
    categories = _table("", "a call", "share")
    for category, seconds in profile.categories_s.items():
        if seconds or category == "overhead":
            categories.add_row(NAMES[category], units.seconds(seconds), units.percent(seconds / profile.call_s))
    categories.add_row("call", units.seconds(profile.call_s), units.percent(1.0))
    yield Padding(categories, (0, 0, 0, 1))
    largest = _table("largest operations", "kind", "times", "a call", "share")
    for own in profile.operations[:LARGEST]:
        seconds = profile.scale * own.seconds
        share = units.percent(seconds / profile.call_s)
        largest.add_row(_short(own.name), NAMES[own.kind], f"{own.count}×", units.seconds(seconds), share)
    yield Padding(largest, (1, 0, 0, 1))
    if profile.trace:
        yield Text(f" trace: {folder / profile.trace}")


def _short(name: str) -> str:
    """The name of an operation; a compiler's may be as long as what it has fused."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _table(title: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(title, style="dim"), overflow="fold", min_width=18)
    for name in columns:
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    return table
