"""Calls of Asterisk, from its sockets to their files: streams that come by themselves, and those it is asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.ari_server import Asterisk, Call, Connection
from tests.support.listening import beeps, find_beeps
from tests.support.recorder import Recorder, recorder
from tests.support.talking import RATE_HZ, say, speak
from tests.support.waiting import until
from wavstream.model.audio import Codec, PacketCodec
from wavstream.settings import OpenerSettings
from wavstream.simulator.caller import Leg
from wavstream.simulator.quirks import LateOpening

PARTY_HZ, OTHER_HZ = 700.0, 1300.0
PARTY = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=PARTY_HZ, offset_s=0.5)
OTHER = beeps(3.0, rate_hz=RATE_HZ, frequency_hz=OTHER_HZ, offset_s=0.5)
CHANNEL = "1767.12"


def sockets(client: Recorder) -> str:
    return client.base_url.replace("http", "ws", 1) + "/media/asterisk"


def media_start(**fields: object) -> str:
    start = {"event": "MEDIA_START", "channel_id": "1767.13", "format": "slin", "optimal_frame_size": 320, "ptime": 20}
    return json.dumps(start | fields)


def calls() -> dict[str, Call]:
    return {CHANNEL: Call(PARTY, OTHER, {"recorded_by": "shop"})}


def opener_of(asterisk: Asterisk, **chosen: Any) -> OpenerSettings:
    return OpenerSettings(
        kind="ari", url=asterisk.url, user=asterisk.user, password=SecretStr(asterisk.password), **chosen
    )


async def dial(client: Recorder, query: str) -> ClientConnection:
    return await connect(f"{sockets(client)}?{query}", subprotocols=["media"], compression=None)  # type: ignore[list-item]


async def test_two_sockets_of_a_call_are_both_directions_of_one_leg_of_one_session(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        one = await dial(client, "call=1767.12&leg=a&track=inbound&record=1")
        other = await dial(client, "call=1767.12&leg=a&track=outbound&record=1")
        assert one.subprotocol == other.subprotocol == "media"
        await one.send(media_start())
        await other.send("MEDIA_START connection_id:rec channel:WebSocket/rec/0x7f format:slin optimal_frame_size:320")
        start_s = asyncio.get_running_loop().time()
        await asyncio.gather(speak(one, PARTY, start_s=start_s), speak(other, OTHER, start_s=start_s))
        session = (await client.http.get("/v1/sessions/1767.12")).json()
        await asyncio.gather(one.close(), other.close())
        done = await client.until(await client.only_recording("1767.12"))
        samples, rate_hz = await client.listen(done)
    assert [stream["leg"] for stream in session["streams"]] == ["a", "a"]
    for channel, frequency_hz in ((0, PARTY_HZ), (1, OTHER_HZ)):
        assert np.diff(find_beeps(samples[:, channel], rate_hz, frequency_hz)) == pytest.approx([1, 1], abs=0.01)
    party = find_beeps(samples[:, 0], rate_hz, PARTY_HZ)
    assert find_beeps(samples[:, 1], rate_hz, OTHER_HZ) == pytest.approx(party, abs=0.02)


async def test_audio_that_comes_before_its_description_is_in_the_file(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        socket = await dial(client, "call=1767.12&leg=a&record=1")
        await say(socket, PARTY[:RATE_HZ])
        await socket.send(media_start())
        await say(socket, PARTY[RATE_HZ:])
        await socket.close()
        done = await client.until(await client.only_recording("1767.12"))
        samples, rate_hz = await client.listen(done)
    assert find_beeps(samples[:, 0], rate_hz, PARTY_HZ) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)
    assert len(samples) == len(PARTY)


@pytest.mark.parametrize(
    ("codec", "rate_hz", "quirks", "parameters"),
    [
        (Codec.L16, 8_000, [LateOpening(1)], {}),
        (Codec.L16, 44_100, [], {}),
        (Codec.PCMU, 8_000, [], {"text": "1"}),
        (PacketCodec.G722, 16_000, [LateOpening(1)], {}),
        (PacketCodec.OPUS, 48_000, [], {}),
        (Codec.PCMA, 8_000, [LateOpening(2)], {"text": "1"}),
    ],
)
async def test_the_synthetic_asterisk_is_recorded_at_its_formats_rate_whenever_it_says_which_that_is(
    tmp_path: Path,
    codec: Codec | PacketCodec,
    rate_hz: int,
    quirks: list[LateOpening],
    parameters: dict[str, str],
) -> None:
    samples = beeps(3.0, rate_hz=rate_hz, frequency_hz=PARTY_HZ, offset_s=0.5)
    leg = Leg("a", samples[:, np.newaxis], rate_hz, codec, quirks=quirks, query={"record": "1", **parameters})
    async with recorder(tmp_path) as (client, _):
        await client.play_at_once("call-77", leg, dialect="asterisk")
        done = await client.until(await client.only_recording("call-77"))
        heard, heard_hz = await client.listen(done)
    assert (heard_hz, len(heard)) == (rate_hz, len(samples))
    assert find_beeps(heard[:, 0], rate_hz, PARTY_HZ) == pytest.approx([0.5, 1.5, 2.5], abs=0.01)


@pytest.mark.parametrize("mix", ["stereo", "mixed"])
async def test_asterisk_is_asked_for_a_channel_and_the_file_has_both_directions(tmp_path: Path, mix: str) -> None:
    async with (
        Asterisk(calls()) as asterisk,
        recorder(tmp_path, opener=opener_of(asterisk, mix=mix)) as (client, _),
    ):
        asterisk.connections["wavstream"] = Connection(sockets(client))
        for _ in range(2):
            recording = await client.start(CHANNEL)
            await client.until_received(CHANNEL, 2_200, legs=2 if mix == "stereo" else 1)
            stopped = await client.act(recording, "stop")
            assert (stopped["status"], stopped["end_reason"]) == ("available", "stopped")
            await asterisk.empty()
            samples, rate_hz = await client.listen(recording)
            party = find_beeps(samples[:, 0], rate_hz, PARTY_HZ)
            other = find_beeps(samples[:, 1 if mix == "stereo" else 0], rate_hz, OTHER_HZ)
            assert np.diff(party)[:1] == pytest.approx([1], abs=0.01)
            # The two taps of a channel are made one beside the other.
            assert other[:2] == pytest.approx(party[:2], abs=0.2)


async def test_a_call_that_hangs_up_ends_its_recording_and_leaves_nothing_in_asterisk(tmp_path: Path) -> None:
    async with Asterisk(calls()) as asterisk, recorder(tmp_path, opener=opener_of(asterisk)) as (client, _):
        asterisk.connections["wavstream"] = Connection(sockets(client))
        recording = await client.start(CHANNEL)
        await client.until_received(CHANNEL, 500, legs=2)
        await asterisk.end_call(CHANNEL)
        done = await client.until(recording)
        await asterisk.empty()
    assert done["end_reason"] == "hangup"


@pytest.mark.parametrize("token", [True, False])
async def test_a_server_with_keys_takes_the_stream_by_the_token_of_its_call_or_the_key_of_the_connection(
    tmp_path: Path, token: bool
) -> None:
    key = SecretStr("the-key-of-everybody")
    async with (
        Asterisk(calls()) as asterisk,
        recorder(tmp_path, opener=opener_of(asterisk, token_in_uri=token), api_key=key) as (client, _),
    ):
        client.http.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        name, password = ("", "") if token else ("asterisk", key.get_secret_value())
        asterisk.connections["wavstream"] = Connection(sockets(client), name, password)
        recording = await client.start(CHANNEL)
        await client.until_received(CHANNEL, 300, legs=2)
        await client.act(recording, "stop")
        await asterisk.empty()
        with pytest.raises(InvalidStatus, match="401"):
            await dial(client, f"session_id=other&token={_token_of(asterisk)}" if token else "session_id=other")


def _token_of(asterisk: Asterisk) -> str:
    return asterisk.uris[0].rpartition("token=")[2]


@pytest.mark.parametrize(
    ("path", "answered", "status"),
    [("/snoop", None, 404), ("/externalMedia", (500, "Allocation failed"), 503), ("/externalMedia", (501, "no"), 503)],
)
async def test_a_start_that_asterisk_refuses_is_refused_and_leaves_nothing(
    tmp_path: Path, path: str, answered: tuple[int, str] | None, status: int
) -> None:
    async with Asterisk(calls()) as asterisk, recorder(tmp_path, opener=opener_of(asterisk)) as (client, _):
        asterisk.connections["wavstream"] = Connection(sockets(client))
        if answered is not None:
            asterisk.failing[path] = answered
        name = CHANNEL if answered is not None else "1767.99"
        refused = await client.http.post("/v1/recordings", json={"session_id": name})
        listed = (await client.http.get("/v1/recordings")).json()["data"]
        await asterisk.empty()
    assert refused.status_code == status, refused.text
    assert ("Retry-After" in refused.headers) == (answered == (500, "Allocation failed"))
    assert listed == []


async def test_an_asterisk_that_is_not_there_keeps_the_server_from_being_ready(tmp_path: Path) -> None:
    async with Asterisk(calls()) as asterisk:
        opener = opener_of(asterisk)
        await asterisk.stop()
        async with recorder(tmp_path, opener=opener) as (client, _):

            async def is_ready() -> bool:
                return (await client.http.get("/readyz")).status_code == 200

            async def tells() -> bool:
                return "Asterisk's ARI at 127.0.0.1" in (await client.http.get("/readyz")).text

            await until(tells)
            assert not await is_ready()
            await asterisk.start()
            await until(is_ready)
