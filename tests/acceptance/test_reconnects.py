"""Streams that are dropped and dialled again, put on hold, or hung up, by peers as they really behave."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.media_plane import RawPeer, client_frame, upgrade
from tests.support.recorder import Recorder, ServerProcess, hear, recorder
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, say, speak
from tests.support.truth import again_if_too_slow, real_time, witnessed
from tests.support.waiting import until
from wavstream.service.service import Service

BINARY, CLOSE = 2, 8
AWAY_S = 0.5


def place(samples: NDArray[np.int16], voice: NDArray[np.int16]) -> float:
    """Return where in a channel the voice is, in seconds; it must be there whole, in one piece, and once."""
    starts = np.flatnonzero(samples[: len(samples) - len(voice) + 1] == voice[0])
    (found,) = [start for start in starts.tolist() if np.array_equal(samples[start : start + len(voice)], voice)]
    return found / RATE_HZ


async def until_away(client: Recorder, session_id: str, leg: str) -> None:
    async def away() -> bool:
        answer = await client.http.get(f"/v1/sessions/{session_id}")
        away: list[str] = answer.json()["away"]
        return away == [leg]

    await until(away)


@asynccontextmanager
async def raw_peer(client: Recorder, path: str) -> AsyncIterator[RawPeer]:
    """Yield a peer after its upgrade, which sends bytes as they are."""
    address = urlsplit(client.base_url)
    peer = RawPeer(*await asyncio.open_connection(address.hostname, address.port))
    try:
        peer.send(upgrade(path))
        assert (await peer.head()).startswith("HTTP/1.1 101 ")
        yield peer
    finally:
        peer.writer.close()


async def reset(socket: ClientConnection) -> None:
    socket.transport.abort()


def close_with(code: int) -> Callable[[ClientConnection], Any]:
    return lambda socket: socket.close(code)


# ---- dropped, and dialled again ------------------------------------------------------------------------------------


@real_time
@pytest.mark.parametrize(
    ("drop", "is_named", "dropped"),
    [
        pytest.param(reset, False, 0, id="reset, left, without a leg name"),
        pytest.param(reset, False, 1, id="reset, right, without a leg name"),
        pytest.param(close_with(1001), False, 0, id="1001, left, without a leg name"),
        pytest.param(close_with(1001), True, 1, id="1001, right"),
        pytest.param(close_with(1012), True, 0, id="1012, left"),
    ],
)
async def test_a_leg_that_is_dropped_and_dialled_again_is_the_same_leg_of_the_same_recording(
    tmp_path: Path, drop: Callable[[ClientConnection], Any], is_named: bool, dropped: int
) -> None:
    before, after, other = noise(0.8, seed=1), noise(0.8, seed=2), noise(0.8 + AWAY_S + 0.8, seed=3)

    async def call(client: Recorder, service: Service, session_id: str) -> None:
        paths = [f"/media/pcm/{session_id}" + (f"/{leg}" if is_named else "") + "?rate=8000" for leg in "ab"]
        recording = await client.start(session_id)
        loop = asyncio.get_running_loop()
        async with witnessed(service) as truth, client.connect(paths[0]) as a, client.connect(paths[1]) as b:
            sockets = [a, b]
            speaking = asyncio.create_task(speak(sockets[1 - dropped], other))
            await speak(sockets[dropped], before)
            gone_s = loop.time()
            await drop(sockets[dropped])
            await until_away(client, session_id, "ab"[dropped])
            await asyncio.sleep(gone_s + AWAY_S - loop.time())
            async with client.connect(paths[dropped]) as again:
                back_s = loop.time()
                await speak(again, after)
                await speaking
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))

        truth.check()
        channel = samples[:, dropped]
        away_s = place(channel, after) - place(channel, before) - len(before) / RATE_HZ
        assert away_s == pytest.approx(back_s - gone_s, abs=truth.within_s + 0.02)
        place(samples[:, 1 - dropped], other)
        assert done["end_reason"] == "hangup"
        assert {(leg["leg"], leg["channel"]) for leg in done["legs"]} == {("a", "left"), ("b", "right")}
        (gap,) = [gap for gap in done["integrity"]["gaps"] if gap["cause"] == "reconnect"]
        assert (gap["leg"], gap["length_ms"]) == ("ab"[dropped], pytest.approx(1000 * away_s, abs=2))

    async with recorder(tmp_path) as (client, service):
        await again_if_too_slow(lambda session_id: call(client, service, session_id))


async def test_legs_without_names_are_who_they_were_after_a_restart_in_whatever_order_they_come_back(
    tmp_path: Path,
) -> None:
    paths = {side: f"/media/pcm/call-77?channel={side}" for side in ("left", "right")}
    before = {"left": noise(0.5, seed=1), "right": noise(0.5, seed=2)}
    after = {"left": noise(0.5, seed=3), "right": noise(0.5, seed=4)}
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await client.start("call-77")
        # In real time: what is said at once lasts beyond a restart that takes less, and is no gap then.
        first = [await client.connect(paths[side]) for side in ("left", "right")]
        await asyncio.gather(*(speak(each, before[side]) for each, side in zip(first, before, strict=True)))
        await client.until_received("call-77", 500, legs=2)
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0

        client = await server.start()
        sockets = {side: await client.connect(paths[side]) for side in ("right", "left")}
        for side, socket in sockets.items():
            await say(socket, after[side])
        await client.until_received("call-77", 500, legs=2)
        for socket in sockets.values():
            await socket.close()
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()

    for channel, side in enumerate(("left", "right")):
        assert place(samples[:, channel], before[side]) < place(samples[:, channel], after[side])
    assert {(leg["leg"], leg["channel"]) for leg in done["legs"]} == {("a", "left"), ("b", "right")}
    assert [gap["leg"] for gap in done["integrity"]["gaps"] if gap["cause"] == "reconnect"] == ["a", "b"]


async def test_a_leg_that_a_proxy_closed_and_that_does_not_come_back_is_waited_for(tmp_path: Path) -> None:
    voice = noise(0.5)
    async with recorder(tmp_path, reconnect_wait_s=0.5) as (client, _):
        recording = await client.start("call-77")
        socket = await client.connect("/media/pcm/call-77/a")
        await say(socket, voice)
        await socket.close(1001)
        samples, _ = await client.listen(recording)
        done = await client.get(recording)
    assert done["end_reason"] == "disconnected"
    place(samples[:, 0], voice)


# ---- hung up -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [b"", (1000).to_bytes(2), (1000).to_bytes(2) + b"bye"], ids=["none", "1000", "bye"])
async def test_a_peer_that_closes_without_a_code_or_with_1000_has_hung_up_and_nobody_waits(
    tmp_path: Path, code: bytes
) -> None:
    voice = noise(0.5)
    async with recorder(tmp_path, reconnect_wait_s=3600) as (client, _):
        recording = await client.start("call-77")
        async with raw_peer(client, "/media/pcm/call-77/a?rate=8000") as peer:
            peer.send(client_frame(BINARY, voice.tobytes()), client_frame(CLOSE, code))
            assert await peer.receive() == (CLOSE, code)
            samples, _ = await client.listen(recording)
        done = await client.get(recording)
    assert done["end_reason"] == "hangup"
    place(samples[:, 0], voice)


# ---- on hold -------------------------------------------------------------------------------------------------------


async def test_a_party_on_hold_whose_media_server_answers_pings_is_there(tmp_path: Path) -> None:
    before, after = noise(0.5, seed=1), noise(0.5, seed=2)
    orphan_after_s = 1.0
    async with recorder(tmp_path, orphan_after_s=orphan_after_s, media={"ping_interval_s": 0.1}) as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a") as socket:
            await speak(socket, before)
            await asyncio.sleep(2.5 * orphan_after_s)
            await speak(socket, after)
        samples, _ = await client.listen(recording)
        done = await client.get(recording)
    assert done["end_reason"] == "hangup"
    held_s = place(samples[:, 0], after) - place(samples[:, 0], before) - 0.5
    assert held_s >= 2 * orphan_after_s
