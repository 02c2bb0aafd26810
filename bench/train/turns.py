"""After the trainings their rows take turns at steps, as at any task of `bench run`: that compares the time of a step.

The result stands in the trainings' folder, and is read, shown and gone on with like any other.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis.analysis import Analysis
from bench.measure.request import Options, check_request
from bench.measure.run import check_resume, go_on, run
from bench.records.schema import CONTROL
from bench.records.store import RUN_FILE, read_result
from bench.records.versions import failures_of
from bench.train.outcome import is_enough
from impls.contract import InvalidInput
from impls.tasks import LetterTask

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bench.measure.run import Ended, Watching
    from bench.records.schema import Result
    from bench.train.request import TrainRequest

FOLDER = "turns"
TASK: LetterTask = "learn_step"


def read_turns(folder: Path, rows: Collection[str]) -> Result | None:
    """The turns that most of these rows, and no others, have taken, the latest of such; None where there are none.

    Raises:
        InvalidInput: they are damaged.
    """
    found = [read_result(path.parent) for path in folder.glob(f"{FOLDER}*/{RUN_FILE}")]
    theirs = [one for one in found if rows_of(one) <= set(rows)]
    return max(theirs, key=lambda one: (len(rows_of(one)), one.run.started_at), default=None)


def rows_of(turns: Result) -> frozenset[str]:
    """Who has taken them."""
    names = {name for pool in turns.run.plan.pools for name in pool}
    return frozenset(names - {CONTROL} - set(turns.run.bounds.values()))


def rows_to_compare(request: TrainRequest, failed: Collection[str]) -> list[str]:
    """The rows that can take turns: those whose trainings have all ended.

    There are none while trainings are left that have not failed. ``failed``: names of their checkpoints.
    """
    left = request.left
    if not request.head.compares or any(about.name not in failed for about in left):
        return []
    ended = [row for row in request.head.seeds if row not in {about.row for about in left}]
    return ended if len(ended) > 1 else []


def take_turns(
    request: TrainRequest, rows: Sequence[str], left_s: float, watching: Watching
) -> AbstractContextManager[Ended] | None:
    """Let these rows take the turns that they lack; None: they lack none.

    ``left_s``: the time for it; as long as a run takes by default if infinite. Turns in which a row failed are taken
    anew, and those that are too few for verdicts go on.

    Raises:
        InvalidInput: as ``bench run``.
    """
    folder = request.folder
    budget = None if left_s == math.inf else f"{max(1, int(left_s))}s"
    before = read_turns(folder, rows)
    if before is not None and rows_of(before) != set(rows):
        before = None
    if before is not None and is_enough(Analysis(before)):
        return None
    if before is not None and not failures_of(before.records):
        with suppress(InvalidInput):  # what measures may have changed since: then all are taken anew
            return go_on(check_resume(Options(resume=before.path, budget=budget)), watching)
    workload = request.head.settings.workload
    assert workload is not None
    free = next(path for number in count(1) if not (path := folder / name_of(number)).exists())
    options = Options(
        impl=tuple(rows),
        workload=(workload,),
        task=(TASK,),
        threads=(f"{request.head.threads}",),
        budget=budget,
        out=free,
    )
    return run(check_request(options), watching)


def name_of(number: int) -> str:
    """Of the folder of the first turns, and of those that others have taken since."""
    return FOLDER + f"-{number}" * (number > 1)
