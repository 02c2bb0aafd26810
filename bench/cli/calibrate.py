"""``bench calibrate``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from bench.calibration.calibrate import calibrate as measure
from bench.cli.main import SEVERAL
from bench.measure.request import CALIBRATIONS, choose_twins, command_of, parse_budget
from impls.contract import InvalidInput


def calibrate(
    *,
    rows: Annotated[tuple[str, ...], SEVERAL] = (),
    pairs: int | None = None,
    budget: str = "4h",
    out: Path | None = None,
) -> int:
    """Measure how often the verdicts err: identical workers, planted slow-downs, quiet and with a noisy neighbour.

    Some examples:
      python -m bench calibrate
      python -m bench calibrate --pairs 32 --budget 10m --out results/calibrations/short
      python -m bench calibrate --rows torch/module jax/tuned thinc/layers --out results/calibrations/rows

    Parameters
    ----------
    rows
        Real rows, each entered several times as its own twin on the default workloads, and with a planted slow-down;
        workers of counted work if not given.
    pairs
        How many pairs of identical workers: 60 of real rows, 320 of the others, half of these with a neighbour.
    budget
        The time that it may take, such as 90s, 15m or 2h; what is complete by then is reported. Three rows need some
        20 minutes for six pairs. A first batch, of workers of counted work one of each kind, is measured in any case.
    out
        Folder for the result; results/calibrations/<time> if not given. If it holds an unfinished calibration
        of this program (the same commit) on this machine, that goes on.
    """
    wanted = pairs if pairs is not None else 60 if rows else 320
    if wanted < 1:
        raise InvalidInput(f"--pairs {pairs}: must be at least 1")
    folder = out or CALIBRATIONS / f"{datetime.now():%Y-%m-%dT%H-%M-%S}"
    command = command_of("calibrate", rows=rows, pairs=[f"{wanted}"], budget=[budget])
    return measure(pairs=wanted, budget_s=parse_budget(budget), out=folder, command=command, rows=choose_twins(rows))
