"""What the tuned rows and the default run are to reach, and what runs show of it: ``python -m studies.goals``.

Every figure is a paired ratio, ours over theirs (below 1 is faster), out of one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import units
from bench.analysis.analysis import Analysis
from bench.analysis.cells import CellAnalysis, paired, ratio_of
from bench.analysis.roofline import Roofline
from bench.analysis.stats import geometric_mean
from bench.cli.publish import OURS
from bench.here import ROOT
from bench.profiling.profiles import Profiles
from bench.profiling.report import PublishedProfiles, columns_of, header, shares
from bench.publish.runs import Runs
from bench.records.atomic import write_atomic
from bench.records.schema import Cell, Group, Result
from bench.report.markdown import environment_line, table
from bench.report.words import about_end
from bench.workloads.shapes import WORKLOADS
from impls.tasks import AnyTask
from studies import promise

PAGE = ROOT / "studies" / "goals.md"

TASKS: tuple[AnyTask, ...] = ("forward", "train_step")

MEANS = {
    "jax/tuned": ("jax/nnx_split", 1.25),
    "thinc/tuned": ("thinc/layers", 1.25),
    "torch/tuned": ("torch/module", 1.10),
}
"""Each tuned row, the row it is held against in geometric mean over the default workloads, and how fast it is to be."""

BEFORE = {"jax/tuned": ("jax/nnx", "jax/nnx_split"), "thinc/tuned": ("thinc/layers",), "torch/tuned": ("torch/module",)}
"""What people write in each framework: no tuned row is to be SLOWER anywhere."""

BOUND_SHARE: Mapping[AnyTask, float] = {"forward": 0.90, "train_step": 0.80}
THREADS = {1, 2}
LARGE = ("braun", "tutorial", "fastrnns")
"""Where a row is to reach that share of its framework's products."""

ENGINE, AHEAD_AT, WITHIN = "onnxruntime/lstm", "seed", 1.25
"""In forward the best row is to be ahead of the engine there, and elsewhere within so many times its time."""

NOT_MEASURED = "not measured"

HEADING = """# Goals

What the tuned rows are to reach, and at the end how soon the default run is to decide, with what published runs show
of it. Made by `python -m studies.goals`. A cell is a paired ratio, ours over theirs (below 1 is faster), with its 95 %
interval and the verdict; **bold** is what misses its goal. Where the time of those goes stands below them, as far as it
was profiled on such a processor ([profiles.md](../docs/profiles.md) has the rest); [what_holds.md](what_holds.md) says
in words what holds each row.
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
    cells: tuple[Cell, ...] = ()
    """Our cells that it speaks of."""
    verdict: str | None = None
    """Of the ratio, where it is one of one workload."""


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
    cells: Mapping[tuple[Group, str], CellAnalysis]
    limits: Mapping[Cell, Roofline]

    def groups(self, task: AnyTask) -> dict[str, dict[str, Group]]:
        """The groups of a task, by where they were measured and by workload."""
        found: dict[str, dict[str, Group]] = {}
        own, order = {group for group, _ in self.cells if group.task == task}, list(WORKLOADS)
        for group in sorted(own, key=lambda one: (one.device, one.threads, one.precision, order.index(one.workload))):
            where = units.place(group.device, group.threads, group.precision)
            found.setdefault(where, {})[group.workload] = group
        return found


def page(published: Sequence[Result], profiled: Sequence[Profiles]) -> str:
    """The page: of each run that has all that the goals speak of, what it shows; the latest first.

    Beside what misses its goal stands what its calls do, by the latest profile of the same cell on such a processor.
    """
    sections = (_section(report_of(result), profiled) for result in reversed(published) if shows(result))
    return HEADING + ("".join(sections) or NONE) + promise.section(published)


def shows(result: Result) -> bool:
    """Whether the run has all rows, workloads and numbers of threads that the goals speak of, on the CPU."""
    rows = {ENGINE, *BEFORE, *(name for names in BEFORE.values() for name in names)}
    default = {name for name, workload in WORKLOADS.items() if "default" in workload.presets}
    plan, workloads = result.run.plan, set(result.run.workloads)
    measured = plan.device == "cpu" and set(plan.threads) >= THREADS and set(TASKS) <= set(plan.tasks)
    return measured and rows <= set(result.run.rows) and {*LARGE, *default} <= workloads


def report_of(result: Result) -> Report:
    """The run's cells, analysed."""
    analysis = Analysis(result)
    cells = {
        (cell.group, cell.implementation): one
        for cell, one in analysis.cells.items()
        if one.blocks and cell.workload in WORKLOADS
    }
    return Report(result, cells, analysis.limits)


def _section(report: Report, profiled: Sequence[Profiles]) -> str:
    run = report.result.run
    sections = [*(against(report, task) for task in TASKS), bounds(report), engine(report)]
    goals = [goal for section in sections for goal in section.goals]
    missed = [goal for goal in goals if not goal.reached]
    undecided = sum(goal.reached and goal.verdict == "UNCLEAR" for goal in goals)
    summary = f"{len(goals) - len(missed)} of {len(goals)} goals are reached"
    summary += f", {undecided} of them by a ratio whose verdict is UNCLEAR." if undecided else "."
    summary += " Missed:\n\n" if missed else "\n"
    summary += "".join(f"- {goal.what}: {goal.words}\n" for goal in missed)
    held = _held(missed, [found for found in profiled if found.environment.cpu == run.environment.cpu])
    head = [
        f"\n## {run.environment.cpu}, {run.started_at[:10]}\n\n{environment_line(run.environment)}",
        f"`{run.command}`, {run.started_at}; {about_end(report.result)}",
    ]
    return "\n".join(["  \n".join(head) + "\n", summary, *held, *map(str, sections)])


def _held(missed: Sequence[Goal], profiled: Sequence[Profiles]) -> list[str]:
    """What the calls do that miss a goal, as far as they were profiled."""
    found = {
        Cell(**{name: getattr(own, name) for name in Cell.__struct_fields__}): (own, of)
        for of in profiled
        for own in of.profiles
        if own.status == "ok" and own.profiler
    }
    order = list(WORKLOADS)
    cells = sorted(
        {cell for goal in missed for cell in goal.cells},
        key=lambda cell: (cell.implementation, cell.task, cell.threads, order.index(cell.workload)),
    )
    held = [found[cell] for cell in cells if cell in found]
    if not held:
        return []
    columns = columns_of([own for own, _ in held])
    commits = dict.fromkeys(str(of.environment.git_commit)[:12] for _, of in held)
    unknown = [" ".join(_place(cell)) for cell in cells if cell not in found]
    return [
        f"### What the calls do that miss a goal\n\nProfiles of commit {', '.join(commits)}.\n",
        table(
            ["row", "task", "where", "workload", *header(columns)],
            [[*_place(own), *shares(own, columns)] for own, _ in held],
            left=4,
        ),
        *([f"Not profiled: {', '.join(unknown)}.\n"] if unknown else []),
    ]


def _place(cell: Cell) -> list[str]:
    where = units.place(cell.device, cell.threads, cell.precision)
    return [f"`{cell.implementation}`", cell.task, where, cell.workload]


def against(report: Report, task: AnyTask) -> Section:
    """Every tuned row against what people write, workload by workload, and its mean over the default workloads."""
    lines: list[list[str | Goal]] = []
    names = [name for name in WORKLOADS if any(name in groups for groups in report.groups(task).values())]
    for tuned, others in BEFORE.items():
        for other in others:
            for where, groups in report.groups(task).items():
                what = f"{tuned} against {other}, {task} {where}"
                cells = [_against(report, groups.get(name), name, tuned, other, what) for name in names]
                lines.append([f"`{tuned}`", f"`{other}`", where, *cells, _mean(report, groups, tuned, other, what)])
    columns = ["row", "against", "where", *names, "mean of the default workloads"]
    return Section(f"{task}: the tuned rows against what people write", columns, lines)


def _against(report: Report, group: Group | None, name: str, tuned: str, other: str, what: str) -> Goal:
    ours, theirs = (report.cells.get((group, row)) if group else None for row in (tuned, other))
    ratio = ratio_of(ours, theirs) if ours and theirs else None
    if ours is None or ratio is None:
        return Goal(NOT_MEASURED, False, f"{what}, {name}")
    words = f"{units.interval(ratio)} {ratio.verdict or '–'}"
    return Goal(words, ratio.verdict != "SLOWER", f"{what}, {name}", (ours.cell,), ratio.verdict)


def _mean(report: Report, groups: Mapping[str, Group], tuned: str, other: str, what: str) -> str | Goal:
    against, times = MEANS[tuned]
    default = [group for name, group in groups.items() if "default" in WORKLOADS[name].presets]
    pairs = [(report.cells.get((group, tuned)), report.cells.get((group, other))) for group in default]
    ratios = [list(paired(ours, theirs).values()) if ours and theirs else [] for ours, theirs in pairs]
    if not ratios or not all(ratios):
        return Goal(NOT_MEASURED, False, f"{what}, mean") if other == against else NOT_MEASURED
    mean = geometric_mean(ratios)
    words = f"{units.ratio(mean.estimate)} {units.between(mean.low, mean.high)}"
    if other != against:
        return words
    goal = 1 / times
    cells = tuple(ours.cell for ours, _ in pairs if ours)
    return Goal(f"{words}, goal {units.ratio(goal)}", mean.estimate <= goal, f"{what}, mean", cells)


def bounds(report: Report) -> Section:
    """The share of its framework's bound that each tuned row reaches where products are large."""
    lines: list[list[str | Goal]] = []
    for tuned in BEFORE:
        for task in TASKS:
            for where, groups in report.groups(task).items():
                cells = [_share(report, groups.get(name), tuned, f"{tuned}, {task} {where}, {name}") for name in LARGE]
                lines.append([f"`{tuned}`", task, where, *cells, units.percent(BOUND_SHARE[task])])
    return Section("The share of the framework's own products", ["row", "task", "where", *LARGE, "goal"], lines)


def _share(report: Report, group: Group | None, tuned: str, what: str) -> Goal:
    one = report.cells.get((group, tuned)) if group else None
    share = report.limits[one.cell].bound_share if one else None
    if one is None or share is None:
        return Goal(NOT_MEASURED, False, f"{what}, of the bound")
    goal = BOUND_SHARE[one.cell.task]
    is_close = share.estimate < goal and units.percent(share.estimate) == units.percent(goal)
    estimate = f"{100 * share.estimate:.1f} %" if is_close else units.percent(share.estimate)
    words = f"{estimate} ({units.percents(share.low, share.high)})"
    return Goal(words, share.estimate >= goal, f"{what}, of the bound", (one.cell,))


def engine(report: Report) -> Section:
    """The best of our rows against the engine, in forward."""
    lines: list[list[str | Goal]] = []
    for where, groups in report.groups("forward").items():
        lines += [[where, name, *_best(report, group, where)] for name, group in groups.items()]
    return Section(f"forward: the best row against `{ENGINE}`", ["where", "workload", "row", "ratio"], lines)


def _best(report: Report, group: Group, where: str) -> Iterator[str | Goal]:
    theirs = report.cells.get((group, ENGINE))
    ours = [
        one for (of, name), one in report.cells.items() if of == group and name != ENGINE and one.cell.role == "row"
    ]
    ratios = {one.cell: ratio for one in ours if theirs and (ratio := ratio_of(one, theirs))}
    if not ratios:
        yield from ("–", Goal(NOT_MEASURED, False, f"forward {where}, {group.workload}, against {ENGINE}"))
        return
    best = min(ratios, key=lambda cell: ratios[cell].estimate)
    ratio, goal = ratios[best], 1.0 if group.workload == AHEAD_AT else WITHIN
    yield f"`{best.implementation}`"
    yield Goal(
        f"{units.interval(ratio)} {ratio.verdict or '–'}, goal {units.ratio(goal)}",
        ratio.estimate <= goal,
        f"{best.implementation} against {ENGINE}, forward {where}, {group.workload}",
        (best,),
        ratio.verdict,
    )


def made() -> str:
    """The page of what is published."""
    runs = next(kind for kind in OURS.kinds if isinstance(kind, Runs)).published(OURS.repository)
    profiled = PublishedProfiles().published(OURS.repository)
    return page([analysis.result for _, analysis in runs], [profiles for _, profiles in profiled])


if __name__ == "__main__":
    write_atomic(PAGE, made().encode())
