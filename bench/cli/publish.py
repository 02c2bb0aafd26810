"""``bench publish``."""

from __future__ import annotations

from pathlib import Path

from bench.calibration.report import Calibrations, error_rate_in_words
from bench.forecast.report import scaling_files
from bench.here import ROOT, shown
from bench.profiling.report import PublishedProfiles
from bench.publish.kinds import Publisher, Repository
from bench.publish.runs import Runs
from bench.publish.trainings import PublishedTrainings

OURS = Publisher(
    Repository(ROOT),
    (
        Calibrations(),
        PublishedProfiles(),
        PublishedTrainings(),
        Runs(extra=scaling_files, error_rate=error_rate_in_words),
    ),
)
"""What is read and written; a test has its own repository."""


def publish(result: Path | None = None) -> None:
    """Copy a valid result to results/<machine>-<date>, and make all published tables and the index again.

    Profiles, calibrations and trainings are published as well, each to its own place.

    Some examples:
      python -m bench publish results/local/2026-01-31T12-00-00
      python -m bench publish      (only makes the tables again)

    Parameters
    ----------
    result
        A result folder in which every row works (where there are several versions, under one of them), a calibration, a
        folder of profiles or of trainings, made by code that some commit has, on whichever machine.
    """
    import bench.page.build  # noqa: F401  # where what draws is not installed, nothing is to be written

    if result is None:
        OURS.refresh()
    else:
        print(shown(OURS.publish(result)))
