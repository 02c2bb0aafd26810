"""Calibrations, as they are published: one of synthetic workers, and for each machine those on real rows."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench.calibration import calibration, report
from bench.calibration.calibration import Batch, Head
from bench.publish.kinds import Kind, Repository, check_commit, dated, refusal


class Calibration(NamedTuple):
    """What was calibrated, and what came of it."""

    head: Head
    batches: list[Batch]


@dataclass(frozen=True, slots=True)
class Calibrations(Kind[Calibration]):
    """Results of ``bench calibrate``."""

    head_file: ClassVar[str] = calibration.HEAD_FILE

    def read(self, folder: Path) -> Calibration:
        """The calibration in a folder."""
        return Calibration(calibration.read_head(folder), calibration.read_batches(folder))

    def check(self, thing: Calibration, folder: Path, repository: Repository) -> None:
        """Refuse a calibration that says nothing."""
        refuse = refusal(folder)
        if not thing.batches:
            raise refuse("has no complete batch yet; `python -m bench calibrate --out` goes on")
        check_commit(thing.head.environment, repository.root, refuse, "calibrate")

    def started_at(self, thing: Calibration) -> str:
        """When it began."""
        return thing.head.started_at

    def target(self, thing: Calibration, repository: Repository) -> Path:
        """One of synthetic workers takes the place of the one before; one on real rows stands beside the others."""
        if not thing.head.rows:
            return repository.method
        return dated(twins(repository) / thing.head.environment.machine, thing, self)

    def raw(self, thing: Calibration, folder: Path) -> dict[str, bytes]:
        """The head as it is, the comparisons packed."""
        packed = lzma.compress((folder / calibration.COMPARISONS_FILE).read_bytes())
        return {calibration.PACKED_FILE: packed, calibration.HEAD_FILE: (folder / calibration.HEAD_FILE).read_bytes()}

    def places(self, repository: Repository) -> list[Path]:
        """Those on real rows."""
        return [repository.method, twins(repository)]

    def folders(self, repository: Repository) -> list[Path]:
        """The one of synthetic workers, which stands among other files, and those on real rows."""
        folders = [repository.method, *twins(repository).glob("[!.]*")]
        return [folder for folder in folders if (folder / calibration.HEAD_FILE).exists()]

    def made(self, thing: Calibration, folder: Path) -> dict[Path, str]:
        """Its table."""
        return {folder / calibration.TABLE_FILE: report.markdown(*thing)}


def twins(repository: Repository) -> Path:
    """A folder for each calibration on real rows."""
    return repository.method / "twins"


def error_rate_in_words(repository: Repository, machine: str) -> str:
    """How often verdicts were wrong when rows were compared with themselves, if measured: a sentence with a link.

    Those of rows on this machine, or, where it has none, on each that has: unlike machines are not pooled. Where no row
    was compared with itself, how often verdicts on identical workers were wrong.
    """
    of_synthetic: list[Batch] = []
    of_rows: dict[tuple[str, str], list[Batch]] = {}
    for folder in sorted(Calibrations().folders(repository)):
        head, batches = calibration.read_head(folder), calibration.read_batches(folder)
        own = of_rows.setdefault((head.environment.machine, head.environment.cpu), []) if head.rows else of_synthetic
        own += batches
    here = {own: batches for own, batches in of_rows.items() if own[0] == machine}
    said = [f"{report.in_words(batches)}, on {cpu}" for (_, cpu), batches in (here or of_rows).items()]
    if of_synthetic and not said:
        said.append(report.in_words(of_synthetic))
    how = "([how we measure this](docs/method.md#how-often-it-errs))"
    return f"{'; '.join(said)} {how}." if said else "How often verdicts err has not been measured yet."
