"""What is made of a scaling run that is published, beside its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.forecast import scaling_page
from bench.forecast.model import model_of
from bench.workloads.sweeps import SCALING

if TYPE_CHECKING:
    from bench.records.schema import Result


def scaling_files(result: Result) -> dict[str, str]:
    """By name: what is fitted to the run, to read and as JSON; nothing of a run that is no scaling run.

    Raises:
        InvalidInput: it has too few shapes.
    """
    if result.run.preset != SCALING:
        return {}
    model = model_of(result)
    return {scaling_page.PAGE_FILE: scaling_page.page(model), scaling_page.FACTS_FILE: scaling_page.to_json(model)}
