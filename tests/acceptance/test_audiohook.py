"""Calls of Genesys Cloud from its upgrade to the file, and who is turned away."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.recorder import Recorder, recorder
from tests.support.waiting import WAIT_S, until
from wavstream.dialects.registry import DIALECTS
from wavstream.media import unauthorized
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples
from wavstream.settings import AudioHookSettings
from wavstream.settings.tables import MediaSettings
from wavstream.simulator.caller import Leg
from wavstream.simulator.vendors.audiohook import AudioHookPeer
from wavstream.simulator.vendors.base import StreamDescription

API_KEY, SECRET = "the-api-key-of-genesys", base64.b64encode(b"a secret of thirty-two bytes, yes").decode()
SIGNED = AudioHookSettings(api_key=SecretStr(API_KEY), client_secret=SecretStr(SECRET), app="default")
RATE_HZ = 8_000
PATH = "/media/audiohook"


def peer_of(session_id: str = "c1", channels: int = 2, **parameters: str) -> AudioHookPeer:
    return AudioHookPeer(
        StreamDescription(
            session_id=session_id, leg="p1", codec=Codec.PCMU, rate_hz=RATE_HZ, channels=channels, parameters=parameters
        )
    )


def url_of(client: Recorder, path: str = PATH) -> str:
    return client.base_url.replace("http", "ws", 1) + path


async def talk(
    client: Recorder, peer: AudioHookPeer, *, key: str | None = None, path: str = PATH, headers: Any = None
) -> ClientConnection:
    """Return the open socket of a client that has sent its ``open``."""
    url = url_of(client, path)
    shown = headers if headers is not None else peer.with_key(key, url, peer.headers())
    socket = await connect(url, additional_headers=shown, compression=None, proxy=None)
    await send(socket, peer.opening())
    return socket


async def send(socket: ClientConnection, messages: Sequence[str | bytes]) -> None:
    for message in messages:
        await socket.send(message)


async def said(socket: ClientConnection, peer: AudioHookPeer) -> dict[str, Any]:
    """Return the server's next message."""
    message = await asyncio.wait_for(socket.recv(), WAIT_S)
    with suppress(ConnectionClosed):  # after its disconnect the server closes
        await send(socket, peer.received(message))
    fields: dict[str, Any] = json.loads(message)
    return fields


async def closed_with(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(socket.recv(), WAIT_S)
    return socket.close_code


def tones(seconds: float, *hz: float) -> Samples:
    """Return a customer and an agent who can be told apart."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.stack([8_000 * np.sin(2 * math.pi * each * at) for each in hz], axis=1).astype(np.int16)


def share_of(hz: float, channel: NDArray[np.int16]) -> float:
    """Return how much of a channel is this tone, 0 to 1."""
    spectrum = np.abs(np.fft.rfft(channel)) ** 2
    near = np.abs(np.fft.rfftfreq(len(channel), 1 / RATE_HZ) - hz) < 20
    return float(spectrum[near].sum() / max(spectrum.sum(), 1.0))


async def test_a_call_has_the_customer_on_the_left_and_the_agent_on_the_right(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        leg = Leg("p1", tones(7, 440, 1_000), RATE_HZ, Codec.PCMU, query={"record": "1"})
        await client.play_at_once("c1", leg, dialect="audiohook")
        recording = await client.only_recording("c1")
        heard, rate_hz = await client.listen(recording)
        done = await client.get(recording)
    assert rate_hz == RATE_HZ
    assert share_of(440, heard[:, 0]) > 0.9
    assert share_of(1_000, heard[:, 1]) > 0.9
    assert len(heard) >= 7 * RATE_HZ - RATE_HZ // 50  # before it is what the answer to open took
    assert (done["from"], done["to"]) == ("+4930111", "+4930222")
    assert done["end_reason"] == "hangup"


async def test_what_is_said_in_a_secure_pause_is_in_no_file_and_in_no_journal(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        peer = peer_of(record="1")
        socket = await talk(client, peer)
        assert (await said(socket, peer))["type"] == "opened"
        for first in range(0, RATE_HZ, 1_600):
            await send(socket, peer.audio(first, tones(0.2, 440, 440)))
        await client.until_received("c1", 1_000)
        recording = await client.only_recording("c1")
        await send(socket, peer.pause())
        await client.until(recording, "paused")
        await socket.send(peer.audio(RATE_HZ, tones(0.4, 1_000, 1_000))[-1])  # no client should
        await send(socket, peer.resume(RATE_HZ // 2))
        await client.until(recording, "ongoing")
        for _ in range(5):
            await send(socket, peer.audio(peer._position, tones(0.2, 440, 440)))
        await send(socket, peer.closing())
        assert [(await said(socket, peer))["type"] for _ in range(1)] == ["closed"]
        await socket.close()
        heard, _ = await client.listen(recording)
        done = await client.get(recording)
    assert share_of(440, heard[:, 0]) > 0.8
    assert share_of(1_000, heard[:, 0]) < 0.01
    assert done["status"] == "available"


async def test_a_probe_is_answered_and_leaves_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path, auto_record=True) as (client, service):
        for path in (PATH, "/media", f"{PATH}/c1/a?record=1"):
            peer = peer_of(probe="1", record="1")
            socket = await talk(client, peer, path=path)
            assert (await said(socket, peer))["type"] == "opened"
            await socket.send(bytes(3_200))
            await send(socket, peer.closing())
            assert (await said(socket, peer))["type"] == "closed"
            await socket.close()
        assert (await client.http.get("/v1/sessions")).json()["data"] == []
        assert (await client.http.get("/v1/recordings")).json()["data"] == []
        assert service.endpoint.counters.streams_opened == 0


async def test_a_client_that_sends_nothing_understandable_is_told_before_the_close(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        peer = peer_of()
        socket = await talk(client, peer)
        await said(socket, peer)
        other = peer_of("c2")
        async with connect(url_of(client, PATH), additional_headers=other.headers(), proxy=None) as wrong:
            await wrong.send("{}")
            answer = await said(wrong, other)
            assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "error")
            assert await closed_with(wrong) == 1007
        await socket.close()


# ---- who is let in ---------------------------------------------------------------------------------------------------


async def test_a_signed_call_is_let_in_once_on_every_path(tmp_path: Path) -> None:
    async with recorder(tmp_path, audiohook=SIGNED, api_key=SecretStr("key-of-the-app-default")) as (client, _):
        for path in (PATH, "/media", "/media/auto", f"{PATH}/c9/a?record=0"):
            peer = peer_of(client_secret=SECRET)
            url = url_of(client, path)
            headers = peer.with_key(API_KEY, url, peer.headers())
            socket = await talk(client, peer, path=path, headers=headers)
            assert (await said(socket, peer))["type"] == "opened"
            again = await talk(client, peer_of(), path=path, headers=headers)
            answer = json.loads(await asyncio.wait_for(again.recv(), WAIT_S))
            assert (answer["type"], answer["parameters"]["reason"]) == ("disconnect", "unauthorized")
            assert "used before" in answer["parameters"]["info"]
            assert await closed_with(again) == 1008
            await socket.close()


@pytest.mark.parametrize("path", [PATH, "/media"])
async def test_who_has_no_key_that_counts_is_told_after_its_open(tmp_path: Path, path: str) -> None:
    async with recorder(tmp_path, audiohook=SIGNED, api_key=SecretStr("key-of-the-app-default")) as (client, service):
        for key, secret in ((None, None), (API_KEY, None), ("wrong", None), (API_KEY, base64.b64encode(b"x").decode())):
            peer = peer_of() if secret is None else peer_of(client_secret=secret)
            socket = await talk(client, peer, key=key, path=path)
            answer = await said(socket, peer)
            assert (answer["type"], answer["seq"], answer["clientseq"]) == ("disconnect", 1, 1)
            assert answer["parameters"]["reason"] == "unauthorized"
            assert await closed_with(socket) == 1008
        await until(lambda: service.endpoint.counters.open_sockets == 0)
        assert service.endpoint.counters.turned_away == 0
        for dialect in sorted(DIALECTS.keys() - {"audiohook"}):
            with pytest.raises(InvalidStatus, match="401"):
                await connect(url_of(client, f"/media/{dialect}"), proxy=None)


async def test_strangers_hold_few_sockets_and_those_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unauthorized, "PLACES", 2)
    api_key, media = SecretStr("key-of-the-app-default"), MediaSettings(close_timeout_s=0.3)
    async with recorder(tmp_path, api_key=api_key, media=media) as (client, service):
        silent = [await connect(url_of(client), proxy=None) for _ in range(2)]
        with pytest.raises(InvalidStatus, match="401"):
            await connect(url_of(client), proxy=None)
        assert [await closed_with(socket) for socket in silent] == [1008, 1008]
        await until(lambda: service.endpoint.counters.turned_away == 0)
        loud = await connect(url_of(client), proxy=None, compression=None)
        with suppress(ConnectionClosed):
            for _ in range(1_000):
                await loud.send(bytes(60_000))
        assert loud.close_code is not None
        await until(lambda: service.endpoint.counters.open_sockets == 0)


async def test_the_key_of_an_app_needs_no_signature(tmp_path: Path) -> None:
    key = "key-of-the-app-default"
    async with recorder(tmp_path, audiohook=SIGNED, api_key=SecretStr(key)) as (client, _):
        peer = peer_of()
        socket = await talk(client, peer, key=key)
        assert (await said(socket, peer))["type"] == "opened"
        await socket.close()
