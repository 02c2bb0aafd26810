"""All tasks that are timed: those of any row, and those of rows that can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from impls.contract import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

LetterTask = Literal["decode_greedy", "learn_step"]
"""Of a training (``training.TrainableModel``): letters to phonemes one by one, and a step of it."""
LETTER_TASKS: tuple[LetterTask, ...] = get_args(LetterTask)

AnyTask: TypeAlias = Literal[Task, LetterTask]
ALL_TASKS: tuple[AnyTask, ...] = (*TASKS, *LETTER_TASKS)


def of_training(tasks: Iterable[AnyTask]) -> bool:
    """Whether any of them is a training's."""
    return not frozenset(LETTER_TASKS).isdisjoint(tasks)
