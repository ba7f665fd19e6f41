from __future__ import annotations

import asyncio
import json
import logging

import pytest
from structlog.testing import capture_logs

from tests.support.media_plane import MediaHarness, client_frame, end_period, media_plane, only_key_is_good, upgrade
from tests.support.waiting import WAIT_S
from wavstream.errors import DependencyError, Forbidden, LimitReached, PeerError
from wavstream.media.endpoint import MediaLimits
from wavstream.media.request import MediaCredentials


@pytest.mark.parametrize(
    "path",
    [
        "/media/opus/s/a",
        "/media/",
        "/media/auto/s/a/b",
        "/media/pcm/",
        "/media/pcm/s/a/b",
        "/media/pcm/%FF/a",
        "/v1/sessions",
        "/",
    ],
)
async def test_an_unknown_dialect_or_path_is_a_404_problem_before_the_upgrade(plane: MediaHarness, path: str) -> None:
    status, headers, body = await plane.ask(upgrade(path))
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    problem = json.loads(body)
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", "Not Found", 404)
    assert problem["detail"]
    assert plane.endpoint.counters.refused == {404: 1}


@pytest.mark.parametrize("asked", ["?token=wrong", "\r\nAuthorization: Bearer wrong"])
async def test_a_wrong_key_is_a_401_problem_before_the_upgrade(plane: MediaHarness, asked: str) -> None:
    query, _, header = asked.partition("\r\n")
    status, headers, body = await plane.ask(upgrade(f"/media/pcm/s/a{query}", extra=f"{header}\r\n" if header else ""))
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert json.loads(body)["detail"] == "the key is not valid"
    assert b"wrong" not in body


async def test_neither_log_nor_answer_of_a_refusal_holds_the_key(plane: MediaHarness) -> None:
    with capture_logs() as logs:
        await plane.ask(upgrade("/media/pcm/s/a?token=wrong"))
    assert logs
    assert "wrong" not in str(logs)


async def test_no_key_reaches_the_log_of_the_core_at_any_level(
    plane: MediaHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await plane.raw("/media/pcm/s/a?rate=8000&token=unspeakable")
    await plane.sink()
    assert "unspeakable" not in caplog.text


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (upgrade("/media/pcm/s/a", version="8"), 426),
        (upgrade("/media/pcm/s/a", version="13, 8"), 426),
        (upgrade("/media/pcm/s/a", extra="Sec-WebSocket-Version: 8\r\n"), 426),
        (upgrade("/media/pcm/s/a").replace(b"Sec-WebSocket-Version: 13\r\n", b""), 400),
        (upgrade("/media/pcm/s/a", key="short"), 400),
        (upgrade("/media/pcm/s/a").replace(b"GET", b"POST"), 405),
    ],
)
async def test_an_upgrade_that_is_not_one_of_rfc_6455_is_refused(
    plane: MediaHarness, request_head: bytes, status: int
) -> None:
    assert (await plane.ask(request_head))[0] == status
    assert plane.sinks == []


async def test_the_refusal_of_another_version_names_ours(plane: MediaHarness) -> None:
    status, headers, body = await plane.ask(upgrade("/media/pcm/s/a", version="8"))
    assert (status, headers["sec-websocket-version"], headers["upgrade"]) == (426, "13", "websocket")
    assert json.loads(body)["detail"] == "version 13 of the WebSocket protocol is spoken here"
    assert plane.endpoint.counters.refused == {426: 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Forbidden("the token is for another session"), 403),
        (LimitReached("too many wrong keys", retry_after_s=7), 503),
        (PeerError("something else"), 400),
        (DependencyError("secret"), 503),
        (ZeroDivisionError("secret"), 500),
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_what_the_key_check_raises_is_a_problem_before_the_upgrade(
    error: Exception, status: int, later: bool
) -> None:
    def now(credentials: MediaCredentials) -> str:
        raise error

    async def soon(credentials: MediaCredentials) -> str:
        raise error

    async with media_plane(authenticate=soon if later else now) as plane:
        got, headers, body = await plane.ask(upgrade("/media/pcm/s/a"))
    assert got == status
    assert json.loads(body)["status"] == status
    assert b"secret" not in body
    assert ("retry-after" in headers) is (status == 503)


async def test_a_full_server_says_when_to_come_back() -> None:
    async with media_plane(limits=MediaLimits(sockets=1)) as plane:
        await plane.raw()
        status, headers, _ = await plane.ask(upgrade("/media/pcm/s/b"))
        assert status == 503
        assert int(headers["retry-after"]) > 0


async def test_credentials_and_ids_are_what_the_request_says() -> None:
    seen: list[MediaCredentials] = []

    def authenticate(credentials: MediaCredentials) -> str:
        seen.append(credentials)
        return only_key_is_good(credentials)

    path = "/media/pcm/call%2F77/leg%20a?app=acme&token=good&from=+49301234&rate=8000"
    async with media_plane(authenticate=authenticate) as plane, plane.connect(path):
        sink = await plane.sink()
    (credentials,) = seen
    assert credentials == MediaCredentials(
        app="acme", token="good", session_id="call/77", client_is_loopback=True, address="127.0.0.1"
    )
    assert (sink.started.session_id, sink.started.leg, sink.app_id) == ("call/77", "leg a", "acme")
    assert sink.started.call.from_ == "+49301234"
    assert plane.apps.read == ["acme"]


async def test_a_slow_key_check_holds_the_upgrade_and_what_comes_early_is_kept() -> None:
    checked = asyncio.Event()
    asked = asyncio.Event()

    async def authenticate(credentials: MediaCredentials) -> str:
        asked.set()
        await checked.wait()
        return "slow"

    async with media_plane(authenticate=authenticate) as plane:
        peer = await plane.dial(upgrade("/media/pcm/s/a"))
        await asked.wait()
        peer.send(client_frame(2, b"early!"))
        # An answer to a later request shows that the server has read the early bytes.
        await plane.ask(upgrade("/nowhere"))
        checked.set()
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        sink = await plane.sink()
        await sink.hear(lambda sink: sink.frames)
        assert (sink.audio, sink.app_id) == (b"early!", "slow")


async def test_a_key_check_that_takes_too_long_is_given_up() -> None:
    cancelled = asyncio.Event()

    async def authenticate(credentials: MediaCredentials) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    async with media_plane(authenticate=authenticate, limits=MediaLimits(handshake_timeout_s=0.02)) as plane:
        status, headers, _ = await plane.ask(upgrade("/media/pcm/s/a"))
        assert status == 503
        assert "retry-after" in headers
        async with asyncio.timeout(WAIT_S):
            await cancelled.wait()


async def test_a_peer_that_leaves_during_the_key_check_takes_nothing_with_it() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def authenticate(credentials: MediaCredentials) -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    async with media_plane(authenticate=authenticate) as plane:
        peer = await plane.dial(upgrade("/media/pcm/s/a"))
        await asked.wait()
        peer.writer.close()
        async with asyncio.timeout(WAIT_S):
            await cancelled.wait()
        assert plane.sinks == []


async def test_a_peer_that_floods_before_the_answer_is_refused() -> None:
    asked = asyncio.Event()

    async def authenticate(credentials: MediaCredentials) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    async with media_plane(authenticate=authenticate) as plane:
        peer = await plane.dial(upgrade("/media/pcm/s/a"))
        await asked.wait()
        peer.send(bytes(64 * 1024 + 1))
        status, _, body = await peer.answer()
        assert (status, json.loads(body)["detail"]) == (400, "the peer must wait for the answer to its upgrade")


async def test_a_shutdown_during_the_key_check_refuses_the_peer() -> None:
    asked = asyncio.Event()

    async def authenticate(credentials: MediaCredentials) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    async with media_plane(authenticate=authenticate) as plane:
        answer = asyncio.create_task(plane.ask(upgrade("/media/pcm/s/a")))
        await asked.wait()
        await plane.server.shutdown()
        status, _, body = await answer
        assert (status, json.loads(body)["detail"]) == (503, "the server is stopping")
        assert plane.server.server_state.connections == set()


async def test_no_extension_is_agreed_to_and_no_subprotocol_is_invented(plane: MediaHarness) -> None:
    extra = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
    head = (await (await plane.dial(upgrade("/media/pcm/s/a", extra=extra))).head()).lower()
    assert head.startswith("http/1.1 101 ")
    assert "sec-websocket-extensions" not in head
    assert "sec-websocket-protocol" not in head


@pytest.mark.parametrize("asked_for", ["audio.drachtio.org", "audio.jambonz.org", "Any.Other-1, audio.drachtio.org"])
async def test_the_first_subprotocol_that_is_asked_for_is_answered_to_the_letter(
    plane: MediaHarness, asked_for: str
) -> None:
    extra = f"Sec-WebSocket-Protocol: {asked_for}\r\n"
    head = await (await plane.dial(upgrade("/media/audio-fork/s/a", extra=extra))).head()
    assert head.startswith("HTTP/1.1 101 ")
    assert f"\r\nSec-WebSocket-Protocol: {asked_for.partition(',')[0]}\r\n" in head


async def test_the_path_of_what_is_refused_is_told_without_what_opens_something(plane: MediaHarness) -> None:
    paths = [
        "/media/t/wst_my/nosuch/s/a",
        "/proxy/media/t/key-secret/pcm/s",
        "/media/wst_secret",
        "/media/x?token=y",
    ]
    with capture_logs() as logs:
        for path in paths:
            await plane.ask(upgrade(path))
    assert [entry["path"] for entry in logs] == [
        "/media/t/***/nosuch/s/a", "/proxy/media/t/***/pcm/s", "/media/***", "/media/x",
    ]  # fmt: skip


async def test_handshakes_refused_without_end_are_a_few_lines_of_log_and_one_that_counts_the_rest(
    plane: MediaHarness,
) -> None:
    with capture_logs() as logs:
        for number in range(15):
            await plane.ask(upgrade(f"/media/{number}"))
            await plane.ask(upgrade("/media/pcm/s/a?token=wrong"))
        end_period(plane)
    refused = [entry for entry in logs if entry["event"] == "media_handshake_refused"]
    assert len(refused) == 20
    assert [entry["path"] for entry in refused][:2] == ["/media/0", "/media/pcm/s/a"]
    assert {(entry["kind"], entry["count"]) for entry in logs if entry["event"] == "refusals_summed_up"} == {
        ("media_handshake_refused 404", 5),
        ("media_handshake_refused 401", 5),
    }
