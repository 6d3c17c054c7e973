"""Messages between processes: what cannot be sent or read is the matter of one message alone."""

import socket
import threading

import pytest

from vlmguard.guard.hf_vlm.wire import Channel, Unread

URI = "data:image/png;base64," + "A" * 2000


class Strange:
    """Cannot be read, as an object of a class that only a script has."""

    def __reduce__(self):
        return int, ("strange",)


class Side:
    """One end of a connection, with what came over it."""

    def __init__(self, sock):
        self.got = []
        self.ended = threading.Event()
        self._news = threading.Condition()
        self.channel = Channel(sock, self._received, self.ended.set, "test")

    def _received(self, message):
        with self._news:
            self.got.append(message)
            self._news.notify()

    def wait_for(self, count):
        with self._news:
            assert self._news.wait_for(lambda: len(self.got) >= count, 10), self.got


@pytest.fixture
def sides():
    both = [Side(sock) for sock in socket.socketpair()]
    yield both
    for side in both:
        side.channel.close()
        assert side.ended.wait(10)


def test_an_image_of_a_message_that_could_not_be_sent_is_sent_with_the_next(sides):
    one, other = sides
    one.channel.send([URI])
    with pytest.raises(Exception, match="pickle"):
        one.channel.send([URI, URI + "B", lambda: None])
    one.channel.send([URI, URI + "B"])
    other.wait_for(2)
    assert other.got == [[URI], [URI, URI + "B"]]


def test_messages_of_both_sides_pass_each_other(sides):
    """Larger ones than a socket holds, with nobody waiting for anybody."""
    big = [b"x" * 3_000_000, URI * 1000]
    for side in sides:
        for number in range(4):
            side.channel.send((number, big))
    for side in sides:
        side.wait_for(4)
        assert side.got == [(number, big) for number in range(4)]


def test_a_message_that_cannot_be_read_is_named_and_the_next_ones_come(sides):
    one, other = sides
    one.channel.send([URI, Strange()], 7)
    one.channel.send([URI], 8)
    other.wait_for(2)
    unread, read = other.got
    assert isinstance(unread, Unread)
    assert unread.about == 7
    assert "strange" in str(unread.error)
    assert read == [URI]
