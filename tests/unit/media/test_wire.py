"""What is written to a stream's socket beside its audio."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from wavstream.dialects.events import Outgoing
from wavstream.media.wire import Wire


class Transport:
    """Remembers what is done with it."""

    def __init__(self, *, waiting: int = 0, has_eof: bool = True) -> None:
        self.did: list[object] = []
        self.is_gone = False
        self._waiting = waiting
        self._has_eof = has_eof

    def is_closing(self) -> bool:
        return self.is_gone

    def write(self, data: bytes) -> None:
        self.did.append(bytes(data))

    def can_write_eof(self) -> bool:
        return self._has_eof

    def write_eof(self) -> None:
        self.did.append("eof")

    def close(self) -> None:
        self.did.append("close")

    def abort(self) -> None:
        self.did.append("abort")

    def get_write_buffer_size(self) -> int:
        return self._waiting


def wire(transport: Transport) -> tuple[Wire, ServerProtocol]:
    core = ServerProtocol(state=OPEN)
    return Wire(core, cast("asyncio.Transport", transport)), core


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (Outgoing(is_text=True, data=b'{"a":1}'), b'\x81\x07{"a":1}'),
        (Outgoing(is_text=False, data=b"\x00\x01"), b"\x82\x02\x00\x01"),
        (Outgoing(is_text=False, data=b""), b"\x82\x00"),
    ],
)
def test_a_message_of_the_dialect_is_one_frame_of_its_kind(message: Outgoing, frame: bytes) -> None:
    transport = Transport()
    wire(transport)[0].say(message)
    assert b"".join(each for each in transport.did if isinstance(each, bytes)) == frame


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    transport = Transport()
    wire(transport)[0].say(None)
    assert transport.did == []


def test_nothing_is_said_behind_our_close_frame() -> None:
    transport = Transport()
    to_peer, core = wire(transport)
    core.send_close(1000, "over")
    assert not to_peer.is_open
    to_peer.flush()
    before = list(transport.did)
    to_peer.say(Outgoing(is_text=True, data=b"late"))
    assert transport.did == before


def test_a_lost_socket_is_not_written_to() -> None:
    transport = Transport()
    to_peer, core = wire(transport)
    core.send_ping(b"1")
    transport.is_gone = True
    assert to_peer.flush() is False
    assert transport.did == []


@pytest.mark.parametrize(("has_eof", "last"), [(True, "eof"), (False, "close")])
def test_a_peer_that_has_not_closed_gets_our_close_frame_before_its_socket_goes(has_eof: bool, last: str) -> None:
    transport = Transport(has_eof=has_eof)
    to_peer, core = wire(transport)
    core.fail(1007, "no")
    assert to_peer.flush() is True
    assert transport.did == [b"\x88\x04\x03\xefno", last]


def test_a_peer_that_closed_first_is_answered_and_let_go() -> None:
    transport = Transport()
    to_peer, core = wire(transport)
    core.receive_data(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
    assert to_peer.flush() is True
    assert transport.did == [b"\x88\x02\x03\xe8", "close"]


@pytest.mark.parametrize(("waiting", "is_aborted"), [(1024 * 1024, False), (1024 * 1024 + 1, True)])
def test_a_peer_that_never_reads_is_dropped(waiting: int, is_aborted: bool) -> None:
    transport = Transport(waiting=waiting)
    to_peer, core = wire(transport)
    core.send_pong(b"1")
    to_peer.flush()
    assert (transport.did[-1] == "abort") is is_aborted
