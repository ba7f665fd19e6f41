"""The server itself stands still, or its disk does, in the middle of calls: what was said meanwhile is in the file."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.exceptions import InvalidStatus

from tests.support.every_dialect import legs_of, rate_of, voice
from tests.support.receiver import Receiver
from tests.support.recorder import IMPORTED, Recorder, ServerProcess, hear, recorder
from tests.support.speech import noise, spoken
from tests.support.talking import RATE_HZ, speak
from tests.support.waiting import until
from wavstream.settings.tables import JournalSettings, Limits
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import play_call
from wavstream.simulator.vendors.registry import PEERS

LEGS = ("a", "b")
KEY = "the-key-of-the-shop-app"


def loud(length_s: float, *, seed: int) -> NDArray[np.int16]:
    """Return a voice that never pauses for long, no two alike, no sample of which is zero: what is missing shows."""
    words = np.resize(spoken(), round(length_s * RATE_HZ))
    voice = words + noise(length_s, seed=seed) // 100
    return np.where(voice == 0, np.int16(1), voice)


def where(samples: NDArray[np.int16], voice: NDArray[np.int16]) -> int:
    """Return at which sample the voice begins, all of which must be there without a break."""
    starts = np.flatnonzero(samples[: len(samples) - len(voice) + 1] == voice[0])
    return next(int(start) for start in starts if np.array_equal(samples[start : start + len(voice)], voice))


async def both_speak(client: Recorder, session_id: str, voices: dict[str, NDArray[np.int16]]) -> None:
    sockets = {leg: await client.connect(f"/media/pcm/{session_id}/{leg}") for leg in voices}
    start_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(speak(sockets[leg], voice, start_s=start_s) for leg, voice in voices.items()))
    await asyncio.gather(*(socket.close() for socket in sockets.values()))


@pytest.mark.parametrize("options", [{}, {"end_silence_timeout_s": 1.5}], ids=["plain", "with a silence timeout"])
async def test_a_process_that_stands_still_for_some_seconds_loses_and_moves_nothing(
    tmp_path: Path, options: dict[str, float]
) -> None:
    calls = {f"call-{n}": {leg: loud(8.0, seed=2 * n + k) for k, leg in enumerate(LEGS)} for n in range(3)}
    # The file, listeners and timers wait for less than the server stands still.
    async with ServerProcess(tmp_path, stall_wait_s=1, behind_wait_s=1) as server:
        client = await server.start()
        recordings = {session_id: await client.start(session_id, **options) for session_id in calls}
        talking = asyncio.gather(*(both_speak(client, session_id, voices) for session_id, voices in calls.items()))
        for session_id in calls:
            await client.until_received(session_id, 1500, legs=2)
        server.freeze()
        await asyncio.sleep(4.0)
        server.thaw()
        await talking
        for session_id, voices in calls.items():
            done = await client.until(recordings[session_id])
            samples, _ = hear(await client.fetch(done))
            begins = {where(samples[:, channel], voices[leg]) for channel, leg in enumerate(LEGS)}
            assert max(begins) - min(begins) <= 160
            assert done["end_reason"] == "hangup"
            assert done["integrity"]["gaps"] == []
        await client.http.aclose()


async def test_a_journal_whose_disk_hangs_loses_nothing_and_a_stop_meanwhile_ends_where_it_was_asked_for(
    tmp_path: Path,
) -> None:
    voices = {leg: loud(9.0, seed=seed) for seed, leg in enumerate(LEGS, 1)}
    # Two seconds of two legs, and then sockets are not read.
    small = JournalSettings(queue_bytes=65_536)
    async with recorder(tmp_path, journal=small, stall_wait_s=1, behind_wait_s=1) as (client, service):
        disk_is_well = threading.Event()
        disk_is_well.set()

        def write_at(descriptor: int, content: memoryview, offset: int) -> int:
            disk_is_well.wait()
            return os.pwrite(descriptor, content, offset)

        service._writer._write_at = write_at
        stopped, whole = await client.start("call-77"), await client.start("call-77")
        talking = asyncio.create_task(both_speak(client, "call-77", voices))
        try:
            await client.until_received("call-77", 1000, legs=2)
            disk_is_well.clear()

            async def is_not_read() -> bool:
                return service.sessions.reading.is_paused

            await until(is_not_read)
            await asyncio.sleep(1.5)
            stop = asyncio.create_task(client.act(stopped, "stop"))
            await asyncio.sleep(1.0)
        finally:
            disk_is_well.set()
        await stop
        await talking
        begins = set()
        samples, _ = hear(await client.fetch(await client.until(whole)))
        for channel, leg in enumerate(LEGS):
            begins.add(where(samples[:, channel], voices[leg]))
        assert max(begins) - min(begins) <= 160
        done = await client.until(stopped)
        ended, _ = hear(await client.fetch(done))
        # It has what was said until it was stopped, a second before anything was read again, and nothing that follows.
        said_s = (len(ended) - min(begins)) / RATE_HZ
        assert len(ended) < len(samples) - RATE_HZ
        for channel, leg in enumerate(LEGS):
            length = len(ended) - max(begins)
            assert where(ended[:, channel], voices[leg][: length - 160]) in begins
        assert 4.0 < said_s < 8.0
        assert done["end_reason"] == "stopped"


async def test_a_server_without_headroom_refuses_new_calls_and_keeps_those_that_it_has(tmp_path: Path) -> None:
    limits = Limits(loop_delay_s=0.02)
    async with recorder(tmp_path, limits=limits) as (client, _):
        recording = await client.start("call-77")
        talking = asyncio.create_task(both_speak(client, "call-77", {leg: loud(6.0, seed=7) for leg in LEGS}))
        await client.until_received("call-77", 500, legs=2)

        async def is_ready() -> bool:
            return (await client.http.get("/readyz")).status_code == 200

        async def is_not_ready() -> bool:
            return not await is_ready()

        busy = asyncio.create_task(keep_the_loop_busy())
        try:
            await until(is_not_ready)
            with pytest.raises(InvalidStatus) as refusal:
                await client.connect("/media/pcm/call-78/a")
            assert refusal.value.response.status_code == 503
            assert b"limits.loop_delay_s" in refusal.value.response.body
            (reason,) = (await client.http.get("/readyz")).json()["reasons"]
            assert "limits.loop_delay_s" in reason
            metrics = (await client.http.get("/metrics")).text
            assert "wavstream_overloaded 1.0" in metrics
            async with client.connect("/media/pcm/call-77/c"):
                pass
        finally:
            busy.cancel()
        await talking
        await until(is_ready)
        async with client.connect("/media/pcm/call-78/a"):
            pass
        samples, _ = hear(await client.fetch(await client.until(recording)))
        assert len({where(samples[:, channel], loud(6.0, seed=7)) for channel in range(2)}) <= 2


def _stand_still() -> None:
    time.sleep(0.06)


async def keep_the_loop_busy() -> None:
    """Take most of the loop's time, a turn at a time."""
    while True:
        _stand_still()
        await asyncio.sleep(0.001)


async def test_a_server_that_is_ready_imports_nothing_more(tmp_path: Path) -> None:
    # A module that is imported holds up every stream: those of numpy and anyio did for 20 and 45 ms, once each.
    server = ServerProcess(tmp_path, webhooks__allow_http="true", webhooks__allow_localhost="true", admin_api_key="key")
    server.enter = ("env", "PYTHONPROFILEIMPORTTIME=1")
    async with Receiver() as receiver, server:
        client = await server.start()

        async def dial(dialect: str) -> dict[str, Any]:
            legs = legs_of(dialect, voice("caller", rate_of(dialect), 0, 0.5), stereo=False)
            recording = await client.start(dialect, format="mp3" if dialect == "pcm" else "wav")
            await play_call(legs, server=ServerAddress.parse(client.base_url), session_id=dialect, dialect=dialect)
            return await client.until(recording)

        done = await asyncio.gather(*(dial(each) for each in PEERS))
        paths = ("/v1/recordings", "/metrics", "/openapi.json", "/console/", f"/v1/recordings/{done[-1]['id']}.mp3")
        for path in (*paths, *(each["url"] for each in done)):
            assert (await client.http.get(path, follow_redirects=True)).status_code == 200
        app = {"webhook_url": receiver.url, "api_key": KEY, "rate_limit": 0, "events": []}
        await client.http.post("/admin/apps/shop", json=app, headers={"X-Admin-API-Key": "key"})
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        async with client.connect(f"/media/pcm/told/a?token={KEY}&record=1") as socket:
            await speak(socket, loud(0.5, seed=1))
        await receiver.wait_for(1)
        await client.http.aclose()
        await server.end(signal.SIGTERM)
    assert [line for line in server.last_words if line.startswith(IMPORTED.decode())] == []
