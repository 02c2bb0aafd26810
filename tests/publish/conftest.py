"""A repository with nothing published."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.publish import commits
from bench.publish.readme import END as END_OF_RESULTS
from bench.publish.readme import START
from bench.report import featured
from bench.workloads.shapes import SEED


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing published."""
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(f"# Ours\n\n{START}\noutdated\n{END_OF_RESULTS}\n\nthe rest\n")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(commits, "known", lambda commit, repository: "it is an ancestor")
    monkeypatch.setattr(featured, "WORKLOADS", {"seed": SEED})
    return tmp_path
