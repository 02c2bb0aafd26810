"""A trained net to use: weights alone, in bfloat16, half as large as they were; or those of any checkpoint.

The format is that of safetensors: the length of a header, the header in JSON, the numbers. It is written and read by
hand, for NumPy has no bfloat16 (https://github.com/safetensors/safetensors#format).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from bench.here import ROOT, shown
from bench.train.checkpoint import ABOUT, About, read_about
from bench.workloads.symbols import Symbols
from impls.contract import InvalidInput
from impls.training import TrainingState, check_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from impls.contract import Parameters

NET_FILE = "net.safetensors"

PUBLISHED = ROOT / "results" / "trained"
"""Where published trainings stand, a folder each; at least one has a net."""

PREFIX = "parameters/"


def published_nets() -> list[Path]:
    """The nets of the repository, the one with the fewest wrong phonemes first."""
    return sorted(PUBLISHED.glob(f"[!.]*/{NET_FILE}"), key=lambda path: error_of(read_about(path)))


def error_of(about: About) -> float:
    """How many of the test words' phonemes are wrong; of a training that has not ended, infinite."""
    return about.test.phoneme_error if about.test else float("inf")


def net_bytes(about: About, parameters: Parameters) -> bytes:
    """A safetensors file of these weights, each rounded to the nearest bfloat16."""
    header: dict[str, object] = {"__metadata__": {ABOUT: msgspec.json.encode(about).decode()}}
    body = b""
    for name, own in parameters.items():
        data = _rounded(own).tobytes()
        header[PREFIX + name] = {
            "dtype": "BF16",
            "shape": own.shape,
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    words = msgspec.json.encode(header)
    words += b" " * (-len(words) % 8)
    return len(words).to_bytes(8, "little") + words + body


def read_net(path: Path) -> tuple[About, TrainingState]:
    """What a net, or a checkpoint, says of itself, and its weights; its optimiser has made no step.

    Raises:
        InvalidInput: it is none, or damaged.
    """
    about, parameters = read_about(path), {}  # which looks whether the file is whole
    try:
        data = path.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        for name, tensor in msgspec.json.decode(data[8:begin]).items():
            if name.startswith(PREFIX):
                low, high = tensor["data_offsets"]
                own = _float32(tensor["dtype"], data[begin + low : begin + high])
                parameters[name.removeprefix(PREFIX)] = own.reshape(tensor["shape"])
        check_arrays(about.config, "parameter", parameters)
        if about.config.num_phonemes != Symbols(about.phonemes).count:
            raise InvalidInput("its phonemes are not as many as the model's")
    except ValueError as error:
        raise InvalidInput(f"{shown(path)}: is damaged ({error})") from None
    zeros = {name: np.zeros_like(own) for name, own in parameters.items()}
    return about, TrainingState(0, parameters, zeros, zeros)


def _rounded(array: np.ndarray) -> np.ndarray:
    """The upper halves of the nearest numbers that have no lower one; a tie goes to the even one."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _float32(dtype: str, data: bytes) -> np.ndarray:
    if dtype == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype != "F32":
        raise ValueError(f"a weight is {dtype}")
    return np.frombuffer(data, np.float32).copy()
