"""The process is killed, or told to go, in the middle of calls."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from tests.support.kills import Noted, Watch, heard_of
from tests.support.listening import loudest_shift
from tests.support.recorder import Recorder, ServerProcess, hear
from tests.support.speech import hello, noise, silence
from tests.support.talking import RATE_HZ, speak
from wavstream.cli.replay import run_replay
from wavstream.cli.verify import check
from wavstream.rendering.timeline.clock import Patience
from wavstream.storage.sidecar import read_sidecar


async def call_until_killed(
    client: Recorder, server: ServerProcess, voices: dict[str, NDArray[np.int16]], number: signal.Signals
) -> tuple[dict[str, object], dict[str, int]]:
    """Stream both legs in real time to their end, then send the signal; the recording, and what has to be in it."""
    recording = await client.start("call-77")
    sockets = {leg: await client.connect(f"/media/pcm/call-77/{leg}") for leg in voices}
    loop = asyncio.get_running_loop()
    watch, start_s = Watch(client, "call-77"), loop.time()
    noted = {leg: Noted(sockets[leg]) for leg in voices}
    await asyncio.gather(*(speak(noted[leg], voices[leg], start_s=start_s) for leg in voices))
    if number is signal.SIGTERM:
        await client.until_received("call-77", len(voices["a"]) * 1000 // RATE_HZ, legs=len(voices))
    safe = {leg: len(voice) for leg, voice in voices.items()}
    await watch.stop()
    killed_s = loop.time()
    code = await server.end(number)
    if number is signal.SIGTERM:
        assert code == 0
    else:
        safe = watch.safe(killed_s, noted)
    await client.http.aclose()
    for socket in sockets.values():
        socket.transport.abort()
    return recording, safe


async def test_a_kill_loses_at_most_a_quarter_of_a_second(tmp_path: Path) -> None:
    voices = {"a": noise(4.0, seed=1), "b": noise(4.0, seed=2)}
    async with ServerProcess(tmp_path / "data", reconnect_wait_s=0) as server:
        recording, safe = await call_until_killed(await server.start(), server, voices, signal.SIGKILL)
        shutil.copytree(tmp_path / "data" / "journal", tmp_path / "kept")
        client = await server.start()
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    assert done["end_reason"] == "recovered"
    for channel, leg in enumerate(voices):
        assert heard_of(samples[:, channel], voices[leg]) >= safe[leg] > 0
    # The journal that the kill left, replayed, gives the same file.
    (segment, *_) = sorted((tmp_path / "kept").iterdir())
    replayed = tmp_path / "replayed.wav"
    run_replay(segment, output=replayed, recording_id=None, patience=Patience(), console=Console(quiet=True))
    check(replayed, read_sidecar(msgspec.json.encode(done), object_key=replayed.name))
    assert not list((tmp_path / "data" / "journal").iterdir())
    assert not list((tmp_path / "data" / "spool").iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["after a kill", "after SIGTERM"])
async def test_legs_that_come_back_go_on_in_the_same_recording(tmp_path: Path, number: signal.Signals) -> None:
    before = {"a": noise(2.0, seed=1), "b": noise(2.0, seed=2)}
    after = {"a": noise(1.5, seed=3), "b": noise(1.5, seed=4)}
    async with ServerProcess(tmp_path) as server:
        recording, safe = await call_until_killed(await server.start(), server, before, number)
        client = await server.start()
        sockets = {leg: await client.connect(f"/media/pcm/call-77/{leg}") for leg in after}
        start_s = asyncio.get_running_loop().time()
        await asyncio.gather(*(speak(sockets[leg], after[leg], start_s=start_s) for leg in after))
        await client.until(recording, "ongoing")
        for socket in sockets.values():
            await socket.close()
        done = await client.until(recording)
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
    assert done["end_reason"] == "hangup"
    for channel, leg in enumerate(before):
        assert heard_of(samples[:, channel], before[leg]) >= safe[leg]
        assert heard_of(samples[:, channel], after[leg]) == len(after[leg])


async def test_a_trimmed_mp3_that_ends_by_silence_goes_on_after_a_kill(tmp_path: Path) -> None:
    word, end_silence_s = hello(), 60
    options = {"format": "mp3", "channels": "mono", "trim": "silence", "end_silence_timeout_s": end_silence_s}
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await client.start("call-77", **options)
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(np.concatenate((silence(1), word, silence(2))).tobytes())
        await client.until(recording, "ongoing")
        # What is heard was in the journal: the word, with what trim leaves of the silence around it.
        async with client.http.stream("GET", f"/v1/recordings/{recording['id']}/live.wav") as live:
            heard = 0
            async for piece in live.aiter_raw():
                heard += len(piece)
                if heard >= 80 + word.nbytes + 0.3 * 2 * RATE_HZ:
                    break
            await server.end(signal.SIGKILL)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(np.concatenate((silence(0.5), word)).tobytes())
        for _ in range(end_silence_s + 5):
            await socket.send(silence(1).tobytes())
        done = await client.until(recording)
        samples, rate_hz = await client.listen(done)
        await client.http.aclose()
    mono = samples[:, 0]
    first = loudest_shift(mono[: RATE_HZ + len(word)], word)
    last = loudest_shift(mono[first + len(word) :], word) + first + len(word)
    assert (done["end_reason"], done["format"], rate_hz) == ("silence", "mp3", RATE_HZ)
    assert first == pytest.approx(RATE_HZ // 5, abs=RATE_HZ // 20)
    assert len(mono) - last - len(word) == pytest.approx(RATE_HZ // 5, abs=RATE_HZ // 10)
    assert done["integrity"]["samples"] == len(mono)
    for at in (first, last):
        assert np.corrcoef(mono[at : at + len(word)], word)[0, 1] > 0.9
    assert done["integrity"]["trimmed_ms"]["end"] == pytest.approx(1000 * (end_silence_s - 0.2), abs=100)


async def test_a_recording_that_is_paused_when_the_server_is_killed_is_paused_after_it(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        recording = await client.start("call-77")
        await socket.send(noise(0.5, seed=1).tobytes())
        await client.until_streaming("call-77", 1)
        await client.act(recording, "pause")
        await server.end(signal.SIGTERM)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(noise(0.5, seed=2).tobytes())
        await client.until_streaming("call-77", 1)
        assert (await client.get(recording))["status"] == "paused"
        done = await client.act(recording, "stop")
        samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
    assert not np.isin(noise(0.5, seed=2)[:50], samples[:, 0]).all()


@pytest.mark.parametrize("by", ["a command", "the stream"])
async def test_who_paused_a_recording_is_known_after_a_kill(tmp_path: Path, by: str) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        recording = await client.start("call-77")
        await socket.send(noise(0.5, seed=1).tobytes())
        await client.until_streaming("call-77", 1)
        if by == "a command":
            await client.act(recording, "pause")
        else:
            await socket.send('{"event":"pause"}')
            await client.until(recording, "paused")
            await asyncio.sleep(0.5)  # what a stream asks for is on the disk within a quarter of a second
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(noise(0.5, seed=2).tobytes())
        await client.until_streaming("call-77", 1)
        assert (await client.get(recording))["status"] == "paused"
        await socket.send('{"event":"resume"}')
        if by == "the stream":
            await client.until(recording, "ongoing")
        else:
            await socket.send(noise(0.5, seed=3).tobytes())
            await client.until_received("call-77", 1_000)
            assert (await client.get(recording))["status"] == "paused"
            await client.act(recording, "resume")
        await client.http.aclose()


async def test_an_accepted_recording_waits_on_after_a_restart(tmp_path: Path) -> None:
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        recording = await client.start("call-77")
        await server.end(signal.SIGKILL)
        await client.http.aclose()
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(noise(0.5, seed=1).tobytes())
        await client.until(recording, "ongoing")
        await socket.close()
        done = await client.until(recording)
        await client.http.aclose()
    assert done["duration_ms"] >= 500


async def test_a_recording_whose_start_was_answered_goes_on_after_a_kill_at_that_moment(tmp_path: Path) -> None:
    """Nothing was said yet, and its journal is a few bytes: the answer promises that those are written."""
    voice = noise(1.0, seed=3)
    async with ServerProcess(tmp_path / "data") as server:
        client = await server.start()
        async with client.connect("/media/pcm/call-77/a") as socket:
            await socket.send(silence(0.1).tobytes())
            await client.until_received("call-77", 100)
            recording = await client.start("call-77")
            await server.end(signal.SIGKILL)
            await client.http.aclose()
            socket.transport.abort()
        client = await server.start()
        async with client.connect("/media/pcm/call-77/a") as socket:
            await client.until(recording, "ongoing")
            await speak(socket, voice)
            await client.until_received("call-77", 1_000)
            done = await client.act(recording, "stop")
            samples, _ = hear(await client.fetch(done))
        await client.http.aclose()
        assert await server.end(signal.SIGTERM) == 0
    assert done["status"] == "available"
    assert heard_of(samples[:, 0], voice) == len(voice)


async def test_each_answer_holds_though_the_server_is_killed_upon_it(tmp_path: Path) -> None:
    """One call, and a kill right upon the answer to each of its commands; the leg comes back and speaks each time."""
    words = [noise(0.5, seed=seed) for seed in range(4)]
    expected = {"start": "ongoing", "pause": "paused", "resume": "ongoing", "stop": "available"}
    recording: dict[str, Any] = {}
    async with ServerProcess(tmp_path) as server:
        client = await server.start()
        socket = await client.connect("/media/pcm/call-77/a")
        await socket.send(silence(0.1).tobytes())
        await client.until_received("call-77", 100)
        for (command, status), word in zip(expected.items(), words, strict=True):
            if command == "start":
                recording = await client.start("call-77")
            else:
                await client.act(recording, command)
            await server.end(signal.SIGKILL)
            await client.http.aclose()
            socket.transport.abort()
            client = await server.start()
            socket = await client.connect("/media/pcm/call-77/a")
            await speak(socket, np.concatenate((silence(0.1), word, silence(0.1))))
            await client.until_received("call-77", 700)
            await client.until(recording, status)
        samples, _ = hear(await client.fetch(await client.get(recording)))
        await client.http.aclose()
    file = np.ascontiguousarray(samples[:, 0]).tobytes()
    heard = [word[at : at + 160].tobytes() in file for word in words for at in range(0, len(word), 160)]
    assert heard == [True] * 25 + [False] * 25 + [True] * 25 + [False] * 25
