"""Sizes of a model and its inputs, drawn at random: small, odd, and at their edges."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from impls.contract import Context, Seq2seqConfig


class Sizes(NamedTuple):
    """What a case is drawn from: of a few numbers, so that drawing costs nothing."""

    config: Seq2seqConfig
    t_x: int
    t_y: int
    batch: int
    seed: int


@st.composite
def any_sizes(draw_from: st.DrawFn, contexts: tuple[Context, ...]) -> Sizes:
    """Odd sizes: layer counts that differ, one or two directions, batch 1, time 1."""
    size = st.integers(1, 9)
    config = Seq2seqConfig(
        embedding_dim=draw_from(size),
        hidden_dim=draw_from(size),
        num_encoder_layers=draw_from(st.integers(1, 3)),
        num_decoder_layers=draw_from(st.integers(1, 3)),
        bidirectional=draw_from(st.booleans()),
        context=draw_from(st.sampled_from(contexts)),
    )
    lengths = st.integers(1, 6)
    seed = draw_from(st.integers(0, 2**16))
    return Sizes(config, draw_from(lengths), draw_from(lengths), draw_from(st.integers(1, 4)), seed)
