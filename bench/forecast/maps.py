"""Who is expected to win at which sizes, for a page's map. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bench.analysis.analysis import Analysis
from bench.forecast.model import Model, TaskAt, forecast, model_of, tied
from bench.page.series import Map, in_words
from bench.workloads.flops import BatchSizes
from bench.workloads.sweeps import SCALING, doubled, sizes
from impls.contract import InvalidInput, Seq2seqConfig


def maps(number: int, analysis: Analysis) -> Iterator[Map]:
    """Of a scaling run: who is expected to win over batch size and hidden size, all else as where its sweeps cross."""
    if analysis.run.preset != SCALING:
        return
    try:
        model = model_of(analysis)
    except InvalidInput:  # it was ended before it had shapes enough
        return
    for at in model.fits:
        yield from _map(number, model, at)


def _map(number: int, model: Model, at: TaskAt) -> Iterator[Map]:
    facts = [one for name in model.timed(at) if (one := model.run.workloads[name]).config and not one.held_out]
    shapes = [sizes(one.config, one.batches) for one in facts if one.config]
    crossing = {name: Counter(own[name] for own in shapes).most_common(1)[0][0] for name in shapes[0]}
    grids = {
        name: doubled(min(own[name] for own in shapes), max(own[name] for own in shapes))
        for name in ("batch_size", "hidden_dim")
    }
    others = in_words({name: value for name, value in crossing.items() if name not in grids})
    for batch_size in grids["batch_size"]:
        for hidden_dim in grids["hidden_dim"]:
            config = Seq2seqConfig(
                embedding_dim=crossing["embedding_dim"],
                hidden_dim=hidden_dim,
                num_encoder_layers=crossing["num_encoder_layers"],
                num_decoder_layers=crossing["num_decoder_layers"],
                bidirectional=crossing["directions"] == 2,
            )
            batch = BatchSizes(crossing["sequence_length"], crossing["output_seq_length"], batch_size)
            expected = forecast(model, at, config, [batch])
            yield Map(
                result=number,
                label=f"{at.task} {at.place}\nat {others}",
                **at._asdict(),
                batch_size=batch_size,
                hidden_dim=hidden_dim,
                winner=expected[0].implementation,
                tied=tied(expected),
                time_s=expected[0].time_s,
            )
