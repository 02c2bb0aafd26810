"""What is published is what the records say: tables, index and README are made, never typed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from support.calibrated import HEAD, batch, comparison
from support.processes import WITH_TESTS, python
from support.publishing import published, publisher, the_one_before
from support.recorded import DIRTY, END, RUN, record, six_blocks, write
from support.said import alike, said

from bench.analysis.analysis import Analysis
from bench.analysis.compare import compare
from bench.calibration import calibration
from bench.calibration.calibration import Batch
from bench.calibration.report import Calibrations
from bench.cli.publish import OURS
from bench.here import ROOT
from bench.page.build import page, svgs
from bench.page.data import page_data
from bench.profiling.profiles import PROFILE_FILE, read_profiles
from bench.profiling.report import PublishedProfiles
from bench.publish import commits, runs
from bench.publish.kinds import Repository
from bench.publish.readme import START
from bench.publish.trainings import PublishedTrainings
from bench.records.atomic import BEFORE, write_atomic
from bench.records.store import RECORDS_FILE, RUN_FILE, read_result
from bench.train.net import NET_FILE
from bench.train.request import HEAD_FILE, TRAININGS_FILE
from bench.train.turns import FOLDER
from impls.contract import InvalidInput
from studies import decided, goals, protocol, rule, turns
from studies.experiment import read


def studied() -> dict[Path, str]:
    """What the studies have made of their raw files."""
    method = OURS.repository.method
    of_studies = ((rule, rule.Simulation), (turns, turns.Experiment), (decided, decided.Experiment))
    files = {
        (method / of.RAW_FILE).with_suffix(".md"): of.report(read(method / of.RAW_FILE, kind))
        for of, kind in of_studies
    }
    experiment = read(method / protocol.RAW_FILE, protocol.Experiment)
    (of_it,) = (one for one in published(ROOT) if one.path.name == experiment.result)
    return files | {
        (method / protocol.RAW_FILE).with_suffix(".md"): protocol.report(experiment, of_it),
        goals.PAGE: goals.made(),
    }


@pytest.mark.thorough
def test_every_generated_file_says_what_the_records_say() -> None:
    made = [*OURS.made(), *studied().items()]  # README is made of two kinds: each is looked at
    raw = {RUN_FILE, RECORDS_FILE, PROFILE_FILE, calibration.HEAD_FILE, calibration.PACKED_FILE}
    raw |= {HEAD_FILE, TRAININGS_FILE, NET_FILE, FOLDER}
    places = {path.parent for path, _ in made} - {
        ROOT,
        ROOT / "docs",
        ROOT / "studies",
        OURS.repository.results,
        OURS.repository.method,
        OURS.repository.trained,
    }
    there_are = {path for place in places for path in place.glob("[!.]*") if path.name not in raw}
    assert there_are <= {path for path, _ in made}, "nobody makes these any more: remove them"
    for path, text in made:
        there = said(path, path.read_text(encoding="utf-8"))
        assert alike(there, said(path, text)), f"{path.relative_to(ROOT)}: run `python -m bench publish`"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("report.html", "0.002,", "0.0021,"),
        ("report.html", "Every number", "Some numbers"),
        ("report.html", "const bare", "const  bare"),
        ("report.html", '"records.jsonl-0">', '"records.jsonl-1">'),
        ("ratio.svg", "jax/scan", "jax/scam"),
    ],
)
def test_a_page_or_picture_that_was_edited_by_hand_is_told(name: str, old: str, new: str, tmp_path: Path) -> None:
    result = read_result(write(tmp_path / "run", *six_blocks(record(), record("jax/scan")), END))
    data = page_data([Analysis(result)])
    made = page(data, [Analysis(result)]) if name == "report.html" else dict(svgs(data))[name]
    assert old in made
    path = Path(name)
    assert alike(said(path, made), said(path, made))
    assert not alike(said(path, made), said(path, made.replace(old, new)))


def folders(place: Path, name: str) -> list[Path]:
    return sorted(path.parent for path in place.glob(f"[!.]*/{name}"))


@pytest.fixture(scope="module")
def history() -> None:
    """All commits, or a reason why there are none to ask."""
    nothing = commits.known("0" * 40, ROOT)
    if nothing != "it is not":
        pytest.skip(f"whether commits are known cannot be told: {commits.WAYS_OUT[nothing]}")


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("folder", folders(OURS.repository.results, RUN_FILE), ids=lambda folder: folder.name)
def test_every_published_result_would_be_published_again(folder: Path) -> None:
    runs.check(Analysis(read_result(folder)), ROOT)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    "folder", folders(OURS.repository.results / "profiled", PROFILE_FILE), ids=lambda folder: folder.name
)
def test_all_published_profiles_would_be_published_again(folder: Path) -> None:
    PublishedProfiles().check(read_profiles(folder), folder, Repository(ROOT))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("folder", folders(OURS.repository.trained, HEAD_FILE), ids=lambda folder: folder.name)
def test_all_published_trainings_would_be_published_again(folder: Path) -> None:
    kind = PublishedTrainings()
    kind.check(kind.read(folder), folder, Repository(ROOT))


@pytest.mark.usefixtures("history")
def test_the_published_calibration_would_be_published_again() -> None:
    method = OURS.repository.method
    kind = Calibrations()
    kind.check(kind.read(method), method, Repository(ROOT))


def test_something_is_published_and_each_in_the_folder_of_its_machine_and_day() -> None:
    results = published(ROOT)
    assert results
    for result in results:
        assert result.path.name.startswith(f"{result.run.environment.machine}")
        assert f"-{result.run.started_at[:10]}" in result.path.name


def test_two_published_runs_of_the_same_code_are_not_told_apart() -> None:
    """What is said to have changed between them is a false verdict: nothing has."""
    results = published(ROOT)
    for number, new in enumerate(results):
        old = the_one_before([*map(Analysis, results[:number])], Analysis(new))
        if old and old.run.rows == new.run.rows:
            comparison = compare(old, Analysis(new))
            assert comparison.moved
            assert not [one.cell for one in comparison.cells if one.verdict in ("FASTER", "SLOWER")]


def test_publishing_copies_the_records_and_writes_index_and_readme(house: Path, tmp_path: Path) -> None:
    records = six_blocks(record(), record(task="train_step", samples_s=[0.25]))
    folder = write(tmp_path / "run", *records, END)
    (folder / "logs").mkdir()
    target = publisher(tmp_path).publish(folder)
    assert target.name == "a-processor-2-cores-2026-01-31"
    assert sorted(path.name for path in target.iterdir()) == [
        *("pytest-benchmark.json", "records.jsonl", "run.json", "table.md")
    ]
    readme = (house / "README.md").read_text()
    assert "| `torch/module` | idiomatic | 250 ms |" in readme, "the baseline has its times"
    assert "outdated" not in readme and readme.endswith("the rest\n")
    assert "a-processor-2-cores-2026-01-31/table.md" in (house / "results" / "README.md").read_text()
    publisher(tmp_path).publish(folder)  # again: the same result, not a second one
    publisher(tmp_path).publish(target)  # nor is it harmed when it is published itself
    assert len(published(tmp_path)) == 1
    assert published(tmp_path)[0].records == records


def test_a_row_that_is_not_installed_is_named_below_the_table_and_counts_for_nothing(
    house: Path, tmp_path: Path
) -> None:
    tasks = ("forward", "train_step")
    lean = six_blocks(*(record(task=task, samples_s=[0.5]) for task in tasks))
    absent = [
        record(name, block=0, task=task, status="unavailable", reason="keras is not installed", samples_s=[])
        for name in ("keras/jax", "keras/torch")
        for task in tasks
    ]
    publisher(tmp_path).publish(write(tmp_path / "lean", *lean, *absent, END))
    readme = (house / "README.md").read_text()
    assert readme.count("Not timed: `keras/jax` – keras is not installed; `keras/torch` – keras is not installed.") == 1
    assert "| `keras/jax`" not in readme
    rich = six_blocks(
        *(record(name, task=task, samples_s=[0.25]) for name in ("torch/module", "jax/scan") for task in tasks)
    )
    before = msgspec.structs.replace(RUN, started_at="2026-01-30T12:00:00+00:00")
    publisher(tmp_path).publish(write(tmp_path / "rich", *rich, END, run=before))
    readme = (house / "README.md").read_text()
    assert "| `jax/scan`" in readme  # more rows have a time, though it is older
    words = (
        "A Processor with one thread, for seed, torch/module and jax/scan each have or share the first place in 2 of 2"
    )
    assert readme.split(START)[1].lstrip().startswith(f"On {words} comparisons")


def test_the_readme_keeps_its_table_where_other_shapes_or_threads_are_published(house: Path, tmp_path: Path) -> None:
    def of(**fields: object) -> list:
        return [one for task in ("forward", "train_step") for one in six_blocks(record(task=task, **fields))]

    two = of(samples_s=[0.5]) + of(samples_s=[0.25], threads=2)
    publisher(tmp_path).publish(write(tmp_path / "both", *two, END))
    readme = (house / "README.md").read_text()
    assert "500 ms" in readme and "250 ms" not in readme
    assert "0 of 0 ratios are decided" in readme, "of those that are shown: the baseline alone"
    for number, fields in enumerate(({"workload": "g2p"}, {"threads": 4}, {"device": "gpu"})):
        later = msgspec.structs.replace(RUN, started_at=f"2026-02-0{number + 1}T12:00:00+00:00")
        publisher(tmp_path).publish(write(tmp_path / str(number), *of(samples_s=[0.125], **fields), END, run=later))
        assert (house / "README.md").read_text() == readme


def test_what_an_ended_publish_has_left_is_in_nobodys_way(house: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END)
    rest = house / "results" / ".a-processor-2-cores-2026-01-30.new"
    shutil.copytree(folder, rest)  # complete, but not yet in its place
    assert published(tmp_path) == []
    publisher(tmp_path).publish(folder)
    assert [result.path.name for result in published(tmp_path)] == ["a-processor-2-cores-2026-01-31"]
    assert not rest.exists()


THOROUGH = [pytest.param(what, marks=pytest.mark.thorough) for what in ("profiles", "calibration")]


@pytest.mark.parametrize("what", ["result", *THOROUGH])
def test_who_publishes_may_be_killed_at_any_moment(what: str, tmp_path: Path) -> None:
    done = python("tests/support/killing.py", what, str(tmp_path), env=WITH_TESTS, timeout=600)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # so often it was, in both


def test_a_folder_without_a_run_is_in_nobodys_way(house: Path, tmp_path: Path) -> None:
    target = publisher(tmp_path).publish(write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END))
    for path in target.iterdir():
        path.unlink()  # as where a branch is checked out that has no such result
    (target / ".notes").touch()
    later = msgspec.structs.replace(RUN, started_at="2026-01-31T13:00:00+00:00")
    folder = write(tmp_path / "later", *six_blocks(record(), record(task="train_step")), END, run=later)
    assert publisher(tmp_path).publish(folder) == target == publisher(tmp_path).publish(folder)
    assert read_result(target).run == later


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(house.rglob("*"))
    with (
        monkeypatch.context() as patch,
        pytest.raises(InvalidInput, match=r"run\.json: cannot be written \(No space left"),
    ):
        patch.setattr(os, "fsync", full)
        publisher(tmp_path).publish(folder)
    assert sorted(house.rglob("*")) == before
    assert publisher(tmp_path).publish(folder) in {result.path for result in published(tmp_path)}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "README.md"
    write_atomic(path, b"as it was")

    def fails(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomic(path, b"half of")
    assert caught.value.filename == str(path), "not that of the file beside it"
    assert path.read_bytes() == b"as it was" and [*tmp_path.iterdir()] == [path]


def test_a_calibration_is_published_and_the_readme_says_what_it_says(house: Path, tmp_path: Path) -> None:
    publisher(tmp_path).publish(write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END))
    assert "has not been measured yet" in (house / "README.md").read_text()
    folder = tmp_path / "calibration"
    folder.mkdir()
    clean = msgspec.structs.replace(HEAD, environment=RUN.environment)
    (folder / calibration.HEAD_FILE).write_bytes(msgspec.json.encode(clean))
    (folder / calibration.COMPARISONS_FILE).touch()
    with pytest.raises(InvalidInput, match="no complete batch yet"):
        publisher(tmp_path).publish(folder)
    batch = Batch(comparisons=[comparison(0, 1.0), comparison(0, 1.2)], elapsed_s=60.0)
    (folder / calibration.COMPARISONS_FILE).write_bytes(msgspec.json.encode(batch) + b"\n")
    assert publisher(tmp_path).publish(folder) == house / "results" / "method"
    assert (house / "results" / "method" / calibration.TABLE_FILE).exists()
    assert calibration.read_batches(house / "results" / "method") == [batch]
    assert (
        publisher(tmp_path).publish(house / "results" / "method") == house / "results" / "method"
    )  # again: it is not harmed
    (house / "results" / "method" / calibration.PACKED_FILE).write_bytes(b"no such thing")
    with pytest.raises(InvalidInput, match="its comparisons cannot be read"):
        publisher(tmp_path).refresh()
    publisher(tmp_path).publish(folder)
    assert (
        "Of 2 comparisons of identical workers, with calls of 1.00 s, 1 got a false"
        in (house / "README.md").read_text()
    )
    (folder / calibration.HEAD_FILE).write_bytes(msgspec.json.encode(msgspec.structs.replace(HEAD, environment=DIRTY)))
    with pytest.raises(InvalidInput, match="code that is in no commit"):
        publisher(tmp_path).publish(folder)


def test_calibrations_on_real_rows_stand_apart_by_machine_and_the_readme_has_its_own(
    house: Path, tmp_path: Path
) -> None:
    publisher(tmp_path).publish(write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END))
    shown = RUN.environment
    other = msgspec.structs.replace(shown, machine="another-2-cores", cpu="Another Processor")
    folders = []
    for number, own in enumerate((other, shown, shown)):
        (folder := tmp_path / f"{number}").mkdir()
        head = msgspec.structs.replace(
            HEAD, environment=own, rows=["torch/module"], started_at=f"2026-02-0{number + 1}T12:00:00+00:00"
        )
        (folder / calibration.HEAD_FILE).write_bytes(msgspec.json.encode(head))
        (folder / calibration.COMPARISONS_FILE).write_bytes(msgspec.json.encode(batch(0)) + b"\n")
        folders.append(publisher(tmp_path).publish(folder))
        readme = (house / "README.md").read_text()
        expected = "2 disjoint pairs in 1 table)", "2 disjoint pairs in 1 table)", "4 disjoint pairs in 2 tables)"
        assert expected[number] in readme and f", on {own.cpu} ([how we measure this](docs/method.md" in readme
    assert "on Another Processor" not in readme, "unlike machines stay apart"
    assert {folder.parent for folder in folders} == {house / "results" / "method" / "twins"}
    (left := folders[0].with_name(f".{folders[0].name}{BEFORE}")).mkdir()  # by one that was killed
    publisher(tmp_path).refresh()
    assert not left.exists() and publisher(tmp_path).publish(tmp_path / "0") == folders[0]


@pytest.mark.usefixtures("house")
def test_the_names_of_a_persons_own_variables_are_not_published(tmp_path: Path) -> None:
    here = msgspec.structs.replace(RUN.environment, left_out=("JANE_ROES_TOKEN", "OPENBLAS_CORETYPE", "TERM"))
    run = msgspec.structs.replace(RUN, environment=here)
    folder = write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END, run=run)
    target = publisher(tmp_path).publish(folder)
    assert read_result(target).run.environment.left_out == ("OPENBLAS_CORETYPE",)
    assert "JANE" not in (target / RUN_FILE).read_text()
    assert (target / RECORDS_FILE).read_bytes() == (folder / RECORDS_FILE).read_bytes()
    assert read_result(folder).run == run


def test_a_gpus_result_stands_beside_the_cpus_and_the_readme_shows_the_cpus(house: Path, tmp_path: Path) -> None:
    def both(**fields: object) -> list:
        return [*six_blocks(*(record(task=task, **fields) for task in ("forward", "train_step"))), END]

    publisher(tmp_path).publish(write(tmp_path / "cpu", *both(samples_s=[0.5])))
    publisher(tmp_path).publish(write(tmp_path / "gpu", *both(samples_s=[0.25], device="gpu")))
    assert [result.path.name for result in published(tmp_path)] == [
        "a-processor-2-cores-2026-01-31",
        "a-processor-2-cores-gpu-2026-01-31",
    ]
    assert "500 ms" in (house / "README.md").read_text()


def test_what_was_edited_by_hand_is_made_again(house: Path, tmp_path: Path) -> None:
    target = publisher(tmp_path).publish(write(tmp_path / "run", *six_blocks(record(), record(task="train_step")), END))
    whole = (target / "table.md").read_text()
    (target / "table.md").write_text("edited by hand")
    assert dict(publisher(tmp_path).made())[target / "table.md"] == whole  # what the first test here asks of all files
    publisher(tmp_path).refresh()
    assert (target / "table.md").read_text() == whole


def test_making_it_again_says_nothing_where_nobody_watches(
    house: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    publisher(tmp_path).refresh()
    assert capfd.readouterr() == ("", "")
