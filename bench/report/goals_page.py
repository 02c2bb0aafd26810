"""``docs/goals.md``: what the tuned rows are to reach, and what published runs show of it.

Every figure is a paired ratio, ours over theirs (below 1 is faster), out of one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.judge import Group, group_of, judge, paired, ratio_of
from bench.limits import limits_of
from bench.records import competes
from bench.report import units
from bench.report.markdown import environment_line, table
from bench.report.words import about_end
from bench.stats import geometric_mean
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.judge import Judged
    from bench.limits import Limits
    from bench.records import Cell, Result
    from impls.contract import Task

TASKS: tuple[Task, ...] = ("forward", "train_step")

MEANS = {
    "jax/tuned": ("jax/nnx_split", 1.25),
    "thinc/tuned": ("thinc/layers", 1.25),
    "torch/tuned": ("torch/module", 1.10),
}
"""Each tuned row, the row it is held against in geometric mean over the default workloads, and how fast it is to be."""

BEFORE = {"jax/tuned": ("jax/nnx", "jax/nnx_split"), "thinc/tuned": ("thinc/layers",), "torch/tuned": ("torch/module",)}
"""What people write in each framework: no tuned row is to be SLOWER anywhere."""

BOUND_SHARE: Mapping[Task, float] = {"forward": 0.90, "train_step": 0.80}
THREADS = {1, 2}
LARGE = ("braun", "tutorial", "fastrnns")
"""Where a row is to reach that share of its framework's products."""

ENGINE, AHEAD_AT, WITHIN = "onnxruntime/lstm", "seed", 1.25
"""In forward the best row is to be ahead of the engine there, and elsewhere within so many times its time."""

NOT_MEASURED = "not measured"

HEADING = """# Goals

What the tuned rows are to reach, and what published runs show of it. Made by `python -m bench publish`. A cell is a
paired ratio, ours over theirs (below 1 is faster), with its 95 % interval and the verdict; **bold** is what misses its
goal. [profiles.md](profiles.md) shows what a call's time goes to.
"""

NONE = """
No run of all of these rows and workloads has been published yet:

```sh
python -m bench run --threads 1 2 --workload seed g2p latency braun tutorial fastrnns --budget 150m \\
  --impl torch/module torch/tuned jax/nnx jax/nnx_split jax/tuned thinc/layers thinc/tuned onnxruntime/lstm
```
"""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is to reach something: in words, and what it is about."""

    words: str
    reached: bool
    what: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table of goals and words; the first three columns say where."""

    heading: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str | Goal]]

    @property
    def goals(self) -> list[Goal]:
        """The goals in it."""
        return [cell for line in self.lines for cell in line if isinstance(cell, Goal)]

    def __str__(self) -> str:
        """In Markdown, bold what misses its goal."""
        return f"### {self.heading}\n\n" + table(self.columns, [list(map(_shown, line)) for line in self.lines], left=3)


def _shown(cell: str | Goal) -> str:
    if isinstance(cell, str):
        return cell
    return cell.words if cell.reached else f"**{cell.words}**"


@dataclass(frozen=True, slots=True)
class Report:
    """A run's cells, and how far each is from its limits."""

    result: Result
    cells: Mapping[tuple[Group, str], Judged]
    limits: Mapping[Cell, Limits]

    def groups(self, task: Task) -> dict[tuple[str, int, str], list[Group]]:
        """The groups of a task, those of one device and number of threads together, in the order of the workloads."""
        found: dict[tuple[str, int, str], list[Group]] = {}
        for group in dict.fromkeys(group for group, _ in self.cells if group.task == task):
            found.setdefault((group.device, group.threads, group.precision), []).append(group)
        order = list(WORKLOADS)
        return {
            where: sorted(own, key=lambda group: order.index(group.workload)) for where, own in sorted(found.items())
        }


def page(published: Sequence[Result]) -> str:
    """The page: of each run that has all that the goals speak of, what it shows; the latest first."""
    return HEADING + ("".join(_section(report_of(result)) for result in reversed(published) if shows(result)) or NONE)


def shows(result: Result) -> bool:
    """Whether the run has all rows, workloads and numbers of threads that the goals speak of, on the CPU."""
    rows = {ENGINE, *BEFORE, *(name for names in BEFORE.values() for name in names)}
    default = {name for name, workload in WORKLOADS.items() if "default" in workload.presets}
    plan, workloads = result.run.plan, set(result.run.workloads)
    measured = plan.device == "cpu" and set(plan.threads) >= THREADS and set(TASKS) <= set(plan.tasks)
    return measured and rows <= set(result.run.rows) and {*LARGE, *default} <= workloads


def report_of(result: Result) -> Report:
    """The run's cells, judged."""
    judged = judge(result.records, result.run.baseline)
    cells = {
        (group_of(cell), cell.implementation): one
        for cell, one in judged.items()
        if one.blocks and cell.workload in WORKLOADS
    }
    return Report(result, cells, limits_of(judged, result.run))


def _section(report: Report) -> str:
    run = report.result.run
    sections = [*(against(report, task) for task in TASKS), bounds(report), engine(report)]
    goals = [goal for section in sections for goal in section.goals]
    missed = [f"- {goal.what}: {goal.words}\n" for goal in goals if not goal.reached]
    summary = f"{len(goals) - len(missed)} of {len(goals)} goals are reached." + (
        f" Missed:\n\n{''.join(missed)}" if missed else "\n"
    )
    head = [
        f"\n## {run.environment.cpu}, {run.started_at[:10]}\n\n{environment_line(run.environment)}",
        f"`{run.command}`, {run.started_at}; {about_end(report.result)}",
    ]
    return "\n".join(["  \n".join(head) + "\n", summary, *map(str, sections)])


def against(report: Report, task: Task) -> Section:
    """Every tuned row against what people write, workload by workload, and its mean over the default workloads."""
    lines: list[list[str | Goal]] = []
    here = {group.workload for groups in report.groups(task).values() for group in groups}
    names = [name for name in WORKLOADS if name in here]
    for tuned, others in BEFORE.items():
        for other in others:
            for (device, threads, precision), groups in report.groups(task).items():
                where = units.place(device, threads, precision)
                what = f"{tuned} against {other}, {task} {where}"
                by_name = {group.workload: group for group in groups}
                cells = [_against(report, by_name.get(name), name, tuned, other, what) for name in names]
                lines.append([f"`{tuned}`", f"`{other}`", where, *cells, _mean(report, groups, tuned, other, what)])
    columns = ["row", "against", "where", *names, "mean of the default workloads"]
    return Section(f"{task}: the tuned rows against what people write", columns, lines)


def _against(report: Report, group: Group | None, name: str, tuned: str, other: str, what: str) -> Goal:
    ours, theirs = (report.cells.get((group, row)) if group else None for row in (tuned, other))
    ratio = ratio_of(ours, theirs) if ours and theirs else None
    if ratio is None:
        return Goal(NOT_MEASURED, False, f"{what}, {name}")
    return Goal(f"{units.interval(ratio)} {ratio.verdict or '–'}", ratio.verdict != "SLOWER", f"{what}, {name}")


def _mean(report: Report, groups: Sequence[Group], tuned: str, other: str, what: str) -> str | Goal:
    against, times = MEANS[tuned]
    default = [group for group in groups if "default" in WORKLOADS[group.workload].presets]
    pairs = [(report.cells.get((group, tuned)), report.cells.get((group, other))) for group in default]
    ratios = [list(paired(ours, theirs).values()) if ours and theirs else [] for ours, theirs in pairs]
    if not ratios or not all(ratios):
        return Goal(NOT_MEASURED, False, f"{what}, mean") if other == against else NOT_MEASURED
    mean = geometric_mean(ratios)
    words = f"{units.ratio(mean.estimate)} {units.between(mean.low, mean.high)}"
    if other != against:
        return words
    goal = 1 / times
    return Goal(f"{words}, goal {units.ratio(goal)}", mean.estimate <= goal, f"{what}, mean")


def bounds(report: Report) -> Section:
    """The share of its framework's bound that each tuned row reaches where products are large."""
    lines: list[list[str | Goal]] = []
    for tuned in BEFORE:
        for task in TASKS:
            for (device, threads, precision), groups in report.groups(task).items():
                where = units.place(device, threads, precision)
                by_name = {group.workload: group for group in groups}
                cells = [_share(report, by_name.get(name), tuned, f"{tuned}, {task} {where}, {name}") for name in LARGE]
                lines.append([f"`{tuned}`", task, where, *cells, units.percent(BOUND_SHARE[task])])
    return Section("The share of the framework's own products", ["row", "task", "where", *LARGE, "goal"], lines)


def _share(report: Report, group: Group | None, tuned: str, what: str) -> Goal:
    one = report.cells.get((group, tuned)) if group else None
    share = report.limits[one.cell].bound_share if one else None
    if one is None or share is None:
        return Goal(NOT_MEASURED, False, f"{what}, of the bound")
    words = f"{units.percent(share.estimate)} ({units.percents(share.low, share.high)})"
    return Goal(words, share.estimate >= BOUND_SHARE[one.cell.task], f"{what}, of the bound")


def engine(report: Report) -> Section:
    """The best of our rows against the engine, in forward."""
    lines: list[list[str | Goal]] = []
    for (device, threads, precision), groups in report.groups("forward").items():
        where = units.place(device, threads, precision)
        lines += [[where, group.workload, *_best(report, group, where)] for group in groups]
    return Section(f"forward: the best row against `{ENGINE}`", ["where", "workload", "row", "ratio"], lines)


def _best(report: Report, group: Group, where: str) -> Iterator[str | Goal]:
    theirs = report.cells.get((group, ENGINE))
    ours = [one for (of, name), one in report.cells.items() if of == group and name != ENGINE and competes(one.cell)]
    ratios = {one.cell.implementation: ratio for one in ours if theirs and (ratio := ratio_of(one, theirs))}
    if not ratios:
        yield from ("–", Goal(NOT_MEASURED, False, f"forward {where}, {group.workload}, against {ENGINE}"))
        return
    best = min(ratios, key=lambda name: ratios[name].estimate)
    ratio, goal = ratios[best], 1.0 if group.workload == AHEAD_AT else WITHIN
    yield f"`{best}`"
    yield Goal(
        f"{units.interval(ratio)} {ratio.verdict or '–'}, goal {units.ratio(goal)}",
        ratio.estimate <= goal,
        f"{best} against {ENGINE}, forward {where}, {group.workload}",
    )
