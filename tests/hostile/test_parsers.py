"""Parsers of what is not ours, on anything: their own error, or a value that means one thing.

`make fuzz` runs the same targets under atheris, guided by coverage; here hypothesis makes the bytes.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .garbage import spoilt
from .parsers import SEEDS, TARGETS


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@example(data=b"")
@settings(max_examples=150, deadline=None)
def test_no_bytes_get_more_out_of_a_parser_than_its_own_error(target: str, data: bytes) -> None:
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_nor_do_good_ones_that_are_spoilt(target: str) -> None:
    """Flipped, cut, doubled and filled with noise: what goes deep."""
    rng = random.Random(target)
    for seed in SEEDS[target]:
        TARGETS[target](seed)
        for _ in range(400):
            TARGETS[target](spoilt(rng, seed))
