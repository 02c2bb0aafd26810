"""The named shapes, each with its source, and the presets. Pure: imports no framework, reads no file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from impls.contract import InvalidInput, Seq2seqConfig

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A configuration, and the batches that one sample passes over.

    ``lengths`` holds ``(T_x, T_y)`` of each batch. Where it is empty, the batches are real words and their lengths come
    from the dictionary, ``num_batches`` of them.
    """

    name: str
    config: Seq2seqConfig
    batch_size: int
    source: str
    lengths: tuple[tuple[int, int], ...] = ()
    num_batches: int = 1
    presets: tuple[str, ...] = ()
    gpu_presets: tuple[str, ...] = ()
    """Presets that have it on a GPU only: too long for a CPU."""
    as_trained: bool = False
    """Whether its words are batches of `bench train`, padded: letters and phonemes for what is timed of a training."""
    held_out: bool = False
    """Whether what is fitted to the run's other workloads is evaluated on this one."""

    @property
    def sequences(self) -> int:
        """How many sequences a call passes over."""
        return self.batch_size * self.num_batches

    @property
    def shape(self) -> str:
        """Its sizes in a line."""
        config = self.config
        lengths = ", ".join(f"{t_x} → {t_y}" for t_x, t_y in self.lengths) or "real words"
        batches = f"{self.num_batches} × " if self.num_batches > 1 else ""
        return (
            f"E {config.embedding_dim}, H {config.hidden_dim},"
            f" {config.num_encoder_layers}+{config.num_decoder_layers} layers,"
            f" {'both directions' if config.bidirectional else 'one direction'},"
            f" T {lengths}, B {batches}{self.batch_size}"
        )

    @property
    def is_words(self) -> bool:
        """Whether the input is real words."""
        return not self.lengths


def _config(embedding_dim: int, hidden_dim: int, layers: int, directions: int) -> Seq2seqConfig:
    return Seq2seqConfig(
        embedding_dim=embedding_dim,
        hidden_dim=hidden_dim,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        bidirectional=directions == 2,
    )


SEED = Workload(
    name="seed",
    config=_config(10, 20, 2, 2),
    lengths=((10, 9),),
    batch_size=2,
    source="the course notebook that the model comes from",
    presets=("smoke", "default", "full", "gpu"),
)
WORDS = Workload(
    name="g2p",
    config=_config(64, 128, 2, 2),
    num_batches=4,
    batch_size=64,
    source="CMU Pronouncing Dictionary, letters to phonemes; the use is Yao and Zweig 2015, arXiv 1506.00196",
    presets=("smoke", "default", "full"),
)
WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        SEED,
        WORDS,
        replace(WORDS, name="word", batch_size=1, presets=()),
        replace(WORDS, name="letters", batch_size=128, num_batches=8, as_trained=True, presets=()),
        Workload(
            name="latency",
            config=_config(512, 512, 1, 1),
            lengths=((25, 25),),
            batch_size=1,
            source="DeepBench, inference: LSTM of 512 units, batch 1, 25 time steps",
            presets=("default", "full"),
        ),
        Workload(
            name="braun",
            config=_config(123, 320, 1, 1),
            lengths=((100, 25),),
            batch_size=64,
            source="Braun 2018, arXiv 1806.01818: one layer of 320, CE-short (100 frames of 123 features, batch 64)",
            presets=("default", "full", "gpu"),
        ),
        Workload(
            name="tutorial",
            config=_config(256, 512, 2, 1),
            lengths=((14, 14),),
            batch_size=128,
            source="PyTorch sequence-to-sequence tutorials: embedding 256, two layers of 512, batch 128",
            presets=("full",),
        ),
        Workload(
            name="fastrnns",
            config=_config(512, 512, 1, 1),
            lengths=((100, 100),),
            batch_size=64,
            source="PyTorch's own benchmarks/fastrnns: 100 steps, batch 64, 512 in, 512 hidden",
            presets=("full", "gpu"),
        ),
        Workload(
            name="gnmt",
            config=_config(1024, 1024, 4, 1),
            lengths=((50, 50),),
            batch_size=128,
            source="MLPerf training, GNMT: four layers of 1024 on each side, batch 128",
            presets=("gpu",),
            gpu_presets=("full",),
        ),
        Workload(
            name="braun-long",
            config=_config(123, 320, 4, 2),
            lengths=((1000, 250),),
            batch_size=32,
            source="Braun 2018, arXiv 1806.01818: four layers of 320, both directions, 1000 frames, batch 32",
            gpu_presets=("full",),
        ),
    )
}

SMOKE_BATCHES = 2
"""How many of the batches of real words the smoke preset keeps."""


def choose(names: Sequence[str], preset: str, device: str) -> list[Workload]:
    """The workloads named, or, where none is, those of the preset on the device.

    Raises:
        InvalidInput: there is no such workload.
    """
    if unknown := [name for name in names if name not in WORKLOADS]:
        raise InvalidInput(f"unknown workload {unknown[0]!r}; choose from {', '.join(WORKLOADS)}")
    if names:
        chosen = [WORKLOADS[name] for name in dict.fromkeys(names)]
    else:
        chosen = [
            workload
            for workload in WORKLOADS.values()
            if preset in workload.presets or (device == "gpu" and preset in workload.gpu_presets)
        ]
    return [trimmed(workload, preset) for workload in chosen]


def trimmed(workload: Workload, preset: str) -> Workload:
    """The workload as the preset has it: smoke keeps two of the batches of real words."""
    if preset != "smoke" or not workload.is_words:
        return workload
    return replace(workload, num_batches=SMOKE_BATCHES)


SHAPE_DEFAULTS: dict[str, int | bool] = {
    "embedding_dim": 10,
    "hidden_dim": 20,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "bidirectional": True,
    "sequence_length": 10,
    "output_seq_length": 9,
    "batch_size": 2,
}
"""What ``--shape`` may set, under the notebook's names, and what holds where it does not: the notebook's shape."""

LARGEST_SIZE = 1_000_000
"""Beyond this no size makes sense, and memory need not be estimated."""


def parse_shape(text: str) -> Workload:
    """The workload that ``hidden_dim=256,batch_size=32`` describes.

    Raises:
        InvalidInput: it is malformed, or a size is not a whole number of at least 1.
    """
    return shape_workload(**(SHAPE_DEFAULTS | parse_sizes(text)))


def parse_sizes(text: str) -> dict[str, int | bool]:
    """The sizes that ``hidden_dim=256,batch_size=32`` names.

    Raises:
        InvalidInput: it is malformed, or a size is not a whole number of at least 1.
    """
    given: dict[str, int | bool] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise InvalidInput(f"--shape: {item!r} is not name=value; example: hidden_dim=256,batch_size=32")
        if key not in SHAPE_DEFAULTS:
            raise InvalidInput(f"--shape: unknown name {key!r}; choose from {', '.join(SHAPE_DEFAULTS)}")
        if key in given:
            raise InvalidInput(f"--shape: {key} is given twice")
        given[key] = _flag(value) if key == "bidirectional" else parse_size("--shape", key, value)
    return given


def named(name: str, preset: str) -> Workload:
    """The workload that a run calls so: one of the list as the preset has it, or one that ``--shape`` described.

    Raises:
        InvalidInput: there is none.
    """
    if name in WORKLOADS:
        return trimmed(WORKLOADS[name], preset)
    match = SHAPE_NAME.fullmatch(name)
    if match is None:
        raise InvalidInput(f"unknown workload {name!r}; choose from {', '.join(WORKLOADS)}")
    sizes = {key: int(size) for key, size in match.groupdict().items()}
    return shape_workload(**sizes | {"bidirectional": sizes["bidirectional"] == 2})


def shape_workload(*, sequence_length: int, output_seq_length: int, batch_size: int, **sizes: int | bool) -> Workload:
    """A workload of these sizes, named after them."""
    config = Seq2seqConfig(**sizes)  # type: ignore[arg-type]  # checked by Seq2seqConfig itself
    return Workload(
        name=(
            f"e{config.embedding_dim}-h{config.hidden_dim}"
            f"-l{config.num_encoder_layers}+{config.num_decoder_layers}-d{config.num_directions}"
            f"-t{sequence_length}+{output_seq_length}-b{batch_size}"
        ),
        config=config,
        lengths=((sequence_length, output_seq_length),),
        batch_size=batch_size,
        source="--shape",
    )


SHAPE_NAME = re.compile(
    r"e(?P<embedding_dim>\d+)-h(?P<hidden_dim>\d+)-l(?P<num_encoder_layers>\d+)\+(?P<num_decoder_layers>\d+)"
    r"-d(?P<bidirectional>[12])-t(?P<sequence_length>\d+)\+(?P<output_seq_length>\d+)-b(?P<batch_size>\d+)"
)
"""What ``shape_workload`` calls its workloads."""


def parse_size(option: str, key: str, value: str) -> int:
    """A whole number from 1 to ``LARGEST_SIZE``.

    Raises:
        InvalidInput: it is none.
    """
    if not re.fullmatch(r"[0-9]+", value) or int(value[:20]) < 1:
        raise InvalidInput(f"{option}: {key} must be a whole number of at least 1, not {value!r}")
    if len(value) > len(str(LARGEST_SIZE)) or int(value) > LARGEST_SIZE:
        raise InvalidInput(
            f"{option}: {key} must be at most {LARGEST_SIZE:,}, not {value[:20]}{'…' * (len(value) > 20)}"
        )
    return int(value)


def _flag(value: str) -> bool:
    words = {"true": True, "false": False, "1": True, "0": False}
    if value.lower() not in words:
        raise InvalidInput(f"--shape: bidirectional must be true or false, not {value!r}")
    return words[value.lower()]


LONGEST_WORD = 20
"""Letters, and phonemes, that a batch of real words is counted with when memory is estimated."""


def estimate_bytes(workload: Workload) -> int:
    """About how much memory a run of this workload needs at its peak, which is where the oracle saves its answers.

    Of the weights, in float64: the model and Adam's two moments, as much for each of the two optimisers of the slack,
    and gradients, trained weights and slack of both input sets, in memory and once more to be saved. Of the inputs, for
    each time step: the gates, both states and the input of a layer, and their gradients.
    """
    config = workload.config
    embedding, hidden, width = config.embedding_dim, config.hidden_dim, config.decoder_hidden_dim
    copies = 24

    def layers(count: int, size: int, directions: int) -> tuple[int, int]:
        """Weights of a stack, and numbers that it keeps for each sequence and step."""
        inputs = embedding + (count - 1) * width
        return (
            directions * 4 * size * (inputs + count * (size + 1)),
            directions * 2 * (7 * size * count + inputs),
        )

    encoder_weights, encoder_numbers = layers(config.num_encoder_layers, hidden, config.num_directions)
    decoder_weights, decoder_numbers = layers(config.num_decoder_layers, width, 1)
    lengths = workload.lengths or ((LONGEST_WORD, LONGEST_WORD),) * workload.num_batches
    steps = sum(t_x * encoder_numbers + t_y * decoder_numbers for t_x, t_y in lengths)
    return 8 * (copies * (encoder_weights + decoder_weights) + workload.batch_size * steps)
