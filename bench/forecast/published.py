"""What is made of a scaling run that is published, beside its table."""

from __future__ import annotations

from bench.analysis.analysis import Analysis
from bench.forecast import scaling_page
from bench.forecast.model import model_of
from bench.workloads.sweeps import SCALING


def scaling_files(analysis: Analysis) -> dict[str, str]:
    """By name: what is fitted to the run, to read and as JSON; nothing of a run that is no scaling run.

    Raises:
        InvalidInput: it has too few shapes.
    """
    if analysis.run.preset != SCALING:
        return {}
    model = model_of(analysis)
    return {scaling_page.PAGE_FILE: scaling_page.page(model), scaling_page.FACTS_FILE: scaling_page.to_json(model)}
