"""What ``bench train`` is asked for, checked: what stands in ``train.json``, and the trainings that come of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from bench.here import ROOT, shown
from bench.machine.code import code_of_harness
from bench.machine.describe import code_facts, describe
from bench.measure.request import choose_rows, command_of, free_folder, parse_budget, parse_threads
from bench.records.schema import CodeFacts, Environment, Struct
from bench.records.store import read_versioned
from bench.train.checkpoint import About, about_now
from bench.train.presets import PRESET, Preset, PresetName
from bench.workloads.task import Task, read_task
from impls import Row
from impls.contract import InvalidInput
from impls.training import find_trainable

HEAD_FILE = "train.json"
TRAININGS_FILE = "trainings.jsonl"
"""In a published folder: a line for each training, without its weights."""
SCHEMA_VERSION = 1

TRAININGS = ROOT / "results" / "trainings"
"""Where trainings go; git ignores it."""

MOST_SEEDS = 100

TRAINS = ("bench/train/worker.py",)
"""What carries a training out."""

SAME = ("machine", "python", "versions")
"""What of an environment has to be the same for a training to go on: with another, bits may differ."""


class Head(Struct, frozen=True, kw_only=True):
    """What was set out to do."""

    schema_version: int
    started_at: str
    command: str
    environment: Environment
    preset: PresetName
    settings: Preset
    """What the preset was."""
    trainer: str
    """SHA-256 of what trains: see ``code_of_harness``."""
    target: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    seeds: Annotated[dict[str, Annotated[int, msgspec.Meta(ge=1, le=MOST_SEEDS)]], msgspec.Meta(min_length=1)]
    """How often each row is trained; in the order in which they train."""
    threads: Annotated[int, msgspec.Meta(ge=1)]
    code: dict[str, CodeFacts]
    """Of each row's training."""

    @property
    def compares(self) -> bool:
        """Whether its rows take turns at steps afterwards."""
        return self.settings.workload is not None and len(self.seeds) > 1


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What is to be trained, and where."""

    head: Head
    rows: tuple[Row, ...]
    folder: Path
    task: Task
    budget_s: float | None
    """None: until all trainings have ended."""

    @property
    def left(self) -> list[About]:
        """The trainings that have not ended."""
        return [about for _, about in self.trainings if about_now(about, self.folder).ending is None]

    @property
    def trainings(self) -> list[tuple[Row, About]]:
        """All of them, in order: each row with a seed before the next seed."""
        config = self.head.settings.config(self.task.symbols)
        return [
            (
                row,
                About(
                    row=row.name,
                    seed=seed,
                    preset=self.head.preset,
                    target=self.head.target,
                    config=config,
                    phonemes=self.task.symbols.phonemes,
                ),
            )
            for seed in range(max(self.head.seeds.values()))
            for row in self.rows
            if seed < self.head.seeds[row.name]
        ]


def check_train(
    *,
    impl: Sequence[str],
    target: str | None,
    seeds: str | None,
    budget: str | None,
    threads: str | None,
    preset: PresetName | None,
    out: Path | None,
) -> TrainRequest:
    """What the words of a command line request.

    Raises:
        InvalidInput: a word means nothing here, or a row cannot be trained, or not here.
    """
    trainable = find_trainable()
    chosen = _chosen(impl) if impl else [row for row in trainable.values() if row.missing() is None]
    if not chosen:
        raise InvalidInput(f"no row that can be trained is installed: {', '.join(trainable)}")
    (number,) = parse_threads(["1" if threads is None else threads])
    given = {"target": target, "seeds": seeds, "threads": threads, "preset": preset}
    options = {name: [own] for name, own in given.items() if own is not None}
    preset = preset or "default"
    head = Head(
        schema_version=SCHEMA_VERSION,
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=command_of("train", impl=impl, **options),
        environment=describe(),
        preset=preset,
        settings=PRESET[preset],
        trainer=code_of_harness(files=TRAINS),
        target=_target("10" if target is None else target),
        seeds={row.name: _seeds("1" if seeds is None else seeds) for row in chosen},
        threads=number,
        code={row.name: code_facts(row, trained=True) for row in chosen},
    )
    budget_s = None if budget is None else parse_budget(budget)
    task = read_task(PRESET[preset].lengths, stress=PRESET[preset].stress)
    return TrainRequest(head, tuple(chosen), free_folder(out, TRAININGS), task, budget_s)


def check_resume(folder: Path, budget: str | None, impl: Sequence[str] = (), seeds: str | None = None) -> TrainRequest:
    """The trainings in the folder, and more of them where rows or seeds are given, if all is the same here and now.

    That is machine, versions, rows and, where trainings have not ended, what trains.

    Raises:
        InvalidInput: there are none, or they could not go on bit for bit: then the message says why.
    """
    head, rows = read_head(folder), _chosen(impl)
    known, here = find_trainable(), describe()

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"--resume {folder}: {why}; start new trainings")

    if (folder / TRAININGS_FILE).exists():
        raise refuse("is published, and has no checkpoints")
    for what in SAME:
        if getattr(head.environment, what) != getattr(here, what):
            raise refuse(f"{what} not the same")
    if head.settings != PRESET[head.preset]:
        raise refuse(f"the preset {head.preset} is not what it was")
    if more := _more(head, rows, seeds):
        options = {} if seeds is None else {"seeds": [seeds]}
        head = msgspec.structs.replace(
            head,
            command=f"{head.command}; {command_of('train', impl=impl, resume=['FOLDER'], **options)}",
            seeds=head.seeds | more,
            code={row.name: code_facts(row, trained=True) for row in rows} | head.code,
        )
    if head.threads > here.cores:
        raise refuse(f"has {head.threads} threads, and there are {here.cores} processors")
    for name, code in head.code.items():
        row = known.get(name)
        if row is None or (missing := row.missing()):
            raise refuse(f"{name}: {missing if row else 'can no longer be trained'}")
        if code_facts(row, trained=True) != code:
            raise refuse(f"{name} has changed since")
    if head.code.keys() != head.seeds.keys():
        raise refuse("its rows and those that have code are not the same")
    budget_s = None if budget is None else parse_budget(budget)
    task = read_task(head.settings.lengths, stress=head.settings.stress)
    request = TrainRequest(head, tuple(known[name] for name in head.seeds), folder.absolute(), task, budget_s)
    if head.trainer != code_of_harness(files=TRAINS) and request.left:
        raise refuse("what trains has changed since (bench/ as far as its worker imports it)")
    return request


def _more(head: Head, rows: Sequence[Row], seeds: str | None) -> dict[str, int]:
    """Of each row that is to have more seeds than it has, how many."""
    if not rows and seeds is None:
        return {}
    number = _seeds("1" if seeds is None else seeds)
    return {name: number for name in [row.name for row in rows] or head.seeds if number > head.seeds.get(name, 0)}


def _chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names; InvalidInput where one cannot be trained, or not here."""
    trainable = find_trainable()
    chosen = choose_rows(names) if names else []
    for row in chosen:
        if row.name not in trainable:
            raise InvalidInput(f"--impl {row.name}: has no training; choose from {', '.join(trainable)}")
        if missing := row.missing():
            raise InvalidInput(f"--impl {row.name}: {missing}; install it, or leave the row out")
    return chosen


def read_head(folder: Path) -> Head:
    """What was set out to do in the folder.

    Raises:
        InvalidInput: nothing was, or it is damaged, or of another version of this program.
    """
    path = folder / HEAD_FILE
    if not folder.is_dir():
        raise InvalidInput(f"{shown(folder)}: {'is a file, not a folder' if folder.exists() else 'no such folder'}")
    if not path.is_file():
        raise InvalidInput(f"{shown(folder)}: holds no trainings (it has no {HEAD_FILE})")
    return read_versioned(path, Head, SCHEMA_VERSION)


def _target(text: str) -> float:
    """The share that ``10`` or ``7.5`` percent is; InvalidInput where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise InvalidInput(f"--target {text}: must be a phoneme error in percent, above 0 and below 100, such as 10")
    return value / 100


def _seeds(text: str) -> int:
    """How many; InvalidInput where it is no such number."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_SEEDS:
        raise InvalidInput(f"--seeds {text}: must be a whole number from 1 to {MOST_SEEDS}")
    return int(text)
