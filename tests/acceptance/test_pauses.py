"""What is said during a pause is nowhere: not in the file, and not in any file of the data folder."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import Recorder, recorder
from tests.support.speech import noise
from tests.support.talking import FRAME, RATE_HZ, say, speak
from tests.support.traces import files_with

BEFORE_HZ, SECRET_HZ, AFTER_HZ = 600.0, 1000.0, 1500.0
SECRET = noise(1.0, seed=42)
"""A second of noise that is like nothing else: any 20 ms of it can be searched for."""


def secret_is_in(data_dir: Path) -> list[str]:
    """Names of all files of the folder that have any 20 ms of the secret, in any codec of the path."""
    return files_with(data_dir, SECRET, every=FRAME)


def test_the_search_finds_the_secret_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "mono").write_bytes(SECRET.tobytes())
    stereo = np.zeros((RATE_HZ, 2), np.int16)
    stereo[:, 1] = SECRET
    (tmp_path / "stereo").write_bytes(stereo.tobytes())
    assert sorted(secret_is_in(tmp_path)) == ["mono", "stereo"]


async def call_with_a_pause(client: Recorder, data_dir: Path, *, by_stream: bool, behavior: str) -> dict[str, object]:
    """Record a beep, a pause with the secret in it, and another beep; return the recording when it is done."""
    async with client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77", channels="mono", pause_behavior=behavior)
        # In real time: a pause takes what is ahead of its time too.
        await speak(socket, beeps(1.0, rate_hz=RATE_HZ, frequency_hz=BEFORE_HZ, offset_s=0.5))
        await client.until_received("call-77", 1_000)
        began = time.monotonic()
        if by_stream:
            await socket.send('{"event":"pause"}')
            await client.until(recording, "paused")  # its row is written after the pause holds
        else:
            assert (await client.act(recording, "pause"))["status"] == "paused"
        await say(socket, SECRET)
        await client.until_received("call-77", 2_000)
        assert (await client.get(recording))["status"] == "paused"
        assert secret_is_in(data_dir) == []
        if by_stream:
            await socket.send('{"event":"resume"}')
        else:
            assert (await client.act(recording, "resume"))["status"] == "ongoing"
        # What the resume takes after the last of the secret is withheld too: it has until the beep. A leg that has sent
        # less than the pause took would be behind, and say the beep in it.
        quiet_s = 1.5 + max(0.0, round(time.monotonic() - began - len(SECRET) / RATE_HZ, 2))
        await say(socket, beeps(quiet_s + 0.5, rate_hz=RATE_HZ, frequency_hz=AFTER_HZ, offset_s=quiet_s, every_s=99.0))
        await client.until_received("call-77", 2_000 + round(1_000 * (quiet_s + 0.5)))
        return await client.act(recording, "stop")


@pytest.mark.parametrize("by_stream", [False, True], ids=["by command", "by the stream"])
async def test_a_marker_streamed_during_a_pause_is_in_no_file_of_the_data_folder(
    tmp_path: Path, by_stream: bool
) -> None:
    async with recorder(tmp_path) as (client, _):
        done = await call_with_a_pause(client, tmp_path, by_stream=by_stream, behavior="skip")
        samples, rate_hz = await client.listen(done)
        assert secret_is_in(tmp_path) == []
    assert len(find_beeps(samples[:, 0], rate_hz, BEFORE_HZ)) == 1
    assert len(find_beeps(samples[:, 0], rate_hz, AFTER_HZ)) == 1
    integrity = done["integrity"]
    assert isinstance(integrity, dict)
    assert integrity["paused_ms"] >= 1_000
    assert len(integrity["pauses"]) == 1
    assert integrity["paused_audio_in_journal"] is False


async def test_a_pause_of_behavior_silence_keeps_its_place_in_the_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        done = await call_with_a_pause(client, tmp_path, by_stream=False, behavior="silence")
        samples, rate_hz = await client.listen(done)
    (before,) = find_beeps(samples[:, 0], rate_hz, BEFORE_HZ)
    (after,) = find_beeps(samples[:, 0], rate_hz, AFTER_HZ)
    assert after > before
    assert not find_beeps(samples[:, 0], rate_hz, SECRET_HZ)


async def test_each_pause_of_one_recording_leaves_what_it_names(tmp_path: Path) -> None:
    """The first pause leaves silence and the second nothing, whatever the options said: only one is in the file."""
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77", channels="mono")
        path = f"/v1/recordings/{recording['id']}/pause"
        received_ms = 0
        began_s = asyncio.get_running_loop().time()

        async def spoken(sound: NDArray[np.int16]) -> None:
            nonlocal received_ms
            # In step with the call: a leg that is behind says in a pause what it sends after it.
            await speak(socket, sound, start_s=began_s + received_ms / 1000)
            received_ms += len(sound) * 1000 // RATE_HZ
            await client.until_received("call-77", received_ms)

        for behavior, hz in (("silence", BEFORE_HZ), ("skip", AFTER_HZ)):
            await spoken(beeps(1.0, rate_hz=RATE_HZ, frequency_hz=hz, offset_s=0.5))
            paused = await client.http.post(path, json={"behavior": behavior})
            assert (paused.status_code, paused.json()["pause_behavior"]) == (200, behavior)
            await spoken(SECRET)
            await client.act(recording, "resume")
        await spoken(beeps(1.0, rate_hz=RATE_HZ, frequency_hz=BEFORE_HZ, offset_s=0.5))
        done = await client.act(recording, "stop")
        refused = await client.http.post(path, json={"behavior": "hold"})
        samples, rate_hz = await client.listen(done)

    first, last = find_beeps(samples[:, 0], rate_hz, BEFORE_HZ)
    (between,) = find_beeps(samples[:, 0], rate_hz, AFTER_HZ)
    assert between - first == pytest.approx(2.0, abs=0.4)  # the pause is there
    assert last - between == pytest.approx(1.0, abs=0.4)  # and here it is not
    assert not find_beeps(samples[:, 0], rate_hz, SECRET_HZ)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/behavior")


async def test_audio_said_in_a_pause_that_arrives_after_it_is_withheld_too(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as socket:
        recording = await client.start("call-77", channels="mono")
        # Half a second in step with the clock tells the server where the stream's media time is.
        await say(socket, np.zeros(RATE_HZ // 2, np.int16))
        await client.until_received("call-77", 500)
        (session,) = service.sessions
        (live,) = session.streams
        live._floor_us = service.clock.now_us() - 500_000  # what a stream in real time would have shown
        await client.act(recording, "pause")
        (running,) = session.recordings.running
        session.recordings.resume(running, service.clock.now_us() + 1_000_000)
        await say(socket, SECRET[: RATE_HZ // 2])
        await client.until_received("call-77", 1_000)
        await client.act(recording, "stop")
        assert secret_is_in(tmp_path) == []
