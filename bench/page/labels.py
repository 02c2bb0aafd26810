"""What groups and results are called on a page. Pure."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from bench.report import units

if TYPE_CHECKING:
    from bench.judge import Group


def letter_of(number: int) -> str:
    """What stands for a result where there is no room for its name: ``A``, …, ``Z``, ``AA``, …"""
    more, last = divmod(number, len(ascii_uppercase))
    return (letter_of(more - 1) if more else "") + ascii_uppercase[last]


def label_of(group: Group) -> str:
    """``g2p train_step cpu×1``."""
    return f"{group.workload} {group.task} {units.place(group.device, group.threads, group.precision)}"
