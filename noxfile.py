"""The project's commands: ``nox -s tests``, ``tests_thorough``, ``bench``, ``train``, ``versions``, ``lint``.

``pyproject.toml`` is the only list of dependencies; ``constraints.txt`` pins what results are measured with.
``UNPINNED=1`` leaves the pins: what is newest is installed.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import nox
from nox.command import CommandFailed
from packaging.version import InvalidVersion, Version

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "bench"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

PATIENCE_S = 30.0
"""How long a session may take to put its things in order after Ctrl-C."""

benched: set[str] = set()
"""Devices whose session has begun: a missing GPU is an error where it is all that was asked for, else a skip."""


def install(session: nox.Session, *requirements: str) -> None:
    """Install the requirements at their pinned versions, or the newest under UNPINNED."""
    pins = ["--upgrade"] if os.environ.get("UNPINNED") else ["--constraint", "constraints.txt"]
    session.install(*pins, *requirements)


def requirements(*extras: str, groups: tuple[str, ...] = ()) -> list[str]:
    """What ``pyproject.toml`` lists: the harness, these extras, these dependency groups."""
    listed: list[str] = [*PROJECT["project"]["dependencies"]]
    for extra in extras:
        listed += EXTRAS[extra]
    if groups:
        listed += nox.project.dependency_groups(PROJECT, *groups)
    return listed


def gpus() -> list[str]:
    """The devices that ``nvidia-smi -L`` lists."""
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("GPU ")] if done.returncode == 0 else []


OPTIONAL = ("onnxruntime", "keras")
"""Extras of rows that a user may pick instead: tested always, and timed where a row of theirs is named."""


def asked_for(session: nox.Session) -> list[str]:
    """The optional extras whose rows the arguments after -- name."""
    return [extra for extra in OPTIONAL if any(word.startswith(f"{extra}/") for word in session.posargs)]


TEST_PROCESS_BYTES = 4 * 2**30
"""What a process of the tests may need: it holds all frameworks, and starts workers."""


def test_processes() -> int:
    """How many processes the tests run in: one for each processor, if memory has room for them."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(len(os.sched_getaffinity(0)), memory // TEST_PROCESS_BYTES))


@nox.session
def tests(session: nox.Session) -> None:
    """Prove that every row is the same model, and that the harness does what it says; 15 minutes on two processors."""
    run_tests(session, "not thorough")


@nox.session(default=False)
def tests_thorough(session: nox.Session) -> None:
    """What `tests` leaves out: more shapes and programs, whole runs and their ends; ten minutes on two processors."""
    run_tests(session, "thorough")


def run_tests(session: nox.Session, marked: str) -> None:
    """Run the tests that are marked so, on all processors. Arguments after -- go to pytest."""
    extras = ["gpu"] if "gpu" in session.posargs else ["torch", "thinc", "jax", *OPTIONAL]  # -- --device gpu
    install(session, *requirements(*extras, groups=("test",)))
    cache = session.cache_dir / "compiled"
    session.run(
        "python",
        "-m",
        "pytest",
        *("-m", marked),
        *("-n", "0" if "gpu" in session.posargs else str(test_processes()), "--dist", "worksteal"),
        *session.posargs,
        env={
            "OMP_NUM_THREADS": "1",  # the processors are shared among the tests already
            "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
            "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**31),  # with a limit, and only then, JAX locks it
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        },
        interrupt_timeout=PATIENCE_S,
        terminate_timeout=PATIENCE_S,
    )


@nox.session
@nox.parametrize("device", ["cpu", "gpu"], ids=["cpu", "gpu"])
def bench(session: nox.Session, device: str) -> None:
    """Time every row on the device, and show the table. Arguments after -- go to `python -m bench run`."""
    benched.add(device)
    if device == "gpu" and not gpus():
        reason = "`nvidia-smi -L` lists no NVIDIA device"
        if "cpu" not in benched:
            session.error(f"{reason}; bench(cpu) measures on the CPU")
        session.skip(f"{reason}: nothing is installed, nothing measured")
    install(session, *requirements(*(["gpu"] if device == "gpu" else ["torch", "thinc", "jax"]), *asked_for(session)))
    session.run(
        "python",
        "-m",
        "bench",
        "run",
        "--device",
        device,
        *session.posargs,
        interrupt_timeout=PATIENCE_S,
        terminate_timeout=PATIENCE_S,
    )


@nox.session(default=False)
def train(session: nox.Session) -> None:
    """Train rows on a real task until a target error. Arguments after -- go to `python -m bench train`."""
    install(session, *requirements("torch", "thinc", "jax"))
    session.run(
        "python",
        "-m",
        "bench",
        "train",
        *session.posargs,
        interrupt_timeout=PATIENCE_S,
        terminate_timeout=PATIENCE_S,
    )


VERSIONED = ("torch", "jax", "flax", "thinc")

MOVES_ALONG = {"jax": ("jaxlib",), "thinc": ("blis",)}
"""What a framework needs in a version of its own, newer than the pinned one or older."""


class History(NamedTuple):
    """What ``nox -s versions -- torch 2.9.1 2.13.0 …`` asks for."""

    framework: str
    versions: list[str]
    """In the order given, which is that of the history."""
    rest: list[str]
    """The arguments of `python -m bench run`."""

    @property
    def extra(self) -> str:
        """The extra that installs the framework."""
        return next(extra for extra, listed in EXTRAS.items() if self.framework in listed)


def history_of(words: list[str]) -> History:
    """What the words ask for.

    Raises:
        ValueError: they do not name a framework and two versions or more.
    """
    how = "such as: nox -s versions -- torch 2.9.1 2.13.0"
    framework, versions = "".join(words[:1]), list(takewhile(lambda word: not word.startswith("-"), words[1:]))
    if framework not in VERSIONED:
        raise ValueError(f"name a framework first, one of {', '.join(VERSIONED)}, {how}")
    if len(versions) < 2:
        raise ValueError(f"name two versions of {framework} or more, the oldest first, {how}")
    numbers: dict[Version, str] = {}
    for version in versions:
        try:
            number = Version(version)
        except InvalidVersion:
            raise ValueError(f"{version!r} is no version of {framework}, {how}") from None
        if same := numbers.get(number):
            raise ValueError(f"{framework} {version} and {same} are the same version; leave one out")
        numbers[number] = version
    return History(framework, versions, words[1 + len(versions) :])


def loosened(pins: str, history: History) -> str:
    """The pins for a version of a framework: all else is at its pin, or below it where that version needs it so."""
    free = {history.framework, *MOVES_ALONG.get(history.framework, ())}
    kept = [line for line in pins.splitlines() if line.partition("==")[0] not in free]
    return "\n".join(line.replace("==", "<=") for line in kept) + "\n"


def rows_of(history: History) -> list[str]:
    """The rows that import the framework, and nothing but what comes with it."""
    found = []
    for path in sorted(Path("impls").glob("*/[!_]*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id == "ROW" for one in targets):
                row = ast.literal_eval(node.value)
                if row["tier"] != "bound" and history.framework in row["frameworks"]:
                    found += [path.with_suffix("")] * ({*row["frameworks"]} <= {*EXTRAS[history.extra]})
    return [path.relative_to("impls").as_posix() for path in found]


@nox.session(venv_backend="none", default=False)
def versions(session: nox.Session) -> None:
    """Time the rows of a framework under several of its versions: -- torch 2.9.1 2.13.0, and arguments of bench run."""
    try:
        history = history_of(session.posargs)
    except ValueError as error:
        session.error(str(error))
    pythons = [environment_with(session, history, version) for version in history.versions]
    named = {"--impl", "--resume"} & set(history.rest)
    session.run(
        str(pythons[-1]),
        "-m",
        "bench",
        "run",
        "--interpreter",
        *(f"{version}={python}" for version, python in zip(history.versions, pythons, strict=True)),
        *([] if named else ["--impl", *rows_of(history)]),
        *history.rest,
        external=True,
        interrupt_timeout=PATIENCE_S,
        terminate_timeout=PATIENCE_S,
    )


def environment_with(session: nox.Session, history: History, version: str) -> Path:
    """The Python of an environment that has the harness and this version of the framework; made, or used again."""
    folder = session.cache_dir.parent / f"versions-{history.framework}-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        session.run_install(sys.executable, "-m", "virtualenv", "--quiet", str(folder), external=True)
    if os.environ.get("UNPINNED"):
        pins = ["--upgrade"]
    else:
        (folder / "constraints.txt").write_text(loosened(Path("constraints.txt").read_text(encoding="utf-8"), history))
        pins = ["--constraint", str(folder / "constraints.txt")]
    wanted = [*requirements(history.extra), f"{history.framework}=={version}"]
    try:
        session.run_install(str(python), "-m", "pip", "install", *pins, *wanted, external=True, silent=True)
    except CommandFailed:
        session.error(f"{history.framework} {version} cannot be installed: above is why")
    return python


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, *requirements(groups=("lint",)))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


if __name__ == "__main__":
    nox.main()
