"""Publishes, and is killed: at each change in turn that it makes to a file or folder. Run by ``test_published``.

In a process of its own, which forks: the children end by SIGKILL, and nothing but the files is left of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from support.calibrated import HEAD, comparison
from support.profiled import QUIET, profiles
from support.publishing import published, publisher
from support.recorded import END, RUN, record, six_blocks, write

from bench.calibration import calibration, report
from bench.calibration.calibration import Batch
from bench.page import build
from bench.profiling.profiles import PROFILE_FILE
from bench.profiling.report import PublishedProfiles
from bench.publish import commits, index, readme, runs
from bench.publish.kinds import Repository
from bench.report import featured
from bench.workloads.shapes import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


def kill_at(number: int, house: Path) -> None:
    """Be killed right before the change of that number, from 0, in the folder."""
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        opened = event == "open" and isinstance(arguments[1], str) and not arguments[1].startswith("r")
        if (opened or event in CHANGES) and str(arguments[0]).startswith(str(house)):
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def is_killed(number: int, house: Path, folder: Path) -> bool:
    """Whether publishing the folder comes to that change, and is killed there."""
    pid = os.fork()
    if not pid:
        kill_at(number, house)
        publisher(house).publish(folder)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or not os.WEXITSTATUS(status), number
    return os.WIFSIGNALED(status)


def result(folder: Path, times: int) -> Path:
    """A run of so many blocks more than have to be."""
    tasks = [record(), record(task="train_step")]
    more = [
        msgspec.structs.replace(one, block=6 + number) for number in range(1, times) for one in six_blocks(*tasks)[-4:]
    ]
    return write(folder, *six_blocks(*tasks), *more, END)


def profiled(folder: Path, times: int) -> Path:
    """As many profiles."""
    folder.mkdir()
    (folder / PROFILE_FILE).write_bytes(msgspec.json.encode(profiles(*[QUIET] * times)))
    return folder


def calibrated(folder: Path, times: int) -> Path:
    """As many batches, of a command of their own."""
    folder.mkdir()
    head = msgspec.structs.replace(HEAD, environment=RUN.environment, seed=times)
    (folder / calibration.HEAD_FILE).write_bytes(msgspec.json.encode(head))
    batches = [
        Batch(comparisons=[comparison(0, 1.0, batch=number), comparison(0, 1.2, batch=number)], elapsed_s=60.0)
        for number in range(times)
    ]
    lines = b"".join(msgspec.json.encode(batch) + b"\n" for batch in batches)
    (folder / calibration.COMPARISONS_FILE).write_bytes(lines)
    return folder


KINDS = {"result": result, "profiles": profiled, "calibration": calibrated}


def raw(house: Path) -> object:
    """Everything that is taken for something published, by its readers."""
    method, found = Repository(house).method, []
    if (method / calibration.HEAD_FILE).exists():
        found = [calibration.read_head(method), calibration.read_batches(method)]
    results = [(one.run, one.records) for one in published(house)]
    return msgspec.json.encode([results, [one for _, one in PublishedProfiles().published(Repository(house))], found])


def tree(folder: Path) -> dict[str, bytes]:
    """All files, and what is in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def begin(house: Path, state: Path) -> None:
    """Make the repository what it was."""
    shutil.rmtree(house, ignore_errors=True)
    shutil.copytree(state, house)


def check(place: Path, make: Callable[[Path, int], Path]) -> int:
    """How often one kind was killed: published where nothing is, and in the place of one that had less."""
    house, state = place / "house", place / "state"
    for name in ("results", "docs"):
        (state / name).mkdir(parents=True)
    (state / "README.md").write_text("ours")
    begin(house, state)
    nothing, kills = raw(house), 0
    for times in (1, 2):
        begin(house, state)
        old, folder = raw(house), make(place / f"made{times}", times)
        publisher(house).publish(folder)
        new, expected = raw(house), tree(house)
        begin(house, state)
        for number in range(1000):
            if not is_killed(number, house, folder):
                break
            killed = place / "killed"
            begin(killed, house)
            for again in (True, False):
                begin(house, killed)
                assert raw(house) in (nothing, old, new), (times, number)
                if again:
                    publisher(house).publish(folder)
                    assert tree(house) == expected, (times, number)
                else:
                    publisher(house).refresh()
                # a calibration's two files cannot change at once: there may be none until it is published again
                assert raw(house) in (old, new, nothing if make is calibrated else new), (times, number)
                hidden = {path.name for path in house.rglob(".*")}
                assert not hidden, (times, number, hidden)
            begin(house, state)
        kills += number
        begin(house, state)
        publisher(house).publish(folder)
        shutil.rmtree(state)
        shutil.copytree(house, state)
    return kills


if __name__ == "__main__":
    commits.known = lambda commit, repository: "it is an ancestor"
    featured.WORKLOADS = {"seed": SEED}
    # what is made of the raw files takes long, and is written like this
    runs.Runs.made = lambda kind, thing, folder: {folder / "table.md": f"{len(thing.result.records)}"}
    build.svgs = lambda data: [("ratio.svg", f"{len(data.groups)}")]
    report.markdown = lambda head, batches: f"{head} {len(batches)}"
    readme.with_table = lambda repository, analysis, error_rate: f"{len(analysis.result.records)}"
    index.sentence = lambda analysis, where: where
    os.fsync = lambda opened: None  # who is killed loses nothing that the system has
    print(check(Path(sys.argv[2]), KINDS[sys.argv[1]]))
