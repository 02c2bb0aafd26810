"""Seconds, bytes and ratios in words: the unit that fits, three digits, and never rounded across a bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import units


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.000312, "312 µs"),
        (0.00124, "1.24 ms"),
        (35.14, "35.1 s"),
        (3e-8, "0.03 µs"),
        (None, "–"),
        (0.0999, "99.9 ms"),
    ],
)
def test_seconds_come_in_the_unit_that_fits(value: float | None, words: str) -> None:
    assert units.seconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.051, "5.1 %"), (0.5, "50 %"), (99.9, "9990 %"), (7.8e15, "> 9999 %"), (None, "–")]
)
def test_what_is_beyond_all_bounds_has_no_digits(value: float | None, words: str) -> None:
    assert units.percent(value) == words


def value_of(words: str) -> float:
    """The number that words stand for."""
    number, _, unit = words.replace("×", "").partition(" ")
    return float(number) * SIZES[unit.removesuffix("FLOP/s").removesuffix("FLOP")]


SIZES = {"": 1.0, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "%": 0.01}


SIZES |= {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "MiB": 2.0**20, "GiB": 2.0**30}


# each, and from where to where it has so many digits
IN_WORDS: dict[str, tuple[Callable[[Any], str], float, float]] = {
    "seconds": (units.seconds, 1e-6, 999),
    "ratio": (units.ratio, 1.0, 999),
    "rate": (units.rate, 1e3, 9.99e14),
    "flops": (units.flops, 1e3, 9.99e14),
}


def near(what: str) -> st.SearchStrategy[float]:
    """Values of all orders, many of them where another digit or unit begins."""
    _, least, most = IN_WORDS[what]
    edges = st.builds(
        lambda digits, power, off: digits * 10.0**power * (1 + off),
        st.sampled_from([1.0, 9.995, 9.9949999, 9.996, 9.95, 9.9999999]),
        st.integers(-9, 15),
        st.sampled_from([0.0, 1e-16, -1e-16, 2e-16, -2e-16, 1e-9, -1e-9]),
    )
    every = st.floats(math.log10(least) - 3, math.log10(most) + 3).map(lambda power: 10.0**power)
    return edges | every


@pytest.mark.parametrize("what", IN_WORDS)
@given(data=st.data())
def test_numbers_have_three_digits_the_nearest_ones_and_never_a_thousand(what: str, data: st.DataObject) -> None:
    in_words, least, most = IN_WORDS[what]
    value, other = sorted(data.draw(st.tuples(near(what), near(what))))
    words = in_words(value)
    number = words.removesuffix("×").partition(" ")[0]
    digits = len(number.replace(".", "").lstrip("0"))
    if least <= value <= most:
        assert digits == 3, words
        unit = value_of(words) / float(number.replace(".", ""))  # of the last digit
        assert abs(value_of(words) - value) <= 0.5 * unit * (1 + 1e-9)
    elif value < least:
        assert number == f"{float(number):.2f}", words  # two behind the point
    else:
        assert "." not in number
    assert float(number) < 1000 or value > most
    assert value_of(words) <= value_of(in_words(other)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("words", "at_least"),
    [
        (units.seconds(0.9996e-3), "1.00 ms"),
        (units.seconds(0.00999951), "10.0 ms"),
        (units.seconds(0.9995), "1.00 s"),
        (units.seconds(0.09996), "100 ms"),
        (units.percent(99.996), "> 9999 %"),
        (units.size(2**30 - 2**15), "1.00 GiB"),
        (units.duration(119.6), "2 min"),
        (units.duration(7175), "2.0 h"),
        (units.rate(999.6e9), "1.00 TFLOP/s"),
    ],
)
def test_what_would_be_rounded_up_to_the_next_unit_is_in_it(words: str, at_least: str) -> None:
    assert words == at_least


@given(value=st.floats(0, 1e6), other=st.floats(0, 1e6))
def test_longer_durations_do_not_read_as_shorter_ones(value: float, other: float) -> None:
    value, other = sorted((value, other))
    assert value_of(units.duration(value)) <= value_of(units.duration(other)) * (1 + 1e-12)
    assert value_of(units.size(int(1e4 * value))) <= value_of(units.size(int(1e4 * other))) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (1.32e6, "1.32 MFLOP"),
        (999.6e6, "1.00 GFLOP"),
        (85.46e9, "85.5 GFLOP"),
        (253.4e9, "253 GFLOP"),
        (9.87e12, "9.87 TFLOP"),
        (17.0, "0.02 kFLOP"),
    ],
)
def test_operations_come_in_the_unit_that_fits(value: float | None, words: str) -> None:
    assert units.flops(value) == words
    assert units.rate(value) == (words if value is None else f"{words}/s")
