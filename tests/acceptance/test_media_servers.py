"""What a media server gets back, and what the synthetic one finds out."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection

from tests.support.listening import find_beeps
from tests.support.recorder import recorder
from tests.support.waiting import WAIT_S
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.mixer.mix import BEEP_HZ
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest

QUIET_S = 0.3
"""Fifteen frames of silence would have come in this time."""
CLEAR = '{"event":"clear"}'


async def heard_within(socket: ClientConnection, seconds: float) -> list[str | bytes]:
    """Every message of the time from now on."""
    heard = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                heard.append(await socket.recv())
    return heard


@pytest.mark.parametrize(
    ("codec", "ptime_ms", "silence"),
    [("pcmu", 20, b"\xff" * 160), ("pcma", 10, b"\xd5" * 80), ("pcmu", 30, b"\xff" * 240), ("l16", 60, bytes(960))],
)
async def test_a_stream_that_asks_for_it_hears_silence_of_its_ptime_until_the_stop_takes_it_back(
    tmp_path: Path, codec: str, ptime_ms: int, silence: bytes
) -> None:
    path = f"/media/pcm/call-77/a?codec={codec}&keepalive=1"
    async with recorder(tmp_path) as (client, _), client.connect(path) as socket:
        for _ in range(5):
            await socket.send(b"\x01" * len(silence))
        await client.until_received("call-77", 5 * ptime_ms)
        assert await heard_within(socket, QUIET_S) == []
        recording = await client.start("call-77")
        heard = [await asyncio.wait_for(socket.recv(), WAIT_S) for _ in range(30)]
        await client.act(recording, "stop")
        while (message := await asyncio.wait_for(socket.recv(), WAIT_S)) != CLEAR:
            heard.append(message)
        assert await heard_within(socket, QUIET_S) == []
    assert set(heard) == {silence}


async def test_silence_that_begins_before_the_stream_has_sent_anything_takes_on_its_ptime(tmp_path: Path) -> None:
    path = "/media/pcm/call-77/a?codec=pcmu&keepalive=1&record=1"
    async with recorder(tmp_path) as (client, _), client.connect(path) as socket:
        heard = [await asyncio.wait_for(socket.recv(), WAIT_S)]
        await socket.send(bytes(240))
        while len(heard[-1]) == 160:
            heard.append(await asyncio.wait_for(socket.recv(), WAIT_S))
        heard += [await asyncio.wait_for(socket.recv(), WAIT_S) for _ in range(10)]
    assert set(heard) == {b"\xff" * 160, b"\xff" * 240}
    assert {len(message) for message in heard[-10:]} == {240}


async def test_a_stream_that_does_not_ask_for_it_hears_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        await socket.send(bytes(3200))
        await client.until_streaming("call-77", 1)
        await client.start("call-77")
        assert await heard_within(socket, QUIET_S) == []


async def test_a_load_fetches_every_file_and_finds_every_sample(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        request = LoadRequest(url=client.base_url.replace("http", "ws", 1), legs=4, duration_s=2.0, verify=True)
        result = await asyncio.to_thread(run_load, request)
    assert result.verified_files == 2
    assert result.frames == 400
    assert result.complaints == []
    assert result.is_good


@pytest.mark.parametrize(("codec", "rate_hz"), [(Codec.PCMA, 8000), (Codec.L16, 16_000)])
async def test_a_caller_hears_the_beep_of_the_recording_that_starts_with_it(
    tmp_path: Path, codec: Codec, rate_hz: int
) -> None:
    path = f"/media/pcm/call-77/a?codec={codec}&rate={rate_hz}&channels=2"
    async with recorder(tmp_path) as (client, _):
        await client.start("call-77", beep=True)
        async with client.connect(path) as socket:
            payload = b"".join([bytes(await asyncio.wait_for(socket.recv(decode=False), WAIT_S)) for _ in range(10)])
            assert await heard_within(socket, QUIET_S) == []
    heard = decode(codec, 2, np.frombuffer(payload, np.uint8))
    assert len(heard) == rate_hz // 5
    for channel in heard.T:
        assert find_beeps(channel, rate_hz, BEEP_HZ) == [0.0]
        assert np.abs(channel).max() == pytest.approx(8231, rel=0.03)


async def test_a_twilio_load_finds_every_sample(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        url = client.base_url.replace("http", "ws", 1)
        request = LoadRequest(url=url, legs=4, dialect="twilio", duration_s=2.0, verify=True)
        result = await asyncio.to_thread(run_load, request)
    assert result.verified_files == 2
    assert result.complaints == []
    assert result.is_good
