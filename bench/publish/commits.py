"""Which commit has the code that made a thing: known by its content, so that it may have run where no repository is."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import msgspec

from bench.machine.code import HASHING, MEASURES, code_of_harness, code_of_row, code_of_trained, git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.records.schema import Environment
    from impls.contract import InvalidInput

CODE = ("bench", "impls")
"""The folders that the hashes are of."""


@dataclass(frozen=True, slots=True)
class Made:
    """By what, and when, a thing was made."""

    environment: Environment
    started_at: str
    harness: str
    """The hash of what carried it out: of these files."""
    rows: Mapping[str, str] = field(default_factory=dict)
    """Row to the hash of its code."""
    files: tuple[str, ...] = MEASURES
    trained: bool = False
    """Whether the rows' trainings have made it."""

    def by(self, root: Path) -> bool:
        """Whether the code below the folder has made it."""
        try:
            code_of = code_of_trained if self.trained else code_of_row
            return self.harness == code_of_harness(root, self.files) and all(
                code == code_of(root / f"impls/{name}.py", root) for name, code in self.rows.items()
            )
        except OSError:  # a file that is not there
            return False


def with_commit(made: Made, repository: Path, refuse: Callable[[str], InvalidInput]) -> Environment:
    """The environment with the commit whose code made the thing: the one that it names, or another with that content.

    In a copy of the tree without a repository the code that stands there is enough, and there is no commit.

    Raises:
        InvalidInput: nobody else can have the code.
    """
    if not made.harness.startswith(f"{HASHING}:"):  # hashed in another way: its word is taken
        check_named(made.environment, repository, refuse, again="run")
        return made.environment
    is_here, is_copy = made.by(repository), git(repository, "rev-parse", "HEAD") is None
    if is_here and is_copy:
        return msgspec.structs.replace(made.environment, git_commit=None, git_dirty=False)
    for commit in dict.fromkeys(_nearest_first(made, repository)):
        if _has_made(commit, repository, made):
            return msgspec.structs.replace(made.environment, git_commit=commit, git_dirty=False)
    if is_here:
        raise refuse("was made by the code here, which no commit in HEAD's history has; commit it, then publish this")
    knows = known("", repository)
    if knows != "it is not":
        raise refuse(WAYS_OUT[knows])
    raise refuse("no commit in HEAD's history has the code that made it; commit that code, then publish this")


def check_named(
    environment: Environment, repository: Path, refuse: Callable[[str], InvalidInput], *, again: str
) -> None:
    """Refuse what was made by other code than that of the commit which it names, by its own word.

    Of what more than the harness has made: no hash has all of that.
    """
    commit = environment.git_commit
    if commit is None or environment.git_dirty:
        raise refuse(f"was made by code that is in no commit; commit, {again} again, publish that")
    knows = known(commit, repository)
    if knows != "it is an ancestor":
        raise refuse(f"was made by commit {commit[:12]}, which HEAD here does not come from; {WAYS_OUT[knows]}")


def _nearest_first(made: Made, repository: Path) -> Iterator[str]:
    """The commit that the thing names, HEAD, and all that changed code, those nearest in time to it first."""
    told = made.environment.git_commit
    if told and known(told, repository) == "it is an ancestor":
        yield told
    yield from filter(None, [git(repository, "rev-parse", "HEAD")])
    began = datetime.fromisoformat(made.started_at).timestamp()
    listed = git(repository, "log", "--full-history", "--format=%ct %H", "HEAD", "--", *CODE) or ""
    commits = [(float(when), commit) for when, commit in map(str.split, listed.splitlines())]
    yield from (commit for _, commit in sorted(commits, key=lambda one: abs(one[0] - began)))


def _has_made(commit: str, repository: Path, made: Made) -> bool:
    with TemporaryDirectory(prefix="commit-") as name:
        tree, packed = Path(name, "tree"), Path(name, "tree.zip")
        if git(repository, "archive", "--output", str(packed), commit, "--", *CODE) is None:
            return False
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(tree)
        return made.by(tree)


WAYS_OUT = {
    "it is not": "push that commit first, or run again with code that the repository has, and publish that",
    "no repository": "this is no clone of a repository; publish from one",
    "a shallow clone": "the clone is shallow and may lack it; `git fetch --unshallow` gets all commits",
}


def known(
    commit: str, repository: Path
) -> Literal["it is an ancestor", "it is not", "no repository", "a shallow clone"]:
    """Whether what is checked out comes from the commit, or why that cannot be told."""
    if re.fullmatch(r"[0-9a-f]{40,64}", commit) and (  # what a record says is no option of git's
        git(repository, "merge-base", "--is-ancestor", commit, "HEAD") is not None
    ):
        return "it is an ancestor"
    shallow = git(repository, "rev-parse", "--is-shallow-repository")
    if shallow is None:
        return "no repository"
    return "a shallow clone" if shallow == "true" else "it is not"
