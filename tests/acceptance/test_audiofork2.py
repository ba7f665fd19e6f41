"""The rewrite of ``mod_audio_fork`` that loses its socket in a call: what it kept lies where it was said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.recorder import Recorder, recorder
from tests.support.speech import noise
from tests.support.talking import RATE_HZ, speak
from tests.support.truth import again_if_too_slow, real_time, witnessed
from wavstream.model.audio import Codec
from wavstream.service.service import Service
from wavstream.simulator.vendors.audiofork2 import AudioFork2Peer
from wavstream.simulator.vendors.base import StreamDescription

BEFORE_S, AWAY_S, AFTER_S = 1.5, 2.0, 2.5
WITHIN_S = 0.02
TICK_S, TICK_SAMPLES = 0.02, RATE_HZ // 10
"""The module sends at most 100 ms each 20 ms."""


async def reset(socket: ClientConnection) -> None:
    socket.transport.abort()


async def leave_open(_socket: ClientConnection) -> None:
    """As a network does that passes nothing on, not even the end."""


def peer(drops: int = 0, away_s: float = 0.0) -> AudioFork2Peer:
    return AudioFork2Peer(
        StreamDescription(
            session_id="",
            leg="a",
            codec=Codec.L16,
            rate_hz=RATE_HZ,
            channels=1,
            parameters={},
            drops=drops,
            away_s=away_s,
        )
    )


async def send_kept(socket: ClientConnection, samples: NDArray[np.int16], start_s: float) -> None:
    """Send what was said since ``start_s`` of the loop's clock as fast as the module does, then as it is said."""
    loop, at = asyncio.get_running_loop(), 0
    while at < len(samples):
        said = min(int((loop.time() - start_s) * RATE_HZ), len(samples))
        end = min(said, at + TICK_SAMPLES)
        if end > at:
            await socket.send(samples[at:end].tobytes())
            at = end
        await asyncio.sleep(TICK_S)


def place_s(channel: NDArray[np.int16], said: NDArray[np.int16]) -> float:
    """Return where this is in a channel; it must be there whole, in one piece, and once."""
    starts = np.flatnonzero(channel[: len(channel) - len(said) + 1] == said[0])
    (found,) = [start for start in starts.tolist() if np.array_equal(channel[start : start + len(said)], said)]
    return found / RATE_HZ


@real_time
@pytest.mark.parametrize(
    ("dropped_s", "lose", "leg"),  # each with each of the others once
    [(0.0, reset, "/a"), (0.0, leave_open, ""), (0.4, reset, ""), (0.4, leave_open, "/a")],
    ids=["named and reset", "by its channel and left open", "shortened and reset", "shortened, named and left open"],
)
async def test_what_a_fork_kept_while_it_had_no_socket_lies_where_it_was_said(
    tmp_path: Path, lose: Callable[[ClientConnection], Awaitable[None]], dropped_s: float, leg: str
) -> None:
    said, other = noise(BEFORE_S + AWAY_S + AFTER_S, seed=1), noise(BEFORE_S + AWAY_S + AFTER_S, seed=2)
    before, kept = said[: int(BEFORE_S * RATE_HZ)], said[int((BEFORE_S + dropped_s) * RATE_HZ) :]

    async def call(client: Recorder, service: Service, session_id: str) -> None:
        path, loop = f"/media/audiofork2/{session_id}{leg}", asyncio.get_running_loop()
        recording = await client.start(session_id)
        async with (
            witnessed(service) as truth,
            client.connect(path) as first,
            client.connect(f"/media/pcm/{session_id}/b?rate={RATE_HZ}") as beside,
        ):
            for message in peer().opening():
                await first.send(message)
            start_s = loop.time()
            speaking = asyncio.create_task(speak(beside, other, start_s=start_s))
            await speak(first, before, start_s=start_s)
            await lose(first)
            await asyncio.sleep(start_s + BEFORE_S + AWAY_S - loop.time())
            async with client.connect(path) as again:
                for message in peer(1, AWAY_S).opening():
                    await again.send(message)
                await send_kept(again, kept, start_s + BEFORE_S + dropped_s)
                await speaking
                await again.send('{"type":"bye"}')
        samples, rate_hz = await client.listen(recording)
        done = await client.get(recording)

        truth.check()
        assert rate_hz == RATE_HZ
        left, right = samples.T
        away_s = place_s(left, kept) - place_s(left, before)
        assert away_s == pytest.approx(BEFORE_S + dropped_s, abs=WITHIN_S + 2 * truth.still_s)
        assert place_s(left, kept) - place_s(right, other) == pytest.approx(
            BEFORE_S + dropped_s, abs=WITHIN_S + 2 * truth.still_s
        )
        assert len({row["leg"] for row in done["legs"]}) == 2
        assert done["integrity"]["late_ms"] == done["integrity"]["lost_ms"] == 0

    async with recorder(tmp_path) as (client, service):
        await again_if_too_slow(lambda session_id: call(client, service, session_id))
