"""A file of base64 text is the file that was encoded, wherever it is read."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmguard.guard.serving.base64_file import Base64File


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from((0, 1, 2)), st.integers(-9, 220), st.integers(-1, 99))),
)
def test_it_reads_as_the_bytes_do(content: bytes, steps: list[tuple[int, int, int]]) -> None:
    ours = io.BufferedReader(Base64File(base64.b64encode(content).decode()), buffer_size=16)
    theirs = io.BytesIO(content)
    for whence, offset, count in steps:
        start = (0, theirs.tell(), len(content))[whence]
        if start + offset >= 0:
            assert ours.seek(offset, whence) == theirs.seek(start + offset)
        assert ours.read(count) == theirs.read(count)
        assert ours.tell() == theirs.tell()


@given(st.text(alphabet="AZaz09+/=-_\n \ud800é", max_size=12))
def test_it_takes_what_strict_decoding_takes(text: str) -> None:
    try:
        expected = base64.b64decode(text, validate=True)
    except ValueError:
        with pytest.raises(ValueError, match=r"base64|ascii"):
            Base64File(text)
    else:
        assert Base64File(text).read() == expected
