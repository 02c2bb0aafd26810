"""Names of rows that are measured once for each version of a framework: ``torch/module@2.9.1``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.records import Run

SIGN = "@"
"""Stands between a row and its version; no row's own name has it."""


class Versioned(NamedTuple):
    """A row, and under what version it was measured; an empty one where a run has only one."""

    row: str
    version: str


def split(name: str) -> Versioned:
    """What a name in a result stands for: ``torch/module@2.9.1``, or ``torch/module`` without a version."""
    row, _, version = name.partition(SIGN)
    return Versioned(row, version)


def join(row: str, version: str) -> str:
    """The name in a result: what ``split`` takes apart."""
    return f"{row}{SIGN}{version}" if version else row


def versions_of(run: Run) -> list[str]:
    """The versions that a run holds against each other, in the order in which they were given; none in other runs."""
    return [version for version in dict.fromkeys(split(name).version for name in run.rows) if version]
