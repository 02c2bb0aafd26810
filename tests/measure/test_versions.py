"""Versions of a framework held against each other: real environments, at one pool, and what is kept of them."""

from __future__ import annotations

import re
import shutil
import sys
import venv
from pathlib import Path
from sysconfig import get_path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import ask, bench, numpy_row, one_line
from support.publishing import publisher
from support.recorded import END, RUN, record, six_blocks, write

from bench.machine.interpreters import choose_interpreters
from bench.measure import worker_client
from bench.measure.request import Options, check_request
from bench.measure.run import check_resume
from bench.publish import commits
from bench.publish.readme import END as END_OF_RESULTS
from bench.publish.readme import START
from bench.records.schema import CONTROL, CodeFacts
from bench.records.store import read_result
from bench.records.versions import by_number, failures_of, join, packages_of, split, versions_of
from bench.report import featured
from bench.report.words import about_versions
from impls import find_rows, read_row
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from bench.records.schema import Result


def environment(folder: Path, *, tinynet: str | None, harness: bool = True) -> Path:
    """The Python of an environment that has, or lacks, the harness's packages and a framework of that version."""
    venv.create(folder, symlinks=True, with_pip=False)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if harness:
        (packages / "ours.pth").write_text(f"{get_path('purelib')}\n{get_path('platlib')}\n")
    if tinynet:
        (packages / "tinynet.py").write_text(f"VERSION = {tinynet!r}\n")
        facts = packages / f"tinynet-{tinynet}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tinynet\nVersion: {tinynet}\n")
    return folder / "bin" / "python"


def tiny_row(folder: Path, name: str, does: str) -> Path:
    """A row of that framework, which does something when it is loaded."""
    path = numpy_row(folder, name, top="import tinynet")
    text = path.read_text(encoding="utf-8").replace('["numpy"]', '["tinynet"]')
    path.write_text(text.replace("    return Row(config", f"    {does}\n    return Row(config"), encoding="utf-8")
    return path


class Measured(NamedTuple):
    """A run of two rows under three environments: the first has no such framework, and one row fails in the second."""

    folder: Path
    words: list[str]
    """The interpreters, as a command line names them."""
    done: CompletedProcess[str]
    env: dict[str, str]

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def result(self) -> Result:
        return read_result(self.out)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("versions")
    of = {"0.9": None, "1.0": "1.0", "2.0-rc.1": "2.0"}
    words = [f"{name}={environment(folder / name, tinynet=version)}" for name, version in of.items()]
    (folder / "machine").mkdir()
    env = {"TMPDIR": str(folder / "machine")}
    from_others = "any(map(importlib.util.find_spec, ('torch', 'thinc', 'jax')))"
    tells = f"print(sys.prefix, tinynet.VERSION, {from_others}, file=open({str(folder / 'told')!r}, 'a'))"
    tiny = tiny_row(folder, "tiny", f"import importlib.util; {tells}")
    picky = tiny_row(folder, "picky", "assert tinynet.VERSION != '1.0', 'it is too old'")
    what = [
        "--impl",
        str(tiny),
        str(picky),
        "--baseline",
        "tiny",
        "--workload",
        "seed",
        "--task",
        "forward",
        "--budget",
        "1s",  # a block: nothing is decided, and there is more to measure
    ]
    done = bench("run", *what, "--interpreter", *words, "--out", str(folder / "out"), env=env)
    return Measured(folder, words, done, env)


def test_every_version_is_in_one_pool_and_the_last_is_the_baseline(measured: Measured) -> None:
    assert measured.done.returncode == 0, measured.done.stderr
    run, records = measured.result.run, measured.result.records
    assert run.baseline == "tiny@2.0-rc.1"
    assert run.plan.pools == [["tiny@2.0-rc.1", "tiny@1.0", "picky@1.0", "picky@2.0-rc.1", CONTROL]]
    assert versions_of(run) == ["0.9", "1.0", "2.0-rc.1"]
    assert run.bounds == {}
    timed = [one for one in records if one.ok and not one.attempt]
    assert {one.cell.implementation for one in timed} == {"tiny@1.0", "tiny@2.0-rc.1", "picky@2.0-rc.1", CONTROL}
    of_first = [one for one in timed if one.block == 1]
    assert len({(one.pool, len(one.samples_s)) for one in of_first}) == 1  # the same rounds
    looked_at_after = {one.cell.implementation for one in measured.result.memory if one.peak_bytes}
    assert looked_at_after == {"tiny@1.0", "tiny@2.0-rc.1", "picky@2.0-rc.1"}
    assert "tiny@1.0" in measured.done.stdout and "rows of 0.9 with" in measured.done.stdout


def test_a_row_that_fails_under_one_version_has_its_reason_and_the_run_has_not_failed(measured: Measured) -> None:
    assert measured.done.returncode == 0
    (record,) = (one for one in measured.result.records if one.cell.implementation == "picky@1.0")
    assert record.status == "error" and "it is too old" in (record.reason or "")
    assert re.search(r"picky@1\.0 forward: error: .*it is too old", measured.done.stdout)


def test_workers_run_under_their_own_interpreter(measured: Measured) -> None:
    told = {tuple(line.split()) for line in (measured.folder / "told").read_text().splitlines()}
    folder = measured.folder.resolve()
    places = (str(folder / "1.0"), "1.0"), (str(folder / "2.0-rc.1"), "2.0")
    assert told == {(*place, "False") for place in places}  # other frameworks cannot be imported there


def test_the_versions_of_each_environment_are_kept(measured: Measured) -> None:
    run = measured.result.run
    versions = {"0.9": None, "1.0": "1.0", "2.0-rc.1": "2.0"}
    assert {name: facts.versions.get("tinynet") for name, facts in run.rows.items()} == {
        f"{row}@{label}": version for row in ("tiny", "picky") for label, version in versions.items()
    }
    assert len({facts.code for name, facts in run.rows.items() if split(name).row == "tiny"}) == 1
    assert {"numpy", "python"} <= run.rows["tiny@1.0"].versions.keys()
    assert packages_of(run) == {"0.9": {}, "1.0": {"tinynet": "1.0"}, "2.0-rc.1": {"tinynet": "2.0"}}
    assert str(measured.folder) not in (measured.out / "run.json").read_text()  # no folder of this machine


def test_what_an_environment_lacks_is_unavailable_there(measured: Measured) -> None:
    for name in ("tiny@0.9", "picky@0.9"):
        (record,) = (one for one in measured.result.records if one.cell.implementation == name)
        assert (record.status, record.reason, record.block) == ("unavailable", "tinynet is not installed", 0)


def test_only_what_the_interpreter_has_is_blocked(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = read_row(measured.folder / "tiny.py")
    without, old, _ = choose_interpreters(measured.words, [tiny])
    module = find_rows()["torch/module"]
    monkeypatch.setattr(worker_client, "find_rows", lambda: {"tiny": tiny})
    assert worker_client.blocked(module, old) == ["tinynet"]
    assert worker_client.blocked(module, without) == worker_client.blocked(module) == []


def test_a_run_of_several_versions_does_not_go_on_under_others(measured: Measured, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(measured.out, folder)
    own = own_of(measured)
    one_line(ask("run", "--resume", str(folder), *own), r"with --interpreter 0\.9=PATH 1\.0=PATH 2\.0-rc\.1=PATH$")
    other = [*measured.words[1:], measured.words[0]]
    one_line(ask("run", "--resume", str(folder), *own, "--interpreter", *other), r"with --interpreter 0\.9=PATH")
    swapped = [f"{word.partition('=')[0]}={measured.words[0].partition('=')[2]}" for word in measured.words]
    one_line(ask("run", "--resume", str(folder), *own, "--interpreter", *swapped), r"tiny@1\.0 has changed since")


def own_of(measured: Measured) -> tuple[str, ...]:
    """The person's own files again: a result does not say where they are."""
    return ("--impl", *(str(measured.folder / f"{name}.py") for name in ("tiny", "picky")))


@pytest.mark.thorough
def test_a_run_of_several_versions_goes_on_under_the_same_ones(measured: Measured, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(measured.out, folder)
    own = own_of(measured)
    again = f"--resume {measured.out} {' '.join(own)} --interpreter {' '.join(measured.words)}"
    assert again in measured.done.stderr
    done = bench(
        "run", "--resume", str(folder), *own, "--interpreter", *measured.words, "--budget", "1s", env=measured.env
    )
    assert done.returncode == 0, done.stderr
    result = read_result(folder)
    measured_again = {one.cell.implementation for one in result.records if one.block == 2}
    assert measured_again == {"tiny@1.0", "tiny@2.0-rc.1", "picky@2.0-rc.1", CONTROL}


def test_a_run_without_versions_has_no_interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.measure import run

    monkeypatch.setattr(run, "describe", lambda: RUN.environment)
    folder = write(tmp_path / "run", record(), END)
    python = environment(tmp_path / "env", tinynet=None)
    with pytest.raises(InvalidInput, match="it had no --interpreter"):
        check_resume(Options(resume=folder, interpreter=(f"1={python}",)))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("good") / "env", tinynet="1.0")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["python3"], r"--interpreter python3: must be a version and a Python, such as"),
        (["a/b=python3"], r"must be a version and a Python"),
        (["1.0=GOOD", "1.0=GOOD"], r"there is a 1\.0 already"),
        (["1.0=GOOD", "2.0=/no/such/python"], r"--interpreter 2\.0=/no/such/python: cannot be started"),
        (["1.0=GOOD", "2.0=FOLDER"], r"2\.0=.*: cannot be started \(Permission denied\)"),
        (["1.0=/bin/true"], r"--interpreter 1\.0=/bin/true: is no Python that can run the bench"),
        (["1.0=GOOD", "2.0=BARE"], r"--interpreter 2\.0=.*: has no \w+, which a worker needs; install the harness"),
        (["1.0=GOOD", "--preset", "scaling"], r"has one version; choose another preset"),
        (["1.0=GOOD", "--baseline", "one@3.0"], r"--baseline one@3\.0: is not in this run, which has one@1\.0"),
        (["1.0=GOOD", "--impl", "FRAMEWORK"], r"two: no_such_framework is not installed"),
        (["1.0=GOOD", "--impl", "NAMED"], r"one@2\.py: @ stands before a version in the table; rename it"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: list[str], says: str, good: Path, tmp_path: Path) -> None:
    rows = {"FRAMEWORK": numpy_row(tmp_path, "two"), "NAMED": numpy_row(tmp_path, "one@2")}
    text = rows["FRAMEWORK"].read_text(encoding="utf-8").replace('["numpy"]', '["no_such_framework"]')
    rows["FRAMEWORK"].write_text(text, encoding="utf-8")
    bare = environment(tmp_path / "bare", tinynet=None, harness=False) if "2.0=BARE" in words else ""
    places = {"GOOD": good, "BARE": bare, "FOLDER": tmp_path, **rows}
    given = words
    for name, path in places.items():
        given = [word.replace(name, str(path)) for word in given]
    impl = [] if "--impl" in given else ["--impl", str(numpy_row(tmp_path, "one"))]
    one_line(ask("run", "--interpreter", *given, *impl, "--out", str(tmp_path / "out")), says)
    assert not (tmp_path / "out").exists()


def test_without_a_version_a_baseline_is_the_last_interpreters(good: Path, tmp_path: Path) -> None:
    def of(**more: str) -> str:
        rows = (str(numpy_row(tmp_path, "one")), str(numpy_row(tmp_path, "two")))
        pythons = (f"2.9={good}", f"2.10={good}")
        return check_request(Options(impl=rows, interpreter=pythons, **more)).baseline

    assert of() == "one@2.10"
    assert of(baseline="two") == "two@2.10"
    assert of(baseline="two@2.9") == "two@2.9"


@given(st.from_regex(r"[a-z_]+(/[a-z_]+)?", fullmatch=True), st.from_regex(r"[0-9A-Za-z.+_-]*", fullmatch=True))
def test_a_name_is_taken_apart_as_it_was_put_together(row: str, version: str) -> None:
    assert split(join(row, version)) == (row, version)


def test_versions_are_in_the_order_of_their_numbers() -> None:
    names = ["b", "a@2.13.0", "a@2.9.1", "a@2.9", "a@10", "a"]
    assert sorted(names, key=by_number) == ["a", "a@2.9", "a@2.9.1", "a@2.13.0", "a@10", "b"]


# what is published

CELLS = {"torch/module@2.9.1": [0.002], "torch/module@2.13.0": [0.001], "torch/cell@2.13.0": [0.004]}
ENVIRONMENTS = {"2.9.1": {"torch": "2.9.1", "numpy": "2.4.6"}, "2.13.0": {"torch": "2.13.0", "numpy": "2.4.6"}}
VERSIONS = msgspec.structs.replace(
    RUN,
    baseline="torch/module@2.13.0",
    rows={
        join(row, version): CodeFacts(code=row, versions=versions)
        for row in ("torch/module", "torch/cell")
        for version, versions in ENVIRONMENTS.items()
    },
)
FAILED = {"status": "error", "reason": "cell.py:9: no such function", "samples_s": []}


def versions_run(folder: Path, *more: object) -> Path:
    """A pretended run of two rows and two versions, at what README speaks of; one row fails under the older version."""
    tasks = ("forward", "train_step")
    lines = [record(name, task=task, samples_s=samples) for name, samples in CELLS.items() for task in tasks]
    control = [
        record(CONTROL, task=task, framework="torch", samples_s=CELLS[VERSIONS.baseline], block=block)
        for task in tasks
        for block in range(1, 7)
    ]
    timed = [one for one in six_blocks(*lines) if one.cell.implementation != CONTROL]
    failed = [record("torch/cell@2.9.1", task=task, **FAILED) for task in tasks]
    return write(folder, *timed, *control, *failed, *more, END, run=VERSIONS)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing published."""
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"{START}\nas it was\n{END_OF_RESULTS}\n")
    monkeypatch.setattr(commits, "known", lambda commit, repository: "it is an ancestor")
    monkeypatch.setattr(featured, "WORKLOADS", {"seed": featured.WORKLOADS["seed"]})
    return tmp_path


def test_a_row_that_fails_under_one_version_is_published_with_its_reason(house: Path, tmp_path: Path) -> None:
    target = publisher(tmp_path).publish(versions_run(tmp_path / "run"))
    table = (target / "table.md").read_text()
    assert "| `torch/cell@2.9.1` |  | idiomatic | cpu×1 | error: cell.py:9: no such function |" in table
    assert "rows of 2.9.1 with torch 2.9.1; of 2.13.0 with torch 2.13.0" in table
    assert ", torch 2.13.0" not in table.partition("\n")[0]  # nor is it said to be the machine's
    assert "| default: torch 2.9.1, 2.13.0 |" in (house / "results" / "README.md").read_text()
    assert "as it was" in (house / "README.md").read_text()


def test_a_row_that_fails_under_every_version_is_not_published(house: Path, tmp_path: Path) -> None:
    folder = versions_run(tmp_path / "run", record("torch/cell@2.13.0", block=6, attempt=1, **FAILED))
    with pytest.raises(InvalidInput, match=r"torch/cell@2\.9\.1 seed forward is error .*every row works"):
        publisher(tmp_path).publish(folder)
    assert not list((house / "results").iterdir())


def test_which_failures_count_against_a_run() -> None:
    failed = record("torch/cell@2.9.1", **FAILED)
    works = record("torch/cell@2.13.0")
    assert failures_of([failed, works]) == []
    assert failures_of([failed, record("torch/cell@2.13.0", task="encode")]) == [failed]
    assert failures_of([failed, record("torch/module@2.13.0")]) == [failed]
    assert failures_of([failed, record("torch/cell@2.9.1", block=2)]) == [failed]
    plain = record("torch/cell", **FAILED)
    assert failures_of([plain, works]) == [plain]


def test_runs_without_versions_say_nothing_of_them() -> None:
    assert versions_of(RUN) == [] and packages_of(RUN) == {} and about_versions(RUN) == ""


@pytest.mark.parametrize("command", ["table", "compare"])
def test_names_with_versions_fit_into_80_columns(command: str, tmp_path: Path) -> None:
    folder = str(versions_run(tmp_path / "run"))
    other = str(versions_run(tmp_path / "other"))
    done = bench(command, folder, *([other] if command == "compare" else []), env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.split()[:2].count("torch/module@2.9.1"))
    assert "2.00 ms" in row and ("SLOWER" in row or command == "compare")


def test_variables_of_this_python_do_not_lead_another_astray(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    (one,) = choose_interpreters([f"1.0={good}"], [])
    assert one.version_of("numpy")
