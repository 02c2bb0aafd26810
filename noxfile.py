"""The project's commands: ``nox -s tests``, ``nox -s bench``, ``nox -s lint``.

``pyproject.toml`` is the only list of dependencies; ``constraints.txt`` pins what results are measured with.
``UNPINNED=1`` leaves the pins: what is newest is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import nox

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


@nox.session
def tests(session: nox.Session) -> None:
    """Prove that every row is the same model, and that the harness does what it says."""
    extras = ["gpu"] if "gpu" in session.posargs else ["torch", "thinc", "jax", *OPTIONAL]  # -- --device gpu
    install(session, *requirements(*extras, groups=("test",)))
    session.run(
        "python",
        "-m",
        "pytest",
        *session.posargs,
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


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, *requirements(groups=("lint",)))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


if __name__ == "__main__":
    nox.main()
