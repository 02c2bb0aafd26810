"""How far a run has come, on standard error: the table on standard output can be piped.

On a terminal, a bar and the standing of every group, which sharpens from block to block; elsewhere a line a block, and
one wherever nothing was said for a while.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from bench import units
from bench.analysis.cells import analyse, control, in_order, ranks_of
from bench.analysis.verdict import MIN_BLOCKS
from bench.machine.facts import read_facts
from bench.machine.warnings import limiting
from bench.measure.runner import Listener
from bench.measure.stopping import after_s
from bench.measure.worker_environment import CHANGE_SPEED, left_out
from bench.records.schema import FAILURES, Block, Effort, Record
from bench.report.text import NAME, Part, Tables, in_cells
from bench.report.words import counted, label_of
from bench.units import duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

    from bench.analysis.cells import CellAnalysis
    from bench.measure.plan import Plan, PlannedGroup
    from bench.records.schema import Cell, Line, Result, Run

SILENCE_S = 25.0
"""So long at most nothing is said where there is no bar: who reads a log wants to know that all is well."""

LEAST_FIRST = ("tier", "median", "decided")
"""What is left out of the standing where there is little room, the least important first."""


class Progress:
    """What a run shows while it lasts."""

    def __init__(self, plan: Plan, result: Result, console: Console) -> None:
        """For a plan, and what the run has already."""
        self._plan, self._run, self._console = plan, result.run, console
        self._records = list(result.records)
        self._block = self._cells = self._done = 0
        self._label = ""
        self._began = self._printed_at = time.monotonic()
        self._doing_now, self._over = "", threading.Event()
        self._pulse = threading.Thread(target=self._still_there, daemon=True)
        self._bar = Bar(
            TextColumn("{task.fields[block]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=1, block="")
        # once a second: it shares the processors with what is measured
        self._live = Live(self._bar, console=console, transient=True, refresh_per_second=1)
        self.listener = Listener(block=self._begin, doing=self._doing, kept=self._kept)

    def __enter__(self) -> Progress:
        if names := [name for name in left_out(os.environ) if name.startswith(CHANGE_SPEED)]:
            self._print(f"workers have values of their own, or none, of: {', '.join(names)}")
        have = max((record.block for record in self._records), default=0)
        for line in (*limiting(read_facts(), self._run.plan.threads), *announced(self._run, self._plan, have)):
            self._print(line)
        if self._records:
            self._print(f"goes on: {len(self._records)} records of {counted(have, 'block')} are there already")
        if self._console.is_terminal:
            self._live.start()
        else:
            self._pulse.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()
        self._over.set()

    def say(self, what: str) -> None:
        """Show what goes on."""
        self._doing_now = what
        self._bar.update(self._task, description=what)

    def _print(self, what: RenderableType) -> None:
        self._console.print(what)
        self._printed_at = time.monotonic()

    def _still_there(self) -> None:
        """Say what goes on where nothing was said for a while."""
        while not self._over.wait(max(0.0, self._printed_at + SILENCE_S - time.monotonic())):
            if time.monotonic() - self._printed_at >= SILENCE_S:
                block = f"{self._label}, {self._done} of {self._cells} cells; " if self._block else ""
                self._print(f"{duration(time.monotonic() - self._began)}: {block}{self._doing_now}")

    def _begin(self, block: int, planned_groups: Sequence[PlannedGroup]) -> None:
        self._block, self._done = block, 0
        self._cells = sum(len(one.members) for one in planned_groups)
        self._label = label_in(self._plan, block, planned_groups)
        self._bar.reset(self._task, total=self._cells, block=self._label, description="")
        if not self._console.is_terminal and block == 1:
            compile_in_it = "" if planned_groups[0].group.device == "gpu" else "compile and "
            self._print(f"{self._label} begins: {self._cells} cells, which {compile_in_it}are checked in it")

    def _doing(self, planned: PlannedGroup | None, what: str) -> None:
        self.say(f"{planned.group.workload} {planned.group.task}: {what}" if planned else what)

    def _kept(self, lines: Sequence[Line]) -> None:
        new = [line for line in lines if isinstance(line, Record) and line.block]
        failed = {record.cell for record in self._records if record.status in FAILURES}
        for record in new:
            if record.status in FAILURES and record.cell not in failed:
                self._print(f"{record.cell}: {record.status.replace('_', ' ')}: {record.reason}")
        self._records += new
        self._done += len(new)
        self._bar.advance(self._task, len(new))
        blocks = [line for line in lines if isinstance(line, Block)]
        if not blocks:
            return
        cells = analyse(self._records, self._run.baseline).values()
        if self._console.is_terminal:
            self._live.update(Stack(live_summary(cells), self._bar))
        else:
            if self._block == 1:
                self._print(live_summary(cells))
            check = control(cells)
            doubt = "; the A/A control fails" if check is not None and check.trusted is False else ""
            self._print(f"{self._label} is done: {tally(cells)}{doubt}")
        efforts = [line for line in lines if isinstance(line, Effort)]
        if efforts:
            self._print(followed(efforts))
        if self._block == 1 and blocks[0].pool in (None, 0):
            said = after_the_first(self._plan, blocks[0], efforts, time.monotonic() - self._began)
            if said:
                self._print(said)


def label_in(plan: Plan, block: int, planned_groups: Sequence[PlannedGroup]) -> str:
    """What a block is called: with its pool where each pool has blocks of its own."""
    if not plan.budget.pool_by_pool or block > plan.budget.min_blocks or len(plan.pools) == 1:
        return f"block {block}"
    return f"pool {planned_groups[0].pool.number + 1} of {len(plan.pools)}, block {block}"


def announced(run: Run, plan: Plan, have: int = 0) -> Iterator[str]:
    """The plan, and what will be known when, as far as that can be told before more than ``have`` blocks are there."""
    facts, budget = run.plan, plan.budget
    least = counted(facts.min_blocks, "block")
    most = least if facts.max_blocks == facts.min_blocks else f"at least {least}"
    names = {name for pool in facts.pools for name in pool}
    bounds = names & set(run.bounds.values())
    limits = f" and {counted(len(bounds), 'matmul bound')}" if bounds else ""
    yield (
        f"plan: {len(names - bounds)} rows with the A/A control{limits} in {counted(len(facts.pools), 'pool')}, {most},"
        f" seed {facts.seed}, budget {duration(budget.total_s)}"
    )
    later_s = (facts.min_blocks_s - facts.first_block_s) / max(1, facts.min_blocks - 1)
    missing_s = facts.first_block_s + max(0, MIN_BLOCKS - have - 1) * later_s  # the next block is cold, whichever it is
    parts = [] if have else [f"the first table after about {duration(facts.first_block_s)}"]
    if facts.min_blocks >= MIN_BLOCKS:
        if have < MIN_BLOCKS:
            parts.append(f"verdicts from about {duration(missing_s)} on (block {MIN_BLOCKS})")
        parts.append(f"then a block every {duration(later_s)} for what is open, until nothing is or the time is spent")
    if parts:
        speed = "this machine's speed" if facts.device == "cpu" else "the speed of these processors and a large GPU"
        compiling = "; most of the first block is compiling, which all processors share" * (facts.device == "gpu")
        yield f"at {speed}: {'; '.join(parts)}{compiling}"
    if facts.min_blocks >= MIN_BLOCKS > have and missing_s > budget.total_s:
        goes_on = "it goes on until then" if budget.sure_blocks >= MIN_BLOCKS else "with fewer there is no verdict"
        yield f"the budget will hardly do for {MIN_BLOCKS} blocks: {goes_on}"


def in_full(run: Run, plan: Plan) -> Iterator[str]:
    """The plan as it is announced, who is in each pool and on what, and who is not timed for which reason."""
    yield from announced(run, plan)
    for pool in plan.pools:
        first = pool.entries[0]
        cells = {cell for entry in pool.entries for cell in entry.cells}
        workloads = [name for name in run.workloads if any(cell.workload == name for cell in cells)]
        tasks = [task for task in run.plan.tasks if any(cell.task == task for cell in cells)]
        where = f"{counted(pool.threads, 'thread')}, {first.precision}"
        yield f"pool {pool.number + 1} ({where}; {', '.join(tasks)} on {', '.join(workloads)}):"
        yield f"  {', '.join(entry.name for entry in pool.entries)}"
    skipped: dict[tuple[str, str], set[str]] = {}
    for record in plan.skipped:
        skipped.setdefault((record.cell.implementation, record.reason or ""), set()).add(record.cell.precision)
    for (name, reason), precisions in skipped.items():
        where = "" if len(precisions) == len(run.plan.precisions) else f" in {', '.join(sorted(precisions))}"
        yield f"not timed: {name}{where}: {reason}"


def after_the_first(plan: Plan, first: Block, efforts: Sequence[Effort], elapsed_s: float) -> str:
    """What follows from the first block: when there will be verdicts; nothing where none are planned."""
    budget = plan.budget
    if budget.min_blocks < MIN_BLOCKS:
        return ""
    verdicts_s = elapsed_s + (MIN_BLOCKS - 1) * after_s(first, efforts)
    words = f"block {MIN_BLOCKS}, and with it the first verdicts, after about {duration(verdicts_s)}"
    if verdicts_s <= budget.total_s:
        return words
    goes_on = "and it goes on until then, for fewer blocks have no verdict"
    then = goes_on if budget.sure_blocks >= MIN_BLOCKS else "so that there will be none"
    return f"{words}: beyond the budget of {duration(budget.total_s)}, {then}"


def followed(efforts: Sequence[Effort]) -> str:
    """The turns of each group from now on."""
    turns = ", ".join(f"{one.workload} {one.task} {one.before} → {one.turns}" for one in efforts)
    return f"turns of a group, in block {efforts[0].block} and from now on, by what they cost and gain: {turns}"


def live_summary(cells: Collection[CellAnalysis]) -> Tables[list[CellAnalysis]]:
    """The fastest row of each group, `1=` if others share its place; time, ratio, verdict, and how many are decided."""
    return Tables(
        parts=[Part(None, "group", in_order(cells))],
        columns=[NAME, "fastest so far", "tier", "median", "ratio", "verdict", "decided"],
        cells=partial(_cells, ranks_of(cells)),
        least_first=LEAST_FIRST,
        words=(NAME, "fastest so far", "tier", "verdict"),
        indent=0,
    )


def _cells(ranks: dict[Cell, str], timed: Sequence[CellAnalysis], _columns: Collection[str]) -> dict[str, Text]:
    best = timed[0]
    others = [one for one in timed if one.is_compared]
    words = {
        NAME: label_of(best.cell.group),
        "fastest so far": "1= " * (ranks.get(best.cell) == "1=") + best.cell.implementation,
        "tier": best.cell.tier,
        "median": units.seconds(best.median_s),
        "ratio": units.interval(best.ratio),
        "verdict": best.ratio.verdict or "–" if best.is_compared and best.ratio else "baseline",
        "decided": f"{sum(one.is_decided for one in others)} of {len(others)}",
    }
    return in_cells(words)


def tally(cells: Iterable[CellAnalysis]) -> str:
    """How many cells have which verdict, in words."""
    counts: Counter[str] = Counter(
        one.ratio.verdict or "no verdict yet" for one in cells if one.ratio and one.is_compared
    )
    order = ("FASTER", "SLOWER", "SAME", "UNCLEAR", "no verdict yet")
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no cell to compare"
