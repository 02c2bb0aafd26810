"""Pictures of trainings: errors over steps and over time, losses, and how the paths of rows part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import vl_convert

from bench.page.build import FONT, VEGA_LITE, WIDTH_PX
from bench.page.charts import CONFIG, GREY, INK, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.page.series import Datum
    from bench.train.checkpoint import History
    from bench.train.results import Trainings

SMOOTHED = 50
"""Steps whose mean loss is a point."""

PERCENT = alt.Axis(labelExpr="format(100 * datum.value, '~r') + ' %'", tickCount=6)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that there is something to draw of."""

    file: str
    caption: str
    chart: Any
    data: list[Datum]

    def svg(self) -> str:
        """The picture, drawn."""
        chart = self.chart.properties(data=alt.NamedData("data"), width=2 * WIDTH_PX, height=WIDTH_PX)
        spec = json.loads(json.dumps(chart.configure(**CONFIG).to_dict()).replace(INK, "black"))
        spec["config"] |= {"background": "white", "font": FONT}
        spec |= {"padding": 16, "datasets": {"data": self.data}}
        drawn: str = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
        return drawn


def pictures(trainings: Trainings) -> list[Picture]:
    """Those that there is something to draw of."""
    found = []
    for name, (draw, data_of) in PICTURES.items():
        if data := [*data_of(trainings)]:
            caption = " ".join((draw.__doc__ or "").split())
            found.append(Picture(f"{name}.svg", caption, draw(trainings.head.target), data))
    return found


def _lines(x: alt.X, y: alt.Y) -> Any:
    legend = alt.Legend(**TEXT, orient="right", columns=1)
    colour = alt.Color("row:N", title="row", scale=alt.Scale(scheme="dark2"), legend=legend)
    return alt.Chart().mark_line(strokeWidth=1.5, opacity=0.8).encode(x=x, y=y, color=colour, detail="seed:N")


def _with_target(lines: Any, target: float) -> Any:
    rule = alt.Chart().mark_rule(color=GREY, strokeDash=[4, 4]).encode(y=alt.datum(target))
    return alt.layer(rule, lines)


STEPS = alt.X("step:Q", title="steps", axis=alt.Axis(format="~s"))
ERROR = alt.Y("error:Q", title="phonemes wrong", scale=alt.Scale(type="log", nice=False), axis=PERCENT)


def error_over_steps(target: float) -> Any:
    """Phonemes wrong of the validation words, over steps: a line for each training, dashed the target."""
    return _with_target(_lines(STEPS, ERROR), target)


def error_over_time(target: float) -> Any:
    """The same over time: steps times the time of a step from turns, behind what all compiling took."""
    return _with_target(_lines(alt.X("minutes:Q", title="minutes"), ERROR), target)


def loss_over_steps(target: float) -> Any:  # noqa: ARG001
    """The mean loss of 50 steps each, over steps."""
    return _lines(STEPS, alt.Y("loss:Q", title="loss", scale=alt.Scale(type="log", nice=False)))


def paths_part(target: float) -> Any:  # noqa: ARG001
    """How far the loss of a step is from the median over the rows, relative to that, at most so far: from the same
    weights, with the same batches, in another order of sums. Float32 alone parts paths so.
    """
    x = alt.X("step:Q", title="steps", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s"))
    axis = alt.Axis(format=".0e", tickCount=6)
    return _lines(x, alt.Y("off:Q", title="off by", scale=alt.Scale(type="log", nice=False), axis=axis))


def errors(trainings: Trainings) -> Iterator[Datum]:
    """Each evaluation, with its time where the row has taken turns."""
    for outcome in trainings.outcomes:
        for seed, one in outcome.trained.items():
            for own in one.about.evaluations:
                datum: Datum = {"row": outcome.row, "seed": seed, "step": own.step, "error": own.phoneme_error}
                if outcome.pace:
                    datum["minutes"] = (own.step * outcome.pace.step_s + outcome.compile_s[seed]) / 60
                yield datum


def timed_errors(trainings: Trainings) -> Iterator[Datum]:
    """Of these, those with a time."""
    return (datum for datum in errors(trainings) if "minutes" in datum)


def losses(trainings: Trainings) -> Iterator[Datum]:
    """Smoothed."""
    for one in trainings.trained:
        for start in range(0, len(one.losses) - SMOOTHED + 1, SMOOTHED):
            loss = float(np.mean(one.losses[start : start + SMOOTHED]))
            yield {"row": one.about.row, "seed": one.about.seed, "step": start + SMOOTHED, "loss": loss}


def parting(trainings: Trainings) -> Iterator[Datum]:
    """The largest distance so far, at steps that are evenly apart on a logarithmic scale."""
    by_seed: dict[int, list[History]] = {}
    for one in trainings.trained:
        by_seed.setdefault(one.about.seed, []).append(one)
    for seed, several in by_seed.items():
        length = min(len(one.losses) for one in several)
        if len(several) < 3 or not length:  # of two, the median says nothing
            continue
        middle = np.median([one.losses[:length] for one in several], axis=0)
        for one in several:
            off = np.maximum.accumulate(np.abs(one.losses[:length] - middle) / middle)
            for step in np.unique(np.geomspace(1, length, 60).astype(int)).tolist():
                if off[step - 1] > 0:
                    yield {"row": one.about.row, "seed": seed, "step": step, "off": float(off[step - 1])}


PICTURES: Mapping[str, tuple[Callable[[float], Any], Callable[[Trainings], Iterator[Datum]]]] = {
    "error-over-steps": (error_over_steps, errors),
    "error-over-time": (error_over_time, timed_errors),
    "loss-over-steps": (loss_over_steps, losses),
    "paths-part": (paths_part, parting),
}
"""Each picture: how it is drawn, and of what."""
