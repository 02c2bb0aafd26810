"""How soon a run decides with turns that follow from its first block: ``python -m studies.decided RESULT FOLDER``.

The result is a default run of this machine, whose turns did. A second run is made here that keeps the first block's
number of turns; all else is the same but what chance draws. Its own folder stays in ``results/local``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from bench.analysis.analysis import Analysis
from bench.cli.main import stderr
from bench.machine.describe import describe
from bench.measure.request import Options, check_request
from bench.measure.run import run
from bench.records.schema import Cell, Effort, Environment, Result, Struct
from bench.records.store import read_result
from bench.report.markdown import environment_line, table
from bench.report.progress import Progress
from impls.contract import InvalidInput
from studies.experiment import carry_out, save

RAW_FILE = "decided.json"
SHARES = (0.6, 0.75)
"""Of the ratios: how long until so many have a verdict is compared."""


class Course(Struct, frozen=True, kw_only=True):
    """How a run came to its verdicts, block by block."""

    started_at: str
    ratios: int
    """How many could have one."""
    done_s: list[float]
    """When each block was done, since the first began."""
    turns_s: list[float]
    """How long each block's turns took."""
    decided: list[int]
    """How many ratios had a verdict then."""
    efforts: list[Effort]
    """What followed from the first block."""

    def until_s(self, share: float) -> float | None:
        """When so large a share of the ratios was decided; None where it never was."""
        reached = (at_s for at_s, some in zip(self.done_s, self.decided, strict=True) if some >= share * self.ratios)
        return next(reached, None)


class Experiment(Struct, frozen=True, kw_only=True):
    """Two runs of one machine."""

    command: str
    environment: Environment
    followed: str
    """The result whose turns followed from its first block."""
    following: Course
    kept: Course


def course_of(result: Result) -> Course:
    """What the result's lines say of when each verdict came."""
    decided: list[int] = []
    verdicts: dict[Cell, str] = {}
    for block in result.blocks:
        verdicts |= {said.cell: said.verdict for said in result.said if said.block == block.block}
        decided.append(sum(verdict != "UNCLEAR" for verdict in verdicts.values()))
    return Course(
        started_at=result.run.started_at,
        ratios=sum(one.is_compared for one in Analysis(result).cells.values()),
        done_s=list(accumulate(one.elapsed_s for one in result.blocks)),
        turns_s=[one.phases_s.get("turns", 0.0) for one in result.blocks],
        decided=decided,
        efforts=result.efforts,
    )


def measure(result: Result) -> Experiment:
    """Make the second run: as long as the first.

    Raises:
        InvalidInput: the first is of another machine, is no whole default run, or its turns did not follow.
        SystemExit: the second was stopped.
    """
    here = describe()
    if result.run.environment.machine != here.machine:
        raise InvalidInput(f"{result.path}: was made on another machine; make one here, with `nox -s bench`")
    default = check_request(Options())
    if result.run.command != default.command or not result.whole or not result.efforts:
        raise InvalidInput(f"{result.path}: is no whole default run; make one with `nox -s bench`")
    command = f"python -m studies.decided results/{result.path.name} results/method"
    request = replace(default, budget=replace(default.budget, adapts=False), command=command)
    with run(request, lambda plan, begun: Progress(plan, begun, stderr())) as ended:
        second = read_result(default.out)
    if ended.stopped or not second.whole:
        raise SystemExit(ended.code or 1)
    courses = {"following": course_of(result), "kept": course_of(second)}
    return Experiment(command=command, environment=here, followed=result.path.name, **courses)


def report(experiment: Experiment) -> str:
    """The two courses, side by side, in Markdown."""
    ways = (experiment.following, experiment.kept)
    blocks = max(len(way.done_s) for way in ways)
    lines = [[f"{block + 1}", *(part for way in ways for part in _at(way, block))] for block in range(blocks)]
    shares = [
        [f"{100 * share:.0f} % decided after{of}", *(words(way, way.until_s(share)) for way in ways)]
        for of, words in (("", _minutes), (", in first blocks", _first_blocks))
        for share in SHARES
    ]
    groups = [
        [
            *(f"{one.workload} {one.task}", f"{100 * one.turn_sd:.1f} %", f"{one.round_s:.2f} s"),
            *(f"{one.around_s:.1f} s", f"{one.before}", f"{one.turns}"),
            f"{cost(one, one.turns) / cost(one, one.before):.2f}",
        ]
        for one in experiment.following.efforts
    ]
    process_sd = max((one.process_sd for one in experiment.following.efforts), default=0.0)
    return (
        "# What it is worth that turns follow from the first block\n\n"
        f"{environment_line(experiment.environment)}  \n`{experiment.command}`\n\n"
        f"Two default runs of this machine: `{experiment.followed}` ({experiment.following.started_at}), and one that"
        f" kept the first block's number of turns ({experiment.kept.started_at}). Minutes since the first block began."
        " It is one run each way: what chance alone makes two runs differ by is not in it."
        f" {_gain(experiment)} The first block is the same work in both, most of it compiling; its length says how fast"
        " the machine was then."
        f" The verdicts' times stand in `{RAW_FILE}`; the second run's samples are not saved here.\n\n"
        + table(["", "turns that follow", "turns that are kept"], shares)
        + "\n"
        + table(["block", *(f"{way}: {what}" for way in ("follow", "kept") for what in WHAT)], lines)
        + "\n## What was to be expected\n\n"
        f"By what the first block showed of each group, with {100 * process_sd:.1f} % for what processes differ by:"
        " the time that a ratio takes to become so precise, with turns that follow over those that are kept.\n\n"
        + table(["group", "noise of a turn", "of all rows", "around them", "turns kept", "that follow", "time"], groups)
    )


def _gain(experiment: Experiment) -> str:
    """Whether the run whose turns followed was the sooner one, in minutes."""
    never, sooner = float("inf"), []
    for share in SHARES:
        ours, theirs = (way.until_s(share) for way in (experiment.following, experiment.kept))
        if (never if ours is None else ours) < (never if theirs is None else theirs):
            sooner.append(f"{100 * share:.0f} %")
    if len(sooner) == len(SHARES):
        return "In minutes, turns that follow were sooner at both shares."
    return f"In minutes, turns that follow were sooner {'only at ' + sooner[0] if sooner else 'at neither share'}."


def cost(effort: Effort, turns: int) -> float:
    """The variance of a block's log ratio times its seconds, with so many turns: what a precision costs."""
    variance = effort.process_sd**2 + effort.turn_sd**2 / turns
    return variance * (effort.around_s + turns * effort.round_s)


WHAT = ("done after", "of it turns", "decided")


def _at(way: Course, block: int) -> list[str]:
    if block >= len(way.done_s):
        return ["–"] * len(WHAT)
    decided = f"{way.decided[block]} of {way.ratios}"
    return [_minutes(way, way.done_s[block]), f"{way.turns_s[block]:.0f} s", decided]


def _minutes(_: Course, seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / 60:.1f} min"


def _first_blocks(way: Course, seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds / way.done_s[0]:.2f}"


def table_of(of: Path, folder: Path) -> str:
    """Measure, or, with a folder that has the measurements, make the table again."""
    return save(folder / RAW_FILE, Experiment, lambda: measure(read_result(of)), report)


if __name__ == "__main__":
    sys.exit(carry_out(sys.argv, "studies.decided RESULT FOLDER", table_of))
