"""A thing's code is known by its content: whichever commit has that is its own, wherever it ran."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.recorded import RUN

from bench.here import ROOT
from bench.machine.code import code_of_harness, code_of_row
from bench.publish.commits import Made, with_commit
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

ROW = "torch/module"


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_all(folder: Path, message: str) -> str:
    git(folder, "add", ".")
    git(folder, "commit", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with the code as it is here, in a commit."""
    folder = tmp_path / "clone"
    for package in ("bench", "impls"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init")
    commit_all(folder, "first")
    return folder


def made_in(tree: Path, commit: str | None = None, *, dirty: bool = False) -> Made:
    """A run of the code below a folder, which says that it is of that commit."""
    environment = msgspec.structs.replace(
        RUN.environment, harness=code_of_harness(tree), git_commit=commit, git_dirty=dirty
    )
    return Made(environment, RUN.started_at, environment.harness, {ROW: code_of_row(tree / f"impls/{ROW}.py", tree)})


def commit_of(made: Made, repository: Path) -> str | None:
    found = with_commit(made, repository, InvalidInput)
    assert not found.git_dirty
    return found.git_commit


def change(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# one word more\n")


def test_a_copy_without_a_repository_has_the_commit_of_its_content(clone: Path, tmp_path: Path) -> None:
    first, copy = git(clone, "rev-parse", "HEAD"), tmp_path / "copy"
    shutil.copytree(clone, copy, ignore=shutil.ignore_patterns(".git"))
    made = made_in(copy)
    assert commit_of(made, clone) == first
    change(clone / "bench" / "report" / "words.py")  # no part of what measures
    second = commit_all(clone, "a word")
    assert commit_of(made, clone) in (first, second)
    assert commit_of(made_in(copy, first), clone) == first
    change(clone / "impls" / f"{ROW}.py")
    commit_all(clone, "another row")
    assert commit_of(made, clone) in (first, second)
    assert commit_of(made, copy) is None, "where there is no repository, the code that stands there is enough"


def test_code_that_was_changed_is_published_once_it_is_committed(clone: Path) -> None:
    first = git(clone, "rev-parse", "HEAD")
    change(clone / "bench" / "measure" / "runner.py")
    made = made_in(clone, first, dirty=True)
    with pytest.raises(InvalidInput, match="the code here, which no commit in HEAD's history has; commit it"):
        commit_of(made, clone)
    second = commit_all(clone, "as it ran")
    assert commit_of(made, clone) == second


@pytest.mark.parametrize("code", ["", " ", "0", "{row} 0", "{row} {row}"])
def test_a_row_without_the_right_hash_is_nobodys(code: str, clone: Path) -> None:
    right = made_in(clone)
    assert right.by(clone)
    (row,) = right.rows.values()
    assert not replace(right, rows={ROW: code.format(row=row)}).by(clone)
    assert not replace(right, trained=True).by(clone), "its training has a hash, too"
    training = code_of_row(clone / "impls/torch/training/module.py", clone)
    assert replace(right, trained=True, rows={ROW: f"{row} {training}"}).by(clone)


@pytest.mark.parametrize("touched", [f"impls/{ROW}.py", "bench/measure/stopping.py"])
def test_code_that_no_commit_has_is_refused(touched: str, clone: Path, tmp_path: Path) -> None:
    first, other = git(clone, "rev-parse", "HEAD"), tmp_path / "other"
    shutil.copytree(clone, other, ignore=shutil.ignore_patterns(".git"))
    change(other / touched)
    for told in (None, first):  # a commit that it names is no proof
        with pytest.raises(InvalidInput, match="no commit in HEAD's history has the code that made it"):
            commit_of(made_in(other, told), clone)
    git(tmp_path, "clone", "--depth", "1", f"file://{clone}", "shallow")
    with pytest.raises(InvalidInput, match="the clone is shallow and may lack it"):
        commit_of(made_in(other), tmp_path / "shallow")
    shutil.rmtree(clone / ".git")
    with pytest.raises(InvalidInput, match="this is no clone of a repository; publish from one"):
        commit_of(made_in(other), clone)


def test_an_older_commit_is_found_though_its_code_stands_here_uncommitted(clone: Path) -> None:
    first = git(clone, "rev-parse", "HEAD")
    change(clone / "bench" / "measure" / "plan.py")
    commit_all(clone, "another plan")
    git(clone, "checkout", first, "--", "bench")
    assert commit_of(made_in(clone, dirty=True), clone) == first


def test_a_commit_whose_change_a_merge_took_back_is_found(clone: Path, tmp_path: Path) -> None:
    git(clone, "checkout", "-b", "aside")
    change(clone / "bench" / "measure" / "plan.py")
    aside = commit_all(clone, "another plan")
    shutil.copytree(clone, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    git(clone, "checkout", "main")
    git(clone, "merge", "--no-ff", "-s", "ours", "-m", "as it was", "aside")
    assert commit_of(made_in(tmp_path / "copy"), clone) == aside


def test_of_many_commits_the_one_that_ran_is_found(clone: Path, tmp_path: Path) -> None:
    for _ in range(2):
        change(clone / "bench" / "measure" / "plan.py")
        commit_all(clone, "another plan")
    ran = git(clone, "rev-parse", "HEAD")
    shutil.copytree(clone, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    (clone / "bench" / "measure" / "plan.py").unlink()
    commit_all(clone, "no plan")
    assert commit_of(made_in(tmp_path / "copy"), clone) == ran
