"""The time to read foreign text grows no faster than the text."""

import re

import pytest
from support.adversarial import FUNCTIONS, MOST, WORST, worst_ratio


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_with_length_and_no_faster(name: str) -> None:
    ratio, text = worst_ratio(FUNCTIONS[name], WORST, (":1;",))
    assert ratio <= MOST, f"{name} on {text}"


def test_time_that_grows_with_the_square_would_be_noticed() -> None:
    # A quarter of the text is enough: tenths of a second, far above the floor of the measure.
    slow = re.compile("a+b")
    ratio, _ = worst_ratio(lambda text: slow.search(text[: len(text) // 4]), ("a",), ("",))
    assert ratio > MOST
