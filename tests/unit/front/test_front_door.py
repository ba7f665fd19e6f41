"""What strangers may do to the port: each bound is reached by one who shows no key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import socket
import tracemalloc
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.front_door import MIB, front_door
from tests.support.media_plane import PATIENCE_S, RawPeer
from tests.support.waiting import until
from wavstream.service import entrance
from wavstream.service.deadlines import HttpLimits, Refusal
from wavstream.settings import HttpSettings

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
KIB = 1024
SOON = HttpLimits(head_timeout_s=0.2, body_timeout_s=0.2, write_timeout_s=0.2, linger_s=0.05)


# ---- heads -----------------------------------------------------------------------------------------------------------


TOO_LARGE = {
    "a header": b"GET / HTTP/1.1\r\nX: " + b"a" * 33 * KIB,
    "a header that ends": b"GET / HTTP/1.1\r\nX: " + b"a" * 33 * KIB + b"\r\n\r\n",
    "the name of a header": b"GET / HTTP/1.1\r\n" + b"a" * 33 * KIB,
    "the address": b"GET /" + b"a" * 33 * KIB,
    "the address, which ends": b"GET /" + b"a" * 33 * KIB + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 34,
    "many lines": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101,
    "many lines that end": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    "empty lines before it": b"\r\n" * 17 * KIB,
    "a second request": GET + b"GET / HTTP/1.1\r\nX: " + b"a" * 65 * KIB,
    "an upgrade": b"GET /media/pcm HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + b"X: y\r\n" * 101,
    "trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100,
    "a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 66 * KIB,
    "the extension of a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 66 * KIB,
}


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what is no mere note: notes come here too once a test before has had a server set up its log."""
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("case", TOO_LARGE)
@pytest.mark.parametrize("step", [None, 1000])
async def test_a_head_that_is_too_large_is_431_and_the_end_of_the_connection(case: str, step: int | None) -> None:
    wire = TOO_LARGE[case]
    async with front_door() as door:
        peer = await door.dial()
        for offset in range(0, len(wire), step or len(wire)):
            peer.send(wire[offset : offset + (step or len(wire))])
        async with asyncio.timeout(PATIENCE_S):
            answer = await peer.reader.read()
        assert b"HTTP/1.1 431 " in answer
        assert b"content-type: application/problem+json" in answer
        assert b"http.head_bytes" in answer
        await door.refused(Refusal.HEAD_TOO_LARGE)


async def test_a_head_of_32_kib_and_one_of_100_lines_are_taken() -> None:
    filled = b"X: " + b"a" * (32 * KIB - 200) + b"\r\n"
    async with front_door() as door:
        assert (await door.ask(CLOSE.replace(b"\r\n\r\n", b"\r\n" + filled + b"\r\n")))[0] == 200
        assert (await door.ask(CLOSE.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 97 + b"\r\n")))[0] == 200
        assert len(door.app.requests[1]["headers"]) == 99
        assert not door.front.refused


async def test_a_head_without_end_takes_no_memory() -> None:
    async with front_door() as door:
        peer = await door.dial(b"GET / HTTP/1.1\r\nX: ")
        tracemalloc.start()
        try:
            for _ in range(200):
                peer.send(bytes([97]) * MIB)
                await peer.writer.drain()
        except ConnectionError:
            pass
        finally:
            _, most_bytes = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert most_bytes < 16 * MIB
        await door.refused(Refusal.HEAD_TOO_LARGE)


async def test_trailers_do_not_become_headers_of_a_request_that_runs() -> None:
    async with front_door() as door:
        chunks = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nAuthorization: Bearer other\r\n\r\n"
        assert (await door.ask(POST + chunks))[2].endswith(b"3\r\n0\r\n\r\n")
        assert b"authorization" not in dict(door.app.requests[0]["headers"])


async def test_a_large_body_is_none_of_the_heads_business() -> None:
    async with front_door() as door:
        status, _, body = await door.ask(POST + b"Content-Length: %d\r\n\r\n" % MIB + bytes(MIB))
        assert (status, body.split(b"\r\n")[1]) == (200, b"%d" % MIB)


@pytest.mark.parametrize(
    "wire", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"{}\r\n\r\n"]
)
async def test_what_is_not_http_is_400_and_one_line_of_log(wire: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with front_door() as door:
        with capture_logs() as logs:
            status, headers, body = await door.ask(wire)
            assert (status, headers["content-type"]) == (400, "application/problem+json")
            assert json.loads(body)["status"] == 400
            await door.refused(Refusal.MALFORMED)
        assert [entry["event"] for entry in logs] == ["connection_refused"]
        assert complaints(caplog) == []


@pytest.mark.parametrize("count", [10, 5000])
async def test_more_requests_ahead_of_their_answers_than_8_end_the_connection(count: int) -> None:
    async with front_door() as door:
        peer = await door.dial(b"GET /wait HTTP/1.1\r\n\r\n" * count)
        await peer.gone()
        await door.refused(Refusal.MALFORMED)


async def test_requests_that_follow_each_other_at_once_are_all_answered() -> None:
    async with front_door() as door:
        answers = await (await door.dial(GET * 8 + CLOSE)).reader.read()
        assert answers.count(b"HTTP/1.1 200 OK") == 9


async def test_requests_whose_peer_is_gone_before_their_answers_end_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with front_door() as door:
        peer = await door.dial(b"GET /wait HTTP/1.1\r\n\r\n" * 5)
        await until(lambda: door.app.waiting == 1)
        peer.writer.transport.abort()
        await door.empty()
        door.app.go_on.set()
        await until(lambda: door.app.waiting == 0)
        assert complaints(caplog) == []


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/a?http://evil.example/", b"127.0.0.1"),
        (b"http://evil.example/a", b"evil.example"),
        (b"HTTP://evil.example:81/?a", b"evil.example:81"),
        (b"http://me@127.0.0.1:8080/", b"me@127.0.0.1:8080"),
        (b"http://localhost:8080/", b"localhost:8080"),
    ],
)
async def test_a_target_that_names_a_server_counts_in_place_of_the_host(target: bytes, host: bytes) -> None:
    hosts = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        hosts.append([value for name, value in scope["headers"] if name == b"host"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with front_door(app=app) as door:
        await door.ask(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % target)
    assert hosts == [[host]]


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"G", GET[:-2], GET + b"GET", b"\r\n"])
async def test_a_head_that_is_not_finished_ends_the_connection(sent: bytes) -> None:
    async with front_door(limits=SOON) as door:
        peer = await door.dial(sent)
        async with asyncio.timeout(PATIENCE_S):
            answer = await peer.reader.read()
        assert (b"HTTP/1.1 408 " in answer) is bool(sent)
        await door.refused(Refusal.HEAD_TIMEOUT)
        await door.empty()


async def drip(peer: RawPeer, byte: bytes) -> None:
    while not peer.reader.at_eof() and not peer.writer.transport.is_closing():
        peer.send(byte)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("begin", "byte", "refusal"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a", Refusal.HEAD_TIMEOUT),
        (b"", b"\r\n", Refusal.HEAD_TIMEOUT),
        (GET, b"\r\n", Refusal.HEAD_TIMEOUT),
        (POST + b"Content-Length: 60000\r\n\r\n", b"a", Refusal.BODY_TIMEOUT),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", Refusal.BODY_TIMEOUT),
    ],
)
async def test_a_byte_now_and_then_puts_no_end_off(begin: bytes, byte: bytes, refusal: Refusal) -> None:
    async with front_door(limits=SOON) as door:
        peer = await door.dial(begin)
        dripping = asyncio.create_task(drip(peer, byte))
        await door.refused(refusal)
        await door.empty()
        dripping.cancel()


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"])
async def test_a_body_that_is_not_finished_is_408_and_the_application_is_told(
    framing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with front_door(limits=SOON) as door:
        status, _, body = await door.ask(POST + framing)
        assert (status, b"http.body_timeout_s" in body) == (408, True)
        await door.refused(Refusal.BODY_TIMEOUT)
        await door.empty()
        assert complaints(caplog) == []


async def test_a_request_that_is_answered_late_is_no_fault_of_its_peer() -> None:
    async with front_door(limits=SOON) as door:
        peer = await door.dial(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n")
        await until(lambda: door.app.requests)
        await asyncio.sleep(0.5)
        door.app.go_on.set()
        assert (await peer.answer())[0] == 200
        assert not door.front.refused


async def test_half_a_request_behind_one_that_is_answered_waits_for_that_answer() -> None:
    async with front_door(limits=SOON) as door:
        peer = await door.dial(b"GET /wait HTTP/1.1\r\n\r\nGET")
        await until(lambda: door.app.requests)
        await asyncio.sleep(0.5)
        assert not door.front.refused
        door.app.go_on.set()
        assert (await peer.head()).startswith("HTTP/1.1 200")
        peer.send(CLOSE[3:])
        assert b"HTTP/1.1 200" in await peer.reader.read()


async def test_a_peer_that_reads_nothing_is_cut_off_and_its_descriptor_is_closed() -> None:
    async with front_door(limits=SOON) as door:
        for _ in range(20):
            peer = await door.dial(b"GET /large HTTP/1.1\r\n\r\n")
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: len(door.app.requests) == 20)
        sockets = [protocol.transport.get_extra_info("socket") for protocol in door.front.open]
        await door.refused(Refusal.WRITE_TIMEOUT, times=20)
        await until(lambda: not door.front.open)
        await until(lambda: {each.fileno() for each in sockets} == {-1})


async def test_an_answer_that_nobody_reads_keeps_no_connection_that_is_to_be_closed() -> None:
    async def answers(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": bytes(16 * MIB), "more_body": False})

    async with front_door(limits=SOON, app=answers) as door:
        peer = await door.dial(GET)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await door.refused(Refusal.WRITE_TIMEOUT)
        await until(lambda: not door.front.open)


async def test_a_peer_that_reads_slowly_gets_all_of_it() -> None:
    async with front_door(limits=HttpLimits(write_timeout_s=0.4)) as door:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", door.port))
            await loop.sock_sendall(slow, b"GET /large HTTP/1.1\r\n\r\n")
            for _ in range(60):  # several times the timeout, in which the kernel asks us for nothing more
                assert await loop.sock_recv(slow, 16_384)
                await asyncio.sleep(0.03)
            assert not door.front.refused


async def test_a_connection_that_is_kept_alive_may_be_idle_longer_than_a_head_takes() -> None:
    async with front_door(limits=SOON) as door:
        peer = await door.dial(GET)
        await peer.head()
        await asyncio.sleep(0.6)
        peer.send(CLOSE)
        assert b"HTTP/1.1 200" in await peer.reader.read()
        assert not door.front.refused


# ---- places ----------------------------------------------------------------------------------------------------------


async def test_of_one_address_the_connection_that_waits_longest_gives_way() -> None:
    async with front_door(settings=HttpSettings(waiting_per_address=8)) as door:
        peers = [await door.dial(b"GET /") for _ in range(8)]
        await until(lambda: door.front.connections.waiting == 8)
        assert (await door.ask(CLOSE))[0] == 200
        await peers[0].gone()
        await door.refused(Refusal.GAVE_WAY)
        peers[1].send(CLOSE[5:])
        assert (await peers[1].answer())[0] == 200


async def test_connections_that_are_answered_are_not_counted_by_address() -> None:
    async with front_door(settings=HttpSettings(waiting_per_address=8)) as door:
        peers = []
        for number in range(30):
            peers.append(await door.dial(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n"))
            await until(lambda number=number: len(door.app.requests) == number + 1)  # type: ignore[misc]
        door.app.go_on.set()
        assert [(await peer.answer())[0] for peer in peers] == [200] * 30
        assert not door.front.refused


async def test_a_burst_of_many_times_what_may_wait_is_taken_as_its_requests_are_read() -> None:
    async with front_door(settings=HttpSettings(waiting_per_address=128)) as door:

        def burst() -> set[bytes]:
            with contextlib.ExitStack() as stack:
                peers = []
                for _ in range(400):
                    peers.append(stack.enter_context(socket.create_connection(("127.0.0.1", door.port), PATIENCE_S)))
                    peers[-1].sendall(CLOSE)
                return {peer.recv(12) for peer in peers}

        assert await asyncio.to_thread(burst) == {b"HTTP/1.1 200"}
        assert not door.front.refused


async def test_where_all_places_are_taken_who_waits_gives_way_and_who_is_answered_stays() -> None:
    async with front_door(settings=HttpSettings(connections=16)) as door:
        busy = [await door.dial(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n") for _ in range(8)]
        await until(lambda: len(door.app.requests) == 8)
        idle = [await door.dial(b"GET /") for _ in range(8)]
        await until(lambda: door.front.connections.waiting == 8)
        for number in range(5):
            assert (await door.ask(CLOSE))[0] == 200, number
        await idle[0].gone()
        assert door.front.refused[Refusal.FULL] == 0
        door.app.go_on.set()
        assert [(await peer.answer())[0] for peer in busy] == [200] * 8


async def test_where_nobody_waits_a_newcomer_gets_503() -> None:
    async with front_door(settings=HttpSettings(connections=16)) as door:
        busy = [await door.dial(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n") for _ in range(16)]
        await until(lambda: len(door.app.requests) == 16)
        status, headers, body = await door.ask(CLOSE)
        assert (status, headers["retry-after"], len(body)) == (503, "5", int(headers["content-length"]))
        assert json.loads(body)["detail"] == "The server has no place for another connection."
        await door.refused(Refusal.FULL)
        door.app.go_on.set()
        assert [(await peer.answer())[0] for peer in busy] == [200] * 16
        await until(lambda: not door.front.open)
        assert (await door.ask(CLOSE))[0] == 200


async def test_the_last_descriptors_are_kept_for_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = lowest_free_descriptor() + 100
    monkeypatch.setattr(entrance, "descriptor_limit", lambda: limit)
    async with front_door(settings=HttpSettings(descriptors_kept=40)) as door:
        peers = []
        for number in range(1, 41):  # each has two: ours, and the server's
            peers.append(await door.dial(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n"))
            await until(lambda n=number: len(door.app.requests) + door.front.refused[Refusal.NO_DESCRIPTOR] == n)  # type: ignore[misc]
        taken = len(door.app.requests)
        assert 20 < taken <= 31
        assert {(await peer.answer())[0] for peer in peers[taken:]} == {503}
        assert lowest_free_descriptor() < limit - 10
        door.app.go_on.set()
        assert {(await peer.answer())[0] for peer in peers[:taken]} == {200}


def lowest_free_descriptor() -> int:
    number = os.dup(0)
    os.close(number)
    return number


async def test_accepting_that_fails_is_tried_again_without_spinning() -> None:
    async with front_door() as door:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free_descriptor(), hard))
            try:
                await loop.sock_connect(peer, ("127.0.0.1", door.port))
                await until(lambda: door.front.refused[Refusal.NO_DESCRIPTOR])
                await asyncio.sleep(0.5)
                assert door.front.refused[Refusal.NO_DESCRIPTOR] <= 4
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await loop.sock_sendall(peer, CLOSE)
            assert (await loop.sock_recv(peer, 12)) == b"HTTP/1.1 200"


async def test_connections_refused_without_end_are_a_few_lines_of_log() -> None:
    async with front_door() as door:
        with capture_logs() as logs:
            for _ in range(30):
                await door.ask(b"nonsense\r\n\r\n")
        assert len(logs) == 10


# ---- the upgrade -----------------------------------------------------------------------------------------------------

UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.0\r\n" + UPGRADE, b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"],
)
async def test_an_upgrade_that_there_is_not_is_answered_as_a_request_without_one(
    head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with front_door() as door:
        status, headers, _ = await door.ask(head + b"\x82\x80 and more")
        assert (status, headers["connection"]) == (200, "close")
        assert complaints(caplog) == []
