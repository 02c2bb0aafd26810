"""The workflow of the public CI: it parses, asks for no more than it needs, and each command in it is there."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import nox
import pytest
import yaml
from support.processes import ROOT, load_noxfile

from bench.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(name: str) -> dict[str, Any]:
    found = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps() -> Iterator[dict[str, Any]]:
    for path in WORKFLOWS:
        for job in load(path.name)["jobs"].values():
            yield from job["steps"]


COMMANDS = [line for step in steps() for line in step.get("run", "").splitlines()]


def fault_of(command: str) -> str | None:
    """What is wrong with a command, if anything."""
    words = shlex.split(command)
    match words:
        case ["python", "-m", "nox", "-s", name, *_]:
            load_noxfile()
            sessions = nox.registry.get()
            return None if name in sessions else f"{name} is no session"
        case ["python", "-m", "bench", name, *arguments]:
            if name not in {one for group in app for one in app[group].name}:
                return f"{name} is no command of the bench"
            folders = [str(path) for word in arguments if "*" in word for path in ROOT.glob(word)]
            app.parse_args([name, *folders, *(word for word in arguments if "*" not in word)], exit_on_error=False)
            return None if folders or not any("*" in word for word in arguments) else "names nothing"
        case ["python", "-m", "pip", "install", *arguments]:
            files = [word for option, word in pairwise(arguments) if option == "--constraint"]
            lost = [name for name in files if not (ROOT / name).is_file()]
            return f"{lost[0]} is no file" if lost else None
        case ["mv", _, _]:
            return None
    return "is not known here"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    assert fault_of(command) is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python -m nox -s fly", "no session"),
        ("python -m bench fly", "no command"),
        ("python -m bench table nowhere-*/", "names nothing"),
        ("python -m pip install --constraint pins.txt .", "no file"),
        ("curl example.org", "not known"),
    ],
)
def test_a_command_that_is_not_there_is_caught(command: str, words: str) -> None:
    assert words in (fault_of(command) or "")


def test_it_runs_readmes_commands_on_push_and_pull_request() -> None:
    workflow = load("tests.yml")
    assert {*workflow[True]} == {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("python -m pip install nox", "python -m nox -s tests"):
        assert command in COMMANDS and command in readme
    assert f"PIP_EXTRA_INDEX_URL={workflow['env']['PIP_EXTRA_INDEX_URL']}" in readme


def test_the_tests_have_the_commits_that_results_name() -> None:
    (checkout, *_) = load("tests.yml")["jobs"]["tests"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0


def test_only_the_page_may_write_and_only_from_main_after_the_tests() -> None:
    workflow = load("tests.yml")
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["page"]
    assert jobs["page"]["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
    assert "refs/heads/main" in jobs["page"]["if"] and {*jobs["page"]["needs"]} == {"lint", "tests"}
    used = [step["uses"].partition("@")[0] for step in jobs["page"]["steps"] if "uses" in step]
    assert used[-3:] == ["actions/configure-pages", "actions/upload-pages-artifact", "actions/deploy-pages"]


def test_every_action_has_a_version_and_every_job_a_limit() -> None:
    for step in steps():
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    for path in WORKFLOWS:
        assert all("timeout-minutes" in job for job in load(path.name)["jobs"].values())
