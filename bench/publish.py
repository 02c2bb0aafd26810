"""``bench publish``: copies a valid result, a calibration or profiles into ``results/``, and makes every table anew."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from bench import index
from bench.environment import CHANGE_SPEED, ROOT
from bench.forecast import model_of
from bench.headline import TASKS_OF_README, answers_readme, headline, is_readmes, weight
from bench.judge import control, judge
from bench.method import calibration, calibration_table, decided, protocol, rule, turns, twins_table
from bench.method.keep import read
from bench.notes import source_of, write_made
from bench.page import REPORT_FILE
from bench.page.machine import files_of_machine
from bench.profiling.kept import PROFILE_FILE, read_profiles
from bench.publishable import check, check_calibration, check_profiles
from bench.records import RECORDS_FILE, RUN_FILE, Result, read_result, run_text
from bench.report import goals_page, markdown, profile_page, scaling_page
from bench.report.pytest_benchmark import to_pytest_benchmark
from bench.report.rows import table_rows
from bench.report.sentence import sentence
from bench.report.units import duration
from bench.report.words import about_control
from bench.sweeps import SCALING
from bench.whole import mend, write_folder, write_together, write_whole
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.profiling.kept import Profiles
    from bench.records import Run

START, END = "<!-- results: made by `python -m bench publish`, not by hand -->", "<!-- end of results -->"
EXPORT_FILE = "pytest-benchmark.json"


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
    def twins(self) -> Path:
        """A folder for each calibration on real rows."""
        return self.method / "twins"

    @property
    def profiled(self) -> Path:
        """A folder for each command's profiles: without traces, which are large and of one moment."""
        return self.results / "profiled"

    @property
    def machines(self) -> Path:
        """A folder for each machine: the page of its results, and pictures."""
        return self.results / "machines"

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
    _mend_all()
    if (folder / calibration.HEAD_FILE).exists():
        return _publish_calibration(folder)
    if (folder / PROFILE_FILE).exists():
        return _publish_profiles(folder)
    result = read_result(folder)
    check(result, OURS.root)
    run = result.run
    machine = run.environment.machine + ("-gpu" if result.records[0].device == "gpu" else "")
    target = _place_of(OURS.results / machine, run.started_at, lambda there: read_result(there).run.started_at)
    if target.resolve() != folder.resolve():
        records = (folder / RECORDS_FILE).read_bytes()
        write_folder(target, {RUN_FILE: run_text(without_names(run)), RECORDS_FILE: records})
    refresh()
    return target


def without_names(run: Run) -> Run:
    """The head of a run without the names of a person's own variables, which may say whose machine it is."""
    known = tuple(name for name in run.environment.left_out if name.startswith(CHANGE_SPEED))
    return msgspec.structs.replace(run, environment=msgspec.structs.replace(run.environment, left_out=known))


def _publish_calibration(folder: Path) -> Path:
    """A calibration takes the place of the one before; one on real rows stands beside those of other machines."""
    head, batches = calibration.read_head(folder), calibration.read_batches(folder)
    check_calibration(head, batches, folder, OURS.root)
    target = OURS.method
    if head.rows:
        place = OURS.twins / head.environment.machine
        target = _place_of(place, head.started_at, lambda there: calibration.read_head(there).started_at)
    if folder.resolve() != target.resolve():
        packed = lzma.compress((folder / calibration.COMPARISONS_FILE).read_bytes())
        files = {calibration.PACKED_FILE: packed, calibration.HEAD_FILE: (folder / calibration.HEAD_FILE).read_bytes()}
        if head.rows:
            write_folder(target, files)
        else:  # among other files
            target.mkdir(parents=True, exist_ok=True)
            write_together({target / name: data for name, data in files.items()})
    refresh()
    return target


def _publish_profiles(folder: Path) -> Path:
    """Profiles stand beside those of other machines and days."""
    found = read_profiles(folder)
    check_profiles(found, folder, OURS.root)
    place = OURS.profiled / found.environment.machine
    target = _place_of(place, found.started_at, lambda there: read_profiles(there).started_at)
    if target.resolve() != folder.resolve():
        write_folder(target, {PROFILE_FILE: (folder / PROFILE_FILE).read_bytes()})
    refresh()
    return target


def _place_of(path: Path, started_at: str, began: Callable[[Path], str]) -> Path:
    """The folder for what began then: the path with the day, or, where others of that day are, the next number."""
    free: Path | None = None
    for number in count(1):
        numbered = path.with_name(f"{path.name}-{started_at[:10]}" + (f"-{number}" if number > 1 else ""))
        if not numbered.exists():
            return free or numbered
        if _is_empty(numbered):
            free = free or numbered
        elif began(numbered) == started_at:
            return numbered
    raise AssertionError


def _is_empty(folder: Path) -> bool:
    """Whether nothing but notes is there, as after a change to a branch that has no such result."""
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())


def _mend_all() -> None:
    """Put right what was left by a publish that was killed."""
    places = OURS.twins, OURS.profiled, OURS.machines
    for place in (OURS.results, OURS.method, *places):
        mend(place)
    for folder in (*_folders(), *(folder for place in places for folder in place.glob("[!.]*/"))):
        mend(folder)


def refresh() -> None:
    """Make every published table, the index and the README's table anew, as far as what they are made of is.

    Raises:
        InvalidInput: something that is published is damaged, or what is made of it cannot be written.
    """
    stderr = Console(stderr=True, highlight=False, markup=False)
    try:
        _mend_all()
        with stderr.status("reading what is published") as status:
            results = published()
            for result in results:
                status.update(f"tables of {result.path.name}")
                source = source_of([result.path / RUN_FILE, result.path / RECORDS_FILE])
                write_made(result.path, source, partial(files_of, result))
            for path in calibration_paths():
                status.update(f"table of the calibration in {path.parent.name}")
                raw = source_of([path.with_name(name) for name in (calibration.HEAD_FILE, calibration.PACKED_FILE)])
                write_made(path.parent, raw, partial(calibration_file, path))
            for machine, own in by_machine(results).items():
                status.update(f"page of {machine}")
                raw = source_of([one.path / name for one in own for name in (RUN_FILE, RECORDS_FILE)])
                folder = OURS.machines / machine
                folder.mkdir(parents=True, exist_ok=True)
                write_made(folder, raw, partial(machine_files, folder, own))
            for path, text in files_of_all(results, index.index(_folders(), tell=status.update)).items():
                write_whole(path, text.encode())
    except OSError as error:
        raise InvalidInput(f"{error.filename or OURS.results}: cannot be written ({error.strerror})") from None


def generated() -> dict[Path, str]:
    """Every generated file, and what it has to say: all of it made anew from the raw records."""
    results = published()
    files = {path: text for result in results for path, text in files_of(result).items()}
    for machine, own in by_machine(results).items():
        files |= machine_files(OURS.machines / machine, own)
    for path in calibration_paths():
        files |= calibration_file(path)
    return files | files_of_all(results, index.index(_folders(), remember=False))


def files_of(result: Result) -> dict[Path, str]:
    """What stands in a result's folder beside its records."""
    files = {
        result.path / markdown.TABLE_FILE: markdown.full(table_rows([result]), [result]),
        result.path / EXPORT_FILE: to_pytest_benchmark(result).decode(),
    }
    if result.run.preset == SCALING:
        model = model_of(result)
        files[result.path / scaling_page.PAGE_FILE] = scaling_page.page(model)
        files[result.path / scaling_page.FACTS_FILE] = scaling_page.to_json(model)
    return files


def by_machine(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each machine, oldest first."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.run.environment.machine, []).append(result)
    return found


def machine_files(folder: Path, results: Sequence[Result]) -> dict[Path, str]:
    """The page of a machine's results, and pictures of the one that says most."""
    shown = max(results, key=weight)
    return {folder / name: text for name, text in files_of_machine(results, shown).items()}


def files_of_all(results: Sequence[Result], indexed: Sequence[index.Indexed]) -> dict[Path, str]:
    """What speaks of several results, or of none."""
    files = method_files(results)
    method = sorted(path.relative_to(OURS.results).as_posix() for path in [*files, *calibration_paths()])
    files[OURS.results / "README.md"] = index.page(indexed, method)
    profiles = published_profiles()
    files[OURS.profiles_page] = profile_page.page(profiles)
    files[OURS.goals_page] = goals_page.page(results, profiles)
    if shown := headline(filter(answers_readme, results)):
        files[OURS.readme] = with_table(OURS.readme.read_text(encoding="utf-8"), shown)
    return files


def calibration_paths() -> list[Path]:
    """Where the tables of the calibrations stand, as far as there are any: of counted work first."""
    folders = [OURS.method, *sorted(OURS.twins.glob("[!.]*"))]
    return [folder / calibration.TABLE_FILE for folder in folders if (folder / calibration.HEAD_FILE).exists()]


def calibration_file(path: Path) -> dict[Path, str]:
    """The table of a calibration, by where it stands."""
    head, batches = calibration.read_head(path.parent), calibration.read_batches(path.parent)
    return {path: (twins_table if head.rows else calibration_table).markdown(head, batches)}


def method_files(results: Sequence[Result]) -> dict[Path, str]:
    """The tables of what was simulated and measured to choose the method, as far as it was."""
    files, method = {}, OURS.method
    for of, kind in ((rule, rule.Simulation), (turns, turns.Experiment), (decided, decided.Experiment)):
        if (method / of.RAW_FILE).exists():
            files[method / of.TABLE_FILE] = of.report(read(method / of.RAW_FILE, kind))
    if (method / protocol.RAW_FILE).exists():
        experiment = read(method / protocol.RAW_FILE, protocol.Experiment)
        of_it = next((result for result in results if result.path.name == experiment.result), None)
        if of_it is None:
            raise InvalidInput(f"{method / protocol.RAW_FILE}: is about {experiment.result}, which is not published")
        files[method / protocol.TABLE_FILE] = protocol.report(experiment, of_it)
    return files


def published() -> list[Result]:
    """The published results, oldest first."""
    results = [read_result(folder) for folder in _folders()]
    return sorted(results, key=lambda result: datetime.fromisoformat(result.run.started_at))


def _folders() -> list[Path]:
    return sorted(path.parent for path in OURS.results.glob(f"[!.]*/{RUN_FILE}"))


def published_profiles() -> list[Profiles]:
    """The published profiles, oldest first."""
    found = [read_profiles(path.parent) for path in OURS.profiled.glob(f"[!.]*/{PROFILE_FILE}")]
    return sorted(found, key=lambda one: datetime.fromisoformat(one.started_at))


def with_table(readme: str, result: Result) -> str:
    """The README with the result's sentence and tables between its marks.

    Raises:
        InvalidInput: the README has no marks.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InvalidInput(f"{OURS.readme.name}: has no place for the results, between {START!r} and {END!r}")
    rows = table_rows([result])
    one = [row for row in rows if is_readmes(row)]
    tables = "\n".join(markdown.short(one, task) for task in TASKS_OF_README)
    judged = judge(result.records, result.run.baseline).values()
    shown = [one for one in judged if is_readmes(one.cell) and one.cell.task in TASKS_OF_README]
    compared = [one for one in judged if one.is_compared and is_readmes(one.cell)]
    said = sentence(shown, result.run, f"{result.run.environment.cpu} with one thread")
    full = (result.path / markdown.TABLE_FILE).relative_to(OURS.root)
    home = (OURS.machines / result.run.environment.machine).relative_to(OURS.root)
    picture = f"![Ratio to {result.run.baseline} of each row, with intervals]({home}/ratio.svg)"
    words = (
        f"{markdown.environment_line(result.run.environment)}; one thread; {result.run.started_at[:10]}."
        f" Median of a call, and in brackets its ratio to `{result.run.baseline}` (above 1 is slower) with the verdict."
        " Ratios are paired turn by turn: they are not the quotients of the medians. **Bold**: the first place of its"
        " column, and those whom no verdict tells from it."
        f" {sum(one.is_decided for one in compared)} of {len(compared)} ratios are decided after"
        f" {duration(result.elapsed_s)}; {about_control(control(judged))}.\n"
        f"[Intervals, compile times, memory, costs and errors]({full});"
        f" [the page of all results of this machine]({home}/{REPORT_FILE}), with charts, filters and the raw records,"
        " to open in a browser."
        f" {error_rate_in_words(result.run.environment.machine)}\n"
    )
    shapes = "; ".join(f"`{name}`: {facts.shape}" for name, facts in result.run.workloads.items())
    return f"{before}{START}\n\n{said}\n\n{tables}\n{shapes}.\n\n{picture}\n\n{words}\n{END}{after}"


def error_rate_in_words(machine: str) -> str:
    """How often verdicts were wrong when rows, and identical workers, were compared with themselves, if measured.

    Those of rows on this machine, or, where it has none, on each that has: batches of unlike machines stay apart.
    """
    of_counted_work: list[Path] = []
    of_rows: dict[tuple[str, str], list[Path]] = {}
    for path in calibration_paths():
        head = calibration.read_head(path.parent)
        if head.rows:
            of_rows.setdefault((head.environment.machine, head.environment.cpu), []).append(path)
        else:
            of_counted_work.append(path)
    said = []
    here = {own: paths for own, paths in of_rows.items() if own[0] == machine}
    for (_, cpu), paths in (here or of_rows).items():
        batches = [batch for path in paths for batch in calibration.read_batches(path.parent)]
        said.append((f"{twins_table.in_words(batches)}, on {cpu}", paths))
    for path in of_counted_work:
        told = calibration.told_of(calibration.read_batches(path.parent))
        said.append((calibration_table.in_words(told), [path]))
    words = (
        f"{one} (measured: {', '.join(f'[{path.parent.name}]({path.relative_to(OURS.root)})' for path in paths)})."
        for one, paths in said
    )
    return " ".join(words) or "How often verdicts err has not been measured yet."
