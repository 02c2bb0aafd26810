"""``jax/cudnn`` without a GPU: all checks of a row, with JAX's own reference in the kernel's place.

``lstm_ref`` reads the flat weights with JAX's own ``unpack_lstm_weights``: packed wrongly, they give wrong values.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.crosschecks import CHECKS, CONFIGS, EDGES, agrees, draw
from support.frameworks import need

from impls import find_rows
from impls.numpy_model import NumpyModel

need("jax")

import jax.numpy as jnp  # noqa: E402
from jax.experimental import rnn  # noqa: E402

from impls.jax import cudnn  # noqa: E402


def reference(
    x: Any,
    h_0: Any,
    c_0: Any,
    weights: Any,
    lengths: Any,
    inputs: int,
    hidden: int,
    layers: int,
    dropout: float,
    two: bool,
) -> tuple[Any, Any, Any]:
    """What cuDNN works out, by JAX's reference."""
    sizes = (inputs, hidden, layers)
    unpacked = rnn.unpack_lstm_weights(weights, *sizes, two)
    output, h_n, c_n = rnn.lstm_ref(x, h_0, c_0, *unpacked, lengths, *sizes, dropout, two)
    return output, h_n, c_n


MODELS: dict[Any, NumpyModel] = {}


@pytest.fixture(autouse=True)
def reference_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "kernel", reference)


@pytest.mark.parametrize("context", CONFIGS)
@pytest.mark.parametrize("check", [name for name, (needed, _) in CHECKS.items() if needed != "states"])
def test_the_row_equals_the_oracle(check: str, context: Any) -> None:
    case = draw(CONFIGS[context], t_x=10, t_y=9, batch=2)
    if context not in MODELS:
        MODELS[context] = NumpyModel(cudnn.load, CONFIGS[context], case.parameters, "cpu")
    CHECKS[check][1](MODELS[context], case)


@pytest.mark.parametrize("edge", EDGES)
def test_the_row_equals_the_oracle_at_the_edges(edge: str) -> None:
    config, t_x, t_y, batch = EDGES[edge]
    case = draw(config, t_x, t_y, batch)
    agrees(NumpyModel(cudnn.load, config, case.parameters, "cpu"), case, find_rows()["jax/cudnn"])


def layers_backwards(weights: Any, layers: Any) -> Any:
    return PACKED(weights, layers[::-1])


def biases_first(weights: Any, layers: Any) -> Any:
    packed, biases = PACKED(weights, layers), 2 * sum(weights[layer.bias].size for layer in layers)
    return jnp.concatenate([packed[-biases:], packed[:-biases]])


PACKED = cudnn.flat


@pytest.mark.parametrize("wrong", [layers_backwards, biases_first])
def test_weights_packed_in_another_order_are_seen(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "flat", wrong)
    case = draw(CONFIGS["initial"], t_x=3, t_y=2, batch=2)
    model = NumpyModel(cudnn.load, CONFIGS["initial"], case.parameters, "cpu")
    with pytest.raises(AssertionError, match="output is off"):
        CHECKS["encode"][1](model, case)


def test_the_order_in_memory_of_what_cudnn_reads_and_writes_is_asked_for() -> None:
    """Which no value shows without cuDNN: any other kernel is told of every layout."""
    import jax

    case = draw(CONFIGS["initial"], t_x=3, t_y=2, batch=2)
    layers = CONFIGS["initial"].encoder_layers
    weights = {name: jax.numpy.asarray(array) for name, array in case.parameters.items()}
    h_0 = jax.numpy.zeros((len(layers), 2, layers[0].hidden_dim))

    def loss(x: Any, h_0: Any) -> Any:
        return sum(array.sum() for array in cudnn.stack(weights, layers, x, h_0))

    # x, h_0, output, h_n, c_n; x, h_0, and the gradients of h_n, c_n, output, h_0 and x; all of these
    both = jax.value_and_grad(loss, (0, 1))
    for function, sides in ((loss, 5), (jax.grad(loss, (0, 1)), 7), (both, 10)):
        text = jax.jit(function).lower(case.x, h_0).as_text()
        asked = re.findall(r"@LayoutConstraint.*result_layouts = \[dense<(.*?)> ", text)
        assert asked == ["[2, 1, 0]"] * sides


def test_cudnn_may_use_tf32_only_where_it_was_asked_for() -> None:
    """cuDNN reads JAX's own precision: what the adapter sets holds for it, too."""
    import jax
    from jax.experimental.rnn import _lstm_cudnn_allow_tf32

    from impls.jax._arrays import MATMUL_PRECISION

    for chosen, allowed in (("float32", False), ("tf32", True)):
        with jax.default_matmul_precision(MATMUL_PRECISION[chosen]):
            assert _lstm_cudnn_allow_tf32(None) is allowed


def test_it_says_that_it_needs_a_gpu() -> None:
    row = find_rows()["jax/cudnn"]
    assert row.devices == ("gpu",) and "NVIDIA" in row.unsupported["cpu"]
