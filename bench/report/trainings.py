"""Trainings in words and tables: the time to the target, what it is made of, and each training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import units
from bench.report.words import counted
from bench.train.outcome import LEAST_SEEDS, STEPS_MARGIN, first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.train.checkpoint import About, History
    from bench.train.outcome import Outcome, Over


@dataclass(frozen=True, slots=True)
class Shown:
    """A table: its title, its columns, and its lines."""

    title: str
    header: tuple[str, ...]
    lines: list[list[str]]


def tables(
    found: Sequence[Outcome], target: float, words: int, about: Sequence[About], failed: Sequence[str] = ()
) -> list[Shown]:
    """All that there is something in; ``words`` in a step, ``about`` all trainings that were set out for."""
    there = [one for own in found for one in own.trained.values()]
    shown = [each(about, there, failed)]
    if any(one.steps for one in found):
        of_a_step = [a_step(found, words)] if any(one.pace for one in found) else []
        shown = [times(found, target), steps(found), *of_a_step, *shown]
    return shown


def legend(shown: Sequence[Shown]) -> str:
    """What the columns of these tables are."""
    return " ".join([LEGEND, *([OF_TIMES] if len(shown) > 1 else [])])


def times(found: Sequence[Outcome], target: float) -> Shown:
    """The time to the target of each row, fastest first; those without one last."""
    lines = []
    for one in sorted(found, key=lambda own: own.time.estimate if own.time else float("inf")):
        time = one.time
        lines.append(
            [
                one.row,
                f"{len(one.steps)} of {len(one.trained)}",
                units.duration(time.estimate) if time else "–",
                _durations(time),
                *_ratio(one.time_ratio, one.time_verdict, one, found),
                units.percent(one.compile_share),
            ]
        )
    header = ("row", "reached", "time", "95 %", "ratio", "95 %", "verdict", "compiling")
    return Shown(f"Time to {units.percent(target)} of the phonemes wrong", header, lines)


def steps(found: Sequence[Outcome]) -> Shown:
    """The first factor: how many steps."""
    lines = []
    for one in found:
        numbers = sorted(one.steps.values())
        said = "–" if not numbers else f"{numbers[0]:,}" + f" to {numbers[-1]:,}" * (numbers[-1] > numbers[0])
        lines.append([one.row, said, *_ratio(one.steps_ratio, one.steps_verdict, one, found)])
    return Shown("Steps", ("row", "steps", "ratio", "95 %", "verdict"), lines)


def a_step(found: Sequence[Outcome], words: int) -> Shown:
    """The second factor: the time of a step, of so many words."""
    lines = []
    for one in found:
        if (pace := one.pace) is None:
            continue
        low, high = pace.interval
        ratio, is_first = pace.ratio, _place(one, found)
        lines.append(
            [
                one.row,
                units.seconds(pace.step_s),
                units.percent((high - low) / 2 / pace.step_s),
                units.ratio(ratio.estimate if ratio else None),
                units.between(ratio.low, ratio.high) if ratio else "–",
                (ratio.verdict if ratio else None) or is_first,
                f"{words / pace.step_s:,.0f}",
                units.size(pace.peak_bytes),
            ]
        )
    header = ("row", "a step", "±", "ratio", "95 %", "verdict", "words/s", "memory")
    return Shown("A step", header, lines)


def each(about: Sequence[About], trained: Sequence[History], failed: Sequence[str] = ()) -> Shown:
    """What has become of each training; of one that has no steps, that it failed, or has not begun."""
    there = {one.about.name: one for one in trained}
    lines = []
    for own in about:
        one = there.get(own.name)
        if one is None:
            lines.append([own.row, str(own.seed), "failed" if own.name in failed else "not begun", *"–––––"])
            continue
        own, last = one.about, one.about.evaluations[-1] if one.about.evaluations else None
        lines.append(
            [
                own.row,
                str(own.seed),
                "failed" if own.name in failed else own.ending or "not yet",
                f"{own.step:,}",
                wrong(last.phoneme_error if last else None),
                wrong(own.test.phoneme_error if own.test else None),
                wrong(own.test.word_error if own.test else None),
                units.duration(one.train_s) if own.ending == "reached" else "–",
            ]
        )
    header = ("row", "seed", "target", "steps", "validation", "test", "words", "clock")
    return Shown("Each training", header, lines)


LEGEND = (
    "Validation, test: phonemes wrong, by greedy decoding; words: test words wrong. Clock: all steps of a training that"
    " has reached its target, alone, which compares nothing: rows train one after the other."
)

OF_TIMES = (
    "Time: steps times the time of a step, and compiling; evaluations stand outside. The time of a step comes from"
    " turns at it, steps from the trainings; ratios are to the first at the target, over the seeds that both have."
    " 95 %: Student's interval over seeds and that of the turns, together. Verdicts have a stricter one: all of a"
    f" table together err once in 20; there is none below {LEAST_SEEDS} seeds. Steps are the SAME within"
    f" {100 * STEPS_MARGIN:.0f} %."
)


def wrong(share: float | None) -> str:
    """``28.8 %``: an error rate; a dash for nothing."""
    return "–" if share is None else f"{100 * share:.1f} %"


def sentence(found: Sequence[Outcome], target: float, where: str) -> str:
    """Who gets there first, and how sure that is."""
    until = f"To {units.percent(target)} of the phonemes wrong"
    if not claims(found):
        return f"{until}, nothing is claimed on {where}: no row has {LEAST_SEEDS} seeds and turns."
    leader = first(found)
    time, others = leader.time, [one for one in found if one is not leader]
    assert time is not None
    said = [
        f"{until}, {leader.row} is the first on {where}: {units.duration(time.estimate)} {_durations(time)} over"
        f" {counted(time.seeds, 'seed')}"
    ]
    said += [
        f"{one.row} takes {_in_words(one.time_ratio)} as long ({one.time_verdict})"
        for one in others
        if one.time_ratio and one.time_verdict
    ]
    if rest := sum(one.time_verdict is None for one in others):
        said.append(f"of {counted(rest, 'row')} with fewer seeds, or misses, nothing is claimed")
    return "; ".join(said) + "."


def claims(found: Sequence[Outcome]) -> bool:
    """Whether it may be said of a row that it is the first: it has seeds enough, has missed none, and took turns."""
    return any(one.pace and len(one.steps) >= LEAST_SEEDS and not one.missed for one in found)


def _ratio(over: Over | None, verdict: str | None, one: Outcome, among: Sequence[Outcome]) -> list[str]:
    if over is None:
        return ["–", "–", _place(one, among)]
    interval = units.between(*over.interval) if over.interval else "–"
    return [units.ratio(over.estimate), interval, verdict or "–"]


def _place(one: Outcome, among: Sequence[Outcome]) -> str:
    return "first" if len(among) > 1 and one is first(among) else "–"


def _durations(over: Over | None) -> str:
    if over is None or over.interval is None:
        return "–"
    return f"[{units.duration(over.interval.low)}, {units.duration(over.interval.high)}]"


def _in_words(over: Over) -> str:
    return (
        f"{units.ratio(over.estimate)} {units.between(*over.interval)}" if over.interval else units.ratio(over.estimate)
    )
