"""A recording asks a URL for the stream of its session."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import until
from wavstream.errors import DependencyError, NotFound, OpenerFailed
from wavstream.sessions.openers import webhook
from wavstream.sessions.openers.base import OpenRequest
from wavstream.sessions.openers.webhook import WebhookOpener

REQUEST = OpenRequest(
    app_id="shop",
    session_id="acW68-f47ac10b-58cc-4372-a567-0e02b2c3d479",
    recording_id="5f0c",
    media_url="ws://rec.example.com/media/pcm/acW68-f47ac10b-58cc-4372-a567-0e02b2c3d479",
    stream_token="wst_abc",
    expires_at=datetime(2026, 11, 1, 13, 0, tzinfo=timezone(timedelta(hours=1))),
)
OK, REDIRECT = b"204 No Content", b"307 Temporary Redirect\r\nLocation: /elsewhere"


@dataclass(frozen=True)
class Posted:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers each request with the next of ``answers``: a status, none ever (None), or a close (b"")."""

    answers: list[bytes | None] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    url: str = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # somebody who looks whether we are there
            writer.close()
            return
        start, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.posted.append(Posted(start.split(" ")[1], headers, body))
        answer = self.answers.pop(0)
        if answer is None:
            await reader.read()
        elif answer:
            writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.converse, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/open?side=a"
    yield receiver
    server.close()
    await server.wait_closed()


def sign(message_id: str, body: bytes) -> Mapping[str, str]:
    return {"webhook-id": message_id, "webhook-signature": hashlib.sha256(body).hexdigest()}


@pytest.fixture
async def opener(receiver: Receiver) -> AsyncIterator[WebhookOpener]:
    async with WebhookOpener(url=receiver.url, sign=sign, timeout_s=60.0, retry_waits_s=(0.0, 0.0)) as opener:
        yield opener


async def test_the_stream_is_asked_for_and_given_back(receiver: Receiver, opener: WebhookOpener) -> None:
    receiver.answers = [OK, OK]

    await opener.open(REQUEST)
    await opener.close(app_id="shop", session_id=REQUEST.session_id)

    opened, closed = receiver.posted
    assert opened.path == "/open?side=a"
    assert opened.headers["content-type"] == "application/json"
    assert json.loads(opened.body) == {
        "event": "stream.open",
        "session_id": REQUEST.session_id,
        "app_id": "shop",
        "recording_id": "5f0c",
        "media_url": REQUEST.media_url,
        "stream_token": "wst_abc",
        "expires_at": "2026-11-01T12:00:00Z",
    }
    assert json.loads(closed.body) == {"event": "stream.close", "session_id": REQUEST.session_id, "app_id": "shop"}
    assert opened.headers["webhook-id"] != closed.headers["webhook-id"]


async def test_what_is_signed_is_what_is_sent(receiver: Receiver, opener: WebhookOpener) -> None:
    receiver.answers = [OK]

    await opener.open(REQUEST)

    (posted,) = receiver.posted
    assert posted.headers["webhook-signature"] == hashlib.sha256(posted.body).hexdigest()


async def test_a_connection_that_fails_is_tried_again_with_the_same_message(
    receiver: Receiver, opener: WebhookOpener
) -> None:
    receiver.answers = [b"", b"", OK]

    await opener.open(REQUEST)

    assert len(receiver.posted) == 3
    assert len({(posted.headers["webhook-id"], posted.body) for posted in receiver.posted}) == 1


async def test_after_two_more_attempts_it_is_given_up(receiver: Receiver, opener: WebhookOpener) -> None:
    receiver.answers = [b"", b"", b"", OK]

    with pytest.raises(DependencyError, match="cannot be reached"):
        await opener.open(REQUEST)

    assert len(receiver.posted) == 3


@pytest.mark.parametrize("answer", [b"500 Internal Server Error", b"401 Unauthorized", REDIRECT])
async def test_another_answer_than_ok_is_a_failure_that_is_not_tried_again(
    answer: bytes, receiver: Receiver, opener: WebhookOpener
) -> None:
    receiver.answers = [answer, answer, OK]

    with pytest.raises(DependencyError, match=answer[:3].decode()):
        await opener.open(REQUEST)
    with pytest.raises(DependencyError, match=answer[:3].decode()):
        await opener.close(app_id="shop", session_id=REQUEST.session_id)

    assert [posted.path for posted in receiver.posted] == ["/open?side=a"] * 2


async def test_what_is_not_http_is_a_failure(receiver: Receiver, opener: WebhookOpener) -> None:
    receiver.answers = [b"nonsense"]

    with pytest.raises(DependencyError, match="does not speak HTTP"):
        await opener.open(REQUEST)


async def test_a_session_that_the_receiver_does_not_know_cannot_be_opened_and_needs_no_close(
    receiver: Receiver, opener: WebhookOpener
) -> None:
    receiver.answers = [b"404 Not Found"] * 2

    with pytest.raises(NotFound, match="no such session"):
        await opener.open(REQUEST)
    await opener.close(app_id="shop", session_id=REQUEST.session_id)


async def test_a_receiver_that_does_not_answer_is_not_waited_for(receiver: Receiver) -> None:
    receiver.answers = [None, OK]

    async with WebhookOpener(url=receiver.url, sign=sign, timeout_s=0.2) as opener:
        with pytest.raises(DependencyError, match=r"did not answer within 0\.2 s"):
            await opener.open(REQUEST)

    assert len(receiver.posted) == 1


def test_the_token_is_not_shown_with_the_request() -> None:
    assert "wst_abc" not in repr(REQUEST)


async def test_a_receiver_that_is_not_there_is_found_at_the_start_told_once_and_found_again_when_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(webhook, "LOOK_S", 0.01)
    url = f"http://127.0.0.1:{port}/open?key=secret"
    with capture_logs() as logs:
        async with WebhookOpener(url=url, sign=sign, retry_waits_s=()) as opener:
            await until(lambda: opener.trouble)
            for _ in range(3):
                with pytest.raises(OpenerFailed):
                    await opener.open(REQUEST)
            trouble = opener.trouble
            receiver = Receiver()
            server = await asyncio.start_server(receiver.converse, "127.0.0.1", port)
            await until(lambda: opener.trouble is None)
            server.close()
            await server.wait_closed()
            with pytest.raises(OpenerFailed):
                await opener.open(REQUEST)
            assert opener.trouble is not None
    assert trouble is not None
    assert f"127.0.0.1:{port} cannot be reached" in trouble
    assert "secret" not in trouble + str(logs)
    assert [line["event"] for line in logs] == ["opener_unreachable", "opener_reached", "opener_unreachable"]
