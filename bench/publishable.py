"""What may be published: what ``bench publish`` refuses, and what the tests ask of all that is published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from bench.environment import git
from bench.forecast import model_of
from bench.judge import control, judge
from bench.records import CONTROL
from bench.report.profile_words import BUSY
from bench.report.words import GOES_ON, about_control
from bench.rule import MIN_BLOCKS
from bench.sweeps import SCALING
from bench.versions import failures_of
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.method.calibration import Batch, Head
    from bench.profiling.kept import Profiles
    from bench.records import Environment, Result

    Refuse: TypeAlias = Callable[[str], InvalidInput]
    Knows: TypeAlias = Literal["it is an ancestor", "it is not", "no repository", "a shallow clone"]

WAYS_OUT = {
    "it is not": "push that commit first, or run again with code that the repository has, and publish that",
    "no repository": "this is no clone of a repository; publish from one",
    "a shallow clone": "the clone is shallow and may lack it; `git fetch --unshallow` gets all commits",
}


def check(result: Result, repository: Path) -> None:
    """Refuse a result that proves nothing.

    Raises:
        InvalidInput: why it may not be published, and the way out.
    """
    run, records = result.run, result.records
    refuse = _refusal(result.path)
    if run.preset == "smoke":
        raise refuse("smoke is a check that all works, no measurement; publish another preset")
    if not result.whole:
        raise refuse(f"was cut short; {GOES_ON}, publish what went to its end")
    against_itself = control(judge(records, run.baseline).values())
    if against_itself is None:
        raise refuse("has no control")
    if against_itself.trusted is False:
        raise refuse(about_control(against_itself))
    if not any(record.ok for record in records):
        raise refuse("has no time in it")
    for record in failures_of(records):
        what = f"{record.implementation} {record.workload} {record.task} is {record.status} ({record.reason})"
        raise refuse(f"{what}; publish a run in which every row works")
    for record in records:
        if "/" not in record.implementation and record.implementation != CONTROL:
            raise refuse(f"{record.implementation} is a file outside impls/, which no commit has")
    blocks = max(record.block for record in records)
    needed, why = MIN_BLOCKS, f"no verdict below {MIN_BLOCKS}"
    if run.preset == SCALING:
        model_of(result)  # it has enough shapes
        needed, why = run.plan.min_blocks, f"{run.plan.min_blocks} were planned"
    if blocks < needed:
        raise refuse(f"has {blocks} block{'s' * (blocks != 1)}, and {why}; {GOES_ON}")
    _check_commit(run.environment, repository, refuse, "run")


def check_calibration(head: Head, batches: list[Batch], folder: Path, repository: Path) -> None:
    """Refuse a calibration that says nothing.

    Raises:
        InvalidInput: why it may not be published, and the way out.
    """
    refuse = _refusal(folder)
    if not batches:
        raise refuse("has no complete batch yet; `python -m bench calibrate --out` goes on")
    _check_commit(head.environment, repository, refuse, "calibrate")


def check_profiles(found: Profiles, folder: Path, repository: Path) -> None:
    """Refuse profiles that prove nothing.

    Raises:
        InvalidInput: why they may not be published, and the way out.
    """
    refuse = _refusal(folder)
    for one in found.profiles:
        what = f"{one.implementation} {one.workload} {one.task}"
        if one.status != "ok":
            raise refuse(f"{what} is {one.status} ({one.reason}); publish profiles in which every row works")
        if "/" not in one.implementation:
            raise refuse(f"{one.implementation} is a file outside impls/, which no commit has")
        if one.waited > BUSY:
            raise refuse(f"{what}: other programs had its processor; profile again on a machine that is at rest")
    _check_commit(found.environment, repository, refuse, "profile")


def _check_commit(
    environment: Environment, repository: Path, refuse: Callable[[str], InvalidInput], again: str
) -> None:
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


def _refusal(folder: Path) -> Refuse:
    return lambda why: InvalidInput(f"{folder}: {why}")
