"""What ends at the same moment on a connection to a real NATS: waits, answers, cancellations, and the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import nats.errors
import pytest
from nats.aio.client import Client
from structlog.testing import capture_logs

from tests.support.cluster_engine import connected
from tests.support.nats import NatsServer
from tests.support.waiting import WAIT_S, until
from wavstream.cluster import nats_connection
from wavstream.cluster.engine import EngineAway
from wavstream.cluster.nats_connection import Connection

pytestmark = pytest.mark.xdist_group("nats")


def loses_cancellations(monkeypatch: pytest.MonkeyPatch, name: str) -> asyncio.Event:
    """Let a method of nats-py take a cancellation for an answer, as some of them do; return what is set within."""
    is_within = asyncio.Event()

    async def takes_it_for_an_answer(*_: object, **__: object) -> None:
        is_within.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(Client, name, takes_it_for_an_answer)
    return is_within


@pytest.mark.parametrize(
    ("lost_in", "ask"),
    [
        ("publish", lambda connection: connection.request("$JS.API.INFO")),
        ("subscribe", lambda connection: connection.inbox()),
        ("publish", lambda connection: connection.send("a.subject")),
    ],
)
async def test_a_cancellation_that_is_taken_for_an_answer_is_not_lost(
    nats_server: NatsServer,
    monkeypatch: pytest.MonkeyPatch,
    lost_in: str,
    ask: Callable[[Connection], Awaitable[object]],
) -> None:
    async with connected(nats_server) as engine:
        with monkeypatch.context() as patch:
            is_within = loses_cancellations(patch, lost_in)

            async def for_ever() -> None:
                while True:
                    await ask(engine.connection)

            task = asyncio.create_task(for_ever())
            await is_within.wait()
            task.cancel()
            _, waits = await asyncio.wait([task], timeout=WAIT_S)
        assert not waits
        assert task.cancelled()


async def test_a_connection_is_closed_at_the_moment_of_a_ping(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(nats_server) as engine:
        await loses_cancellations(monkeypatch, "rtt").wait()
        async with asyncio.timeout(WAIT_S):
            await engine.connection.close()


async def test_a_wait_that_ends_by_itself_is_no_cancellation(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(nats_server) as engine:
        loses_cancellations(monkeypatch, "publish")
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(EngineAway, match="did not answer within"):
                await engine.connection.request("$JS.API.INFO", wait_s=0.01)


async def test_a_connection_that_is_lost_while_a_wait_ends_is_made_again(nats_server: NatsServer) -> None:
    async with connected(nats_server) as engine:
        connection = engine.connection
        client, loop = connection._client, asyncio.get_running_loop()
        assert client is not None
        inbox = await connection.inbox()  # where nobody answers
        # Timers of one instant are called one after the other: first the wait's, then what finds the connection lost.
        due_s = loop.time() + 0.01
        asking = asyncio.create_task(connection.request(inbox.subject, wait_s=60))
        await until(lambda: connection._waiting)
        (waits,) = connection._waiting
        waits.reschedule(due_s)
        loop.call_at(due_s, connection._drop, client, "it does not answer")
        with pytest.raises(EngineAway):
            await asking

        async with asyncio.timeout(WAIT_S):
            while await inbox.messages.get() is not None:  # who reads is told
                pass
        await until(lambda: connection.is_up)
        assert connection._client is not client


async def raises(error: BaseException) -> None:
    raise error


async def loses_a_cancellation() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)  # until the test is over


@pytest.mark.parametrize(
    "does",
    [
        lambda: raises(RuntimeError("the handler is closed")),
        lambda: raises(AssertionError()),
        lambda: raises(asyncio.CancelledError()),
        loses_a_cancellation,
    ],
    ids=["an error of uvloop", "an error of its own", "a cancellation that nobody asked for", "a call without an end"],
)
@pytest.mark.parametrize("method", ["rtt", "connect"])
async def test_whatever_the_client_does_the_connection_is_made_again(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, method: str, does: Callable[[], Awaitable[None]]
) -> None:
    monkeypatch.setattr(nats_connection, "LOOK_S", 0.2)
    ended = asyncio.Event()

    async def fails(*_: object, **__: object) -> None:
        if not ended.is_set():
            await does()
        raise nats.errors.ConnectionClosedError

    async with connected(nats_server) as engine:
        connection, before = engine.connection, engine.connection._client
        assert before is not None
        with capture_logs() as logs, monkeypatch.context() as patch:
            patch.setattr(Client, method, fails)
            if method == "connect":
                connection._drop(before, "it does not answer")
            await until(lambda: any(each["event"] == "nats_client_failed" for each in logs))
            ended.set()
        await until(lambda: connection.is_up and connection._client is not before)
        assert await engine.log.last("a.tail") == 0
