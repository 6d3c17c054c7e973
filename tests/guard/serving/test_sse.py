"""Server-sent events: where they end, however they come."""

import time

import pytest

from vlmguard.guard.serving.sse import Splitter, events_in

STREAM = b"data: a\r\n\r\n: comment\n\ndata: b\ndata: c\r\rdata: [DONE]\n\ndata: late\n\n"


@pytest.mark.parametrize("size", [1, 2, 5, len(STREAM)])
def test_events_are_whole_however_the_pieces_fall(size: int) -> None:
    splitter = Splitter()
    found = [
        event
        for start in range(0, len(STREAM), size)
        for event in splitter.feed(STREAM[start : start + size])
    ]
    assert b"".join(found) == STREAM
    assert len(found) == 5
    assert splitter.rest == b""


def test_the_data_of_a_whole_stream() -> None:
    assert [*events_in(STREAM)] == ["a", "b\nc"]
    assert [*events_in(b"data: a\n\ndata: cut off")] == ["a", "cut off"]


def test_the_time_of_a_long_stream_grows_with_its_length() -> None:
    # Each event once cost a copy of all that follow: over a minute for so many.
    stream = b"".join(b"data: word %d\n\n" % number for number in range(100_000))
    began = time.perf_counter()
    assert sum(1 for _ in events_in(stream)) == 100_000
    assert time.perf_counter() - began < 10
