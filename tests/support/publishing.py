"""Publishing into a repository of a test's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.cli.publish import OURS
from bench.publish.index import comparable_with
from bench.publish.kinds import Publisher, Repository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.analysis.analysis import Analysis
    from bench.records.schema import Result


def publisher(root: Path) -> Publisher:
    """What publishes into the repository in that folder."""
    return replace(OURS, repository=Repository(root))


def published(root: Path) -> list[Result]:
    """The results that are published there, oldest first."""
    (runs,) = (kind for kind in OURS.kinds if kind.head_file == "run.json")
    return [analysis.result for _, analysis in runs.published(Repository(root))]


def the_one_before(earlier: Sequence[Analysis], analysis: Analysis) -> Analysis | None:
    """The last of the earlier results that is comparable."""
    wanted = comparable_with(analysis.run)
    alike = [one for one in earlier if wanted is not None and comparable_with(one.run) == wanted]
    return alike[-1] if alike else None
