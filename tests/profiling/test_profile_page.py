"""``docs/profiles.md`` says what published profiles say, and what proves nothing is not published."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.profiled import QUIET, profile, profiles
from support.publishing import publisher
from support.recorded import DIRTY

from bench.profiling.profiles import PROFILE_FILE, Profiles, Turn, read_profiles
from bench.profiling.report import page
from bench.publish import commits
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path


OUTLASTING = msgspec.structs.replace(profile(("product", 20.0)), implementation="jax/scan", turns=(Turn(10.0, 0.0),))
SILENT = msgspec.structs.replace(
    QUIET, implementation="onnxruntime/lstm", framework="onnxruntime", profiler=None, profiled=(), operations=()
)


def test_the_page_has_the_shares_of_every_row() -> None:
    text = page([profiles(QUIET, OUTLASTING, SILENT)])
    assert "| forward cpu×1 | call | matrix product | elementwise | overhead | profiled |" in text
    assert "| `torch/module` | 10.0 s | 40 % | 10 % | 50 % | 2.00× |" in text
    assert "| `jax/scan` (1) | 10.0 s | 100 % | – | – | 2.00× |" in text
    assert "(1) its operations alone take 2.00× the call under the profiler" in text
    assert "| `onnxruntime/lstm` | 10.0 s | – | – | – | – |" in text
    assert "There is no profiler for onnxruntime: call times alone are known" in text
    assert "- torch: a profiler." in text
    assert "`python -m bench profile`" in text and "A Processor" in text


def test_without_profiles_the_page_says_how_to_make_them() -> None:
    assert "Nothing has been published yet" in page([])


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with nothing published."""
    for name in ("results", "docs"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(commits, "known", lambda commit, repository: "it is an ancestor")
    return tmp_path


def written(folder: Path, found: Profiles) -> Path:
    folder.mkdir()
    (folder / PROFILE_FILE).write_bytes(msgspec.json.encode(found))
    return folder


def test_publishing_keeps_the_numbers_and_makes_the_page(house: Path, tmp_path: Path) -> None:
    found = profiles(QUIET)
    folder = written(tmp_path / "mine", found)
    (folder / "torch-module-seed-forward.trace.json.gz").touch()
    target = publisher(tmp_path).publish(folder)
    assert target == house / "results" / "profiled" / "a-processor-2-cores-2026-01-31"
    assert [path.name for path in target.iterdir()] == [PROFILE_FILE]  # traces are left out
    assert read_profiles(target) == found
    assert "| `torch/module` | 10.0 s | 40 % |" in (house / "docs" / "profiles.md").read_text()
    assert publisher(tmp_path).publish(target) == target  # again: it is not harmed
    later = msgspec.structs.replace(found, started_at="2026-01-31T13:00:00+00:00")
    assert publisher(tmp_path).publish(written(tmp_path / "later", later)).name == f"{target.name}-2"
    assert read_profiles(target) == found


def test_a_full_disk_leaves_nothing_that_keeps_profiles_from_being_published(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "mine", profiles(QUIET))
    before = sorted(house.rglob("*"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(InvalidInput, match="cannot be written"):
        patch.setattr(os, "fsync", full)
        publisher(tmp_path).publish(folder)
    assert sorted(path for path in house.rglob("*") if path != house / "results" / "profiled") == before
    assert read_profiles(publisher(tmp_path).publish(folder)) == read_profiles(folder)


REFUSED = {
    "a failure": (profiles(msgspec.structs.replace(QUIET, status="invalid", reason="h_n is off")), "is invalid"),
    "a person's own file": (profiles(msgspec.structs.replace(QUIET, implementation="mine")), "a file outside impls/"),
    "a busy machine": (profiles(msgspec.structs.replace(QUIET, turns=(Turn(10.0, 5.0),))), "had its processor"),
    "uncommitted code": (profiles(QUIET, environment=DIRTY), "code that is in no commit"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.usefixtures("house")
def test_what_proves_nothing_is_not_published(what: str, tmp_path: Path) -> None:
    found, words = REFUSED[what]
    with pytest.raises(InvalidInput, match=words):
        publisher(tmp_path).publish(written(tmp_path / "mine", found))
    assert not list((tmp_path / "results").iterdir())
