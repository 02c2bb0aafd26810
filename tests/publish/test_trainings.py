"""Which trainings are published, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.publishing import publisher
from support.trained import history, write_trainings

from bench.publish import runs, trainings
from bench.publish.trainings import END, START
from bench.train.net import NET_FILE
from bench.train.results import read_trainings
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from bench.publish.commits import Made
    from bench.records.schema import Environment

ROWS = ("torch/tuned", "jax/tuned")
TRAINED = [history(row, seed, 3000 + 10 * seed) for seed in range(3) for row in ROWS]
PACES = {"torch/tuned": 0.1, "jax/tuned": 0.2}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One whose commits have all code."""

    def with_commit(made: Made, *_: object) -> Environment:
        return made.environment

    for module in (runs, trainings):
        monkeypatch.setattr(module, "with_commit", with_commit)
    root = tmp_path / "repository"
    root.mkdir()
    (root / "README.md").write_text(f"# A\n\n{START}\n\nold\n\n{END}\n\nrest\n")
    return root


def test_trainings_are_published_with_tables_curves_and_readmes_sentence(repository: Path, tmp_path: Path) -> None:
    target = publisher(repository).publish(write_trainings(tmp_path / "own", TRAINED, PACES))
    assert target == repository / "results" / "trained" / "a-processor-2-cores-2026-01-31"
    names = {path.name for path in target.iterdir()}
    assert names >= {"train.json", "trainings.jsonl", "turns", "table.md", "error-over-time.svg", "paths-part.svg"} - {
        "paths-part.svg"  # of two rows nobody knows which has parted
    }
    readme = (repository / "README.md").read_text()
    assert "torch/tuned is the first on A Processor with one thread: 5 min [" in readme and "old" not in readme
    assert "jax/tuned takes 2.00× [" in readme and f"{END}\n\nrest" in readme
    index = (repository / "results" / "trained" / "README.md").read_text()
    assert "| 6 of 6 |" in index and "35.0 %" in index
    again = publisher(repository).publish(target)
    assert again == target and (repository / "README.md").read_text() == readme
    assert [one.about for one in read_trainings(target).trained] == [one.about for one in TRAINED]
    assert NET_FILE not in names, "the net of a long training is kept alone"


def test_what_proves_nothing_is_refused(repository: Path, tmp_path: Path) -> None:
    def refused(words: str, *arguments: object, **changed: object) -> None:
        place = tmp_path / words.replace(" ", "-").replace("/", "-")
        with pytest.raises(InvalidInput, match=words):
            publisher(repository).publish(write_trainings(place, *arguments, **changed))  # type: ignore[arg-type]
        assert not (repository / "results").exists()

    refused("smoke is a check", TRAINED, PACES, preset="smoke")
    refused("not all trainings have ended", [*TRAINED[:-1], history("jax/tuned", 2, 200, ending=None)], PACES)
    refused("not all trainings", TRAINED[:-1], PACES, seeds={"torch/tuned": 3, "jax/tuned": 3})
    refused("have taken no turns", TRAINED)
    place = tmp_path / "few"
    write_trainings(place, TRAINED, PACES)
    from support.trained import turns

    turns(PACES, place / "turns", blocks=2)
    with pytest.raises(InvalidInput, match="has 2 blocks, and no verdict below 3"):
        publisher(repository).publish(place)
