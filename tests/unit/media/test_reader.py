from __future__ import annotations

import pytest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.support.media_plane import client_frame
from wavstream.media.reader import FrameReader, Kind

LIMIT = 1000
TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0


class CountingCore(ServerProtocol):
    """Counts how often it was fed."""

    fed = 0

    def receive_data(self, data: bytes | bytearray) -> None:
        self.fed += 1
        super().receive_data(data)


class Heard:
    """A reader and what it gave; ``fails_at``: a message that whoever takes it cannot use."""

    def __init__(self, *, fails_at: bytes | None = None) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.breaks = 0
        self.fails_at = fails_at
        self.core = CountingCore(state=OPEN, max_size=LIMIT)
        self.reader = FrameReader(self.core, max_message_bytes=LIMIT)

    def feed(self, wire: bytes, *, step: int | None = None) -> None:
        step = step or len(wire)
        for offset in range(0, len(wire), step):
            for kind, payload, _ in self.reader.feed(wire[offset : offset + step]):
                self._take(kind, payload)

    @property
    def close_code(self) -> int | None:
        return None if self.core.close_sent is None else int(self.core.close_sent.code)

    def _take(self, kind: Kind, payload: bytes) -> None:
        assert type(payload) is bytes
        if payload == self.fails_at:
            raise ValueError("bad message")
        if kind is Kind.BROKEN:
            self.breaks += 1
        else:
            self.got.append((kind.value, payload))


CALL = b"".join(
    [
        client_frame(TEXT, b'{"rate":8000}'),
        client_frame(BINARY, b""),
        client_frame(BINARY, b"x"),
        client_frame(BINARY, bytes(125)),
        client_frame(BINARY, bytes(126)),
        client_frame(PING, b"p"),
        client_frame(BINARY, b"abc", fin=False),
        client_frame(PING, b"q"),
        client_frame(CONT, b"def", fin=False),
        client_frame(CONT, b"g"),
        client_frame(BINARY, bytes(LIMIT)),
        client_frame(TEXT, b"", fin=False),
        client_frame(CONT, b"late"),
        client_frame(CLOSE, (1000).to_bytes(2) + b"bye"),
        client_frame(BINARY, b"after the close"),
    ]
)
MESSAGES = [
    ("text", b'{"rate":8000}'),
    ("binary", b""),
    ("binary", b"x"),
    ("binary", bytes(125)),
    ("binary", bytes(126)),
    ("ping", b"p"),
    ("ping", b"q"),
    ("binary", b"abcdefg"),
    ("binary", bytes(LIMIT)),
    ("text", b"late"),
    ("close", (1000).to_bytes(2) + b"bye"),
]


@pytest.mark.parametrize("step", [None, 1, 2, 3, 5, 7, 64, 500])
def test_a_call_cut_into_reads_of_any_size_gives_the_same_messages(step: int | None) -> None:
    heard = Heard()
    heard.feed(CALL, step=step)
    assert heard.got == MESSAGES


def test_whole_messages_do_not_go_through_the_core() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, bytes(320)) * 50 + client_frame(TEXT, b"{}"), step=100)
    assert (len(heard.got), heard.reader.frames, heard.core.fed) == (51, 51, 0)


def test_frames_of_every_kind_are_counted_once() -> None:
    heard = Heard()
    heard.feed(CALL, step=3)
    assert heard.reader.frames == 14


def test_a_whole_message_over_the_limit_is_refused() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, bytes(LIMIT + 1)))
    assert (heard.got, heard.close_code) == ([], 1009)


def test_a_whole_message_between_fragments_is_refused_in_a_read_of_its_own_too() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, b"ab", fin=False))
    heard.feed(client_frame(BINARY, b"cd"))
    assert (heard.got, heard.close_code) == ([], 1002)


@pytest.mark.parametrize(
    ("size", "form"), [(LIMIT + 1, "short length"), (70_000, "long length"), (2**62, "absurd length")]
)
def test_a_message_over_the_limit_is_refused_by_its_header_alone(size: int, form: str) -> None:
    heard = Heard()
    length = b"\xfe" + size.to_bytes(2) if size < 65536 else b"\xff" + size.to_bytes(8)
    heard.feed(client_frame(BINARY, b"before") + b"\x82" + length + b"\0\0\0\0")
    assert (heard.got, heard.close_code) == ([("binary", b"before")], 1009)


def test_fragments_are_refused_as_soon_as_their_sum_is_over_the_limit() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, bytes(LIMIT - 1), fin=False) + client_frame(CONT, b"\0\0", fin=False)[:6])
    assert (heard.got, heard.close_code) == ([], 1009)


def test_nothing_is_read_after_an_error_of_the_peer() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, b"x", mask=b"") + client_frame(BINARY, b"later"))
    heard.feed(client_frame(BINARY, b"later still"))
    assert (heard.got, heard.close_code) == ([], 1002)


def test_an_exception_of_a_callback_passes_and_after_discard_nothing_is_read() -> None:
    heard = Heard(fails_at=b"bad")
    with pytest.raises(ValueError, match="bad message"):
        heard.feed(client_frame(BINARY, b"good") + client_frame(BINARY, b"bad") + client_frame(BINARY, b"later"))
    heard.reader.discard()
    heard.core.fail(1011)
    heard.feed(client_frame(BINARY, b"later") + b"\xff\xff")
    assert heard.got == [("binary", b"good")]


def test_messages_of_one_read_come_in_order_and_the_core_sees_a_frame_when_those_before_it_were_taken() -> None:
    heard = Heard()
    wire = [(TEXT, b"{}"), (BINARY, b"ab"), (PING, b"p"), (BINARY, b"cd"), (CLOSE, (1000).to_bytes(2))]
    got = []
    for kind, payload, _ in heard.reader.feed(b"".join(client_frame(opcode, content) for opcode, content in wire)):
        got.append((kind, payload, b"".join(heard.core.data_to_send())[:1]))
    pong, close = b"\x8a", b"\x88"
    assert got == [
        (Kind.TEXT, b"{}", b""),
        (Kind.BINARY, b"ab", b""),
        (Kind.PING, b"p", pong),
        (Kind.BINARY, b"cd", b""),
        (Kind.CLOSE, (1000).to_bytes(2), close),
    ]


def test_a_break_of_the_protocol_is_told_once_behind_the_messages_before_it() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, b"ab") + client_frame(BINARY, b"x", mask=b"") + client_frame(PING))
    heard.feed(client_frame(PING))
    assert (heard.got, heard.breaks, heard.close_code) == ([("binary", b"ab")], 1, 1002)


def test_empty_fragments_without_end_take_no_memory() -> None:
    heard = Heard()
    heard.feed(client_frame(BINARY, b"ab", fin=False) + client_frame(CONT, b"", fin=False) * 5000)
    heard.feed(client_frame(CONT, b"c"))
    assert heard.got == [("binary", b"abc")]
    assert len(heard.core.events) == 0


def test_an_unfinished_message_keeps_its_number_until_it_is_whole() -> None:
    heard = Heard()
    whole = client_frame(BINARY, bytes(100))

    def after(wire: bytes) -> int | None:
        heard.feed(wire)
        return heard.reader.unfinished()

    assert after(whole) is None
    first = after(whole[:3])
    assert first is not None
    assert after(whole[3:50]) == first
    assert after(whole[50:]) is None
    second = after(whole[:50])
    assert second not in (first, None)
    third = after(whole[50:] + client_frame(BINARY, b"x", fin=False))
    assert third not in (first, second, None)
    # Neither fragments nor control frames between them make it another message.
    assert [after(client_frame(opcode, b"x", fin=opcode == PING)) for opcode in (CONT, PING, CONT)] == [third] * 3
    assert after(client_frame(PING, b"x")[:3]) == third
    assert after(client_frame(PING, b"x")[3:] + client_frame(CONT)) is None
    fourth = after(client_frame(PING)[:4])
    assert after(client_frame(PING)[4:] + client_frame(PING)[:4]) not in (fourth, None)
