"""When a socket gets a low-water mark, and when it loses it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from wavstream.media import low_water
from wavstream.media.low_water import LowWater
from wavstream.sessions.deadlines import VISIT_US

WIRE = 328


def mark_of(size: int) -> int:
    """Return what comes in two visits of a stream that sends a message of so many bytes every 20 ms."""
    return 2 * VISIT_US * size // 20_000


"""Bytes of a message of 20 ms of L16."""


class Transport:
    """What a connection is told of its socket."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock
        self.closing = False
        self.reading = True

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self.sock

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return self.reading


class Pair:
    """A socket of ours with its mark, and the peer's end of it."""

    def __init__(self, *, is_on: bool = True) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.peer = socket.create_connection(listener.getsockname())
        self.ours, _ = listener.accept()
        listener.close()
        self.ours.setblocking(False)
        self.transport = Transport(self.ours)
        self.mark = LowWater(self.transport, is_on=is_on, now_us=0)  # type: ignore[arg-type]
        self.messages = self.bytes = self.now_us = 0

    def second(self, *, messages: int = 50, size: int = WIRE, time_us: int = 1_000_000, may_wait: bool = True) -> None:
        """Look after another second in which so much came."""
        self.messages += messages
        self.bytes += messages * size
        self.now_us += time_us if messages else 0
        self.mark.look(messages=self.messages, received_bytes=self.bytes, read_us=self.now_us, may_wait=may_wait)

    def kernel_mark(self) -> int:
        return self.ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)

    def arrived(self, payload: bytes) -> None:
        """Send bytes, and wait until they are there."""
        self.peer.sendall(payload)
        while len(self.ours.recv(1 << 20, socket.MSG_PEEK)) < len(payload):
            pass


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.peer.close()
    made.ours.close()


def test_a_steady_stream_waits_for_visits_from_its_second_look_on(pair: Pair) -> None:
    pair.second()
    assert pair.kernel_mark() == 1
    pair.second()
    assert pair.kernel_mark() == mark_of(WIRE)


@pytest.mark.parametrize("messages", [200, 100, 60, 52, 50, 48, 40, 33, 25, 17, 10, 9])
def test_a_visit_comes_before_the_kernel_wakes_us_and_reads_whatever_the_ptime_is(pair: Pair, messages: int) -> None:
    for _ in range(2):
        pair.second(messages=messages)
    of_a_visit = messages * WIRE * VISIT_US // 1_000_000
    assert pair.kernel_mark() > of_a_visit + WIRE
    assert pair.mark.stale_us < VISIT_US - 15_000


@pytest.mark.parametrize("messages", [1, 5, 8])
def test_a_stream_that_sends_rarely_is_read_at_once(pair: Pair, messages: int) -> None:
    for _ in range(3):
        pair.second(messages=messages)
    assert pair.kernel_mark() == 1


def test_messages_that_grow_by_some_digits_keep_the_mark(pair: Pair) -> None:
    marks = set()
    for size in (398, 399, 400, 402):
        pair.second(size=size)
        marks.add(pair.kernel_mark())
    assert marks == {1, mark_of(399)}


def test_messages_of_another_size_lose_the_mark_and_get_another(pair: Pair) -> None:
    for _ in range(2):
        pair.second()
    pair.second(size=168)
    assert pair.kernel_mark() == 1
    pair.second(size=168)
    assert pair.kernel_mark() == mark_of(168)


@pytest.mark.parametrize("messages", [0, 20, 90])
def test_another_pace_loses_the_mark(pair: Pair, messages: int) -> None:
    for _ in range(2):
        pair.second()
    pair.second(messages=messages)
    assert pair.kernel_mark() == 1


def test_a_stream_that_may_not_wait_has_no_mark(pair: Pair) -> None:
    for _ in range(3):
        pair.second(may_wait=False)
    assert pair.kernel_mark() == 1
    for _ in range(2):
        pair.second()
    pair.second(may_wait=False)
    assert pair.kernel_mark() == 1


def test_what_waits_is_read_and_the_mark_stays(pair: Pair) -> None:
    for _ in range(2):
        pair.second()
    pair.arrived(b"x" * 3 * WIRE)
    assert b"".join(pair.mark.waiting(pair.now_us + 90_000, pair.now_us)) == b"x" * 3 * WIRE
    assert pair.kernel_mark() > 1


def test_a_stream_of_which_nothing_waits_for_two_visits_has_gone_quiet(pair: Pair) -> None:
    for _ in range(2):
        pair.second()
    assert not [*pair.mark.waiting(pair.now_us + VISIT_US, pair.now_us)]
    assert pair.kernel_mark() > 1
    assert not [*pair.mark.waiting(pair.now_us + 2 * VISIT_US, pair.now_us)]
    assert pair.kernel_mark() == 1
    assert pair.mark.stale_us > 10**15


def test_nothing_is_read_while_reading_is_paused(pair: Pair) -> None:
    for _ in range(2):
        pair.second()
    pair.arrived(b"later")
    pair.transport.reading = False
    assert not [*pair.mark.waiting(pair.now_us + 10**6, pair.now_us)]
    assert pair.ours.recv(100) == b"later"


def test_the_socket_of_a_transport_that_closes_is_not_touched(pair: Pair) -> None:
    """Its descriptor may be another connection's by now."""
    for _ in range(2):
        pair.second()
    pair.arrived(b"another's")
    pair.transport.closing = True
    assert not [*pair.mark.waiting(pair.now_us, pair.now_us)]
    before = pair.kernel_mark()
    pair.mark.drop()
    assert pair.kernel_mark() == before
    assert pair.ours.recv(100) == b"another's"


def test_an_end_or_a_reset_is_left_to_the_loop(pair: Pair) -> None:
    for _ in range(2):
        pair.second()
    pair.arrived(b"last words")
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair.peer.close()
    # A reset throws away what was not read; an end does not.
    assert b"".join(pair.mark.waiting(pair.now_us, pair.now_us)) in (b"", b"last words")
    assert not [*pair.mark.waiting(pair.now_us, pair.now_us)]


def test_a_setting_that_is_off_sets_no_mark() -> None:
    pair = Pair(is_on=False)
    for _ in range(3):
        pair.second()
    assert pair.kernel_mark() == 1
    pair.peer.close()
    pair.ours.close()


@pytest.mark.parametrize("option", [None, 9_999], ids=["unknown to Python", "refused by the system"])
def test_without_the_option_nothing_waits(monkeypatch: pytest.MonkeyPatch, option: int | None) -> None:
    monkeypatch.setattr(low_water, "_OPTION", option)
    pair = Pair()
    for _ in range(4):
        pair.second()
    assert (pair.mark.mark, pair.kernel_mark()) == (1, 1)
    assert pair.mark.stale_us > 10**15
    pair.peer.close()
    pair.ours.close()


def test_a_transport_without_a_socket_has_no_mark() -> None:
    mark = LowWater(Transport(None), is_on=True, now_us=0)  # type: ignore[arg-type]
    for number in (1, 2, 3):
        mark.look(messages=50 * number, received_bytes=50 * WIRE * number, read_us=10**6 * number, may_wait=True)
    assert mark.mark == 1
    assert not [*mark.waiting(10**9, 0)]


def test_ten_thousand_quiet_sockets_are_looked_at_once_and_then_left_to_the_loop(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a mark, and one descriptor stands for all of theirs."""
    marks = [LowWater(pair.transport, is_on=True, now_us=0) for _ in range(10_000)]  # type: ignore[arg-type]
    for mark in marks:
        for number in (1, 2):
            mark.look(messages=50 * number, received_bytes=50 * WIRE * number, read_us=10**6 * number, may_wait=True)
    assert all(mark.mark > 1 for mark in marks)
    reads = 0
    read = os.read

    def counted(descriptor: int, most: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(descriptor, most)

    monkeypatch.setattr(os, "read", counted)
    for visit in range(20):
        now_us = 2 * 10**6 + 2 * VISIT_US + visit * VISIT_US
        for mark in marks:
            if now_us - 2 * 10**6 >= mark.stale_us:
                assert not [*mark.waiting(now_us, 2 * 10**6)]
    assert reads == len(marks)
