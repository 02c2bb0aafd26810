"""The oracle itself: against finite differences, and against PyTorch in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.crosschecks import NOTEBOOK, Case, draw
from support.frameworks import need

from impls.contract import BETA_1, BETA_2, EPSILON, LEARNING_RATE, Seq2seqConfig
from impls.equality import relative_error
from impls.reference import Reference

if TYPE_CHECKING:
    from impls.contract import Parameters

SMALL = Seq2seqConfig(embedding_dim=3, hidden_dim=4, num_encoder_layers=2, num_decoder_layers=3, bidirectional=True)
ONE_WAY = Seq2seqConfig(embedding_dim=2, hidden_dim=3, num_encoder_layers=3, num_decoder_layers=1, bidirectional=False)
EVERY_STEP = [replace(config, context="every_step") for config in (SMALL, ONE_WAY, NOTEBOOK)]


def directional_derivative(case: Case, direction: Case, step: float = 1e-6) -> float:
    """d/ds of ``sum(d_output * forward)`` along ``direction``, by central differences."""

    def value(sign: int) -> float:
        model = Reference(case.config, {})
        moved = {
            name: array.astype(np.float64) + sign * step * direction.parameters[name]
            for name, array in case.parameters.items()
        }
        model.load(moved)
        x, y = (
            own.astype(np.float64) + sign * step * other
            for own, other in ((case.x, direction.x), (case.y, direction.y))
        )
        return float(np.sum(case.d_output * model.forward(x, y)))

    return (value(+1) - value(-1)) / (2 * step)


@pytest.mark.parametrize("config", [SMALL, ONE_WAY, NOTEBOOK, *EVERY_STEP])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_gradients_equal_finite_differences_in_any_direction(config: Seq2seqConfig, seed: int) -> None:
    case, direction = draw(config, 4, 3, 2, seed=seed), draw(config, 4, 3, 2, seed=seed + 5000)
    gradients = case.oracle().gradients(case.x, case.y, case.d_output)
    along = np.sum(gradients.x * direction.x) + np.sum(gradients.y * direction.y)
    along += sum(np.sum(gradients.parameters[name] * direction.parameters[name]) for name in case.parameters)
    assert along == pytest.approx(directional_derivative(case, direction), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("config", [SMALL, EVERY_STEP[0]])
def test_each_parameter_gradient_equals_finite_differences(config: Seq2seqConfig) -> None:
    case = draw(config, 3, 2, 2)
    gradients = case.oracle().gradients(case.x, case.y, case.d_output).parameters
    rng = np.random.default_rng(0)
    zero = {name: np.zeros_like(array) for name, array in case.parameters.items()}
    still = {"x": np.zeros_like(case.x), "y": np.zeros_like(case.y)}
    for name, array in case.parameters.items():
        one = rng.standard_normal(array.shape).astype(np.float32)
        direction = Case(
            case.config,
            zero | {name: one},
            h_n=case.h_n,
            h_0=case.h_0,
            d_output=case.d_output,
            target=case.target,
            **still,
        )
        expected = directional_derivative(case, direction)
        assert np.sum(gradients[name] * one) == pytest.approx(expected, rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize("config", [SMALL, ONE_WAY, *EVERY_STEP[:2]])
def test_states_of_a_layer_are_the_outputs_of_a_model_that_ends_with_it(config: Seq2seqConfig) -> None:
    case = draw(config, 6, 5, 3)
    encoder, decoder = case.oracle().states(case.x, case.y)
    for number in range(1, config.num_encoder_layers + 1):
        shallow = replace(config, num_encoder_layers=number)
        assert np.array_equal(encoder[number - 1], Reference(shallow, case.parameters).encode(case.x).output)
    for number in range(1, config.num_decoder_layers + 1):
        shallow = replace(config, num_decoder_layers=number)
        assert np.array_equal(decoder[number - 1], Reference(shallow, case.parameters).forward(case.x, case.y))
    assert (len(encoder), len(decoder)) == (config.num_encoder_layers, config.num_decoder_layers)


def as_the_notebook_words_it(config: Seq2seqConfig, arrays: Parameters) -> Parameters:
    """With the decoder's columns of the context beside those of the previous hidden state: ``weight_hh (4D, 2D)``."""
    worded = dict(arrays)
    for layer in config.decoder_layers if config.context == "every_step" else ():
        worded[layer.weight_ih], of_context = np.split(arrays[layer.weight_ih], [-layer.hidden_dim], axis=1)
        worded[layer.weight_hh] = np.concatenate([arrays[layer.weight_hh], of_context], axis=1)
    return worded


def notebook_decoder(config: Seq2seqConfig, worded: Parameters) -> Any:
    """The encoder's representation "concatenated with the hidden state of the previous time step", in PyTorch.

    Called as ``nn.LSTM`` is, and with parameters of the same names.
    """
    import torch

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for layer in config.decoder_layers:
                for name in layer.parameter_shapes:
                    own = name.removeprefix("decoder.").replace("bias_", "bias_ih_")
                    self.register_parameter(own, torch.nn.Parameter(torch.zeros(worded[name].shape)))

        def forward(self, y: Any, initial: tuple[Any, Any]) -> tuple[Any, None]:
            for layer, representation, c in zip(config.decoder_layers, *initial, strict=True):
                w_ih, w_hh, bias = (getattr(self, f"{kind}_{layer.suffix}") for kind in KINDS)
                h, states = representation, []
                for y_t in y:
                    joined = torch.cat([h, representation], dim=-1)
                    i, f, g, o = (y_t @ w_ih.T + joined @ w_hh.T + bias).chunk(4, dim=-1)
                    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                    h = o.sigmoid() * c.tanh()
                    states.append(h)
                y = torch.stack(states)
            return y, None

    return Decoder()


KINDS = ("weight_ih", "weight_hh", "bias_ih")


@pytest.mark.parametrize("config", [SMALL, ONE_WAY, NOTEBOOK, *EVERY_STEP])
def test_forward_backward_and_adam_equal_torch_in_float64(config: Seq2seqConfig) -> None:
    need("torch")
    import torch

    case = draw(config, 6, 5, 3)
    encoder = torch.nn.LSTM(
        config.embedding_dim, config.hidden_dim, config.num_encoder_layers, bidirectional=config.bidirectional
    ).double()
    worded = as_the_notebook_words_it(config, case.parameters)
    if config.context == "every_step":
        decoder = notebook_decoder(config, worded).double()
    else:
        decoder = torch.nn.LSTM(config.embedding_dim, config.decoder_hidden_dim, config.num_decoder_layers).double()
    parts = {"encoder": encoder, "decoder": decoder}
    trained = {}
    for part, module in parts.items():
        for name, parameter in module.named_parameters():
            if "bias_hh" in name:
                parameter.requires_grad_(False).zero_()
            else:
                canonical = f"{part}.{name.replace('bias_ih_', 'bias_')}"
                parameter.data.copy_(torch.from_numpy(worded[canonical]))
                trained[canonical] = parameter

    def forward(x: object, y: object) -> tuple[object, object, object, object]:
        output, (h_n, c_n) = encoder(x)
        h_0 = torch.cat((h_n[-2], h_n[-1]), dim=-1) if config.bidirectional else h_n[-1]
        h_0 = h_0.unsqueeze(0).repeat(config.num_decoder_layers, 1, 1)
        return output, h_n, c_n, decoder(y, (h_0, torch.zeros_like(h_0)))[0]

    x, y = (torch.from_numpy(array).double().requires_grad_() for array in (case.x, case.y))
    output, h_n, c_n, decoded = forward(x, y)
    oracle = case.oracle()
    encoded = oracle.encode(case.x)
    exact = 1e-12
    for ours, theirs in ((encoded.output, output), (encoded.h_n, h_n), (encoded.c_n, c_n)):
        assert relative_error(ours, theirs.detach().numpy()) < exact
    assert relative_error(oracle.forward(case.x, case.y), decoded.detach().numpy()) < exact

    decoded.backward(torch.from_numpy(case.d_output).double())
    gradients = oracle.gradients(case.x, case.y, case.d_output)
    assert relative_error(gradients.x, x.grad.numpy()) < exact
    assert relative_error(gradients.y, y.grad.numpy()) < exact
    ours = as_the_notebook_words_it(config, gradients.parameters)
    for name, parameter in trained.items():
        assert relative_error(ours[name], parameter.grad.numpy()) < exact, name

    optimizer = torch.optim.Adam(trained.values(), lr=LEARNING_RATE, betas=(BETA_1, BETA_2), eps=EPSILON)
    target = torch.from_numpy(case.target).double()
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(forward(x, y)[3], target)
        loss.backward()
        optimizer.step()
        step = oracle.train_step(case.x, case.y, case.target)
        assert step.loss == pytest.approx(loss.item(), rel=1e-12)
    ours = as_the_notebook_words_it(config, step.parameters)
    for name, parameter in trained.items():
        assert relative_error(ours[name], parameter.detach().numpy()) < 1e-10, name
