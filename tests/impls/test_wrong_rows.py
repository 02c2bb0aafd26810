"""Rows made wrong on purpose: each is caught, by the check that should see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.crosschecks import CHECKS, CONFIGS, draw
from support.wrong_rows import (
    BatchFirst,
    CachedResult,
    ContextAtFirstStepOnly,
    ContextGradientKept,
    ContextGradientOfLastStep,
    ContextOfFirstLayerOnly,
    DifferentOnRepeat,
    DirectionMajorStates,
    DoublePrecision,
    EpsilonBeforeBiasCorrection,
    FrozenParameter,
    GradientsOffByOnePercent,
    HandOffOfFirstLayer,
    HandOffReversed,
    InputGradientMissing,
    MissingBias,
    NotANumber,
    OptimizerSurvivesLoad,
    ReverseStatesNotTurned,
    RightRow,
    RoundedWeights,
    StatesFromZero,
    StatesNotOffered,
    SwappedGate,
    TwoTrainedBiases,
)

from impls.contract import CONTEXTS
from impls.numpy_model import NumpyModel

if TYPE_CHECKING:
    from impls.contract import Context

CASES = {context: draw(config, t_x=10, t_y=9, batch=2) for context, config in CONFIGS.items()}


WRONG = [
    (SwappedGate, "encode", "output is off"),
    (MissingBias, "decode", "output is off"),
    (DirectionMajorStates, "encode", "h_n is off"),
    (HandOffOfFirstLayer, "hand-off", "hand-off is off"),
    (HandOffReversed, "hand-off", "hand-off is off"),
    (HandOffReversed, "forward", "output is off"),
    (GradientsOffByOnePercent, "gradients", "d encoder.weight_hh_l0_reverse is off by 1.00e-02"),
    (InputGradientMissing, "gradients", "d y is off"),
    (EpsilonBeforeBiasCorrection, "ten training steps", "is off"),
    (OptimizerSurvivesLoad, "ten training steps", "is off"),
    (CachedResult, "forward", "output is off"),
    (TwoTrainedBiases, "ten training steps", "bias_l[01].* is off"),
    (TwoTrainedBiases, "every parameter is trained", "trained numbers"),
    (RoundedWeights, "parameters", "does not come back as it was loaded"),
    (FrozenParameter, "every parameter is trained", "decoder.bias_l0 did not move"),
    (DifferentOnRepeat, "equal on repeat", "differs on repeat"),
    (DifferentOnRepeat, "equal gradients on repeat", "d x differs on repeat"),
    (DoublePrecision, "forward", "output is float64, expected float32"),
    (NotANumber, "forward", "output is off by nan"),
    (ContextAtFirstStepOnly, "decode", "output is off"),
    (ContextAtFirstStepOnly, "forward", "output is off"),
    (ContextOfFirstLayerOnly, "decode", "output is off"),
    (ContextGradientKept, "gradients", "d x is off.*d encoder"),
    (ContextGradientKept, "ten training steps", "is off"),
    (ContextGradientOfLastStep, "gradients", "d x is off"),
    (ReverseStatesNotTurned, "every layer's hidden states", "^encoder states is off"),
    (StatesFromZero, "every layer's hidden states", "^decoder states is off"),
    (StatesNotOffered, "every layer's hidden states", "no states.* say under 'states' in ROW's 'unsupported' why not"),
    (BatchFirst, "shapes of the notebook", r"output has shape \(3, 5, 40\), expected \(5, 3, 40\)"),
]


@pytest.mark.parametrize(
    ("wrong", "check", "words"), WRONG, ids=[f"{wrong.__name__}-{check}" for wrong, check, _ in WRONG]
)
def test_wrong_row_is_caught(wrong: type[RightRow], check: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        run(wrong, check, wrong.context)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("check", CHECKS)
def test_right_row_passes(check: str, context: Context) -> None:
    run(RightRow, check, context)


def run(row: type[RightRow], check: str, context: Context) -> None:
    """The check, of this row."""
    case = CASES[context]
    CHECKS[check][1](NumpyModel(row, case.config, case.parameters), case)


def test_every_check_has_a_wrong_row_that_it_catches() -> None:
    assert {check for _, check, _ in WRONG} == set(CHECKS)
