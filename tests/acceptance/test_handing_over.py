"""A server of two workers, asked at the worker that does not have the session, and at the one that has it: the same."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

from tests.support.handing_over import session_of
from tests.support.listening import beeps, find_beeps
from tests.support.recorder import Recorder, ServerProcess, hear
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from wavstream.api.gateway.commands import Command

A_HZ, B_HZ = 600.0, 1000.0
A = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=A_HZ, offset_s=0.3)
B = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=B_HZ, offset_s=0.6)
ADMIN = "key-of-the-administrators"
KEY = "the-key-of-the-shop-app"
SHOP = {"X-App-ID": "shop", "X-API-Key": KEY}
WORKSPACE = "a1405560-c8d3-4b1a-877d-3f449ad95352"
CHANNEL = "06a9c1c1-31c4-4f0a-8e3a-2d6a2f6a7a3b"
WORKERS = pytest.mark.parametrize("worker", [0, 1])


class AtWorker(httpx.AsyncClient):
    """A client with one connection, which is at this worker when a request is sent."""

    made: ClassVar[list[AtWorker]] = []

    def __init__(self, base_url: str, worker: int, **more: Any) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        super().__init__(base_url=base_url, timeout=WAIT_S, verify=False, limits=limits, **more)
        self.made.append(self)
        self._home = f"/v1/sessions/{session_of(worker, 'nobody')}"

    async def request(self, method: str, url: Any, **more: Any) -> httpx.Response:
        """Go to the worker first: whose session is asked for has the connection from then on."""
        assert (await super().request("GET", self._home)).status_code == 404
        return await super().request(method, url, **more)


class Client(Recorder):
    """Whatever it asks it asks at one worker."""

    def __init__(self, base_url: str, worker: int, *, key: str | None = None) -> None:
        super().__init__(base_url, key=key)
        self.http = AtWorker(base_url, worker, headers=self.http.headers)


@asynccontextmanager
async def server(tmp_path: Path, **settings: object) -> AsyncIterator[ServerProcess]:
    """Run one of two workers, and find nothing in its log that nobody asked for."""
    async with ServerProcess(tmp_path, workers=2, **settings) as process:
        try:
            yield process
        finally:
            for each in AtWorker.made:
                await each.aclose()
            AtWorker.made.clear()
        assert await process.end(signal.SIGTERM) == 0
        said = [json.loads(line) for line in process.last_words if line.startswith("{")]
        assert [each for each in said if each["level"] in ("error", "critical")] == []


def is_whole(samples: NDArray[np.int16], rate_hz: int) -> None:
    """Fail unless both parties are heard, each on its own side, every beep one second behind the one before."""
    assert rate_hz == RATE_HZ
    for side, frequency_hz in enumerate((A_HZ, B_HZ)):
        found = find_beeps(samples[:, side], rate_hz, frequency_hz)
        assert np.diff(found).tolist() == pytest.approx([1.0, 1.0], abs=0.02)
        assert not find_beeps(samples[:, 1 - side], rate_hz, frequency_hz)


def twilio(event: str, **more: Any) -> str:
    return json.dumps({"event": event, "streamSid": "MZ1", **more})


async def say_as_twilio(socket: ClientConnection, session_id: str, track: NDArray[np.int16]) -> None:
    media_format = {"encoding": "audio/x-l16", "sampleRate": RATE_HZ, "channels": 1}
    start = {"callSid": session_id, "streamSid": "MZ1", "tracks": ["inbound"], "mediaFormat": media_format}
    await socket.send(twilio("connected"))
    await socket.send(twilio("start", start=start))
    for number in range(len(track) // 160):
        payload = base64.b64encode(track[number * 160 : (number + 1) * 160].astype("<i2").tobytes()).decode()
        media = {"track": "inbound", "timestamp": str(20 * number), "payload": payload}
        await socket.send(twilio("media", media=media))


@WORKERS
async def test_a_call_is_commanded_heard_and_fetched_at_the_other_worker(tmp_path: Path, worker: int) -> None:
    call = session_of(worker)
    async with server(tmp_path) as process:
        there = (await process.start()).base_url
        here, other = Client(there, worker), Client(there, 1 - worker)
        answer = await other.http.post("/v1/sessions", json={"session_id": call, "from": "+15550100"})
        assert (answer.status_code, answer.json()["from"]) == (201, "+15550100")
        recording = await other.start(call, metadata={"order": "7"})
        async with other.connect(f"/media/pcm/{call}/a") as a, here.connect(f"/media/pcm/{call}/b") as b:
            await asyncio.gather(say(a, A[:160]), say(b, B[:160]))
            await other.until_received(call, 20, legs=2)
            second = await other.start(call)
            assert (await other.act(second, "pause"))["status"] == "paused"
            assert (await here.get(second))["status"] == (await other.get(second))["status"] == "paused"
            assert (await other.act(second, "resume"))["status"] == "ongoing"
            await here.act(second, "stop")
            listener = AtWorker(there, 1 - worker)
            assert (await listener.get("/v1/sessions")).status_code == 200  # its connection stays there
            async with listener.stream("GET", f"/v1/recordings/{recording['id']}/live.wav") as live:
                assert live.status_code == 200
                heard = asyncio.create_task(live.aread())
                await asyncio.gather(say(a, A[160:]), say(b, B[160:]))
                await here.until_received(call, 3_000, legs=2)
                listed = [(await each.http.get("/v1/sessions")).json() for each in (here, other)]
                assert [[session["session_id"] for session in each["data"]] for each in listed] == [[call], [call]]
                done = await other.act(recording, "stop")
                live_samples = np.frombuffer((await heard)[44:], "<i2").reshape(-1, 2)
        assert done["status"] == "available"
        assert done["metadata"] == {"order": "7"}
        is_whole(*await other.listen(done))
        is_whole(live_samples, RATE_HZ)
        for each in (here, other):
            assert (await each.get(recording))["audio_sha256"] == done["audio_sha256"]
            rows = (await each.http.get("/v1/recordings", params={"session_id": call})).json()["data"]
            assert [row["id"] for row in rows] == [second["id"], recording["id"]]
        redirected = await other.http.get(f"/v1/recordings/{recording['id']}.mp3")
        made = [await each.http.get(redirected.headers["location"]) for each in (other, here)]
        assert [each.status_code for each in made] == [200, 200]
        assert made[0].content == made[1].content
        hold = {"by": "counsel", "reason": "case 7"}
        assert (await other.http.post(f"/v1/recordings/{recording['id']}/hold", json=hold)).status_code == 200
        assert (await here.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 409
        assert (await other.http.delete(f"/v1/recordings/{recording['id']}/hold")).status_code == 200
        assert (await other.http.delete(f"/v1/recordings/{recording['id']}")).status_code == 204
        assert (await here.http.get(recording["url"])).status_code == 404


@WORKERS
async def test_streams_that_name_their_session_late_are_in_one_file(tmp_path: Path, worker: int) -> None:
    async with server(tmp_path) as process:
        there = (await process.start()).base_url
        client = Client(there, 1 - worker)
        for number in range(4):  # whichever worker accepts
            call = session_of(worker, f"call-{number}")
            recording = await client.start(call, channels="stereo")
            async with client.connect("/media/twilio") as a, client.connect("/media/audio-stream?rate=8000") as b:
                await b.send(B[:1600].astype("<i2").tobytes())
                await b.send(json.dumps({"session_id": call, "leg": "b"}))
                await client.until_received(call, 1)
                await say_as_twilio(a, call, A)
                for start in range(1600, len(B), 160):
                    await b.send(B[start : start + 160].astype("<i2").tobytes())
                await client.until_received(call, 3_000, legs=2)
                done = await client.act(recording, "stop")
            samples, rate_hz = hear(await client.fetch(done))
            heard = {hz: [find_beeps(samples[:, side], rate_hz, hz) for side in (0, 1)] for hz in (A_HZ, B_HZ)}
            assert sorted(len(each) for each in heard[A_HZ]) == [0, 3]
            assert sorted(len(each) for each in heard[B_HZ]) == [0, 3]


@WORKERS
async def test_every_api_answers_the_same_at_the_other_worker(tmp_path: Path, worker: int) -> None:
    gateway, telnyx, bird, swml = (session_of(worker, name) for name in ("gateway", "telnyx", "bird", "swml"))
    rules = {"gateway__stop_cooldown": "seek", "api_key": KEY, "admin_api_key": ADMIN}
    async with server(tmp_path, **rules) as process:
        there = (await process.start()).base_url
        admin = AtWorker(there, 1 - worker, headers={"X-Admin-API-Key": ADMIN, "Authorization": f"Bearer {KEY}"})
        accounts = {"api_key": KEY + "2", "rate_limit": 200, "events": []}
        assert (await admin.post("/admin/apps/shop", json=accounts)).status_code in (200, 201)
        key = KEY + "2"
        other = Client(there, 1 - worker, key=key)
        for call in (gateway, telnyx, bird, swml):
            assert (await other.http.post("/v1/sessions", json={"session_id": call})).status_code == 201

        # the gateway's
        as_shop = {"X-App-ID": "shop", "X-API-Key": key}
        path = f"/api/v1/sessions/{gateway}/commands"
        first = await other.http.post(f"{path}/{Command.RECORD_START}", json={"command_uid": "u1"}, headers=as_shop)
        assert first.status_code == 202, first.text
        again = await other.http.post(f"{path}/{Command.RECORD_START}", json={"command_uid": "u1"}, headers=as_shop)
        assert again.json()["operation_id"] == first.json()["operation_id"]
        assert int(first.headers["x-ratelimit-remaining"]) >= 0
        stop = await other.http.post(f"{path}/{Command.RECORD_STOP}", json={}, headers=as_shop)
        assert stop.status_code == 202

        # Telnyx's
        path = f"/v2/calls/{telnyx}/actions"
        said = {"format": "wav", "channels": "dual"}
        started = await other.http.post(f"{path}/record_start", json=said)
        assert started.status_code == 200, started.text
        assert (await other.http.post(f"{path}/record_stop", json={})).status_code == 200
        missing = await other.http.post(f"/v2/calls/{session_of(worker, 'none')}/actions/record_start", json=said)
        assert missing.status_code in (404, 422)
        assert "errors" in missing.json()

        # Bird's
        as_bird = {"Authorization": f"AccessKey {key}"}
        path = f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/calls/{bird}/recordings"
        started = await other.http.post(path, headers=as_bird)
        assert started.status_code == 202, started.text
        one = f"{path}/{started.json()['recordingId']}"
        assert (await other.http.get(path, headers=as_bird)).status_code == 200
        assert (await other.http.patch(one, json={"status": "completed"}, headers=as_bird)).status_code == 202

        # SignalWire's
        basic = base64.b64encode(f"project:{key}".encode()).decode()
        as_signalwire = {"Authorization": f"Basic {basic}"}
        record = {"id": swml, "command": "calling.record", "params": {"control_id": "c1"}}
        started = await other.http.post("/api/calling/calls", json=record, headers=as_signalwire)
        assert started.status_code == 200, started.text
        halt = {"id": swml, "command": "calling.record.stop", "params": {"control_id": "c1"}}
        assert (await other.http.post("/api/calling/calls", json=halt, headers=as_signalwire)).status_code == 200
        document = {"version": "1.0.0", "sections": {"main": [{"record_call": {}}, {"stop_record_call": {}}]}}
        run = await other.http.post(f"/swml/calls/{swml}", json=document, headers=as_signalwire)
        assert run.status_code == 202, run.text

        async def over() -> bool:
            told = await other.http.get(run.json()["url"], headers=as_signalwire)
            assert told.status_code == 200
            return bool(told.json()["status"] != "running")

        await until(over)


async def test_links_open_at_every_worker_though_their_keys_were_removed_and_a_worker_died(tmp_path: Path) -> None:
    keys = tmp_path / "link-keys.json"
    async with ServerProcess(tmp_path, workers=2) as process:
        there = (await process.start()).base_url
        (pid,) = [each["pid"] for each in process.said if each["event"] == "worker_ready" and each["worker"] == 1]
        keys.unlink()
        os.kill(pid, signal.SIGKILL)
        await until(keys.exists)  # the next one makes them
        clients = [Client(there, worker) for worker in (0, 1)]
        call = session_of(1, "links")
        recording = await clients[1].start(call)
        async with clients[1].connect(f"/media/pcm/{call}/a") as a:
            await say(a, A[:1600])
            await clients[1].until_received(call, 200)
            await clients[1].until(await clients[1].act(recording, "stop"))

        async def all_open() -> bool:
            links = [(await each.get(recording))["url"] for each in clients]
            codes = [(await each.http.get(link)).status_code for each in clients for link in links]
            return codes == [200] * 4

        await until(all_open)
        for each in AtWorker.made:
            await each.aclose()
        AtWorker.made.clear()
        assert await process.end(signal.SIGTERM) == 0


async def test_requests_of_an_app_count_once_wherever_they_are_answered(tmp_path: Path) -> None:
    call = session_of(1)
    async with server(tmp_path, api_key=KEY, quotas__requests_per_s=4) as process:
        there = (await process.start()).base_url
        statuses: list[int] = []

        async def in_one_second() -> bool:
            statuses.clear()
            loop = asyncio.get_running_loop()
            async with httpx.AsyncClient(base_url=there, headers={"Authorization": f"Bearer {KEY}"}) as client:
                await asyncio.sleep(1.05)  # a new window
                began = loop.time()
                calls = (call, session_of(0)) * 2  # each from the worker that has the one before
                statuses.extend([(await client.get(f"/v1/sessions/{each}")).status_code for each in calls])
                return loop.time() - began < 0.5

        await until(in_one_second)
        assert statuses == [404] * 4
