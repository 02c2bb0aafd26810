"""A table of a calibration while it is measured: what an interrupted one has of it is not measured again."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING

from bench.calibration import synthetic
from bench.measure.journal import Listener
from bench.measure.runner import run_plan
from bench.records.atomic import write_whole
from bench.records.schema import Block, Effort, Line, Record, VerdictChange
from bench.records.store import RECORDS_FILE, decode, record_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from bench.calibration.synthetic import Pair
    from bench.measure.messages import ProblemFile
    from bench.measure.plan import Plan


@dataclass(frozen=True, slots=True)
class Begun:
    """The folder that a table is measured in, and the lines of its whole blocks."""

    folder: Path
    lines: list[Line]

    @property
    def records(self) -> list[Record]:
        """What the workers had."""
        return [line for line in self.lines if isinstance(line, Record)]

    @property
    def blocks(self) -> int:
        """How many are whole."""
        return sum(isinstance(line, Block) for line in self.lines)

    @property
    def ends_s(self) -> tuple[float, ...]:
        """When each block ended, in seconds of measuring."""
        return tuple(accumulate(line.elapsed_s for line in self.lines if isinstance(line, Block)))

    @property
    def elapsed_s(self) -> float:
        """For how long its blocks were measured."""
        return self.ends_s[-1] if self.blocks else 0.0

    def go_on(
        self,
        plan: Plan,
        problems: Mapping[str, ProblemFile],
        pairs: Sequence[Pair],
        mark: str,
        done: Callable[[Block], object],
    ) -> Begun:
        """The table once each pair has its verdict, or all its blocks; ``done`` hears of each block.

        Raises:
            DiskFull: a record cannot be written.
            OSError: the folder cannot be written.
        """
        lines = list(self.lines)

        def kept(new: Sequence[Line]) -> None:
            lines.extend(new)
            for line in new:
                if isinstance(line, Block):
                    done(line)

        write_whole(self.folder / RECORDS_FILE, b"".join(map(record_line, self.lines)))
        next_block = synthetic.undecided_pairs(pairs)
        run_plan(plan, problems, self.folder, Listener(kept=kept), mark=mark, known=self.lines, next_block=next_block)
        return Begun(self.folder, lines)


def read_begun(folder: Path) -> Begun:
    """What the folder has of a table, without the block that was broken off.

    Raises:
        InvalidInput: it is damaged.
        OSError: it cannot be read.
    """
    path = folder / RECORDS_FILE
    if not path.exists():
        return Begun(folder, [])
    *texts, _ = path.read_bytes().split(b"\n")  # what follows the last end of a line is half written
    lines: list[Line] = [decode(text, Line, f"{path}:{number}") for number, text in enumerate(texts, 1)]
    after = max((number for number, line in enumerate(lines, 1) if isinstance(line, Block)), default=0)
    said = takewhile(lambda line: isinstance(line, Effort | VerdictChange), lines[after:]) if after else ()
    return Begun(folder, [*lines[:after], *said])
