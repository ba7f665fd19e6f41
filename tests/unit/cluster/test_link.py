"""The connection on which one node asks another, beside a node that is not there yet."""

from __future__ import annotations

import asyncio
import socket

import pytest

from wavstream.cluster.link import Answering, Link

WAIT_S = 5.0
TRIES = 100


async def test_a_node_that_answered_late_is_tried_as_often_as_one_that_did_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node says that it lives before it answers: pauses that grow were longer than a list waits."""
    monkeypatch.setattr("wavstream.cluster.link.RETRY_S", 0.01)
    near, far = socket.socketpair()
    tries = 0

    async def connect() -> socket.socket:
        nonlocal tries
        tries += 1
        if tries < TRIES:
            raise ConnectionRefusedError
        return near

    async def echo(body: bytes) -> bytes:
        return body

    far.setblocking(False)
    near.setblocking(False)
    link = Link("b", connect=connect, wait_s=WAIT_S)
    answering = asyncio.create_task(Answering("a", answers={"echo": echo}).run(far))
    link.open()
    try:
        assert await link.ask("echo", b"heard", wait_s=WAIT_S) == b"heard"
    finally:
        await link.close()
        await answering
    assert tries == TRIES
