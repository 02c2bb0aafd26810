"""Profiles as they are shown: on a terminal, in 80 columns, and as they are published, in ``docs/profiles.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bench import units
from bench.profiling.profiles import PROFILE_FILE, Category, Profile, Profiles, read_profiles
from bench.publish.commits import check_named
from bench.publish.kinds import Kind, Repository, dated, refusal
from bench.records.store import head_text
from bench.report import markdown
from bench.report.text import plain_table

WORDS = """# Profiles

What share of a call is matrix products, what elementwise operations, what neither? Made by `python -m bench publish` of
what `python -m bench profile` measured; [definitions.md](definitions.md#profiles) says what each column means.
"""

NONE = """
Nothing has been published yet. On a machine that is at rest, with all frameworks installed and the code committed:

```sh
python -m bench profile --workload seed g2p latency braun tutorial fastrnns  # every idiomatic and tuned row; an hour
python -m bench publish results/profiles/2026-01-31T12-00-00  # the folder that it names; makes this page again
```
"""

NAMES: dict[Category, str] = {
    "product": "matrix product",
    "elementwise": "elementwise",
    "movement": "data movement",
    "fused": "fused kernel",
    "other": "other operations",
    "overhead": "overhead",
}

BUSY = 0.05
"""Where a row waited for its processor for more than this share of the time, its profile is of a busy machine."""

LARGEST, LONGEST_NAME = 10, 36
"""How many operations a terminal shows, and how long a name; a compiler's may be as long as what it has fused."""


def doubts(profile: Profile) -> Iterator[str]:
    """What makes the shares less than they seem."""
    if profile.scale < 1:
        yield (
            f"its operations alone take {units.ratio(1 / profile.scale)} the call under the profiler: shares are those"
            " among them, and what is overhead cannot be told"
        )
    if profile.waited > BUSY:
        yield (
            f"other programs had its processor for {units.percent(profile.waited)} of the time: profile it again on a"
            " machine that is at rest"
        )


def page(published: Sequence[Profiles]) -> str:
    """The page: a table for each workload and task, latest profiles first."""
    return WORDS + ("".join(map(_section, reversed(published))) or NONE)


def _section(found: Profiles) -> str:
    parts = [
        f"\n## {found.environment.cpu}, {found.started_at[:10]}\n",
        f"{markdown.environment_line(found.environment)}; `{found.command}`, {found.started_at}.\n",
    ]
    notes: dict[str, int] = {}
    worked = [profile for profile in found.profiles if profile.status == "ok"]
    ordered = sorted(worked, key=lambda own: (list(found.shapes).index(own.workload), own.task))
    columns = columns_of([own for own in worked if own.profiler])
    for (workload, task, threads), members in groupby(ordered, key=lambda own: (own.workload, own.task, own.threads)):
        lines = []
        for own in members:
            marks = "".join(f" ({notes.setdefault(doubt, len(notes) + 1)})" for doubt in doubts(own))
            lines.append([f"`{own.implementation}`{marks}", *shares(own, columns)])
        parts.append(f"**{workload}**: {found.shapes[workload]}\n")
        parts.append(markdown.table([f"{task} {units.place('cpu', threads)}", *header(columns)], lines))
    parts += [f"({number}) {doubt}.  " for doubt, number in notes.items()]
    if without := dict.fromkeys(own.framework for own in worked if not own.profiler):
        parts.append(f"There is no profiler for {', '.join(without)}: call times alone are known.\n")
    sayings = {own.framework: own.profiler for own in worked if own.profiler}
    parts.append("".join(f"- {framework}: {saying}.\n" for framework, saying in sayings.items()))
    return "\n".join(parts)


def columns_of(profiles: Sequence[Profile]) -> list[Category]:
    """The categories that any of them has time in, and overhead."""
    return [one for one in NAMES if any(own.categories_s[one] for own in profiles) or one == "overhead"]


def header(columns: Sequence[Category]) -> list[str]:
    """The names of what ``shares`` says."""
    return ["call", *(NAMES[one] for one in columns), "profiled"]


def shares(own: Profile, columns: Sequence[Category]) -> list[str]:
    """What a call takes, the share of each category in it, and how many times as long it is under the profiler.

    Where there is no profiler, the first alone is known.
    """
    if own.profiler is None:
        return [units.seconds(own.call_s), *("–" for _ in columns), "–"]
    found = {one: seconds / own.call_s for one, seconds in own.categories_s.items()}
    if own.scale < 1:
        found["overhead"] = 0.0
    percents = (units.percent(found[one] or None) for one in columns)
    return [units.seconds(own.call_s), *percents, units.ratio(own.slowdown)]


def render(found: Profiles, folder: Path) -> Iterator[RenderableType]:
    """Each profile: its categories, its largest operations, and where its trace is; plain text when piped."""
    for own in found.profiles:
        shape = found.shapes[own.workload]
        what = f"  {own.workload} {own.task}, {units.place(own.device, own.threads)} ({shape})"
        yield Text(f"\n{own.implementation}", style="bold").append(what, style="not bold dim")
        if own.status == "ok":
            yield from _of(own, folder)
        else:
            yield Text(f" {own.status}: {own.reason}", style="yellow")
    if any(profile.trace for profile in found.profiles):
        yield Text("\nto see a trace, open its file at https://ui.perfetto.dev (it stays on this machine)", style="dim")
    yield Text("what the shares mean: docs/definitions.md, Profiles", style="dim")


def _of(profile: Profile, folder: Path) -> Iterator[RenderableType]:
    call = f" a call takes {units.seconds(profile.call_s)}"
    if profile.profiler is None:
        yield Text(f"{call}; there is no profiler for {profile.framework}: what it goes to is not known")
        return
    yield Text(f"{call}; {units.ratio(profile.slowdown)} as long under the profiler")
    for doubt in doubts(profile):
        yield Text(f" {doubt}", style="yellow")

    def times(seconds: float) -> tuple[str, str]:
        return units.seconds(seconds), units.percent(seconds / profile.call_s)

    categories = _table("", "a call", "share")
    for category, seconds in profile.categories_s.items():
        if seconds or category == "overhead":
            categories.add_row(NAMES[category], *times(seconds))
    categories.add_row("call", *times(profile.call_s))
    yield Padding(categories, (0, 0, 0, 1))
    largest = _table("largest operations", "kind", "times", "a call", "share")
    for own in profile.operations[:LARGEST]:
        name = own.name if len(own.name) <= LONGEST_NAME else f"{own.name[: LONGEST_NAME - 1]}…"
        largest.add_row(name, NAMES[own.kind], f"{own.count}×", *times(profile.scale * own.seconds))
    yield Padding(largest, (1, 0, 0, 1))
    if profile.trace:
        yield Text(f" trace: {folder / profile.trace}")


def _table(title: str, *columns: str) -> Table:
    table = plain_table()
    table.add_column(Text(title, style="dim"), overflow="fold", min_width=18)
    for name in columns:
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    return table


@dataclass(frozen=True, slots=True)
class PublishedProfiles(Kind[Profiles]):
    """Results of ``bench profile``, published without traces, which are large and of one moment."""

    head_file: ClassVar[str] = PROFILE_FILE

    def read(self, folder: Path) -> Profiles:
        """The profiles in a folder."""
        return read_profiles(folder)

    def check(self, thing: Profiles, folder: Path, repository: Repository) -> Profiles:
        """Refuse profiles that prove nothing."""
        refuse = refusal(folder)
        for one in thing.profiles:
            what = f"{one.implementation} {one.workload} {one.task}"
            if one.status != "ok":
                raise refuse(f"{what} is {one.status} ({one.reason}); publish profiles in which every row works")
            if "/" not in one.implementation:
                raise refuse(f"{one.implementation} is a file outside impls/, which no commit has")
            if one.waited > BUSY:
                raise refuse(f"{what}: other programs had its processor; profile again on a machine that is at rest")
        check_named(thing.environment, repository.root, refuse, again="profile")
        return thing

    def head(self, thing: Profiles) -> Profiles:
        """When it began, and what made it."""
        return thing

    def target(self, thing: Profiles, repository: Repository) -> Path:
        """Beside those of other machines and days."""
        return dated(repository.results / "profiled" / thing.environment.machine, thing, self)

    def raw(self, thing: Profiles, folder: Path) -> dict[str, bytes]:
        """All but the traces."""
        return {PROFILE_FILE: head_text(thing)}

    def places(self, repository: Repository) -> list[Path]:
        """Apart from results."""
        return [repository.results / "profiled"]

    def pages(self, things: Sequence[tuple[Path, Profiles]], repository: Repository) -> dict[Path, str]:
        """What the rows' time goes to."""
        return {repository.root / "docs" / "profiles.md": page([thing for _, thing in things])}
