"""Numbers as they are shown: near to what was measured, and read back where they can be."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fffbench import units

POSITIVE = st.floats(1e-12, 1e12)
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@given(POSITIVE)
def test_a_number_has_three_figures_and_is_off_by_half_of_the_last_at_most(value):
    assert float(units.number(value)) == pytest.approx(value, rel=0.0051)
    assert units.number(-value) == f"-{units.number(value)}"


@given(st.floats(1e-9, 1e5))
def test_a_time_reads_back(value):
    number, unit = units.seconds(value).split(" ")
    assert float(number) * UNITS[unit] == pytest.approx(value, rel=0.0051)


@given(st.integers(1, 99), st.sampled_from(["s", "m", "h"]))
def test_a_duration_is_shown_as_long_as_it_was_given(count, unit):
    given_seconds = units.parse_duration(f"{count}{unit}")
    shown = sum(
        int(amount) * {"h": 3600, "min": 60, "s": 1}[name]
        for amount, name in re.findall(r"(\d+) (h|min|s)", units.duration(given_seconds))
    )
    assert shown == given_seconds
