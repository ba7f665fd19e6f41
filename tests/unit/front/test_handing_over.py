"""Requests for sessions of another worker: the connection goes there, with all that was read of it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.front_door import front_door
from tests.support.handing_over import Office, doors
from tests.support.media_plane import PATIENCE_S, RawPeer
from tests.support.waiting import until
from tests.support.workers import connection
from wavstream.service import entrance
from wavstream.service.deadlines import HttpLimits, Refusal
from wavstream.settings import HttpSettings
from wavstream.workers.boundary import Alone, RelayedPeer, TakeConnection, WorkerUnavailable

LAST = b"GET /of/0/last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def get(worker: int, name: str = "x", *, more: bytes = b"") -> bytes:
    return b"GET /of/%d/%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (worker, name.encode(), more)


def post(worker: int, body: bytes, *, more: bytes = b"") -> bytes:
    head = b"POST /of/%d/body HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n"
    return head % (worker, len(body), more) + body


async def answers(peer: RawPeer, count: int) -> list[str]:
    """Return so many answers of one connection, without their ends of zeros."""
    found = []
    for _ in range(count):
        head = await peer.head()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        async with asyncio.timeout(PATIENCE_S):
            body = await peer.reader.readexactly(int(lines["content-length"]))
        found.append(f"{head.split()[1]} {body.rstrip(bytes(1)).decode()}")
    return found


async def test_a_request_for_another_worker_is_answered_there_on_the_same_connection() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(get(1))
        assert await answers(peer, 1) == ["200 1 /of/1/x 0"]
        assert [len(door.front.open) for door in both.doors] == [0, 1]
        peer.send(get(1, "again"), get(0, "back"))
        assert await answers(peer, 2) == ["200 1 /of/1/again 0", "200 0 /of/0/back 0"]
        await until(lambda: [len(door.front.open) for door in both.doors] == [1, 0])
        assert not both.doors[0].front.refused
        assert not both.doors[1].front.refused


async def test_pipelined_requests_of_two_workers_are_answered_in_their_order() -> None:
    order = [0, 1, 1, 0, 1, 0, 0]
    async with doors() as both:
        wire = b"".join(post(worker, b"%d" % number * number) for number, worker in enumerate(order))
        peer = await both.doors[0].dial(wire)
        assert await answers(peer, len(order)) == [
            f"200 {worker} /of/{worker}/body {number}" for number, worker in enumerate(order)
        ]
        bodies = [body for office in both.offices for _, _, body in office.taken]
        assert sorted(bodies) == sorted(b"%d" % number * number for number in range(len(order)))


@pytest.mark.parametrize("chunked", [False, True])
async def test_one_byte_at_a_time_arrives_whole_wherever_it_is_cut(chunked: bool) -> None:
    request = post(1, b"hello body")
    if chunked:
        request = b"POST /of/1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        request += b"5\r\nhello\r\n5\r\n body\r\n0\r\n\r\n"
    async with doors() as both:
        peer = await both.doors[0].dial(get(0))
        assert await answers(peer, 1) == ["200 0 /of/0/x 0"]
        for byte in request + get(0):
            peer.send(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0)
        expected = "200 1 /of/1/x 10" if chunked else "200 1 /of/1/body 10"
        assert await answers(peer, 2) == [expected, "200 0 /of/0/x 0"]
        assert both.offices[1].taken[0][2] == b"hello body"


async def test_a_body_that_is_still_to_come_follows_the_connection() -> None:
    head, body = post(1, b"").replace(b"Length: 0", b"Length: 300000").replace(b"/body", b"/x"), os.urandom(300_000)
    async with doors() as both:
        peer = await both.doors[0].dial(head + body[:1000])
        await until(lambda: len(both.doors[1].front.open) == 1)
        peer.send(body[1000:])
        assert await answers(peer, 1) == ["200 1 /of/1/x 300000"]
        assert both.offices[1].taken[0][2] == body


async def test_a_head_of_64_kib_and_what_is_behind_it_go_along() -> None:
    limits = HttpLimits(head_bytes=66_000)
    request = get(1, more=b"X: " + b"a" * 65_000 + b"\r\n")
    async with doors(limits=limits) as both:
        peer = await both.doors[0].dial(request + request + get(1))
        assert await answers(peer, 3) == ["200 1 /of/1/x 0"] * 3


async def test_the_peer_is_told_once_to_go_on() -> None:
    head = b"POST /of/1/body HTTP/1.1\r\nHost: h\r\nexpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    async with doors() as both:
        peer = await both.doors[0].dial(head)
        assert await peer.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"hello")
        assert await answers(peer, 1) == ["200 1 /of/1/body 5"]
        # Where it goes before the body is asked for, the other worker says it.
        peer.send(head.replace(b"/1/body", b"/0/x"))
        assert await peer.head() == "HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"hello")
        assert await answers(peer, 1) == ["200 0 /of/0/x 5"]


async def test_http_1_0_and_connection_close_end_the_connection_there() -> None:
    async with doors() as both:
        for request in (get(1).replace(b"1.1", b"1.0"), get(1, more=b"Connection: close\r\n")):
            status, headers, body = await both.doors[0].ask(request)
            assert (status, headers["connection"], body) == (200, "close", b"1 /of/1/x 0")
        await both.doors[1].empty()


async def test_what_was_answered_before_is_read_before_the_connection_goes() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial(get(0, "large") + get(1))
        await until(lambda: both.offices[0].taken)
        assert await answers(peer, 2) == ["200 0 /of/0/large 0", "200 1 /of/1/x 0"]


async def test_a_peer_that_leaves_meanwhile_leaves_nothing_behind() -> None:
    async with doors() as both:
        for request in (get(0, "large") + get(1), get(1), post(1, b"x")[:-1]):
            peer = await both.doors[0].dial(request)
            await until(lambda: both.doors[0].front.open or both.doors[1].front.open)
            peer.writer.transport.abort()
            for door in both.doors:
                await door.empty()
        assert not both.doors[0].front.refused


async def test_a_worker_that_takes_nothing_is_503_and_the_connection_goes_on_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with doors() as both:

        def full(*_: object, **__: object) -> None:
            raise WorkerUnavailable(1)

        monkeypatch.setattr(both.workers[0], "hand_over", full)
        peer = await both.doors[0].dial(post(1, b"hello"))
        assert await answers(peer, 1) == ["503 0 /of/1/body 5"]
        peer.send(get(0))
        assert await answers(peer, 1) == ["200 0 /of/0/x 0"]
        assert len(both.doors[0].front.open) == 1


async def test_a_request_behind_a_body_that_nobody_read_is_503_here_and_right_on_the_next_connection() -> None:
    class Hasty(Office):
        async def __call__(self, scope: object, receive: object, send: object) -> None:
            if scope["path"] == "/hasty":  # type: ignore[index]
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})  # type: ignore[operator]
                await send({"type": "http.response.body", "body": b"x", "more_body": False})  # type: ignore[operator]
            else:
                await super().__call__(scope, receive, send)

    async with doors() as both, front_door(app=Hasty(0), boundary=both.workers[0]) as door:
        peer = await door.dial(b"POST /hasty HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        assert await answers(peer, 1) == ["200 x"]
        peer.send(bytes(100_000) + get(1))
        assert (await answers(peer, 1))[0].startswith("503 ")
        peer = await door.dial(get(1))
        assert await answers(peer, 1) == ["200 1 /of/1/x 0"]
        peer.writer.transport.abort()


async def test_a_request_larger_than_what_is_kept_is_503_where_it_came() -> None:
    async with doors() as both:
        object.__setattr__(both.doors[0].front, "unanswered_bytes", 10_000)
        peer = await both.doors[0].dial(post(1, bytes(20_000)))
        assert await answers(peer, 1) == ["503 0 /of/1/body 20000"]
        await peer.gone()
        peer = await both.doors[0].dial(post(1, bytes(5_000)))
        assert await answers(peer, 1) == ["200 1 /of/1/body 5000"]


async def test_many_requests_on_one_connection_keep_little_of_what_was_answered() -> None:
    async with doors() as both:
        peer = await both.doors[0].dial()
        for _ in range(60):
            peer.send(get(0, more=b"X: " + b"a" * 2_000 + b"\r\n") * 8)
            await answers(peer, 8)
        (protocol,) = both.doors[0].front.open
        kept = protocol._unanswered.read(without_expect=False)
        assert len(kept or b"") < 40_000
        peer.send(get(1))
        assert await answers(peer, 1) == ["200 1 /of/1/x 0"]


async def test_a_worker_without_a_descriptor_answers_as_it_does_to_whoever_connects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = [HttpSettings(), HttpSettings()]
    monkeypatch.setattr(entrance, "places_here", lambda asked: 0 if asked is settings[1] else 100)
    async with doors(settings=settings) as both:
        status, headers, _ = await both.doors[0].ask(get(1))
        assert (status, headers["retry-after"]) == (503, "5")
        await both.doors[1].refused(Refusal.FULL)
        await both.doors[0].empty()


async def test_connections_of_unix_sockets_go_too(tmp_path: Path) -> None:
    listeners = []
    for index in range(2):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(tmp_path / f"{index}"))
        listener.listen()
        listeners.append(listener)
    async with doors(listeners=listeners) as both:
        peer = RawPeer(*await asyncio.open_unix_connection(str(tmp_path / "0")))
        peer.send(get(1) + get(0))
        assert await answers(peer, 2) == ["200 1 /of/1/x 0", "200 0 /of/0/x 0"]
        peer.writer.transport.abort()
        for door in both.doors:
            await door.empty()


async def test_500_connections_at_once_are_all_answered_by_their_workers() -> None:
    async with doors() as both:

        async def ask(number: int) -> tuple[int, bytes]:
            worker = number % 2
            status, _, body = await both.doors[number // 2 % 2].ask(
                post(worker, b"%d" % number, more=b"Connection: close\r\n")
            )
            return status, body

        found = await asyncio.gather(*map(ask, range(500)))
        assert [status for status, _ in found] == [200] * 500
        assert [int(body[:1]) for _, body in found] == [number % 2 for number in range(500)]
        taken = sorted(int(body) for office in both.offices for _, _, body in office.taken)
        assert taken == list(range(500))


async def test_what_a_worker_that_died_has_sent_is_there_and_waits_for_one_that_is_started_again() -> None:
    async with doors(closed=[1]) as both:
        peer = await both.doors[0].dial(post(1, b"hello" * 40_000))
        await until(lambda: not both.doors[0].front.open)
        await both.workers[0].close()  # it dies with nothing but what the kernel has of it
        both.workers[1].open()  # the successor
        assert await answers(peer, 1) == ["200 1 /of/1/body 200000"]


async def test_a_connection_whose_worker_never_comes_back_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with doors(closed=[1]) as both:
        peer = await both.doors[0].dial(get(1))
        await until(lambda: not both.doors[0].front.open)
        assert both.inboxes is not None
        both.inboxes.close()  # the supervisor gives up
        await peer.gone()


async def test_a_connection_that_another_node_relays_is_its_peers_and_ends_with_its_answer() -> None:
    seen: list[Any] = []

    async def tells_client(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    taken: list[TakeConnection] = []

    class Nodes(Alone):
        is_alone = False

        def takes(self, take: TakeConnection) -> None:
            taken.append(take)

    async with front_door(app=tells_client, boundary=Nodes()):
        for host in ("192.0.2.7", None):
            peer, relay = connection()
            taken[0](
                relay.detach(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", is_answered=False, relayed=RelayedPeer(host, 1)
            )
            reader, writer = await asyncio.open_connection(sock=peer)
            answer = await reader.read()  # to its end
            assert b"connection: close" in answer.lower()
            writer.close()
            await writer.wait_closed()
    assert seen == [("192.0.2.7", 0), None]
