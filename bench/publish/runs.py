"""Runs, as they are published: which may be, a folder each, pictures of each machine, the index, and README's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bench.analysis.analysis import Analysis
from bench.analysis.verdict import MIN_BLOCKS
from bench.measure.worker_environment import CHANGE_SPEED
from bench.page.data import page_data
from bench.publish import index, readme
from bench.publish.commits import Made, with_commit
from bench.publish.kinds import Kind, Repository, dated, refusal
from bench.records.schema import CONTROL, Run
from bench.records.store import RECORDS_FILE, RUN_FILE, head_text, read_result
from bench.records.versions import failures_of, split
from bench.report import markdown
from bench.report.export import to_pytest_benchmark
from bench.report.featured import answers_readme, featured_result, weight
from bench.report.rows import table_rows
from bench.report.words import GOES_ON, about_control
from bench.workloads.sweeps import SCALING
from impls.tasks import of_training

if TYPE_CHECKING:
    from pathlib import Path

    from bench.records.schema import Environment

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

    def check(self, thing: Analysis, folder: Path, repository: Repository) -> Analysis:
        """Refuse a result that proves nothing."""
        environment = check(thing, repository.root)
        self.extra(thing)
        return Analysis(replace(thing.result, run=msgspec.structs.replace(thing.run, environment=environment)))

    def head(self, thing: Analysis) -> Run:
        """When it began, and what made it."""
        return thing.run

    def target(self, thing: Analysis, repository: Repository) -> Path:
        """A folder for each machine and day."""
        machine = thing.run.environment.machine + ("-gpu" if thing.result.records[0].cell.device == "gpu" else "")
        return dated(repository.results / machine, thing, self)

    def raw(self, thing: Analysis, folder: Path) -> dict[str, bytes]:
        """The head without what may say whose machine it is, and the records."""
        return {RUN_FILE: head_text(without_names(thing.run)), RECORDS_FILE: (folder / RECORDS_FILE).read_bytes()}

    def places(self, repository: Repository) -> list[Path]:
        """All in one folder."""
        return [repository.results]

    def made(self, thing: Analysis, folder: Path) -> dict[Path, str]:
        """Its table, in several formats."""
        files = {
            markdown.TABLE_FILE: markdown.full(table_rows([thing]), [thing]),
            "pytest-benchmark.json": to_pytest_benchmark(thing).decode(),
        }
        return {folder / name: text for name, text in (files | self.extra(thing)).items()}

    def pages(self, things: Sequence[tuple[Path, Analysis]], repository: Repository) -> dict[Path, str]:
        """Pictures of each machine, the index, and README."""
        from bench.page.build import svgs  # imported late: other commands do without what draws

        analyses = [analysis for _, analysis in things]
        of_machine: dict[str, list[Analysis]] = {}
        for analysis in analyses:
            of_machine.setdefault(analysis.run.environment.machine, []).append(analysis)
        files: dict[Path, str] = {}
        for machine, own in of_machine.items():
            drawn = svgs(page_data([max(own, key=lambda one: weight(one.result))]))
            files |= {repository.machines / machine / name: text for name, text in drawn}
        method = sorted(path.relative_to(repository.results).as_posix() for path in repository.method.rglob("[!.]*.md"))
        files[repository.results / "README.md"] = index.page(index.index(analyses), method, pins(repository))
        shown = featured_result(one.result for one in analyses if answers_readme(one.result))
        for analysis in analyses:
            if analysis.result is shown:
                said = self.error_rate(repository, shown.run.environment.machine)
                files[repository.readme] = readme.with_table(repository, analysis, said)
        return files


def pins(repository: Repository) -> dict[str, str]:
    """Package to the version that ``constraints.txt`` pins."""
    path = repository.root / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return dict(line.split("==") for line in lines if line.count("==") == 1)


def check(analysis: Analysis, repository: Path) -> Environment:
    """The environment of a result that may be published, with the commit that has the code.

    Raises:
        InvalidInput: why it may not be published, and the way out.
    """
    result, run, records = analysis.result, analysis.run, analysis.result.records
    refuse = refusal(result.path)
    if run.preset == "smoke":
        raise refuse("smoke is a check that all works, no measurement; publish another preset")
    if not result.whole:
        raise refuse(f"was cut short; {GOES_ON}, publish what went to its end")
    if analysis.control is None:
        raise refuse("has no control")
    if not analysis.is_trusted:
        raise refuse(about_control(analysis.control))
    if not any(record.ok for record in records):
        raise refuse("has no time in it")
    for record in failures_of(records):
        what = f"{record.cell} is {record.status} ({record.reason})"
        raise refuse(f"{what}; publish a run in which every row works")
    for record in records:
        if "/" not in record.cell.implementation and record.cell.implementation != CONTROL:
            raise refuse(f"{record.cell.implementation} is a file outside impls/, which no commit has")
    blocks = max(record.block for record in records)
    needed, why = MIN_BLOCKS, f"no verdict below {MIN_BLOCKS}"
    if run.preset == SCALING:
        needed, why = run.plan.min_blocks, f"{run.plan.min_blocks} were planned"
    if blocks < needed:
        raise refuse(f"has {blocks} block{'s' * (blocks != 1)}, and {why}; {GOES_ON}")
    rows = {split(name).row: facts.code for name, facts in run.rows.items()}
    trained = of_training(run.plan.tasks)
    made = Made(run.environment, run.started_at, run.environment.harness, rows, trained=trained)
    return with_commit(made, repository, refuse)


def without_names(run: Run) -> Run:
    """The head of a run without the names of a person's own variables, which may say whose machine it is."""
    known = tuple(name for name in run.environment.left_out if name.startswith(CHANGE_SPEED))
    return msgspec.structs.replace(run, environment=msgspec.structs.replace(run.environment, left_out=known))
