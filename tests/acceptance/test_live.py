"""A recording is heard while it is made: from its start, to the sample, by as many as want to and keep up."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support.recorder import Recorder, hear, recorder
from tests.support.speech import noise
from tests.support.talking import FRAME, RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from wavstream.service.service import Service
from wavstream.settings import Limits
from wavstream.settings.tables import MediaSettings

HEADER_BYTES = 80


class Ear:
    """A listener that remembers what it has heard."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.status = 0
        self.headers = httpx.Headers()
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def hear(self, size_bytes: int) -> bytes:
        """Wait until so much has come."""
        async with asyncio.timeout(WAIT_S):
            while len(self.heard) < size_bytes:
                self._news.clear()
                await self._news.wait()
        return bytes(self.heard)

    async def end(self) -> bytes:
        """Wait until the answer ends; all of it."""
        assert self._task is not None
        await asyncio.wait_for(self._task, WAIT_S)
        return bytes(self.heard)

    async def _listen(self, client: Recorder, path: str) -> None:
        async with client.http.stream("GET", path) as answer:
            self.status, self.headers = answer.status_code, answer.headers
            self._news.set()
            async for piece in answer.aiter_raw():
                self.heard += piece
                self._news.set()


@contextlib.asynccontextmanager
async def listening(client: Recorder, recording: dict[str, Any]) -> AsyncIterator[Ear]:
    await client.until(recording, "ongoing", "paused")
    ear = Ear()
    ear._task = asyncio.create_task(ear._listen(client, live_path(recording)))
    try:
        yield ear
    finally:
        ear._task.cancel()
        await asyncio.gather(ear._task, return_exceptions=True)


def live_path(recording: dict[str, Any]) -> str:
    return f"/v1/recordings/{recording['id']}/live.wav"


async def until_listeners(service: Service, count: int) -> None:
    await until(lambda: service.live.listeners == count)


@pytest.mark.parametrize("file_format", ["wav", "mp3"])
async def test_a_listener_who_comes_late_hears_all_of_the_call_to_its_stop(tmp_path: Path, file_format: str) -> None:
    first, second = noise(4.0), noise(2.0, seed=2)
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77", channels="mono", format=file_format)
        await say(a, first)
        async with listening(client, recording) as late:
            await late.hear(HEADER_BYTES + 2 * RATE_HZ)
            async with listening(client, recording) as later:
                await later.hear(HEADER_BYTES + 2 * RATE_HZ)
                await say(a, second)
                await client.until_received("call-77", 6_000)
                finished = await client.act(recording, "stop")
                live, other = await late.end(), await later.end()
        file, _ = hear((await client.http.get(f"/v1/recordings/{recording['id']}.wav", follow_redirects=True)).content)
        assert service.live.listeners == 0
    samples, rate_hz = hear(live)
    assert (rate_hz, finished["integrity"]["samples"]) == (RATE_HZ, len(samples))
    assert np.array_equal(hear(other)[0][-len(second) :], samples[-len(second) :])
    if file_format == "wav":
        assert np.array_equal(samples, file)
    # What followed the joining was never coded; before it, MP3 has altered the noise but not moved it.
    else:
        # The machine may have stood still before the stop: that is silence at the end.
        heard, said = (np.trim_zeros(sound, "b") for sound in (samples[:, 0], second))
        assert np.array_equal(heard[-len(said) :], said)
        assert abs(lag(samples[: len(first), 0], file[: len(first), 0])) == 0


def lag(one: NDArray[np.int16], other: NDArray[np.int16]) -> int:
    """By how many samples ``one`` is behind ``other``."""
    size = 2 * len(one)
    product = np.fft.rfft(one.astype(float), size) * np.conj(np.fft.rfft(other.astype(float), size))
    at = int(np.argmax(np.fft.irfft(product, size)))
    return at if at < len(one) else at - size


async def test_what_is_heard_of_a_wav_recording_is_its_file_byte_for_byte_behind_the_sizes(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        await say(a, noise(3.0))
        async with listening(client, recording) as ear:
            await ear.hear(HEADER_BYTES + 1)
            await client.until_received("call-77", 3_000)
            finished = await client.act(recording, "stop")
            live = await ear.end()
        file = await client.fetch(finished)
    assert len(live) == len(file)
    assert live[HEADER_BYTES:] == file[HEADER_BYTES:]
    assert live[4:8] == live[HEADER_BYTES - 4 : HEADER_BYTES] == b"\xff" * 4
    if shutil.which("ffmpeg"):
        decode = ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-"]
        decoded = await asyncio.to_thread(subprocess.run, decode, input=live, capture_output=True, check=True)
        assert decoded.stdout == file[HEADER_BYTES:]


async def test_a_player_that_is_given_the_address_hears_all_of_the_call(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        await say(a, noise(3.0))
        await client.until_received("call-77", 3_000)
        player = await asyncio.create_subprocess_exec(
            *("ffmpeg", "-nostdin", "-v", "error", "-i", client.base_url + live_path(recording), "-f", "s16le", "-"),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await until_listeners(service, 1)
            await say(a, noise(2.0, seed=2))
            await client.until_received("call-77", 5_000)
            finished = await client.act(recording, "stop")
            played, _ = await asyncio.wait_for(player.communicate(), WAIT_S)
        finally:
            if player.returncode is None:
                player.kill()
                await player.wait()
        file = await client.fetch(finished)
    assert played == file[HEADER_BYTES:]


async def test_whoever_listens_while_as_many_do_as_may_is_told_to_come_again(tmp_path: Path) -> None:
    server = recorder(tmp_path, limits=Limits(live_listeners=1))
    async with server as (client, service), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        await say(a, noise(0.1))
        async with listening(client, recording):
            await until_listeners(service, 1)
            refused = await client.http.get(live_path(recording))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        await until_listeners(service, 0)
        assert (await client.http.head(live_path(recording))).status_code == 200


async def test_the_file_is_the_same_whether_or_not_anyone_listens(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as a:
        alone, heard = await client.start("call-77"), await client.start("call-77")
        await say(a, noise(1.0))
        async with listening(client, heard) as ear:
            await say(a, noise(3.0)[RATE_HZ:])
            await ear.hear(HEADER_BYTES + 4 * RATE_HZ)
            await client.until_received("call-77", 3_000)
        files = [await client.fetch(await client.act(recording, "stop")) for recording in (alone, heard)]
    # The two began some milliseconds apart, of which nothing was said.
    spoken = [np.trim_zeros(hear(file)[0][:, 0]) for file in files]
    assert np.array_equal(spoken[0], noise(3.0))
    assert np.array_equal(spoken[0], spoken[1])


async def test_a_pause_is_waited_for_and_not_heard(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77", channels="mono")
        await say(a, noise(3.0))
        async with listening(client, recording) as ear:
            before = await ear.hear(HEADER_BYTES + 3 * RATE_HZ)
            await client.act(recording, "pause")
            async with listening(client, recording) as late:
                assert (await late.hear(len(before))).startswith(before)
                await say(a, noise(1.0, seed=9))
                await client.until_received("call-77", 4_000)
                await client.act(recording, "resume")
                await say(a, noise(1.0, seed=3))
                await client.until_received("call-77", 5_000)
                finished = await client.act(recording, "stop")
                lives = await ear.end(), await late.end()
        file = await client.fetch(finished)
    assert {live[HEADER_BYTES:] for live in lives} == {file[HEADER_BYTES:]}


async def test_a_listener_who_does_not_read_is_cut_off_and_costs_the_others_nothing(tmp_path: Path) -> None:
    seconds = noise(10.0)
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a?rate=48000") as a:
        service.live.slow_s = 1.5
        recording = await client.start("call-77", channels="mono")
        await a.send(seconds.tobytes())
        sent_bytes = seconds.nbytes
        async with listening(client, recording) as ear:
            with await open_and_never_read(client, recording):
                await until_listeners(service, 2)
                while not service.live.cut_off:
                    for _ in range(10):
                        await a.send(seconds.tobytes())
                        sent_bytes += seconds.nbytes
                    # It keeps up: it has all but the 2 s that the file is behind a sender who is ahead of time.
                    await ear.hear(sent_bytes - 2 * 2 * 48_000)
                finished = await client.act(recording, "stop")
                live = await ear.end()
        assert live[HEADER_BYTES:] == (await client.fetch(finished))[HEADER_BYTES:]
        assert "wavstream_live_cut_off_total 1.0" in (await client.http.get("/metrics")).text


async def test_a_listener_who_has_not_read_all_when_the_recording_is_erased_is_cut_off(tmp_path: Path) -> None:
    seconds = noise(10.0).tobytes()
    media = MediaSettings(bytes_per_second=100_000_000)
    async with (
        recorder(tmp_path, media=media) as (client, service),
        client.connect("/media/pcm/call-77/a?rate=48000") as a,
    ):
        service.live.slow_s = 3_600.0
        recording = await client.start("call-77", channels="mono")
        await a.send(seconds)
        with await open_and_never_read(client, recording):
            await until_listeners(service, 1)
            for _ in range(100):  # far more than the kernel keeps for it
                await a.send(seconds)
            await client.until(await client.act(recording, "stop"))
            assert service.live.listeners == 1
            assert (await client.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 204
            await until_listeners(service, 0)


async def open_and_never_read(client: Recorder, recording: dict[str, Any]) -> socket.socket:
    url = httpx.URL(client.base_url)
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect((url.host, url.port))
    line.sendall(f"GET {live_path(recording)} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
    return line


async def test_a_listener_who_goes_is_let_go_of(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        await say(a, noise(0.1))
        async with listening(client, recording):
            await until_listeners(service, 1)
        await until_listeners(service, 0)
        assert (await client.act(recording, "stop"))["status"] == "available"


async def test_the_end_of_the_server_is_the_end_of_listening(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, service), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        await say(a, noise(0.1))
        async with listening(client, recording) as ear:
            await ear.hear(HEADER_BYTES)
            service.begin_shutdown()
            assert hear(await ear.end())[0].shape[1] == 2


async def test_a_range_is_of_what_is_there_and_a_player_that_asks_for_all_of_it_gets_what_follows_too(
    tmp_path: Path,
) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a") as a:
        recording = await client.start("call-77")
        path = live_path(recording)
        await say(a, noise(3.0))
        async with listening(client, recording) as ear:
            live = await ear.hear(HEADER_BYTES + 2 * RATE_HZ)
            part = await client.http.get(path, headers={"Range": "bytes=70-99"})
            assert (part.status_code, part.headers["content-range"]) == (206, "bytes 70-99/*")
            assert part.headers["accept-ranges"] == "bytes"
            assert part.content == live[70:100]
            tail = await client.http.get(path, headers={"Range": f"bytes={HEADER_BYTES + 1000}-"})
            assert tail.status_code == 206
            assert tail.content.startswith(live[HEADER_BYTES + 1000 :])
            beyond = await client.http.get(path, headers={"Range": "bytes=99999999-"})
            assert beyond.status_code == 416
            assert int(beyond.headers["content-range"].removeprefix("bytes */")) >= len(live)
            head = await client.http.head(path)
            assert (head.status_code, head.headers["content-type"]) == (200, "audio/wav")
            assert "accept-ranges" not in head.headers
            async with client.http.stream("GET", path, headers={"Range": "bytes=0-"}) as all_of_it:
                assert all_of_it.status_code == 200
                await client.until_received("call-77", 3_000)
                finished = await client.act(recording, "stop")
                played = b"".join([piece async for piece in all_of_it.aiter_raw()])
        assert played[HEADER_BYTES:] == (await client.fetch(finished))[HEADER_BYTES:]


async def test_what_does_not_run_cannot_be_listened_to_and_what_is_finished_is_a_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        waits = await client.start("call-77", channels="mono")
        early = await client.http.get(live_path(waits))
        assert (early.status_code, early.headers["retry-after"]) == (404, "1")
        async with client.connect("/media/pcm/call-77/a") as a:
            await say(a, noise(1.0))
            await client.until_received("call-77", 1_000)
        await client.until(waits)
        done = await client.http.get(live_path(waits))
        assert done.status_code == 307
        samples, _ = soundfile.read(
            io.BytesIO((await client.http.get(done.headers["location"])).content), dtype="int16"
        )
        assert np.array_equal(samples[-len(noise(1.0)) :], noise(1.0))
        assert (await client.http.get("/v1/recordings/0d6c/live.wav")).status_code == 404


async def test_a_session_shows_how_loud_each_track_is(tmp_path: Path) -> None:
    loud = np.full(FRAME, 16_384, np.int16)
    async with recorder(tmp_path) as (client, _), client.connect("/media/pcm/call-77/a?channels=2") as a:
        await a.send(np.stack([loud, np.zeros(FRAME, np.int16)], axis=1).tobytes())
        await client.until_streaming("call-77", 1)
        (stream,) = (await client.http.get("/v1/sessions/call-77")).json()["streams"]
    assert stream["levels"] == [
        {"track": "inbound", "rms_dbfs": -6.0, "peak_dbfs": -6.0},
        {"track": "outbound", "rms_dbfs": -100.0, "peak_dbfs": -100.0},
    ]
