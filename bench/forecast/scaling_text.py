"""What a scaling run prints at its end: each row's costs, and how well they forecast. Fits 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.padding import Padding
from rich.text import Text

from bench import units
from bench.forecast.held_out import score
from bench.forecast.scaling_page import about, in_words, scaling_of
from bench.here import as_typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from bench.forecast.model import Model


def render(model: Model) -> Iterator[RenderableType]:
    """Of each task the rows' costs, and a sentence on the held-out shapes."""
    for of_task in scaling_of(model).tasks:
        where = units.place(of_task.device, of_task.threads, of_task.precision)
        yield Text(f"\n{of_task.task} {where}", style="bold")
        for row in of_task.fits:
            errors = [one.errors[row.implementation] for one in of_task.held_out]
            off = f" (held out: off by {units.percent(float(np.median(errors)))})" if errors else ""
            words = Text(row.implementation, style="bold").append(
                f" {in_words(row.coefficients)}{off}", style="not bold"
            )
            yield Padding(words, (0, 0, 0, 1))
        if of_task.held_out:
            yield Padding(Text(about(score(of_task.held_out))), (0, 0, 0, 1))
    how_to_read = (
        "\nstate: a number of the hidden states, at each step; weight: once a call. A single coefficient is less"
        " certain than their sum. `python -m bench advise --shape …` says what to expect of a shape."
    )
    yield Text(as_typed(how_to_read), style="dim")
