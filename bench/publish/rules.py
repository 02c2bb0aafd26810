"""What may be published: what ``bench publish`` refuses, and what the tests ask of all that is published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from bench.analysis.analysis import Analysis
from bench.analysis.verdict import MIN_BLOCKS
from bench.machine.describe import git
from bench.records.schema import CONTROL
from bench.records.versions import failures_of
from bench.report.words import GOES_ON, about_control
from bench.workloads.sweeps import SCALING
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.records.schema import Environment

    Refuse: TypeAlias = Callable[[str], InvalidInput]
    Knows: TypeAlias = Literal["it is an ancestor", "it is not", "no repository", "a shallow clone"]

WAYS_OUT = {
    "it is not": "push that commit first, or run again with code that the repository has, and publish that",
    "no repository": "this is no clone of a repository; publish from one",
    "a shallow clone": "the clone is shallow and may lack it; `git fetch --unshallow` gets all commits",
}


def check(analysis: Analysis, repository: Path) -> None:
    """Refuse a result that proves nothing.

    Raises:
        InvalidInput: why it may not be published, and the way out.
    """
    result, run, records = analysis.result, analysis.run, analysis.result.records
    refuse = refusal(result.path)
    if run.preset == "smoke":
        raise refuse("smoke is a check that all works, no measurement; publish another preset")
    if not result.whole:
        raise refuse(f"was cut short; {GOES_ON}, publish what went to its end")
    if analysis.control is None:
        raise refuse("has no control")
    if not analysis.is_trusted:
        raise refuse(about_control(analysis.control))
    if not any(record.ok for record in records):
        raise refuse("has no time in it")
    for record in failures_of(records):
        what = f"{record.cell} is {record.status} ({record.reason})"
        raise refuse(f"{what}; publish a run in which every row works")
    for record in records:
        if "/" not in record.cell.implementation and record.cell.implementation != CONTROL:
            raise refuse(f"{record.cell.implementation} is a file outside impls/, which no commit has")
    blocks = max(record.block for record in records)
    needed, why = MIN_BLOCKS, f"no verdict below {MIN_BLOCKS}"
    if run.preset == SCALING:
        needed, why = run.plan.min_blocks, f"{run.plan.min_blocks} were planned"
    if blocks < needed:
        raise refuse(f"has {blocks} block{'s' * (blocks != 1)}, and {why}; {GOES_ON}")
    check_commit(run.environment, repository, refuse, "run")


def check_commit(environment: Environment, repository: Path, refuse: Callable[[str], InvalidInput], again: str) -> None:
    """Refuse what was made by code that nobody else can have."""
    commit = environment.git_commit
    if commit is None or environment.git_dirty:
        raise refuse(f"was made by code that is in no commit; commit, {again} again, publish that")
    knows = known(commit, repository)
    if knows != "it is an ancestor":
        raise refuse(f"was made by commit {commit[:12]}, which HEAD here does not come from; {WAYS_OUT[knows]}")


def known(commit: str, repository: Path) -> Knows:
    """Whether what is checked out comes from the commit, or why that cannot be told."""
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):  # what a record says is no option of git's
        return "it is not"
    if git(repository, "merge-base", "--is-ancestor", commit, "HEAD") is not None:
        return "it is an ancestor"
    shallow = git(repository, "rev-parse", "--is-shallow-repository")
    if shallow is None:
        return "no repository"
    return "a shallow clone" if shallow == "true" else "it is not"


def refusal(folder: Path) -> Refuse:
    """Makes the error that says why what is in the folder may not be published."""
    return lambda why: InvalidInput(f"{folder}: {why}")
