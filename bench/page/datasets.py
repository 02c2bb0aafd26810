"""What the charts read: one list of flat data for each name that a drawing asks for. Pure.

``lines`` depend on the reader's baseline: the page's script makes its own of the groups, these are against the run's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bench.records.schema import BOUND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.page.charts import Chart
    from bench.page.data import PageData

    Datum = dict[str, Any]

MOST_FACETS = 8
"""A chart has at most so many small multiples: those of thousands of cells are read one workload at a time."""


def fixed(data: PageData) -> Mapping[str, Sequence[Datum]]:
    """The data sets that do not depend on a baseline."""
    plain: Datum = msgspec.to_builtins(data)
    return {
        "points": plain["points"],
        "maps": [one | {"many": len(one["tied"]), "ties": ", ".join(one["tied"])} for one in plain["maps"]],
        "moments": [one | {"step": one["verdict"] or "no verdict"} for one in plain["moments"]],
        "machines": plain["machines"],
        "drift": plain["drift"],
        "spent": plain["spent"],
    }


def lines(data: PageData) -> list[Datum]:
    """Every row that has a time, against the baseline of its run."""
    found = []
    for group in data.groups:
        for row, fixed_s in zip(group.rows, group.fixed_s, strict=True):
            if row.median_s is None or row.tier == BOUND:
                continue
            verdict = "baseline" if row.implementation == row.baseline else row.verdict or "no verdict"
            found.append(
                msgspec.to_builtins(row)
                | {
                    "result": group.result,
                    "group": group.label,
                    "fixed_s": fixed_s,
                    "verdict": verdict,
                    "bound_flops_per_s": row.flops_per_s / row.bound_share
                    if row.flops_per_s and row.bound_share
                    else None,
                }
            )
    return found


def drawable(chart: Chart, some: Sequence[Datum]) -> list[Datum]:
    """Those of a data set that have all that the chart needs."""
    return [one for one in some if all(one[name] is not None for name in chart.needs)]


def facets_of(chart: Chart, some: Sequence[Datum]) -> list[str]:
    """What the small multiples of the chart would be, were there no more than it may have."""
    return list(dict.fromkeys(one[chart.facet] for one in drawable(chart, some)))


def of_chart(chart: Chart, some: Sequence[Datum]) -> list[Datum]:
    """What the chart draws of a data set: no more than `MOST_FACETS` small multiples."""
    places = {facet: place for place, facet in enumerate(facets_of(chart, some)[:MOST_FACETS])}
    return [
        one | {"facet_order": places[one[chart.facet]]} for one in drawable(chart, some) if one[chart.facet] in places
    ]
