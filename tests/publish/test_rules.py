"""What proves nothing is not published; and whose commit a result has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from support.publishing import publisher
from support.recorded import DIRTY, END, RUN, record, six_blocks, write

from bench.analysis.analysis import Analysis
from bench.machine import describe
from bench.publish import commits, runs
from bench.records.schema import CONTROL, End, Result
from bench.records.store import read_result
from bench.report import markdown
from impls.contract import InvalidInput

UNKNOWN = msgspec.structs.replace(RUN, environment=msgspec.structs.replace(RUN.environment, git_commit=None))


SMOKE = msgspec.structs.replace(RUN, preset="smoke")


TIMED = six_blocks(record())


LEANING = [
    record(name, block=block, samples_s=[seconds + 1e-6 * block] * 3)
    for block in range(1, 7)
    for name, seconds in (("torch/module", 0.001), (CONTROL, 0.002))
]


LEANING = [
    msgspec.structs.replace(one, samples_s=[0.002] * 3) if one.cell.role == "control" else one for one in LEANING
]


@pytest.mark.parametrize(
    ("lines", "run", "words"),
    [
        ([*TIMED, END], msgspec.structs.replace(RUN, preset="scaling"), "has no row with times of"),
        ([*TIMED, record("jax/scan", status="invalid", reason="h_n is off", samples_s=[]), END], RUN, "is invalid"),
        ([record(), END], RUN, "has no control"),
        ([*LEANING, END], RUN, "NOT TO BE TRUSTED"),
        ([record(status="unsupported", reason="shy", samples_s=[]), END], RUN, "has no"),
        ([*TIMED, END], msgspec.structs.replace(RUN, environment=DIRTY), "code that is in no commit"),
        ([*TIMED, END], UNKNOWN, "code that is in no commit"),
        (TIMED, RUN, "was cut short; `python -m bench run --resume RESULT` goes on"),
        ([*TIMED, End(why="interrupted", elapsed_s=1.0)], RUN, "was cut short"),
        ([*TIMED, record("mine"), END], RUN, "mine is a file outside impls/"),
        ([*TIMED, END], SMOKE, "smoke is a check"),
        ([record(block=2), record(CONTROL, block=2), END], RUN, "has 2 blocks, and no verdict below 3"),
    ],
)
@pytest.mark.usefixtures("house")
def test_what_proves_nothing_is_not_published(lines: list, run: object, words: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", *lines, run=run)
    with pytest.raises(InvalidInput, match=words):
        publisher(tmp_path).publish(folder)
    assert not list((tmp_path / "results").iterdir())


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path) -> tuple[str, str]:
    """A commit that HEAD comes from, and one on a branch that it does not."""
    folder.mkdir()
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    first = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-b", "aside")
    git(folder, "commit", "--allow-empty", "-m", "aside")
    aside = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "main")
    git(folder, "commit", "--allow-empty", "-m", "second")
    return first, aside


def test_a_result_is_published_only_of_a_commit_that_the_repository_comes_from(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    first, aside = repository(origin)
    git(tmp_path, "clone", "--depth", "1", f"file://{origin}", "shallow")
    (tmp_path / "none").mkdir()

    def of(commit: str) -> Result:
        environment = msgspec.structs.replace(RUN.environment, git_commit=commit)
        run = msgspec.structs.replace(RUN, environment=environment)
        return read_result(write(tmp_path / "run", *TIMED, END, run=run))

    runs.check(Analysis(of(first)), origin)
    for commit in (aside, "0" * 40, "--all", "HEAD"):
        with pytest.raises(InvalidInput, match="HEAD here does not come from; push that commit first"):
            runs.check(Analysis(of(commit)), origin)
    with pytest.raises(InvalidInput, match="the clone is shallow and may lack it; `git fetch --unshallow` gets all"):
        runs.check(Analysis(of(first)), tmp_path / "shallow")
    git(tmp_path / "shallow", "fetch", "--unshallow")
    runs.check(Analysis(of(first)), tmp_path / "shallow")
    with pytest.raises(InvalidInput, match="no clone of a repository"):
        runs.check(Analysis(of(first)), tmp_path / "none")


def test_only_a_repository_of_which_the_folder_is_the_top_level_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = tmp_path / "around"
    repository(around)
    commit, unpacked = git(around, "rev-parse", "HEAD"), around / "unpacked"
    unpacked.mkdir()
    assert describe.git(around, "rev-parse", "HEAD") == commit
    assert describe.git(unpacked, "rev-parse", "HEAD") is None
    assert commits.known(commit, unpacked) == "no repository"
    (tmp_path / "link").symlink_to(around)
    assert describe.git(tmp_path / "link", "rev-parse", "HEAD") == commit
    git(around, "worktree", "add", str(tmp_path / "worktree"))
    assert describe.git(tmp_path / "worktree", "rev-parse", "HEAD") == commit
    monkeypatch.setenv("GIT_DIR", str(around / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(unpacked))
    assert describe.git(unpacked, "rev-parse", "HEAD") is None
    assert describe.git(around, "rev-parse", "HEAD") == commit


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_checkout_has_its_commit(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    repository(folder)
    commit = git(folder, "rev-parse", "HEAD")
    for path in (folder, folder / ".git"):
        os.chown(path, 54321, 54321)
    assert describe.git(folder, "rev-parse", "HEAD") == commit


def test_a_checkout_without_a_commit_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(describe, "ROOT", tmp_path)
    here = describe.describe()
    assert here.git_commit is None and not here.git_dirty
    assert markdown.environment_line(here).endswith(", no commit")
    assert markdown.environment_line(RUN.environment).endswith(f", commit {'0' * 12}")
