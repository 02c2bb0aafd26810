"""``docs/profiles.md``: what each row's time goes to, made of published profiles."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bench import units
from bench.profiling.profile_words import NAMES, doubts
from bench.report import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.profiling.profiles import Category, Profile, Profiles

WORDS = """# Profiles

What share of a call is matrix products, what elementwise operations, what neither? Made by `python -m bench publish` of
what `python -m bench profile` measured; [definitions.md](definitions.md#profiles) says what each column means.
"""

NONE = """
Nothing has been published yet. On a machine that is at rest, with all frameworks installed and the code committed:

```sh
python -m bench profile --workload seed g2p latency braun tutorial fastrnns  # every idiomatic and tuned row; an hour
python -m bench publish results/profiles/2026-01-31T12-00-00  # the folder that it names; makes this page anew
```
"""

COLUMNS: tuple[Category, ...] = ("product", "elementwise", "movement", "fused", "other", "overhead")


def page(published: Sequence[Profiles]) -> str:
    """The page: a table for each workload and task, latest profiles first."""
    return WORDS + ("".join(map(_section, reversed(published))) or NONE)


def _section(found: Profiles) -> str:
    parts = [
        f"\n## {found.environment.cpu}, {found.started_at[:10]}\n",
        f"{markdown.environment_line(found.environment)}; `{found.command}`, {found.started_at}.\n",
    ]
    notes: dict[str, list[str]] = {}
    worked = [profile for profile in found.profiles if profile.status == "ok"]
    with_profiler = [profile for profile in worked if profile.profiler]
    ordered = sorted(worked, key=lambda own: (list(found.shapes).index(own.workload), own.task))
    columns = columns_of(with_profiler)
    for (workload, task, threads), members in groupby(ordered, key=lambda own: (own.workload, own.task, own.threads)):
        lines = []
        for own in members:
            marks = ""
            for doubt in doubts(own):
                notes.setdefault(doubt, [])
                marks += f" ({list(notes).index(doubt) + 1})"
            lines.append([f"`{own.implementation}`{marks}", *shares(own, columns)])
        parts.append(f"**{workload}**: {found.shapes[workload]}\n")
        parts.append(markdown.table([f"{task} {units.place('cpu', threads)}", *header(columns)], lines))
    parts += [f"({number}) {doubt}.  " for number, doubt in enumerate(notes, 1)]
    without = dict.fromkeys(own.framework for own in worked if not own.profiler)
    if without:
        parts.append(f"There is no profiler for {', '.join(without)}: call times alone are known.\n")
    sayings = {own.framework: own.profiler for own in with_profiler}
    parts.append("".join(f"- {framework}: {saying}.\n" for framework, saying in sayings.items()))
    return "\n".join(parts)


def columns_of(profiles: Sequence[Profile]) -> list[Category]:
    """The categories that any of them has time in, and overhead."""
    return [one for one in COLUMNS if any(own.categories_s[one] for own in profiles) or one == "overhead"]


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
    told = [one for one in columns if found[one] != 0 and not (one == "overhead" and own.scale < 1)]
    return [
        units.seconds(own.call_s),
        *(units.percent(found[one]) if one in told else "–" for one in columns),
        units.ratio(own.slowdown),
    ]
