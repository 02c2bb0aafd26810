"""What a missing framework means for a test: a skip with the reason, or a failure where CI is set."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(name: str) -> None:
    """Skip, or under ``CI=1`` fail, where the framework is not installed. Usable at the top of a module too."""
    if importlib.util.find_spec(name) is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason, allow_module_level=True)
