"""What the model is, what a row offers, and what counts as bad input.

Decisions this file makes for everything else:

- Arrays are time-major, ``(time, batch, features)``. In shapes, ``T_x`` and ``T_y`` are sequence lengths, ``B`` the
  batch, ``E`` = ``embedding_dim``, ``H`` = ``hidden_dim``, ``D`` = directions x H (the width of the decoder), and
  ``L`` the number of layers of the part spoken of.
- Parameters travel as ``dict[str, np.ndarray]`` under PyTorch's names and shapes, gate order i, f, g, o, with **one**
  bias a gate: two would move twice as far under any optimiser, and parameter counts would stop agreeing.
- A row works on its framework's own arrays. Conversion and waiting are calls of their own, which the harness makes.

The mathematics, per layer and direction, with ``s`` the logistic function and ``*`` elementwise:

    i, f, g, o = split(W_ih x_t + W_hh h_{t-1} + b)
    c_t = s(f) * c_{t-1} + s(i) * tanh(g)
    h_t = s(o) * tanh(c_t)

The encoder starts from zero. Its last layer's final hidden states, forward then reverse, joined, are the hand-off
``h_0 (B, D)``, from which every decoder layer starts; every decoder cell state starts from zero. The decoder reads the
given target sequence ``y`` (teacher forcing). No attention.

With ``context="every_step"`` every decoder layer also sees the encoder's representation ``s = h_0`` at every step,
joined to its previous hidden state: ``[W_hh W_c] [h_{t-1}; s]``, a recurrent matrix ``2D`` wide. That is
``W_hh h_{t-1} + W_c s``, wherever the columns ``W_c`` stand. Here they stand in ``W_ih``, after those of the layer's
input, so that names, the one bias and every framework's own cell stay as they are:

    i, f, g, o = split(W_ih [x_t; s] + W_hh h_{t-1} + b)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Task = Literal["encode", "forward", "gradients", "train_step"]
TASKS: tuple[Task, ...] = get_args(Task)

Variant = Literal["every_step", "states"]
"""What a row may leave out besides tasks and devices: the context at every step, every layer's hidden states."""

Device = Literal["cpu", "gpu"]
DEVICES: tuple[Device, ...] = get_args(Device)

Precision = Literal["float32", "tf32", "bfloat16"]
"""How matrices may be multiplied: as the float32 that they are, or rounded beforehand.

``tf32``: to TF32's 10 bits of mantissa, on a GPU's tensor cores; everything else is float32. On a CPU there is none.
``bfloat16``: to 7 bits, the states of the layers as well; weights, gradients and the optimiser stay float32, as in
mixed precision training (Micikevicius et al. 2018, arXiv 1710.03740). What a row gives is float32 in all of them."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

PRECISION_VARIABLE = "SEQ2SEQ_LSTM_PRECISION"
"""The environment variable that says which, for the whole process: some frameworks decide once."""

Context = Literal["initial", "every_step"]
"""When the decoder sees the encoder's representation: as its initial hidden state, or at every step besides."""
CONTEXTS: tuple[Context, ...] = get_args(Context)

Parameters = dict[str, np.ndarray]

INPUT_DTYPE = np.dtype(np.float32)

LEARNING_RATE = 1e-3
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-8  # added after bias correction, as Kingma and Ba (2015, algorithm 1) write it


class InvalidInput(ValueError):
    """What was given cannot be used; the message names the culprit and the way out."""


class DeviceUnavailable(RuntimeError):
    """The device asked for cannot be had from this framework; the message says what is missing."""


class NoCounter(RuntimeError):
    """There is no counter of memory here; the message says what has none."""


def precision() -> Precision:
    """What PRECISION_VARIABLE asks for; ``float32`` where it is not set.

    Raises:
        InvalidInput: it names no precision, or NVIDIA's own variable, which has the last word, says the opposite.
    """
    asked = os.environ.get(PRECISION_VARIABLE, "float32")
    chosen = next((own for own in PRECISIONS if own == asked), None)
    if chosen is None:
        raise InvalidInput(f"{PRECISION_VARIABLE} is {asked!r}, expected one of {', '.join(PRECISIONS)}")
    override, opposite = os.environ.get(_OVERRIDE_VARIABLE), {"float32": "1", "tf32": "0"}.get(chosen)
    if override is not None and override == opposite:
        raise InvalidInput(f"{PRECISION_VARIABLE}={chosen} and {_OVERRIDE_VARIABLE}={override} contradict: unset one")
    return chosen


_OVERRIDE_VARIABLE = "NVIDIA_TF32_OVERRIDE"  # cuBLAS and cuDNN obey it, whatever a framework asks of them


class LSTMOutput(NamedTuple):
    """What an LSTM gives: ``output (T, B, D)`` of its last layer, and every layer's final states.

    ``h_n`` and ``c_n`` are ``(L x directions, B, H)``: layer by layer, forward before reverse.
    """

    output: Any
    h_n: Any
    c_n: Any


class States(NamedTuple):
    """Hidden states of every layer, first layer first: ``encoder (L, T_x, B, D)`` and ``decoder (L, T_y, B, D)``.

    The encoder's are in the order of ``x``, forward and reverse joined.
    """

    encoder: Any
    decoder: Any


class Gradients(NamedTuple):
    """Gradients towards the parameters (in the row's own layout) and towards both inputs."""

    parameters: Any
    x: Any
    y: Any


class TrainStep(NamedTuple):
    """The loss before an optimiser step, and the parameters after it (in the row's own layout)."""

    loss: Any
    parameters: Any


@dataclass(frozen=True, slots=True)
class LSTMLayer:
    """One layer and direction: its place in the model and its sizes."""

    part: Literal["encoder", "decoder"]
    index: int
    reverse: bool
    input_dim: int
    hidden_dim: int

    @property
    def suffix(self) -> str:
        """PyTorch's name of the place: ``l0``, ``l1_reverse``."""
        return f"l{self.index}" + ("_reverse" if self.reverse else "")

    @property
    def weight_ih(self) -> str:
        """The name of the input weights, ``(4H, I)``."""
        return f"{self.part}.weight_ih_{self.suffix}"

    @property
    def weight_hh(self) -> str:
        """The name of the recurrent weights, ``(4H, H)``."""
        return f"{self.part}.weight_hh_{self.suffix}"

    @property
    def bias(self) -> str:
        """The name of the one bias, ``(4H,)``."""
        return f"{self.part}.bias_{self.suffix}"

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of this layer's three parameters."""
        gates = 4 * self.hidden_dim
        return {
            self.weight_ih: (gates, self.input_dim),
            self.weight_hh: (gates, self.hidden_dim),
            self.bias: (gates,),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Seq2seqConfig:
    """The constructor arguments of every ``Seq2seqLSTM``, under the notebook's names.

    Raises:
        InvalidInput: a size is not a whole number of at least 1, ``bidirectional`` is not a bool, or ``context`` is not
            one of CONTEXTS.
    """

    embedding_dim: int
    hidden_dim: int
    num_encoder_layers: int
    num_decoder_layers: int
    bidirectional: bool
    context: Context = "initial"

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "hidden_dim", "num_encoder_layers", "num_decoder_layers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"{name} must be a whole number of at least 1, not {value!r}")
        if not isinstance(self.bidirectional, bool):
            raise InvalidInput(f"bidirectional must be True or False, not {self.bidirectional!r}")
        if self.context not in CONTEXTS:
            raise InvalidInput(f"context must be one of {', '.join(CONTEXTS)}, not {self.context!r}")

    @property
    def num_directions(self) -> int:
        """2 for a bidirectional encoder, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def decoder_hidden_dim(self) -> int:
        """``D``: the decoder is as wide as the encoder's directions joined."""
        return self.num_directions * self.hidden_dim

    @property
    def encoder_stack(self) -> tuple[tuple[LSTMLayer, ...], ...]:
        """The encoder, layer by layer: of each its directions, forward before reverse."""
        directions = (False, True) if self.bidirectional else (False,)
        return tuple(
            tuple(
                LSTMLayer("encoder", index, reverse, input_dim=input_dim, hidden_dim=self.hidden_dim)
                for reverse in directions
            )
            for index in range(self.num_encoder_layers)
            for input_dim in (self.embedding_dim if index == 0 else self.decoder_hidden_dim,)
        )

    @property
    def encoder_layers(self) -> tuple[LSTMLayer, ...]:
        """The encoder's layers and directions, in the order of ``h_n``."""
        return tuple(layer for directions in self.encoder_stack for layer in directions)

    @property
    def decoder_layers(self) -> tuple[LSTMLayer, ...]:
        """The decoder's layers; what they see of the context at every step counts as input."""
        width = self.decoder_hidden_dim
        seen = width if self.context == "every_step" else 0
        return tuple(
            LSTMLayer("decoder", index, False, (self.embedding_dim if index == 0 else width) + seen, width)
            for index in range(self.num_decoder_layers)
        )

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every trained parameter, in canonical order."""
        return {
            name: shape
            for layer in (*self.encoder_layers, *self.decoder_layers)
            for name, shape in layer.parameter_shapes.items()
        }


class Implementation(Protocol):
    """A row with its weights loaded, on its device: what the harness times and the tests check.

    ``x (T_x, B, E)``, ``y (T_y, B, E)``, ``h_0 (B, D)``, ``d_output`` and ``target (T_y, B, D)`` are arrays of the
    framework, on the device. Nothing here checks its input: ``NumpyModel`` does, once, at the door.
    """

    def to_device(self, array: np.ndarray) -> Any:
        """The array, on the row's device."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """One array of the framework, as NumPy's own memory."""

    def wait(self, result: Any) -> None:
        """Return when every array in ``result`` has been computed."""

    def canonical(self, parameters: Any) -> Parameters:
        """Parameters (or gradients) in the row's own layout, under canonical names and shapes."""

    def load(self, parameters: Parameters) -> None:
        """Take these weights, with an optimiser that has made no step; return when the device has them."""

    def parameters(self) -> Parameters:
        """The weights as they are now, in canonical form."""

    def trained_count(self) -> int:
        """How many numbers the framework itself counts as trained: not derived from the canonical form."""

    def encode(self, x: Any) -> LSTMOutput:
        """The encoder alone, inference."""

    def hand_off(self, h_n: Any) -> Any:
        """``h_0 (B, D)`` from the encoder's ``h_n``."""

    def decode(self, y: Any, h_0: Any) -> LSTMOutput:
        """The decoder alone, inference, every layer started from ``h_0``."""

    def forward(self, x: Any, y: Any) -> Any:
        """Encoder and decoder, inference: the decoder's output ``(T_y, B, D)``."""

    def gradients(self, x: Any, y: Any, d_output: Any) -> Gradients:
        """Forward and backward for a given gradient of the output."""

    def train_step(self, x: Any, y: Any, target: Any) -> TrainStep:
        """Mean squared error against ``target``, backward, one Adam step on the weights in place."""


@runtime_checkable
class DeviceMemory(Protocol):
    """What a row may offer besides, so that its peak memory on a GPU is known.

    Optional: a row without it gets no such number, and the reason is given. Only the framework's own allocator can tell
    (the driver sees what it keeps in reserve), so each counts in its own way, which the row's docstring says. On a CPU
    nobody asks: the harness reads the process's own high-water mark there.
    """

    def peak_bytes(self) -> int:
        """The most bytes of the device that the framework has held since ``reset_peak``.

        Raises:
            NoCounter: nothing is counted on this device.
        """

    def reset_peak(self) -> None:
        """Count again from what is held now; where the framework cannot, nothing happens."""


@runtime_checkable
class LayerStates(Protocol):
    """What a row may offer besides: the hidden states of every layer, where others give their last layer's.

    Optional: a row without it says why, under ``states`` in its ``unsupported``.
    """

    def states(self, x: Any, y: Any) -> States:
        """Encoder and decoder, inference: what ``forward`` goes through."""


@runtime_checkable
class Compiled(Protocol):
    """What a row may offer besides, where not all of it is compiled: which part is.

    Optional: without it, ``"compiles": True`` in its ROW means that a task is one program.
    """

    def compiled(self) -> str:
        """What this process has compiled for this model by now, in words; empty if nothing."""


def check_parameters(config: Seq2seqConfig, parameters: Mapping[str, np.ndarray]) -> None:
    """Raise InvalidInput unless the parameters are exactly those of ``config``, in float32."""
    expected = config.parameter_shapes
    if missing := sorted(expected.keys() - parameters.keys()):
        raise InvalidInput(f"missing parameter {missing[0]}: expected shape {expected[missing[0]]}")
    if extra := sorted(parameters.keys() - expected.keys()):
        raise InvalidInput(f"unknown parameter {extra[0]}: this configuration has none of that name")
    for name, shape in expected.items():
        check_array(f"parameter {name}", parameters[name], shape=shape)


def check_sequence(name: str, array: np.ndarray, *, width: int, batch: int | None = None) -> None:
    """Raise InvalidInput unless ``array`` is a float32 ``(time, batch, width)`` with nothing empty.

    ``batch``, where given, is the batch size that the array has to agree with.
    """
    words = "[sequence length, batch size, embedding dim]"
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"{name} must be a NumPy array of shape {words}, not {type(array).__name__}")
    if array.ndim != 3:
        raise InvalidInput(f"{name} has shape {array.shape}, expected {words}")
    if 0 in array.shape:
        raise InvalidInput(f"{name} is empty (shape {array.shape}): expected {words}, each at least 1")
    if array.shape[2] != width:
        raise InvalidInput(f"{name} is {array.shape[2]} wide, expected {width}: {words}")
    if batch is not None and array.shape[1] != batch:
        raise InvalidInput(f"{name} has batch size {array.shape[1]}, expected {batch}: {words}")
    check_array(name, array, shape=array.shape)


def check_array(name: str, array: np.ndarray, *, shape: tuple[int | None, ...]) -> None:
    """Raise InvalidInput unless ``array`` is a float32 NumPy array of this shape; None stands for any size from 1."""
    names = ["batch size" if size is None else str(size) for size in shape]
    words = f"({', '.join(names)}{',' * (len(names) == 1)})"
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"{name} must be a NumPy array of shape {words}, not {type(array).__name__}")
    fits = len(array.shape) == len(shape) and all(
        size == wanted or (wanted is None and size > 0) for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InvalidInput(f"{name} has shape {array.shape}, expected {words}")
    if array.dtype != INPUT_DTYPE:
        raise InvalidInput(f"{name} is {array.dtype}, expected {INPUT_DTYPE}: convert with .astype(np.float32)")


def initial_parameters(config: Seq2seqConfig, seed: int) -> Parameters:
    """Fresh float32 weights, uniform in +-1/sqrt(hidden size of the layer), as ``torch.nn.LSTM`` starts."""
    rng = np.random.default_rng(seed)
    parameters: Parameters = {}
    for layer in (*config.encoder_layers, *config.decoder_layers):
        bound = layer.hidden_dim**-0.5
        for name, shape in layer.parameter_shapes.items():
            parameters[name] = rng.uniform(-bound, bound, shape).astype(INPUT_DTYPE)
    return parameters
