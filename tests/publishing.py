"""Publishing into a repository of a test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.cli.publish import OURS
from bench.publish.kinds import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from bench.publish.publish import Publisher
    from bench.records.schema import Result


def publisher(root: Path) -> Publisher:
    """What publishes into the repository in that folder."""
    return replace(OURS, repository=Repository(root))


def published(root: Path) -> list[Result]:
    """The results that are published there, oldest first."""
    (runs,) = (kind for kind in OURS.kinds if kind.head_file == "run.json")
    return [analysis.result for _, analysis in runs.published(Repository(root))]
