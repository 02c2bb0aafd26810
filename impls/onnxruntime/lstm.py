"""ONNX Runtime: the model as a graph of ONNX's ``LSTM`` nodes, inference only.

A node is one layer, both directions. Its gate order is i, o, f, c, its outputs are ``(T, dirs, B, H)``, and it has two
biases, of which the second is zero.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from impls.contract import DeviceUnavailable, LSTMOutput, Parameters, States

if TYPE_CHECKING:
    from collections.abc import Sequence

    from impls.contract import LSTMLayer, Seq2seqConfig

_ENGINE = "an engine for inference: it has no backward pass"

ROW = {
    "tier": "engine",
    "summary": "ONNX Runtime, a graph of LSTM nodes, inference only",
    "frameworks": ["onnxruntime", "onnx"],
    "devices": ["cpu"],
    "unsupported": {
        "gradients": "an engine for inference: it has no backward pass",
        "train_step": "an engine for inference: it has no backward pass",
        "gpu": "the package onnxruntime runs on the CPU",
    },
}

OPSET = 17


class Graph:
    """A graph under construction: values are named, and nodes make new ones of them."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The names of the outputs of a new node, or the name where it has one."""
        names = [f"{operator}_{len(self._nodes)}_{output}" for output in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, array: np.ndarray) -> str:
        """The name of a constant."""
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.ascontiguousarray(array)
        return name

    def layer(self, directions: Sequence[LSTMLayer], x: str, h_0: str = "") -> tuple[str, str, str]:
        """One layer over ``x (T, B, I)``: ``output (T, B, D)``, ``h_n`` and ``c_n (dirs, B, H)``.

        ``h_0 (dirs, B, H)`` is zero where not given; cells start from zero.
        """
        weights = [[_gates(self._parameters[name]) for name in layer.parameter_shapes] for layer in directions]
        w, r, b = (np.stack(arrays) for arrays in zip(*weights, strict=True))
        b = np.concatenate([b, np.zeros_like(b)], axis=1)
        states, h_n, c_n = self.node(
            "LSTM",
            *(x, self.constant(w), self.constant(r), self.constant(b), "", h_0),
            outputs=3,
            hidden_size=directions[0].hidden_dim,
            direction="bidirectional" if len(directions) == 2 else "forward",
        )
        joined = self.node("Transpose", states, perm=[0, 2, 1, 3])
        return self.node("Reshape", joined, self.constant(np.array([0, 0, -1]))), h_n, c_n

    def session(self, inputs: dict[str, list[Any]], outputs: Sequence[str]) -> onnxruntime.InferenceSession:
        """The graph, optimised and ready to run on as many threads as this process has processors."""
        graph = helper.make_graph(
            self._nodes,
            "seq2seq",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))  # nothing else limits it
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Seq2seqLSTM:
    """Sequence-to-sequence LSTM: one session for each of the things that may be asked of it, made when it is."""

    def __init__(self, config: Seq2seqConfig, parameters: Parameters) -> None:
        self.config, self._parameters = config, parameters
        self.session = cache(self._session)

    def encoder(self, graph: Graph, x: str) -> tuple[list[str], list[str], list[str]]:
        """Every layer's states, ``h_n`` and ``c_n``."""
        states, h_n, c_n = [], [], []
        for directions in self.config.encoder_stack:
            x, h, c = graph.layer(directions, x)
            states.append(x)
            h_n.append(h)
            c_n.append(c)
        return states, h_n, c_n

    def hand_off(self, graph: Graph, h_n: str) -> str:
        """``(1, B, D)`` from the last layer's ``h_n (dirs, B, H)``."""
        joined = graph.node("Transpose", h_n, perm=[1, 0, 2])
        return graph.node("Reshape", joined, graph.constant(np.array([1, -1, self.config.decoder_hidden_dim])))

    def decoder(self, graph: Graph, y: str, h_0: str) -> tuple[list[str], list[str], list[str]]:
        """Every layer's states, ``h_n`` and ``c_n``, each started from ``h_0 (1, B, D)``."""
        states, h_n, c_n = [], [], []
        for layer in self.config.decoder_layers:
            if self.config.context == "every_step":
                shape = graph.node("Concat", graph.node("Shape", y, end=2), graph.node("Shape", h_0, start=2), axis=0)
                y = graph.node("Concat", y, graph.node("Expand", h_0, shape), axis=2)
            y, h, c = graph.layer([layer], y, h_0)
            states.append(y)
            h_n.append(h)
            c_n.append(c)
        return states, h_n, c_n

    def _session(self, what: str) -> tuple[onnxruntime.InferenceSession, list[str]]:
        """The session, and the names of its results."""
        graph, width = Graph(self._parameters), self.config.embedding_dim
        x, y, h_0 = {"x": [None, None, width]}, {"y": [None, None, width]}, {"h_0": [1, None, None]}
        if what == "encode":
            states, h_n, c_n = self.encoder(graph, "x")
            results, inputs = [states[-1], *(graph.node("Concat", *own, axis=0) for own in (h_n, c_n))], x
        elif what == "decode":
            states, h_n, c_n = self.decoder(graph, "y", "h_0")
            results, inputs = [states[-1], *(graph.node("Concat", *own, axis=0) for own in (h_n, c_n))], y | h_0
        else:
            encoder, h_n, _ = self.encoder(graph, "x")
            decoder, _, _ = self.decoder(graph, "y", self.hand_off(graph, h_n[-1]))
            results, inputs = [decoder[-1]] if what == "forward" else [*encoder, *decoder], x | y
        return graph.session(inputs, results), results


class OnnxRow:
    """The graph with its weights loaded: a ``contract.Implementation`` for inference, on NumPy's arrays."""

    def __init__(self, config: Seq2seqConfig, parameters: Parameters) -> None:
        self.config = config
        self.load(parameters)

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """The array: ONNX Runtime reads NumPy's memory."""
        return np.array(array)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        """The array."""
        return np.asarray(array)

    def wait(self, result: Any) -> None:
        """Return: a session has computed what it returned."""

    def canonical(self, parameters: Parameters) -> Parameters:
        """The parameters: they are kept in canonical form."""
        return {name: array.copy() for name, array in parameters.items()}

    def load(self, parameters: Parameters) -> None:
        """Take these weights: they are constants of the graph, which is made again."""
        self._parameters = {name: array.copy() for name, array in parameters.items()}
        self._model = Seq2seqLSTM(self.config, self._parameters)

    def parameters(self) -> Parameters:
        """The weights as they are now."""
        return self.canonical(self._parameters)

    def trained_count(self) -> int:
        """None: nothing is trained."""
        return 0

    def encode(self, x: np.ndarray) -> LSTMOutput:
        """The encoder alone."""
        return LSTMOutput(*self._run("encode", x=x))

    def hand_off(self, h_n: np.ndarray) -> np.ndarray:
        """``h_0 (B, D)``."""
        return np.concatenate(list(h_n[-self.config.num_directions :]), axis=-1)

    def decode(self, y: np.ndarray, h_0: np.ndarray) -> LSTMOutput:
        """The decoder alone."""
        return LSTMOutput(*self._run("decode", y=y, h_0=h_0[None]))

    def forward(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The decoder's outputs."""
        return self._run("forward", x=x, y=y)[0]

    def states(self, x: np.ndarray, y: np.ndarray) -> States:
        """Every layer's hidden states."""
        states = self._run("states", x=x, y=y)
        depth = self.config.num_encoder_layers
        return States(np.stack(states[:depth]), np.stack(states[depth:]))

    def gradients(self, x: Any, y: Any, d_output: Any) -> Any:
        """Raise NotImplementedError: an engine does not train."""
        raise NotImplementedError(_ENGINE)

    def train_step(self, x: Any, y: Any, target: Any) -> Any:
        """Raise NotImplementedError: an engine does not train."""
        raise NotImplementedError(_ENGINE)

    def _run(self, what: str, **inputs: np.ndarray) -> list[np.ndarray]:
        session, results = self._model.session(what)
        return session.run(results, inputs)


def _gates(array: np.ndarray) -> np.ndarray:
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])


def load(config: Seq2seqConfig, parameters: Parameters, device: str) -> OnnxRow:
    """The graph with these weights.

    Raises:
        DeviceUnavailable: the device is not the CPU.
    """
    if device != "cpu":
        raise DeviceUnavailable(f"onnxruntime has no {device} here: {ROW['unsupported'][device]}")  # type: ignore[index]
    return OnnxRow(config, parameters)
