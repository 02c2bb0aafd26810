"""``bench publish``: copies a valid result, a calibration or profiles into ``results/``, and makes every table anew."""

from __future__ import annotations

import lzma
import shutil
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench.compare import compare
from bench.environment import ROOT
from bench.forecast import model_of
from bench.judge import control, judge
from bench.method import calibration, calibration_table, protocol, rule, turns
from bench.method.keep import read
from bench.profiling.kept import PROFILE_FILE, read_profiles
from bench.records import CONTROL, RECORDS_FILE, RUN_FILE, Result, cell_of, read_result
from bench.report import goals_page, markdown, profile_page, scaling_page
from bench.report.profile_words import BUSY
from bench.report.pytest_benchmark import to_pytest_benchmark
from bench.report.rows import table_rows
from bench.report.units import duration
from bench.report.words import about_control
from bench.request import BASELINE
from bench.stats import MIN_BLOCKS
from bench.sweeps import SCALING
from bench.versions import SIGN, failures_of, versions_of
from bench.whole import write_whole
from bench.workloads import WORKLOADS
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.profiling.kept import Profiles
    from bench.records import Cell
    from bench.report.rows import TableRow

TABLE_FILE = "table.md"
START, END = "<!-- results: made by `python -m bench publish`, not by hand -->", "<!-- end of results -->"
EXPORT_FILE = "pytest-benchmark.json"
README_TASKS = ("train_step", "forward")


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository keeps what is published, and the pages made of it."""

    root: Path

    @property
    def readme(self) -> Path:
        """Has the latest result's table."""
        return self.root / "README.md"

    @property
    def results(self) -> Path:
        """A folder for each result, and the index."""
        return self.root / "results"

    @property
    def method(self) -> Path:
        """What was simulated and measured of the method itself."""
        return self.results / "method"

    @property
    def profiled(self) -> Path:
        """A folder for each command's profiles: without traces, which are large and of one moment."""
        return self.results / "profiled"

    @property
    def goals_page(self) -> Path:
        """What the tuned rows are to reach."""
        return self.root / "docs" / "goals.md"

    @property
    def profiles_page(self) -> Path:
        """What the rows' time goes to."""
        return self.root / "docs" / "profiles.md"


OURS = Repository(ROOT)
"""What is read and written; a test has its own."""


def publish(folder: Path) -> Path:
    """The published copy of the result, calibration or profiles in ``folder``; index, README and pages speak of it.

    Raises:
        InvalidInput: the folder holds none of these, or one that proves nothing: no time, a row that failed, a control
            that did, profiles of a busy machine, or code that no commit has. Or what is to be made anew cannot be
            written.
    """
    try:
        return _publish(folder)
    except OSError as error:
        raise InvalidInput(f"{error.filename or OURS.results}: cannot be written ({error.strerror})") from None


def _publish(folder: Path) -> Path:
    if (folder / calibration.HEAD_FILE).exists():
        return _publish_calibration(folder)
    if (folder / PROFILE_FILE).exists():
        return _publish_profiles(folder)
    result = read_result(folder)
    run, records = result.run, result.records

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"{folder}: {why}")

    if run.preset == "smoke":
        raise refuse("smoke is a check that all works, no measurement; publish another preset")
    if not result.whole:
        raise refuse("was cut short; `python -m bench run --resume` goes on, publish what went to its end")
    check = control(judge(records, run.baseline).values())
    if check is None:
        raise refuse("has no control")
    if check.trusted is False:
        raise refuse(about_control(check))
    if not any(record.ok for record in records):
        raise refuse("has no time in it")
    for record in failures_of(records):
        what = f"{record.implementation} {record.workload} {record.task} is {record.status} ({record.reason})"
        raise refuse(f"{what}; publish a run in which every row works")
    for record in records:
        if "/" not in record.implementation and record.implementation != CONTROL:
            raise refuse(f"{record.implementation} is a file outside impls/, which no commit has")
    blocks = max(record.block for record in records)
    needed, why = MIN_BLOCKS, f"no verdict below {MIN_BLOCKS}"
    if run.preset == SCALING:
        model_of(result)  # it has enough shapes
        needed, why = run.plan.min_blocks, f"{run.plan.min_blocks} were planned"
    if blocks < needed:
        raise refuse(f"has {blocks} block{'s' * (blocks != 1)}, and {why}; `python -m bench run --resume` goes on")
    if run.environment.git_commit is None or run.environment.git_dirty:
        raise refuse("was made by code that is in no commit; commit, run again, publish that")
    machine = run.environment.machine + ("-gpu" if records[0].device == "gpu" else "")
    target = _place_of(OURS.results / machine, run.started_at, lambda there: read_result(there).run.started_at)
    if target.resolve() != folder.resolve():
        fresh = target.with_name(f".{target.name}")  # no result by that name; what an ended publish has left goes first
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in (RUN_FILE, RECORDS_FILE):
            shutil.copyfile(folder / name, fresh / name)
        before = target.with_name(f"{fresh.name}.before")
        if target.exists():
            target.rename(before)
        fresh.rename(target)
        shutil.rmtree(before, ignore_errors=True)
    refresh()
    return target


def _publish_calibration(folder: Path) -> Path:
    """A calibration takes the place of the one before."""
    head, batches = calibration.read_head(folder), calibration.read_batches(folder)
    if not batches:
        raise InvalidInput(f"{folder}: has no complete batch yet; `python -m bench calibrate --out` goes on")
    if head.environment.git_commit is None or head.environment.git_dirty:
        raise InvalidInput(f"{folder}: was made by code that is in no commit; commit, calibrate again, publish that")
    OURS.method.mkdir(parents=True, exist_ok=True)
    if folder.resolve() != OURS.method.resolve():
        packed = lzma.compress((folder / calibration.COMPARISONS_FILE).read_bytes())
        write_whole(OURS.method / calibration.PACKED_FILE, packed)
        write_whole(OURS.method / calibration.HEAD_FILE, (folder / calibration.HEAD_FILE).read_bytes())
    refresh()
    return OURS.method


def _publish_profiles(folder: Path) -> Path:
    """Profiles stand beside those of other machines and days."""
    found = read_profiles(folder)

    def refuse(why: str) -> InvalidInput:
        return InvalidInput(f"{folder}: {why}")

    for one in found.profiles:
        what = f"{one.implementation} {one.workload} {one.task}"
        if one.status != "ok":
            raise refuse(f"{what} is {one.status} ({one.reason}); publish profiles in which every row works")
        if "/" not in one.implementation:
            raise refuse(f"{one.implementation} is a file outside impls/, which no commit has")
        if one.waited > BUSY:
            raise refuse(f"{what}: other programs had its processor; profile again on a machine that is at rest")
    if found.environment.git_commit is None or found.environment.git_dirty:
        raise refuse("was made by code that is in no commit; commit, profile again, publish that")
    place = OURS.profiled / found.environment.machine
    target = _place_of(place, found.started_at, lambda there: read_profiles(there).started_at)
    if target.resolve() != folder.resolve():
        target.mkdir(parents=True, exist_ok=True)
        write_whole(target / PROFILE_FILE, (folder / PROFILE_FILE).read_bytes())
    refresh()
    return target


def _place_of(path: Path, started_at: str, began: Callable[[Path], str]) -> Path:
    """The folder for what began then: the path with the day, or, where others of that day are, the next number."""
    for number in count(1):
        numbered = path.with_name(f"{path.name}-{started_at[:10]}" + (f"-{number}" if number > 1 else ""))
        if not numbered.exists() or began(numbered) == started_at:
            return numbered
    raise AssertionError


def refresh() -> None:
    """Make every published table, the index and the README's table anew from the records."""
    for path, text in generated().items():
        write_whole(path, text.encode())


def generated() -> dict[Path, str]:
    """Every generated file, and what it has to say."""
    results = published()
    files = {result.path / TABLE_FILE: markdown.full(table_rows([result]), [result]) for result in results}
    files |= {result.path / EXPORT_FILE: to_pytest_benchmark(result).decode() for result in results}
    for model, path in ((model_of(result), result.path) for result in results if result.run.preset == SCALING):
        files |= {path / scaling_page.PAGE_FILE: scaling_page.page(model)}
        files |= {path / scaling_page.FACTS_FILE: scaling_page.to_json(model)}
    files |= method_files(results)
    files[OURS.results / "README.md"] = index(results)
    files[OURS.profiles_page] = profile_page.page(published_profiles())
    files[OURS.goals_page] = goals_page.page(results, published_profiles())
    if shown := [result for result in results if is_for_readme(result)]:
        latest = max(reversed(shown), key=lambda result: len(timed_rows(result)))  # of those that have the most
        files[OURS.readme] = with_table(OURS.readme.read_text(encoding="utf-8"), latest)
    return files


def method_files(results: Sequence[Result]) -> dict[Path, str]:
    """The tables of what was simulated and measured of the method itself, as far as it was."""
    files, method = {}, OURS.method
    if (method / rule.RAW_FILE).exists():
        files[method / rule.TABLE_FILE] = rule.report(read(method / rule.RAW_FILE, rule.Simulation))
    if (method / turns.RAW_FILE).exists():
        files[method / turns.TABLE_FILE] = turns.report(read(method / turns.RAW_FILE, turns.Experiment))
    if (method / protocol.RAW_FILE).exists():
        experiment = read(method / protocol.RAW_FILE, protocol.Experiment)
        of_it = next((result for result in results if result.path.name == experiment.result), None)
        if of_it is None:
            raise InvalidInput(f"{method / protocol.RAW_FILE}: is about {experiment.result}, which is not published")
        files[method / protocol.TABLE_FILE] = protocol.report(experiment, of_it)
    if (method / calibration.HEAD_FILE).exists():
        head, batches = calibration.read_head(method), calibration.read_batches(method)
        files[method / calibration.TABLE_FILE] = calibration_table.markdown(head, batches)
    return files


def published() -> list[Result]:
    """The published results, oldest first."""
    folders = sorted(path.parent for path in OURS.results.glob(f"[!.]*/{RUN_FILE}"))
    results = [read_result(folder) for folder in folders]
    return sorted(results, key=lambda result: datetime.fromisoformat(result.run.started_at))


def published_profiles() -> list[Profiles]:
    """The published profiles, oldest first."""
    found = [read_profiles(path.parent) for path in OURS.profiled.glob(f"[!.]*/{PROFILE_FILE}")]
    return sorted(found, key=lambda one: datetime.fromisoformat(one.started_at))


def is_for_readme(result: Result) -> bool:
    """Whether it answers the README's question: the default workloads, its tasks, the usual baseline, of no version."""
    default = {(name, task) for name, one in WORKLOADS.items() if "default" in one.presets for task in README_TASKS}
    here = {(record.workload, record.task) for record in result.records if _is_readmes(cell_of(record))}
    return default <= here and result.run.baseline == BASELINE


def _is_readmes(cell: Cell | TableRow) -> bool:
    """Whether the README speaks of it: the CPU, one thread, float32."""
    return (cell.device, cell.threads, cell.precision) == ("cpu", 1, "float32")


def timed_rows(result: Result) -> set[str]:
    """The rows that have a time in it: of others only their names are known."""
    return {record.implementation for record in result.records if record.ok}


def index(results: Sequence[Result]) -> str:
    """The list of published results."""
    lines = [
        [
            f"[{result.path.name}]({result.path.name}/{page_of(result)})",
            result.run.environment.cpu,
            ", ".join(dict.fromkeys(record.device for record in result.records)),
            f", {SIGN}".join([result.run.preset, *versions_of(result.run)]),
            str(len({cell_of(record) for record in result.records if record.ok})),
            str(max(record.block for record in result.records)),
            *since_the_one_before(results[:number], result),
        ]
        for number, result in enumerate(results)
    ]
    method = [path.relative_to(OURS.results) for path in sorted(method_files(results))]
    return (
        "# Published results\n\nMade by `python -m bench publish`. Each folder has the raw records, the machine and the"
        " command, and the table made of them.\n\n"
        + markdown.table([*INDEX_HEADER, "blocks", *INDEX_SINCE], lines, left=4)
        + (
            "\nLike before: of the verdicts decided in this run and in the one before it on that machine, those that"
            " are the same. Ratios moved: how far, as a standard deviation, ratios of rows with the same code and"
            " versions lie from that run's, beyond what the blocks of either show (`bench compare`).\n"
        )
        + (
            "\nOn the method itself: " + ", ".join(f"[{path.stem}]({path})" for path in method) + ".\n"
            if method
            else ""
        )
    )


INDEX_HEADER = ["result", "processor", "device", "preset", "cells with a time"]
INDEX_SINCE = ["like before", "ratios moved"]


def page_of(result: Result) -> str:
    """The page that the index leads to."""
    return scaling_page.PAGE_FILE if result.run.preset == SCALING else TABLE_FILE


def since_the_one_before(earlier: Sequence[Result], result: Result) -> tuple[str, str]:
    """How many verdicts, decided in both, are the same in this run and in the last before it that is comparable.

    And how far the ratios of unchanged rows have moved, where that can be seen.
    """
    before = the_one_before(earlier, result)
    if before is None:
        return "–", "–"
    found = agreement(before, result)
    differ = [f"{cell.implementation} {cell.workload} {cell.task}" for cell, same in found.items() if not same]
    moved = compare(before, result).moved
    return (
        f"{sum(found.values())} of {len(found)}" + (f", not {', '.join(differ)}" if differ else ""),
        f"{100 * moved.deviation:.1f} %" if moved else "–",
    )


def the_one_before(earlier: Sequence[Result], result: Result) -> Result | None:
    """The last on the same machine that has the same tables; of a scaling run, which has no verdicts, none."""
    machine, tables = result.run.environment.machine, _rows_at_tables(result)
    alike = [one for one in earlier if one.run.environment.machine == machine and _rows_at_tables(one) == tables]
    alike = [one for one in alike if SCALING not in (one.run.preset, result.run.preset)]
    return alike[-1] if alike else None


def _rows_at_tables(result: Result) -> list[list[str]]:
    """Who is compared with whom: the bounds are not."""
    bounds = set(result.run.bounds.values())
    return [[name for name in table if name not in bounds] for table in result.run.plan.tables]


def agreement(old: Result, new: Result) -> dict[Cell, bool]:
    """For each cell with a decided verdict in both results: whether it is the same."""
    decided = []
    for result in (old, new):
        judged = judge(result.records, result.run.baseline)
        decided.append({cell: one.ratio.verdict for cell, one in judged.items() if one.ratio and one.is_decided})
    before, after = decided
    return {cell: before[cell] == verdict for cell, verdict in after.items() if cell in before}


def with_table(readme: str, result: Result) -> str:
    """The README with the result's tables between its marks.

    Raises:
        InvalidInput: the README has no marks.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InvalidInput(f"{OURS.readme.name}: has no place for the results, between {START!r} and {END!r}")
    rows = table_rows([result])
    one = [row for row in rows if _is_readmes(row)]
    tables = "\n".join(markdown.short(one, task) for task in README_TASKS)
    judged = judge(result.records, result.run.baseline).values()
    compared = [one for one in judged if one.is_compared and _is_readmes(one.cell)]
    words = (
        f"{markdown.environment_line(result.run.environment)}; one thread; {result.run.started_at[:10]}."
        f" Median of a call, and in brackets its ratio to `{result.run.baseline}` (above 1 is slower) with the verdict."
        " Ratios are paired turn by turn: they are not the quotients of the medians. **Bold**: the first place of its"
        " column, and those whom no verdict tells from it."
        f" {sum(one.is_decided for one in compared)} of {len(compared)} ratios are decided after"
        f" {duration(result.elapsed_s)}; {about_control(control(judged))}.\n"
        f"[Intervals, compile times, memory, costs and errors]({result.path.relative_to(OURS.root)}/{TABLE_FILE})."
        f" {error_rate_in_words()}\n"
    )
    shapes = "; ".join(f"`{name}`: {facts.shape}" for name, facts in result.run.workloads.items())
    return f"{before}{START}\n\n{tables}\n{shapes}.\n\n{words}\n{END}{after}"


def error_rate_in_words() -> str:
    """How often verdicts were wrong when identical workers were compared, if that was measured."""
    if not (OURS.method / calibration.HEAD_FILE).exists():
        return "How often verdicts err has not been measured yet."
    comparisons = [one for batch in calibration.read_batches(OURS.method) for one in batch.comparisons]
    where = (OURS.method / calibration.TABLE_FILE).relative_to(OURS.root)
    return f"{calibration_table.in_words(comparisons)} ([measured]({where}))."
