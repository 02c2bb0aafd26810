"""What the runner and a worker say to each other: a job one way, a line of JSON for each event the other."""

from __future__ import annotations

import os

import msgspec

from bench.plan import Budget
from bench.records import Cell, Record
from impls.contract import Seq2seqConfig


class ProblemFile(msgspec.Struct, frozen=True):
    """Where a workload's numbers are (``answers.load`` reads them), and the configuration they are for."""

    config: Seq2seqConfig
    path: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do."""

    row_path: str
    row_root: str | None
    """The folder that the row's name is relative to; None for a person's own file."""
    cells: list[Cell]
    problems: dict[str, ProblemFile]
    """Workload to where its numbers are."""
    budget: Budget
    processors: list[int]
    blocked: list[str]
    report_fd: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """The worker has begun with a cell."""

    cell: Cell


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The worker is done with a cell."""

    record: Record


def report(job: Job, event: Started | Finished) -> None:
    """Send the runner a line."""
    os.write(job.report_fd, msgspec.json.encode(event) + b"\n")
