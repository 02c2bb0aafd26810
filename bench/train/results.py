"""The trainings of a folder with their turns: as `bench train` leaves them, or as they are published, without weights.

A published folder has ``train.json``, a line for each training in ``trainings.jsonl``, the turns, and the net that was
the best when it was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.analysis import Analysis
from bench.here import shown
from bench.records.schema import Struct
from bench.records.store import decode, record_line
from bench.train.checkpoint import SUFFIX, About, History, read_history
from bench.train.outcome import Outcome, outcomes
from bench.train.request import TRAININGS_FILE, Head, read_head
from bench.train.turns import read_turns
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOSS_DIGITS, TIME_DIGITS = 9, 6
"""Of a loss that are kept: as many as tell float32 numbers apart. Of a time, behind the point of a second."""


class Line(Struct, frozen=True, kw_only=True):
    """A training as it is published."""

    about: About
    losses: list[float]
    step_s: list[float]
    first: list[int]
    """The steps, counted from 0, that were their process's first of their shape."""


@dataclass(frozen=True)
class Trainings:
    """A folder of trainings, read."""

    path: Path
    head: Head
    trained: list[History]
    """In the order in which they were made."""
    turns: Analysis | None
    """What its rows have taken, or some of them."""

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What came of each row."""
        return outcomes(self.trained, self.turns, self.head.settings.evaluate_every)


def read_trainings(folder: Path) -> Trainings:
    """What is in a folder of `bench train`, or in a published one.

    Raises:
        InvalidInput: there is none, or it is damaged.
    """
    head = read_head(folder)
    path = folder / TRAININGS_FILE
    if path.exists():
        trained = [_history(line, f"{shown(path)}:{number}") for number, line in enumerate(_lines(path), 1)]
    else:
        trained = [read_history(own) for own in folder.glob(f"*{SUFFIX}")]
    order = {row: place for place, row in enumerate(head.seeds)}
    if strange := sorted({one.about.row for one in trained} - order.keys()):
        raise InvalidInput(f"{shown(folder)}: has a training of {strange[0]}, which it did not set out to train")
    trained.sort(key=lambda one: (one.about.seed, order[one.about.row]))
    turns = read_turns(folder, order)
    return Trainings(folder, head, trained, Analysis(turns) if turns else None)


def lines_of(trained: Iterable[History]) -> bytes:
    """What stands in ``trainings.jsonl``."""
    return b"".join(record_line(_line(one)) for one in trained)


def _line(one: History) -> Line:
    return Line(
        about=one.about,
        losses=[float(f"{loss:.{LOSS_DIGITS}g}") for loss in one.losses.tolist()],
        step_s=np.round(one.step_s, TIME_DIGITS).tolist(),
        first=np.flatnonzero(one.is_first).tolist(),
    )


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidInput(f"{shown(path)}: cannot be read ({error.strerror})") from None


def _history(line: bytes, where: str) -> History:
    found: Line = decode(line, Line, where)
    count = len(found.losses)
    if not count == len(found.step_s) == found.about.step or any(not 0 <= step < count for step in found.first):
        raise InvalidInput(f"{where}: is damaged (not a loss and a time for each step)")
    is_first = np.zeros(count, np.bool_)
    is_first[found.first] = True
    return History(found.about, np.array(found.losses, np.float32), np.array(found.step_s), is_first)
