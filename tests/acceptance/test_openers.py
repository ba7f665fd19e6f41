"""Recordings of calls that do not stream until the media server is asked to, on real sockets; the tests listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from websockets.asyncio.client import ClientConnection, connect

from tests.support.event_socket import Channel, FreeSwitch
from tests.support.listening import beeps, find_beeps
from tests.support.receiver import Answer, Received, Receiver, always
from tests.support.recorder import Recorder, recorder
from tests.support.talking import RATE_HZ, say
from tests.support.waiting import WAIT_S, until
from wavstream.service.service import Service
from wavstream.settings import GatewaySettings, OpenerSettings

TONE_HZ = 700.0
TONE = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=TONE_HZ, offset_s=0.5)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CHANNEL = "1d0b6c5e-9b1e-4c52-8f2e-3f0c2a7d1e90"
SESSION = f"acW68-{CHANNEL}"
ADMIN_KEY = "key-of-the-administrators"
SHOP = {"X-App-ID": "shop", "X-API-Key": "the-key-of-the-shop-app"}


class MediaServer:
    """Opens the streams that it is asked for, and ends them when it is asked to; listens while its context lasts."""

    def __init__(self) -> None:
        self.receiver = Receiver(self._obey)
        self.streams: dict[str, ClientConnection] = {}

    async def __aenter__(self) -> MediaServer:
        await self.receiver.__aenter__()
        return self

    async def __aexit__(self, *_: Any) -> None:
        for stream in self.streams.values():
            await stream.close()
        await self.receiver.__aexit__(None, None, None)

    @property
    def opener(self) -> OpenerSettings:
        return OpenerSettings(kind="webhook", url=self.receiver.url, dialect="pcm", secret=SecretStr(SECRET))

    @property
    def asked(self) -> list[tuple[str, str]]:
        return [(message["event"], message["session_id"]) for message in self.receiver.messages]

    async def say(self, session_id: str) -> None:
        """Send the tone on the session's stream."""
        await say(self.streams[session_id], TONE)

    async def _obey(self, request: Received) -> Answer:
        message = Webhook(SECRET).verify(request.body, dict(request.headers))
        session_id = message["session_id"]
        if message["event"] == "stream.open":
            url = f"{message['media_url']}?token={message['stream_token']}"
            self.streams[session_id] = await connect(url, compression=None, max_queue=None)
        elif session_id in self.streams:
            await self.streams.pop(session_id).close()
        return Answer()


@asynccontextmanager
async def event_socket(tmp_path: Path, **chosen: Any) -> AsyncIterator[tuple[Recorder, Service, FreeSwitch]]:
    """Yield a server whose opener is FreeSWITCH, which has one channel."""
    switch = FreeSwitch(channels={CHANNEL: Channel()})
    await switch.start()
    opener = OpenerSettings(kind="esl", port=switch.port, **chosen)
    try:
        async with recorder(tmp_path, opener=opener) as (client, service):
            yield client, service, switch
    finally:
        await switch.stop()


async def test_a_recording_makes_the_media_server_stream_and_its_stop_ends_that_as_often_as_asked(
    tmp_path: Path,
) -> None:
    async with MediaServer() as switch, recorder(tmp_path, opener=switch.opener) as (client, _):
        for turn in (1, 2):
            recording = await client.start("call-77")
            await switch.say("call-77")
            await client.until_received("call-77", 3000)
            stopped = await client.act(recording, "stop")
            assert (stopped["status"], stopped["end_reason"]) == ("available", "stopped")
            samples, rate_hz = await client.listen(recording)
            assert np.diff(find_beeps(samples[:, 0], rate_hz, TONE_HZ)) == pytest.approx([1, 1], abs=0.01)
            await switch.receiver.wait_for(2 * turn)
    assert switch.asked == [("stream.open", "call-77"), ("stream.close", "call-77")] * 2


async def test_a_recording_that_ends_by_itself_ends_the_stream_that_it_had_opened(tmp_path: Path) -> None:
    async with MediaServer() as switch, recorder(tmp_path, opener=switch.opener) as (client, _):
        recording = await client.start("call-77", max_length_s=2)
        await switch.say("call-77")
        done = await client.until(recording)
        await switch.receiver.wait_for(2)
    assert done["end_reason"] == "max_length"
    assert switch.asked == [("stream.open", "call-77"), ("stream.close", "call-77")]


async def test_a_gateway_session_is_opened_for_each_of_its_recordings(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "admin_api_key": SecretStr(ADMIN_KEY), "gateway": GatewaySettings(stop_cooldown="seek")
    }  # fmt: skip
    async with MediaServer() as switch, recorder(tmp_path, opener=switch.opener, **settings) as (client, _):
        client.http.headers["Authorization"] = f"Bearer {SHOP['X-API-Key']}"

        async def command(name: str) -> None:
            async with asyncio.timeout(WAIT_S):
                while True:
                    answer = await client.http.post(f"/api/v1/sessions/77/commands/{name}", headers=SHOP)
                    if answer.status_code != 429:  # the cooldown between two starts
                        break
                    await asyncio.sleep(0.05)
            assert answer.status_code == 202, answer.text

        app = {"api_key": SHOP["X-API-Key"], "rate_limit": 0, "events": []}
        await client.http.post("/admin/apps/shop", json=app, headers={"X-Admin-API-Key": ADMIN_KEY})
        await client.http.post("/v1/sessions", json={"session_id": "77"})
        for turn in (1, 2):
            await command("record/start")
            await switch.say("77")
            await client.until_received("77", 3000)
            await command("record/stop")
            await switch.receiver.wait_for(2 * turn)
        listed = (await client.http.get("/v1/recordings")).json()["data"]
        for recording in listed:
            samples, rate_hz = await client.listen(recording)
            assert np.diff(find_beeps(samples[:, 0], rate_hz, TONE_HZ)) == pytest.approx([1, 1], abs=0.01)
    assert len(listed) == 2
    assert [event for event, _ in switch.asked] == ["stream.open", "stream.close"] * 2


@pytest.mark.parametrize(("answered", "status"), [(404, 404), (500, 503), (302, 503)])
async def test_a_start_that_the_media_server_refuses_is_refused_and_leaves_nothing(
    tmp_path: Path, answered: int, status: int
) -> None:
    async with MediaServer() as switch, recorder(tmp_path, opener=switch.opener) as (client, _):
        obey = switch.receiver.answer
        switch.receiver.answer = always(Answer(answered))
        key = {"Idempotency-Key": "one"}
        refused = await client.http.post("/v1/recordings", json={"session_id": "call-77"}, headers=key)
        listed = (await client.http.get("/v1/recordings")).json()["data"]

        async def session_is_gone() -> bool:
            return (await client.http.get("/v1/sessions/call-77")).status_code == 404

        await until(session_is_gone)
        switch.receiver.answer = obey
        taken = await client.http.post("/v1/recordings", json={"session_id": "call-77"}, headers=key)
    assert (refused.status_code, "Retry-After" in refused.headers) == (status, status == 503)
    assert refused.headers["content-type"] == "application/problem+json"
    assert listed == []
    assert taken.status_code == 201


async def test_a_session_id_without_a_channel_is_a_wrong_field_and_one_without_a_call_is_not_found(
    tmp_path: Path,
) -> None:
    async with event_socket(tmp_path) as (client, _, switch):

        async def refused(session_id: str) -> httpx.Response:
            return await client.http.post("/v1/recordings", json={"session_id": session_id})

        wrong = await refused("call-77")
        gone = await refused(f"acW68-{CHANNEL[:-1]}1")
        switch.channels[CHANNEL].stream = ["from the dialplan"]
        busy = await refused(SESSION)
    assert (wrong.status_code, [each["pointer"] for each in wrong.json()["errors"]]) == (422, ["/session_id"])
    assert (gone.status_code, gone.json()["detail"]) == (404, "the media server has no channel of this session")
    assert busy.status_code == 503


async def test_freeswitch_streams_what_a_recording_asks_for(tmp_path: Path) -> None:
    async with event_socket(tmp_path) as (client, _, switch):
        recording = await client.start(SESSION)
        stream = switch.channels[CHANNEL].stream
        assert stream is not None
        async with connect(stream[0], compression=None) as socket:
            await socket.send(np.stack((TONE, np.zeros_like(TONE)), 1).tobytes())
            await client.until_received(SESSION, 3000)
            await client.act(recording, "stop")
            await switch.heard(2)
        samples, rate_hz = await client.listen(recording)
    assert find_beeps(samples[:, 0], rate_hz, TONE_HZ) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)
    assert switch.channels[CHANNEL].stream is None


async def test_the_end_of_the_server_waits_until_the_media_server_has_ended_the_stream(tmp_path: Path) -> None:
    async with event_socket(tmp_path, silence="aleg") as (client, service, switch):
        recording = await client.start(SESSION)
        switch.hold()
        await client.act(recording, "stop")
        *_, stop = await switch.heard(3)

        async def answer_late() -> None:
            await until(lambda: not service._background)  # they are the first to end
            switch.let(2)

        answering = asyncio.create_task(answer_late())
    await answering
    assert stop.endswith(" stop")
    # The second half of the close is sent by whoever has had the answer to the first.
    assert switch.commands[3:] == [f"uuid_break {CHANNEL}"]
    assert switch.channels[CHANNEL].silence is None


async def test_without_a_media_url_nobody_is_asked_and_the_recording_waits_for_a_stream(tmp_path: Path) -> None:
    async with MediaServer() as switch, recorder(tmp_path, opener=switch.opener, url="") as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/pcm/call-77/a") as socket:
            await socket.send(TONE.tobytes())
        samples, _ = await client.listen(recording)
    assert (recording["status"], switch.asked) == ("accepted", [])
    assert len(samples) == len(TONE)
