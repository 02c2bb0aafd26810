"""Runs, as they are published: a folder each, pictures of each machine, the index, and README's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bench.analysis.analysis import Analysis
from bench.measure.worker_environment import CHANGE_SPEED
from bench.page.build import svgs
from bench.page.data import page_data
from bench.publish import index, readme
from bench.publish.kinds import Kind, Repository, dated
from bench.publish.rules import check
from bench.records.schema import Run
from bench.records.store import RECORDS_FILE, RUN_FILE, read_result, run_text
from bench.report import markdown
from bench.report.export import to_pytest_benchmark
from bench.report.featured import answers_readme, featured_result, weight
from bench.report.rows import table_rows

if TYPE_CHECKING:
    from pathlib import Path

EXPORT_FILE = "pytest-benchmark.json"

Extra = Callable[[Analysis], dict[str, str]]
"""More files that are made of a run, by name; it refuses a run that they cannot be made of."""

ErrorRate = Callable[[Repository, str], str]
"""What README says of how often verdicts are wrong, for a machine."""


@dataclass(frozen=True, slots=True)
class Runs(Kind[Analysis]):
    """Results of ``bench run``."""

    head_file: ClassVar[str] = RUN_FILE
    extra: Extra
    error_rate: ErrorRate

    def read(self, folder: Path) -> Analysis:
        """The result in a folder."""
        return Analysis(read_result(folder))

    def check(self, thing: Analysis, folder: Path, repository: Repository) -> None:
        """Refuse a result that proves nothing."""
        check(thing, repository.root)
        self.extra(thing)

    def started_at(self, thing: Analysis) -> str:
        """When it began."""
        return thing.run.started_at

    def target(self, thing: Analysis, repository: Repository) -> Path:
        """A folder for each machine and day."""
        machine = thing.run.environment.machine + ("-gpu" if thing.result.records[0].cell.device == "gpu" else "")
        return dated(repository.results / machine, thing, self)

    def raw(self, thing: Analysis, folder: Path) -> dict[str, bytes]:
        """The head without what may say whose machine it is, and the records."""
        return {RUN_FILE: run_text(without_names(thing.run)), RECORDS_FILE: (folder / RECORDS_FILE).read_bytes()}

    def places(self, repository: Repository) -> list[Path]:
        """All in one folder."""
        return [repository.results]

    def made(self, thing: Analysis, folder: Path) -> dict[Path, str]:
        """Its table, in several formats."""
        return {
            folder / markdown.TABLE_FILE: markdown.full(table_rows([thing]), [thing]),
            folder / EXPORT_FILE: to_pytest_benchmark(thing).decode(),
        } | {folder / name: text for name, text in self.extra(thing).items()}

    def pages(self, things: Sequence[tuple[Path, Analysis]], repository: Repository) -> dict[Path, str]:
        """Pictures of each machine, the index, and README."""
        analyses = [analysis for _, analysis in things]
        files: dict[Path, str] = {}
        for machine, own in by_machine(analyses).items():
            drawn = svgs(page_data([max(own, key=lambda one: weight(one.result))]))
            files |= {repository.machines / machine / name: text for name, text in drawn}
        files[repository.results / "README.md"] = index.page(index.index(analyses), on_the_method(repository))
        shown = featured_result(one.result for one in analyses if answers_readme(one.result))
        for analysis in analyses:
            if analysis.result is shown:
                said = self.error_rate(repository, shown.run.environment.machine)
                files[repository.readme] = readme.with_table(repository, analysis, said)
        return files


def without_names(run: Run) -> Run:
    """The head of a run without the names of a person's own variables, which may say whose machine it is."""
    known = tuple(name for name in run.environment.left_out if name.startswith(CHANGE_SPEED))
    return msgspec.structs.replace(run, environment=msgspec.structs.replace(run.environment, left_out=known))


def by_machine(analyses: Sequence[Analysis]) -> dict[str, list[Analysis]]:
    """The results of each machine, oldest first."""
    found: dict[str, list[Analysis]] = {}
    for analysis in analyses:
        found.setdefault(analysis.run.environment.machine, []).append(analysis)
    return found


def on_the_method(repository: Repository) -> list[str]:
    """The tables of what was simulated and measured of the method itself, by where they stand in ``results/``."""
    return sorted(path.relative_to(repository.results).as_posix() for path in repository.method.rglob("[!.]*.md"))
