"""What a missing framework means for a test: a skip with the reason, or a failure where CI is set."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from impls import Row

BACKEND_VARIABLES = frozenset({"KERAS_BACKEND"})
"""What decides, when a framework is imported, which program a row is: a process can have one value of each."""


def need(name: str) -> None:
    """Skip, or under ``CI=1`` fail, where the framework is not installed. Usable at the top of a module too."""
    if importlib.util.find_spec(name) is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)


def other_process(row: Row) -> str | None:
    """Why the row cannot run in this process, where it can in one of its own; or None."""
    for name in sorted(BACKEND_VARIABLES & row.environment.keys()):
        if (wanted := row.environment[name]) != os.environ.get(name):
            return f"it needs a process with {name}={wanted}: tests/impls/test_keras.py starts one"
    return None
