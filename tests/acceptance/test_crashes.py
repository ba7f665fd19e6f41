"""The process is killed, or told to go, in the middle of calls."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from websockets.asyncio.client import ClientConnection

from tests.support.recorder import Recorder, ServerProcess, hear
from wavstream.cli.replay import run_replay
from wavstream.cli.verify import check
from wavstream.finishing.sidecar import read_sidecar

RATE_HZ = 8000
FRAME = 160
LOST_S = 0.25
"""The bound on what a kill may take."""


def voice(seed: int, length_s: float) -> NDArray[np.int16]:
    """Noise that is like nothing else, so that every sample's place can be told."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(length_s * RATE_HZ), np.int16)


async def stream(socket: ClientConnection, samples: NDArray[np.int16], *, start_s: float) -> None:
    """Send in real time, 20 ms each, due from ``start_s`` of the loop's clock on."""
    loop = asyncio.get_running_loop()
    for number in range(len(samples) // FRAME):
        await asyncio.sleep(start_s + (number + 1) * FRAME / RATE_HZ - loop.time())
        await socket.send(samples[number * FRAME : (number + 1) * FRAME].tobytes())


async def call_until_killed(
    client: Recorder, server: ServerProcess, voices: dict[str, NDArray[np.int16]], number: signal.Signals
) -> tuple[dict[str, object], int]:
    """Stream both legs in real time to their end, then send the signal; the recording, and the exit code."""
    recording = await client.start("call-77")
    sockets = {leg: await client.connect(f"/media/pcm/call-77/{leg}") for leg in voices}
    start_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(stream(sockets[leg], voices[leg], start_s=start_s) for leg in voices))
    code = await server.end(number)
    await client.http.aclose()
    for socket in sockets.values():
        socket.transport.abort()
    return recording, code


def heard_of(samples: NDArray[np.int16], voice: NDArray[np.int16]) -> int:
    """How many samples of the voice are in the channel, unchanged from its first on and in one piece."""
    start = int(np.argmax(samples == voice[0]))
    while not np.array_equal(samples[start : start + 50], voice[:50]):
        start += 1 + int(np.argmax(samples[start + 1 :] == voice[0]))
    length = min(len(voice), len(samples) - start)
    same = samples[start : start + length] == voice[:length]
    return length if same.all() else int(np.argmin(same))


async def test_a_kill_loses_at_most_a_quarter_of_a_second(tmp_path: Path) -> None:
    voices = {"a": voice(1, 4.0), "b": voice(2, 4.0)}
    async with ServerProcess(tmp_path / "data", reconnect_wait_s=0) as server:
        recording, _ = await call_until_killed(await server.start(), server, voices, signal.SIGKILL)
        shutil.copytree(tmp_path / "data" / "journal", tmp_path / "kept")
        client = await server.start()
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    assert done["end_reason"] == "recovered"
    for channel, voice_ in enumerate(voices.values()):
        assert heard_of(samples[:, channel], voice_) >= len(voice_) - LOST_S * RATE_HZ
    # The journal that the kill left, replayed, gives the same file.
    (segment, *_) = sorted((tmp_path / "kept").iterdir())
    replayed = tmp_path / "replayed.wav"
    run_replay(segment, output=replayed, recording_id=None, hold_s=3.0, console=Console(quiet=True))
    check(replayed, read_sidecar(msgspec.json.encode(done), object_key=replayed.name))
    assert not list((tmp_path / "data" / "journal").iterdir())
    assert not list((tmp_path / "data" / "spool").iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["after a kill", "after SIGTERM"])
async def test_legs_that_come_back_go_on_in_the_same_recording(tmp_path: Path, number: signal.Signals) -> None:
    before = {"a": voice(1, 2.0), "b": voice(2, 2.0)}
    after = {"a": voice(3, 1.5), "b": voice(4, 1.5)}
    async with ServerProcess(tmp_path) as server:
        recording, code = await call_until_killed(await server.start(), server, before, number)
        if number is signal.SIGTERM:
            assert code == 0
        client = await server.start()
        sockets = {leg: await client.connect(f"/media/pcm/call-77/{leg}") for leg in after}
        start_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(stream(sockets[leg], after[leg], start_s=start_s) for leg in after))
        assert (await client.get(recording))["status"] == "ongoing"
        for socket in sockets.values():
            await socket.close()
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
    assert done["end_reason"] == "hangup"
    lost_s = LOST_S if number is signal.SIGKILL else 0.0
    for channel, leg in enumerate(before):
        assert heard_of(samples[:, channel], before[leg]) >= len(before[leg]) - lost_s * RATE_HZ
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])


async def test_a_recording_that_is_paused_when_the_server_is_killed_is_paused_after_it(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        recording = await client.start("call-77")
        await socket.send(voice(1, 0.5).tobytes())
        await client.until_streaming("call-77", 1)
        await client.act(recording, "pause")
        await server.end(signal.SIGTERM)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(voice(2, 0.5).tobytes())
        await client.until_streaming("call-77", 1)
        assert (await client.get(recording))["status"] == "paused"
        done = await client.act(recording, "stop")
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
    assert not np.isin(voice(2, 0.5)[:50], samples[:, 0]).all()


async def test_an_accepted_recording_waits_on_after_a_restart(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await client.start("call-77")
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(voice(1, 0.5).tobytes())
        await client.until(recording, "ongoing")
        await socket.close()
        done = await client.until(recording)
        await client.http.aclose()
    assert done["duration_ms"] >= 500
