"""How far a run has come, on standard error: the table on standard output can be piped.

On a terminal, a bar and the standing of every group, which sharpens from block to block; elsewhere a line a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from bench.judge import control, judge
from bench.records import FAILURES, Block, Record, cell_of
from bench.report.standing import standing, tally
from bench.report.units import duration
from bench.rule import MIN_BLOCKS
from bench.runner import Listener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bench.plan import Plan, Sitting
    from bench.records import Line, Result


class Progress:
    """What a run shows while it lasts."""

    def __init__(self, plan: Plan, result: Result, console: Console) -> None:
        """For a plan, and what the run has already."""
        self._plan, self._run, self._console = plan, result.run, console
        self._records = list(result.records)
        self._block = 0
        self._bar = Bar(
            TextColumn("{task.fields[block]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=1, block="")
        self._live = Live(
            self._bar,
            console=console,
            transient=True,
            refresh_per_second=1,  # it shares the processors with what is measured
        )
        self.listener = Listener(block=self._begin, doing=self._doing, kept=self._kept)

    def __enter__(self) -> Progress:
        plan = self._run.plan
        blocks = f"{plan.min_blocks} block{'s' * (plan.min_blocks != 1)}"
        most = blocks if plan.max_blocks == plan.min_blocks else f"at least {blocks}"
        bounds = {name for table in plan.tables for name in table} & set(self._run.bounds.values())
        rows = len({name for table in plan.tables for name in table} - bounds)
        limits = f" and {len(bounds)} bound{'s' * (len(bounds) != 1)}" if bounds else ""
        self._console.print(
            f"plan: {rows} rows with the control{limits} at {len(plan.tables)} table{'s' * (len(plan.tables) != 1)},"
            f" {most}, seed {plan.seed}; first table after about {duration(plan.first_block_s)},"
            f" {blocks} after about {duration(plan.min_blocks_s)},"
            f" budget {duration(self._plan.budget.total_s)}"
        )
        have = max((record.block for record in self._records), default=0)
        missing_s = (MIN_BLOCKS - have) / plan.min_blocks * plan.min_blocks_s
        if plan.min_blocks >= MIN_BLOCKS and missing_s > self._plan.budget.total_s:
            self._console.print(f"the budget will hardly do for {MIN_BLOCKS} blocks: with fewer there is no verdict")
        if self._records:
            self._console.print(
                f"goes on: {len(self._records)} records of {have} block{'s' * (have != 1)} are there already"
            )
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def say(self, what: str) -> None:
        """Show what goes on."""
        self._bar.update(self._task, description=what)

    def _begin(self, block: int, sittings: Sequence[Sitting]) -> None:
        self._block = block
        cells = sum(len(one.members) for one in sittings)
        self._bar.reset(self._task, total=cells, block=f"block {block}", description="")
        if not self._console.is_terminal and block == 1:
            self._console.print(f"block 1 begins: {cells} cells, which compile and are checked in it")

    def _doing(self, sitting: Sitting | None, what: str) -> None:
        self.say(f"{sitting.group.workload} {sitting.group.task}: {what}" if sitting else what)

    def _kept(self, lines: Sequence[Line]) -> None:
        new = [line for line in lines if isinstance(line, Record) and line.block]
        failed = {cell_of(record) for record in self._records if record.status in FAILURES}
        for record in new:
            if record.status in FAILURES and cell_of(record) not in failed:
                what = f"{record.implementation} {record.workload} {record.task}"
                self._console.print(f"{what}: {record.status.replace('_', ' ')}: {record.reason}")
        self._records += new
        self._bar.advance(self._task, len(new))
        if not any(isinstance(line, Block) for line in lines):
            return
        judged = judge(self._records, self._run.baseline)
        if self._console.is_terminal:
            self._live.update(Stack(standing(judged.values()), self._bar))
            return
        if self._block == 1:
            self._console.print(standing(judged.values()))
        check = control(judged.values())
        doubt = "; the control fails" if check is not None and check.trusted is False else ""
        self._console.print(f"block {self._block} is done: {tally(judged.values())}{doubt}")
