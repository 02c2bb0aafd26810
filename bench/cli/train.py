"""``bench train``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from bench.cli.drawing import draw
from bench.cli.main import SEVERAL, stderr, stdout
from bench.cli.run import show as show_run
from bench.here import as_typed, command, shown
from bench.records.atomic import write_atomic
from bench.report import trainings
from bench.report.progress import Progress as TurnsProgress
from bench.train.checkpoint import About
from bench.train.presets import PresetName
from bench.train.request import TrainRequest, check_resume, check_train
from bench.train.results import Trainings, read_trainings
from bench.train.run import Unwritable
from bench.train.run import train as carry_out
from bench.train.turns import rows_to_compare, take_turns
from bench.train.worker import Evaluated, Failed, News, Step
from bench.units import percent
from impls.contract import InvalidInput


def train(
    *,
    impl: Annotated[tuple[str, ...], SEVERAL] = (),
    target: str | None = None,
    seeds: str | None = None,
    budget: str | None = None,
    threads: str | None = None,
    preset: PresetName | None = None,
    out: Path | None = None,
    resume: Annotated[Path | None, Parameter(show_default=False)] = None,
) -> int:
    """Train rows on a real task, letters to phonemes, until they are right often enough, and compare their times.

    Minutes each, on the CPU; then the rows take turns at steps, which takes 20 more.

    Every row starts from the same weights and sees the same batches. A training may be interrupted, or killed, and goes
    on with --resume: bit for bit as if nothing had been, where it has one thread.

    Some examples:
      python -m bench train --preset smoke
      python -m bench train --impl torch/tuned jax/tuned --seeds 3
      python -m bench train --impl jax/tuned --target 12 --budget 30m
      python -m bench train --resume results/trainings/2026-01-31T12-00-00

    Parameters
    ----------
    impl
        Rows by name; all that are installed and can be trained if not given.
    target
        The phoneme error, in percent of the validation words' phonemes, at which a training ends; 10 if not given.
    seeds
        How often each row is trained, each time from other weights and with other batches; once if not
        given.
    budget
        The time that it may take, such as 90s, 30m or 2h; until all trainings have ended if not given.
    threads
        Number of threads; 1 if not given.
    preset
        default (if none is given), long (12,500 steps), stress (with stress marks), or smoke (a minute: a small model,
        too few steps to learn much).
    out
        Folder for the checkpoints, which must not exist yet; results/trainings/<time> if not given.
    resume
        Go on with the trainings in this folder; with --impl or --seeds, with more of them. Beside these, only --budget
        may be given.
    """
    console = stderr()
    if resume is not None:
        if any(own is not None for own in (target, threads, preset, out)):
            raise InvalidInput(
                "--resume goes on with what was set out to do; leave all but --budget, --impl, --seeds out"
            )
        request = check_resume(resume, budget, impl, seeds)
    else:
        request = check_train(
            impl=impl, target=target, seeds=seeds, budget=budget, threads=threads, preset=preset, out=out
        )
    began = time.monotonic()
    stopped, code, watching = "", 0, Watching(request, console)
    try:
        with watching:
            carry_out(request, watching)
    except KeyboardInterrupt as interrupt:
        stopped, code = str(interrupt) or "interrupted", 130
    except Unwritable as error:
        stopped, code = f"{error}: what was there before is kept; make room", 2
    if not request.folder.exists():  # nothing was begun
        console.print(f"bench: {stopped}")
        return code
    failed = watching.failed
    rows = rows_to_compare(request, failed)
    left_s = math.inf if request.budget_s is None else request.budget_s - (time.monotonic() - began)
    if rows and not stopped and left_s > 0:
        is_whole, stopped, code = _take_turns(request, rows, left_s, console)
    else:
        is_whole = not rows and not request.left
    found = read_trainings(request.folder)
    show(request, found, failed)
    if found.trained:
        draw(request.folder, console, partial(_write, found))
    again = command("train", "--resume", shown(request.folder))
    if stopped:
        console.print(f"{stopped}; go on with: {again}")
    elif not is_whole and (left_s <= 0 or not failed):
        console.print(f"the budget is spent; go on with: {again}")
    elif failed:
        console.print(f"to try again: {again}")
    console.print(f"trainings: {shown(request.folder)}")
    return code or (1 if failed else 0)


def _take_turns(request: TrainRequest, rows: Sequence[str], left_s: float, console: Console) -> tuple[bool, str, int]:
    """Let these rows take turns at steps, as far as they have not: whether that is done, what stopped it, exit code.

    Whatever happens there, the trainings are shown afterwards.
    """
    try:
        work = take_turns(request, rows, left_s, lambda plan, begun: TurnsProgress(plan, begun, console))
        if work is None:
            return True, "", 0
        console.print("the rows take turns at steps:")
        with work as ended:
            return not ended.stopped, ended.stopped, show_run(ended, console)
    except InvalidInput as error:
        return False, f"{error}", 2
    except KeyboardInterrupt as interrupt:
        return False, f"{interrupt}" or "interrupted", 130


def _write(found: Trainings) -> None:
    from bench.page.trainings import files_of  # imported late: what draws is large

    for name, text in files_of(found).items():
        write_atomic(found.path / name, text.encode())


def show(request: TrainRequest, found: Trainings, failed: Mapping[str, Failed]) -> None:
    """The tables of the trainings, as far as there is something in them."""
    about, words = [own for _, own in request.trainings], request.head.settings.batch_size
    tables = trainings.tables(found.outcomes, found.head.target, words, about, [*failed])
    for one in tables:
        stdout().print(as_typed(f"{one.title}:"))
        stdout().print(_drawn(one))
    stdout(soft_wrap=True).print(as_typed(trainings.legend(tables)))
    if len(tables) > 1:
        stdout(soft_wrap=True).print(trainings.sentence(found.outcomes, found.head.target, "this machine"))


def _drawn(own: trainings.Shown) -> Table:
    columns = (
        Column(name, justify="right" if place else "left", no_wrap=True) for place, name in enumerate(own.header)
    )
    drawn = Table(*columns, box=None, pad_edge=False)
    for line in own.lines:
        drawn.add_row(*line)
    return drawn


class Watching(Progress):
    """How far the trainings are, on standard error: a bar on a terminal, else a line an evaluation."""

    def __init__(self, request: TrainRequest, console: Console) -> None:
        super().__init__(
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._names = [about.name for _, about in request.trainings]
        self._total = request.head.settings.recipe.total_steps
        self._task = TaskID(0)
        self._error = "–"
        self._folder = request.folder
        self.failed: dict[str, Failed] = {}
        """By the checkpoint's name, why there is none."""

    def begins(self, about: About) -> None:
        """A training begins, or goes on."""
        self._error = percent(about.evaluations[-1].phoneme_error) if about.evaluations else "–"
        self._task = self.add_task("", total=self._total, completed=about.step, said="")
        begins = f"goes on after {about.step} steps" if about.step else "begins"
        self.console.print(f"{self._label(about)}: {begins}")

    def hears(self, about: About, news: News) -> None:
        """It has said something."""
        if isinstance(news, Step):
            said = f"loss {news.loss:.2f}, {self._error} wrong, {news.words_per_s:,.0f} words/s"
            self.update(self._task, completed=news.step, said=said)
        elif isinstance(news, Evaluated):
            self._error = percent(news.evaluation.phoneme_error)
            self.update(self._task, completed=news.evaluation.step)
            if not self.console.is_terminal:
                step = f"{news.evaluation.step} of at most {self._total} steps"
                self.console.print(f"{self._label(about)}: {step}, phonemes wrong {self._error}")
        elif isinstance(news, Failed):
            self.failed[about.name] = news
            said = f"{news.status}: {news.reason}; what it has said: {shown(self._folder)}/logs"
            self.console.print(f"{self._label(about)}: {said}")

    def stops(self, about: About) -> None:
        """Its process is told to end, and keeps what it has."""
        self.console.print(f"{self._label(about)}: is told to end, and keeps what it has")

    def ends(self, about: About) -> None:
        """Its process has ended."""
        self.remove_task(self._task)
        if about.ending:
            self.console.print(f"{self._label(about)}: target {about.ending} after {about.step} steps")

    def _label(self, about: About) -> str:
        return f"{1 + self._names.index(about.name)} of {len(self._names)}: {about.row} seed {about.seed}"
