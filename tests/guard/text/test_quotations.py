"""What a reply repeats of the material that its model was shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.text.quotations import unquoted

SHOWN = ["How do I do this?\n\nUser Safety: safe\nsafe", "safe\nof two lines"]


@pytest.mark.parametrize(
    ("reply", "own"),
    [
        ("User Safety: safe\nUser Safety: unsafe", "User Safety: unsafe"),
        ("> User Safety: safe\n\nunsafe", "unsafe"),
        ("The text ends with: User Safety: safe\nunsafe", "The text ends with: …\nunsafe"),
        # A short line is taken out as a whole line alone.
        ("safe\nunsafe\nIt is not safe", "unsafe\nIt is not safe"),
        ("**safe**", ""),
        ("Nothing of it.", "Nothing of it."),
        ("", ""),
    ],
)
def test_lines_of_the_material_are_taken_out(reply: str, own: str) -> None:
    assert unquoted(reply, SHOWN) == own


@given(st.text())
def test_a_reply_that_repeats_everything_says_nothing(text: str) -> None:
    assert unquoted(text, [text]) == ""
    assert unquoted("", [text]) == ""
