"""Asks ``nvidia-smi``, which every NVIDIA driver brings along. Nothing is ever set: the machine may be borrowed."""

from __future__ import annotations

import subprocess
from contextlib import suppress

LIMIT_S = 15.0
"""How long it may take: without persistence mode it wakes the driver up first."""

CSV = "--format=csv,noheader,nounits"
"""How a query is answered: a line for each device or process, its fields between commas."""


def ask(*arguments: str) -> str | None:
    """What it prints; None where it is missing, fails, hangs, or may not be run."""
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return None
    with process.stdout:  # type: ignore[union-attr]  # it is a pipe
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # stuck in the driver: not even a kill ends it
                process.wait(1)
            return None
    return output if process.returncode == 0 else None


def query(question: str) -> str | None:
    """The lines that a query, such as ``--query-gpu=name``, is answered with; None where it is not."""
    return ask(question, CSV)
