"""However the requests of a connection are cut into reads, what is kept begins at the oldest without an answer."""

from __future__ import annotations

import httptools
from hypothesis import given
from hypothesis import strategies as st

from wavstream.service.unanswered import Unanswered

MAX_BYTES = 1 << 20


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    head = b"POST /%d HTTP/1.1\r\nHost: h\r\n" % draw(st.integers(0, 9))
    body = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        chunks = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Reader:
    """Tells what was kept of what the parser says, as a connection does."""

    def __init__(self, kept: Unanswered) -> None:
        self.kept = kept
        self.whole = 0
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.kept.begin()

    def on_message_complete(self) -> None:
        self.whole += 1
        self.kept.complete()

    def read(self, data: bytes) -> None:
        self.kept.add(data)
        self.parser.feed_data(data)


@given(sent=st.lists(requests(), min_size=1, max_size=5), cuts=st.lists(st.integers(1, 40), min_size=1), data=st.data())
def test_what_is_kept_begins_at_the_oldest_request_without_an_answer(
    sent: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    kept = Unanswered(MAX_BYTES)
    reader = Reader(kept)
    wire, at, turn, answered = b"".join(sent), 0, 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        reader.read(wire[at : at + size])
        at, turn = min(len(wire), at + size), turn + 1
        for _ in range(data.draw(st.integers(0, reader.whole - answered), label="answers")):
            kept.answer()
            answered += 1
        left = wire[len(b"".join(sent[:answered])) : at]
        if left:
            assert kept.read(without_expect=False) == left
