"""Twilio calls on real sockets; the tests listen to the files, and to what the peer is sent."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import Heard, close_code, recorder
from tests.support.truth import again_if_too_slow, real_time, witnessed
from tests.support.waiting import WAIT_S
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.codecs.encode import encode
from wavstream.rendering.mixer.mix import BEEP_HZ
from wavstream.settings import TwilioSettings
from wavstream.settings.tables import MediaSettings, RouteSettings
from wavstream.simulator.caller import Leg
from wavstream.simulator.quirks import Chunks, Delay, Double, Gap, Quirk, Stall, Swap

RATE_HZ = 8000
SAID_HZ, HEARD_HZ = 600.0, 1500.0
TOKEN = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SILENCE = base64.b64encode(b"\xff" * 160).decode()


def call(length_s: float = 3.0, *quirks: Quirk, **parameters: str) -> Leg:
    """Return a leg of two tracks: the party says a beep each second from 0.3 s on, and hears one from 0.6 s on."""
    said = beeps(length_s, rate_hz=RATE_HZ, frequency_hz=SAID_HZ, offset_s=0.3)
    heard = beeps(length_s, rate_hz=RATE_HZ, frequency_hz=HEARD_HZ, offset_s=0.6)
    return Leg("a", np.stack((said, heard), 1), RATE_HZ, Codec.PCMU, quirks=quirks, query=parameters)


@real_time
async def test_two_tracks_of_one_socket_are_left_and_right_with_every_beep_where_it_was_said(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(call(), dialect="twilio")
    assert rate_hz == RATE_HZ
    assert find_beeps(samples[:, 0], RATE_HZ, SAID_HZ) == pytest.approx(
        truth.said("a", 0.3, 1.3, 2.3), abs=truth.within_s
    )
    assert find_beeps(samples[:, 1], RATE_HZ, HEARD_HZ) == pytest.approx(
        truth.said("a", 0.6, 1.6, 2.6), abs=truth.within_s
    )
    assert not find_beeps(samples[:, 0], RATE_HZ, HEARD_HZ)
    assert not find_beeps(samples[:, 1], RATE_HZ, SAID_HZ)
    assert [(row["track"], row["channel"], row["codec"]) for row in done["legs"]] == [
        ("inbound", "left", "pcmu"), ("outbound", "right", "pcmu")
    ]  # fmt: skip
    assert done["end_reason"] == "hangup"
    assert done["vendor_ids"]["callSid"] == "CA-a"
    assert truth.gaps(done) == []


async def test_frames_that_are_lost_doubled_and_swapped_come_out_in_place(tmp_path: Path) -> None:
    lost = [Gap(at_s=1.32, for_s=0.04)]
    doubled = [Double(at_s=0.32, by_s=0.1), Double(at_s=2.62, by_s=0.06)]
    swapped = [Swap(at_s=0.36, by_s=0.1), Swap(at_s=1.62, by_s=0.03), Swap(at_s=2.3, by_s=0.08)]
    leg = call(3.0, *lost, *doubled, *swapped, Chunks(160))
    # In this order, but at once: how long a hole is waited for is a matter of real time.
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77")
        await client.play_at_once("call-77", leg, dialect="twilio")
        samples, rate_hz = await client.listen(recording)
        done = await client.get(recording)
    assert rate_hz == RATE_HZ
    sent = decode(Codec.PCMU, 2, np.frombuffer(encode(leg.samples, Codec.PCMU), np.uint8)).copy()
    sent[round(1.32 * RATE_HZ) : round(1.36 * RATE_HZ)] = 0
    first = int(np.argmax(samples[:, 0] != 0)) - int(np.argmax(sent[:, 0] != 0))
    assert np.array_equal(samples[first : first + len(sent)], sent)
    integrity = done["integrity"]
    assert (integrity["duplicate_frames"], integrity["reordered_frames"]) == (4, 6)
    assert integrity["lost_ms"] == 80
    assert {(gap["cause"], gap["length_ms"]) for gap in integrity["gaps"]} == {("loss", 40)}


@real_time
async def test_a_stall_of_three_seconds_that_is_caught_up_moves_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(call(6.0, Stall(at_s=1.5, for_s=3.0)), dialect="twilio")
    assert rate_hz == RATE_HZ
    said_s = truth.said("a", 0.3, 1.3, 2.3, 3.3, 4.3, 5.3)
    assert find_beeps(samples[:, 0], RATE_HZ, SAID_HZ) == pytest.approx(said_s, abs=truth.within_s)
    assert truth.gaps(done) == []
    assert done["integrity"]["late_frames"] == 0


@real_time
async def test_timestamps_that_go_on_uncounted_over_a_mute_of_three_seconds_leave_it_silent(tmp_path: Path) -> None:
    """A link that was late catches up; what never does was not said before it came."""
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(call(6.0, Delay(at_s=1.5, for_s=3.0)), dialect="twilio")
    assert rate_hz == RATE_HZ
    for channel, pitch_hz, first_s in ((0, SAID_HZ, 0.3), (1, HEARD_HZ, 0.6)):
        said_s = truth.said("a", *(first_s + second + (3.0 if second + first_s > 1.5 else 0.0) for second in range(6)))
        assert find_beeps(samples[:, channel], RATE_HZ, pitch_hz) == pytest.approx(said_s, abs=truth.within_s)
    muted = [(gap["cause"], gap["track"]) for gap in truth.gaps(done)]
    assert muted == [("stall", "inbound"), ("stall", "outbound")]
    assert all(gap["length_ms"] == pytest.approx(3000, abs=1000 * truth.within_s) for gap in truth.gaps(done))
    assert (done["integrity"]["late_frames"], done["integrity"]["lost_ms"]) == (0, 0)


async def test_a_second_stream_of_a_call_stands_beside_the_first(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/twilio") as first:
        await introduce(first, stream="MZ01")
        async with client.connect("/media/twilio") as second:
            await introduce(second, stream="MZ02")
            await first.send(media(0))
            await second.send(media(0))
            await client.until_streaming("CA5", 2)
            session = (await client.http.get("/v1/sessions/CA5")).json()
            assert session["legs"] == ["CA5"]
        await first.send(media(20))
        await client.until_received("CA5", 40)


@real_time
async def test_what_parallel_streams_of_a_call_bring_twice_is_in_the_file_once(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        samples, _, done, truth = await client.record(call(2.5), call(4.0), dialect="twilio")
    # Which of them came first is not known.
    first_s, second_s = truth.joined_s["a"]
    within_s = truth.within_s + second_s - first_s
    said_s = truth.said("a", 0.3, 1.3, 2.3, 3.3)
    assert find_beeps(samples[:, 0], RATE_HZ, SAID_HZ) == pytest.approx(said_s, abs=within_s)
    assert np.abs(samples).max() == pytest.approx(8000, rel=0.05)
    assert done["integrity"]["redundant_ms"] == pytest.approx(2 * 2500, abs=2 * 1000 * within_s)


async def introduce(socket: ClientConnection, *, stream: str = "MZ01", **parameters: str) -> None:
    await socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
    start = {"streamSid": stream, "callSid": "CA5", "tracks": ["inbound"], "customParameters": parameters}
    await socket.send(json.dumps({"event": "start", "streamSid": stream, "start": start}))


def media(timestamp_ms: object, payload: object = SILENCE, **more: object) -> str:
    fields = {"track": "inbound", "timestamp": str(timestamp_ms), "payload": payload, **more}
    return json.dumps({"event": "media", "streamSid": "MZ01", "media": fields})


def tone(first_ms: int, frames: int) -> list[str]:
    """Frames of 20 ms of a tone from a time of the stream on."""
    samples = np.rint(8000 * np.sin(2 * np.pi * SAID_HZ * np.arange(frames * 160) / RATE_HZ)).astype(np.int16)
    whole = encode(samples[:, None], Codec.PCMU)
    pieces = [base64.b64encode(whole[at : at + 160]).decode() for at in range(0, len(whole), 160)]
    return [media(first_ms + 20 * number, piece) for number, piece in enumerate(pieces)]


async def in_real_time(socket: ClientConnection, messages: list[str]) -> None:
    """Send one each 20 ms."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for number, message in enumerate(messages):
        await asyncio.sleep(start_s + 0.02 * number - loop.time())
        await socket.send(message)


async def test_bad_messages_are_counted_and_explained_once_and_take_nothing_from_the_file(tmp_path: Path) -> None:
    bad = [
        media(40, "!"), media(60, "not base64"), media(0, track="both"), media(-20), media("soon"), media(2**42),
        '{"event":"media"}', "rubbish", "[]", '{"event":"weird"}', '{"event":"dtmf","dtmf":{"digit":"55"}}',
    ]  # fmt: skip
    with capture_logs() as logs:
        async with recorder(tmp_path) as (client, service), client.connect("/media/twilio/call-77/a") as socket:
            recording = await client.start("call-77")
            await socket.send(media(0))
            await introduce(socket)
            for message in [*tone(0, 5), *bad, *bad, *tone(220, 5)]:
                await socket.send(message)
            await socket.send(b"binary")
            await socket.send('{"event":"stop"}')
            for message in tone(320, 5):
                await socket.send(message)
            samples, _ = await client.listen(recording)
            ignored = dict(service.endpoint.counters.ignored)
    # Six frames of silence had a bad timestamp only.
    assert np.count_nonzero(samples[:800, 0]) > 750
    assert not samples[800:1760].any()
    assert np.count_nonzero(samples[1760:2560, 0]) > 750
    assert not samples[2560:].any()
    assert ignored == {
        "before_start": 1, "bad_media": 6, "unknown_track": 2, "bad_timestamp": 6, "not_json": 4, "unknown_event": 2,
        "bad_digit": 2, "binary_message": 1,
    }  # fmt: skip
    explained = [log for log in logs if log["event"] == "media_message_ignored"]
    assert sorted(log["reason"] for log in explained) == sorted(ignored)
    assert {log["dialect"] for log in explained} == {"twilio"}
    assert all(len(log["explanation"]) > 40 for log in explained)


@real_time
@pytest.mark.parametrize("odd_ms", [3_700_000, 0], ids=["an hour ahead", "backwards"])
async def test_impossible_times_make_no_gap_of_an_hour_and_lose_nothing(tmp_path: Path, odd_ms: int) -> None:
    messages = [*tone(5000, 50), *tone(odd_ms, 50)]
    async with recorder(tmp_path) as (client, service):

        async def call(session_id: str) -> Heard:
            recording = await client.start(session_id)
            async with witnessed(service) as truth, client.connect(f"/media/twilio/{session_id}/a") as socket:
                await introduce(socket)
                await in_real_time(socket, messages)
                await socket.send('{"event":"stop"}')
            truth.check()
            samples, rate_hz = await client.listen(recording)
            return Heard(samples, rate_hz, await client.get(recording), truth)

        samples, _, done, truth = await again_if_too_slow(call)
    assert len(samples) / RATE_HZ == pytest.approx(0.02 * len(messages), abs=truth.within_s)
    assert np.count_nonzero(samples[:, 0]) > 15_000
    assert done["integrity"]["clock_restarts"] == 1


@pytest.mark.parametrize("path", ["/media/twilio/call-77", "/media", "/media/auto/call-77", "/switch/a/call-77"])
async def test_a_stream_opens_with_the_signature_of_twilio_and_with_no_other(tmp_path: Path, path: str) -> None:
    twilio = TwilioSettings(auth_token=SecretStr(TOKEN), app="default")
    settings: dict[str, Any] = {
        "twilio": twilio, "api_key": "right-key-of-the-default-app", "trusted_proxies": "127.0.0.1",
        "media": MediaSettings(routes={"/switch/a": RouteSettings(dialect="auto")}),
    }  # fmt: skip
    async with recorder(tmp_path, **settings) as (client, _):
        headers = {"X-Forwarded-Host": "rec.example.com", "X-Twilio-Signature": "forged"}
        connecting = client.connect(path)
        connecting.additional_headers = headers
        with pytest.raises(InvalidStatus) as refusal:
            await connecting
        assert refusal.value.response.status_code == 401
        signed = hmac.digest(TOKEN.encode(), f"wss://rec.example.com{path}".encode(), "sha1")
        connecting = client.connect(path)
        connecting.additional_headers = headers | {"X-Twilio-Signature": base64.b64encode(signed).decode()}
        async with connecting as socket:
            await introduce(socket)
            await socket.send('{"event":"stop"}')
            assert (await close_code(socket))[0] == 1000


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ("rubbish", 1007, "text"),
        ('{"event":"start"}', 1008, "start"),
        ('{"event":"start","start":{}}', 1008, "session_id"),
        ('{"event":"start","start":{"callSid":"CA5","mediaFormat":{"encoding":"audio/opus"}}}', 1008, "encoding"),
    ],
)
async def test_a_stream_that_cannot_start_is_closed_with_the_field(
    tmp_path: Path, message: str, code: int, field: str
) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/twilio") as socket:
        await socket.send(message)
        closed = await close_code(socket)
    assert closed[0] == code
    assert field in (closed[1] or "")


async def test_a_key_that_is_pressed_ends_a_recording_that_has_it_as_its_terminator(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/twilio/call-77/a") as socket:
        recording = await client.start("call-77", terminators="#")
        await introduce(socket, two_way="1")
        for message in tone(0, 10):
            await socket.send(message)
        await socket.send('{"event":"mark","streamSid":"MZ01","mark":{"name":"menu"}}')
        await socket.send('{"event":"dtmf","streamSid":"MZ01","dtmf":{"track":"inbound_track","digit":"#"}}')
        done = await client.until(recording)
    assert done["end_reason"] == "terminator"


async def test_a_one_way_stream_is_sent_nothing(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/twilio/call-77/a") as socket:
        await introduce(socket, keepalive="1")
        await socket.send(media(0))
        await client.until_streaming("call-77", 1)
        recording = await client.start("call-77", beep=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.4)
        await client.act(recording, "stop")


async def test_a_two_way_stream_hears_the_beep_and_silence_and_is_cleared_at_the_end(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/twilio/call-77/a") as socket:
        await introduce(socket, two_way="1", keepalive="1")
        await socket.send(media(0))
        await client.until_streaming("call-77", 1)
        recording = await client.start("call-77", beep=True)
        heard = [json.loads(await asyncio.wait_for(socket.recv(), WAIT_S)) for _ in range(15)]
        await client.act(recording, "stop")
        while (last := json.loads(await asyncio.wait_for(socket.recv(), WAIT_S)))["event"] == "media":
            pass
    payload = b"".join(base64.b64decode(message["media"]["payload"]) for message in heard)
    assert find_beeps(decode(Codec.PCMU, 1, np.frombuffer(payload, np.uint8))[:, 0], RATE_HZ, BEEP_HZ) == [0.0]
    assert last == {"event": "clear", "streamSid": "MZ01"}
