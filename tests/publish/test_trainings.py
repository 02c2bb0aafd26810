"""Which trainings are published, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.publishing import publisher
from support.trained import history, turns, write_trainings

from bench.publish import runs, trainings
from bench.publish.trainings import END, START
from bench.train.checkpoint import Checkpoint, write_checkpoint
from bench.train.net import NET_FILE, read_net
from bench.train.results import read_trainings
from impls.contract import InvalidInput
from impls.training import initial_state

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
    assert names >= {"train.json", "trainings.jsonl", "turns", "table.md", "error-over-time.svg"}
    assert "paths-part.svg" not in names, "of two rows nobody knows which has parted"
    readme = (repository / "README.md").read_text()
    assert "torch/tuned is the first on A Processor with one thread: 5 min [" in readme and "old" not in readme
    assert "jax/tuned takes 2.00× [" in readme and f"{END}\n\nrest" in readme
    index = (repository / "results" / "trained" / "README.md").read_text()
    assert "| 6 of 6 |" in index and "35.0 %" in index
    again = publisher(repository).publish(target)
    assert again == target and (repository / "README.md").read_text() == readme
    assert [one.about for one in read_trainings(target).trained] == [one.about for one in TRAINED]
    assert NET_FILE not in names, "the net of a long training is kept alone"


def test_readmes_sentence_is_made_again_where_it_was_edited_and_goes_where_nothing_claims_it(
    repository: Path, tmp_path: Path
) -> None:
    own = publisher(repository)
    target = own.publish(write_trainings(tmp_path / "own", TRAINED, PACES))
    readme = repository / "README.md"
    text = readme.read_text()
    readme.write_text(text.replace("torch/tuned is the first", "jax/tuned is the first"))
    assert [made for path, made in own.made() if path == readme] == [text]
    (target / "turns" / "run.json").unlink()
    own.refresh()
    assert "the first" not in readme.read_text() and f"{START}\n\n{END}" in readme.read_text()


def test_a_long_training_leaves_its_net(repository: Path, tmp_path: Path) -> None:
    folder, one = tmp_path / "own", TRAINED[0]
    about = msgspec.structs.replace(one.about, preset="long")
    write_trainings(folder, [replace(one, about=about)], preset="long")
    write_checkpoint(
        Checkpoint(about, one.losses, one.step_s, one.is_first, initial_state(about.config, 0)._replace(step=3000)),
        folder,
    )
    target = publisher(repository).publish(folder)
    found, state = read_net(target / NET_FILE)
    assert found == about and set(state.parameters) == set(about.config.parameter_shapes)
    elsewhere = publisher(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("# A\n")
    again = elsewhere.publish(target)
    assert (again / NET_FILE).read_bytes() == (target / NET_FILE).read_bytes(), "from a published folder as well"


def test_what_proves_nothing_is_refused(repository: Path, tmp_path: Path) -> None:
    def refused(words: str, *arguments: object, **changed: object) -> None:
        place = tmp_path / words.replace(" ", "-").replace("/", "-")
        with pytest.raises(InvalidInput, match=words):
            publisher(repository).publish(write_trainings(place, *arguments, **changed))  # type: ignore[arg-type]
        assert not (repository / "results").exists()

    refused("smoke is a check", TRAINED, PACES, preset="smoke")
    refused("not all trainings have ended", [*TRAINED[:-1], history("jax/tuned", 2, 200, ending=None)], PACES)
    refused("not all trainings", TRAINED[:-1], PACES, seeds={"torch/tuned": 3, "jax/tuned": 3})
    refused("have not all taken turns", TRAINED)
    refused("not all taken turns", [*TRAINED, history("thinc/tuned", 0, 3000)], PACES)
    place = tmp_path / "few"
    write_trainings(place, TRAINED, PACES)
    turns(PACES, place / "turns", blocks=2)
    with pytest.raises(InvalidInput, match="has 2 blocks, and no verdict below 3"):
        publisher(repository).publish(place)
