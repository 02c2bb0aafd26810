"""Trainings, as they are published: a folder each, with tables and pictures, an index, and README's sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import msgspec

from bench import units
from bench.publish import runs
from bench.publish.commits import Made, with_commit
from bench.publish.kinds import Kind, Repository, dated, refusal
from bench.publish.readme import with_part
from bench.records.store import RECORDS_FILE, RUN_FILE, head_text
from bench.report import markdown, trainings
from bench.train.checkpoint import read_checkpoint
from bench.train.net import NET_FILE, error_of, net_bytes
from bench.train.request import HEAD_FILE, TRAININGS_FILE, TRAINS, Head
from bench.train.results import Trainings, lines_of, read_trainings
from bench.train.turns import FOLDER, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

START, END = "<!-- trainings: made by `python -m bench publish`, not by hand -->", "<!-- end of trainings -->"
"""Between these README has its sentence."""


@dataclass(frozen=True, slots=True)
class PublishedTrainings(Kind[Trainings]):
    """Trainings of ``bench train``, with the turns of their rows."""

    head_file: ClassVar[str] = HEAD_FILE

    def read(self, folder: Path) -> Trainings:
        """The trainings in a folder."""
        return read_trainings(folder)

    def check(self, thing: Trainings, folder: Path, repository: Repository) -> Trainings:
        """Refuse what has not ended, or was made by code that no commit has."""
        refuse, head = refusal(folder), thing.head
        if head.preset == "smoke":
            raise refuse("smoke is a check that all works, no measurement; publish another preset")
        planned = {(row, seed) for row, seeds in head.seeds.items() for seed in range(seeds)}
        if planned != {(one.about.row, one.about.seed) for one in thing.trained if one.about.ending}:
            raise refuse("not all trainings have ended; go on with `python -m bench train --resume`")
        if head.compares and (thing.turns is None or rows_of(thing.turns.result) != head.seeds.keys()):
            raise refuse("its rows have not all taken turns; go on with `python -m bench train --resume`")
        rows = {name: facts.code for name, facts in head.code.items()}
        made = Made(head.environment, head.started_at, head.trainer, rows, TRAINS, trained=True)
        environment = with_commit(made, repository.root, refuse)
        turns = thing.turns
        if turns is not None:
            by = runs.check(turns, repository.root)
            turns = replace(turns, result=replace(turns.result, run=msgspec.structs.replace(turns.run, environment=by)))
        return replace(thing, head=msgspec.structs.replace(head, environment=environment), turns=turns)

    def head(self, thing: Trainings) -> Head:
        """When they began, and what made them."""
        return thing.head

    def target(self, thing: Trainings, repository: Repository) -> Path:
        """A folder for each machine and day."""
        return dated(repository.trained / thing.head.environment.machine, thing, self)

    def raw(self, thing: Trainings, folder: Path) -> dict[str, bytes]:
        """The head, what became of each training, the turns; and of a long one the best net."""
        files = {HEAD_FILE: head_text(thing.head), TRAININGS_FILE: lines_of(thing.trained)}
        if thing.turns is not None:
            turns = thing.turns
            files[f"{FOLDER}/{RUN_FILE}"] = head_text(runs.without_names(turns.run))
            files[f"{FOLDER}/{RECORDS_FILE}"] = (turns.result.path / RECORDS_FILE).read_bytes()
        if thing.head.preset == "long":
            files[NET_FILE] = _net(thing, folder)
        return files

    def places(self, repository: Repository) -> list[Path]:
        """All in one folder."""
        return [repository.trained]

    def made(self, thing: Trainings, folder: Path) -> dict[Path, str]:
        """Its tables and pictures."""
        from bench.page import trainings as page  # imported late: other commands do without what draws
        from bench.page.curves import pictures

        files = {folder / markdown.TABLE_FILE: page.as_markdown(thing)}
        return files | {folder / own.file: own.svg() for own in pictures(thing)}

    def pages(self, things: Sequence[tuple[Path, Trainings]], repository: Repository) -> dict[Path, str]:
        """The index, and README's sentence: of the newest that claims something of who is the first."""
        if not things:
            return {}
        files = {repository.trained / "README.md": _index(things)}
        claims = [(folder, one) for folder, one in things if trainings.claims(one.outcomes)]
        if not claims and START in repository.readme.read_text(encoding="utf-8"):
            files[repository.readme] = with_part(repository, START, END)
        if claims:
            folder, shown = claims[-1]
            where = (folder / markdown.TABLE_FILE).relative_to(repository.root).as_posix()
            threads = "one thread" if shown.head.threads == 1 else f"{shown.head.threads} threads"
            place = f"{shown.head.environment.cpu} with {threads}"
            said = trainings.sentence(shown.outcomes, shown.head.target, place)
            files[repository.readme] = with_part(repository, START, END, f"{said} [All numbers, and curves]({where}).")
        return files


def _net(thing: Trainings, folder: Path) -> bytes:
    """The best one, of trainings that are published already the one that they have."""
    if (folder / NET_FILE).exists():
        return (folder / NET_FILE).read_bytes()
    best = min(thing.trained, key=lambda one: error_of(one.about)).about
    return net_bytes(best, read_checkpoint(folder / best.name).state.parameters)


def _index(things: Sequence[tuple[Path, Trainings]]) -> str:
    """A line for each, the newest first."""
    lines = []
    for folder, one in reversed(things):
        best = min(one.trained, key=lambda own: error_of(own.about)).about
        lines.append(
            [
                f"[{folder.name}]({folder.name}/{markdown.TABLE_FILE})",
                one.head.started_at[:10],
                one.head.preset + ", with stress marks" * one.head.settings.stress,
                units.percent(one.head.target),
                f"{sum(own.about.ending == 'reached' for own in one.trained)} of {len(one.trained)}",
                best.row,
                *(
                    trainings.wrong(own)
                    for own in ((best.test.phoneme_error, best.test.word_error) if best.test else ())
                ),
            ]
        )
    header = ["trainings", "began", "preset", "target", "reached it", "best", "phonemes wrong", "words wrong"]
    return f"{TITLE}\n{markdown.table(header, lines, left=3)}\n{BESIDE}\n"


TITLE = """# Published trainings

Made by `python -m bench publish`. Each folder has the losses and times of all steps, the error rates, the turns that
compare steps, and tables and pictures made of them. Best: with the fewest wrong phonemes of the test words.
"""

BESIDE = """For the same kind of model on this dictionary, without attention and without stress, Yao and Zweig 2015
([arXiv 1506.00196](https://arxiv.org/abs/1506.00196)) report 7.6 % of phonemes and 28.6 % of words, with two layers of
500. Their test words are others, so that digits behind the point say nothing.
"""
