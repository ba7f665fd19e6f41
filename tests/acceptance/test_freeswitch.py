"""FreeSWITCH's two modules on real sockets; the tests listen to the files, and to what the peer is sent."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from tests.support.listening import beeps, find_beeps
from tests.support.recorder import close_code, recorder
from tests.support.truth import real_time
from tests.support.waiting import WAIT_S
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import encode
from wavstream.rendering.mixer.mix import BEEP_HZ
from wavstream.settings.tables import MediaSettings
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest
from wavstream.simulator.quirks import Chunks, Gap, Quirk, Stall

SAID_HZ, HEARD_HZ = 600.0, 1500.0
QUIET_S = 0.4

both = pytest.mark.parametrize("dialect", ["audio-fork", "audio-stream"])


def stereo(length_s: float, rate_hz: int, *quirks: Quirk) -> Leg:
    """Return a leg of two tracks: the party says a beep each second from 0.3 s on, and hears one from 0.6 s on."""
    said = beeps(length_s, rate_hz=rate_hz, frequency_hz=SAID_HZ, offset_s=0.3)
    heard = beeps(length_s, rate_hz=rate_hz, frequency_hz=HEARD_HZ, offset_s=0.6)
    return Leg("a", np.stack((said, heard), 1), rate_hz, quirks=quirks)


@real_time
@both
async def test_stereo_is_what_the_party_says_and_hears_with_every_beep_where_it_was_said(
    tmp_path: Path, dialect: str
) -> None:
    leg = stereo(4.0, 16_000, Stall(at_s=1.2, for_s=1.5), Chunks(331))
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(leg, dialect=dialect)
    assert rate_hz == 16_000
    said_s, heard_s = truth.said("a", 0.3, 1.3, 2.3, 3.3), truth.said("a", 0.6, 1.6, 2.6, 3.6)
    assert find_beeps(samples[:, 0], rate_hz, SAID_HZ) == pytest.approx(said_s, abs=truth.within_s)
    assert find_beeps(samples[:, 1], rate_hz, HEARD_HZ) == pytest.approx(heard_s, abs=truth.within_s)
    assert not find_beeps(samples[:, 0], rate_hz, HEARD_HZ)
    assert [(row["track"], row["channel"], row["dialect"]) for row in done["legs"]] == [
        ("inbound", "left", dialect), ("outbound", "right", dialect)
    ]  # fmt: skip
    assert done["end_reason"] == "hangup"
    assert truth.gaps(done) == []


@real_time
@both
async def test_a_pause_that_nobody_announced_is_silence_and_the_legs_stay_aligned(tmp_path: Path, dialect: str) -> None:
    legs = [
        Leg("a", beeps(5.0, rate_hz=8000, frequency_hz=SAID_HZ, offset_s=0.3)[:, None], quirks=[Gap(1.5, 1.5)]),
        Leg("b", beeps(5.0, rate_hz=8000, frequency_hz=HEARD_HZ, offset_s=0.6)[:, None]),
    ]
    async with recorder(tmp_path) as (client, _):
        samples, rate_hz, done, truth = await client.record(*legs, dialect=dialect)
    kept_s = truth.said("a", 0.3, 1.3, 3.3, 4.3)
    assert find_beeps(samples[:, 0], rate_hz, SAID_HZ) == pytest.approx(kept_s, abs=truth.within_s)
    heard_s = truth.said("b", *(0.6 + np.arange(5)))
    assert find_beeps(samples[:, 1], rate_hz, HEARD_HZ) == pytest.approx(heard_s, abs=truth.within_s)
    (gap,) = truth.gaps(done)
    assert (gap["leg"], gap["cause"]) == ("a", "stall")
    assert gap["length_ms"] == pytest.approx(1500, abs=2000 * truth.within_s)


async def test_an_empty_message_ends_a_fork_whose_module_waits_for_us_to_close(tmp_path: Path) -> None:
    path = "/media/audio-fork/call-77/a?rate=8000"
    async with recorder(tmp_path, media=MediaSettings(close_timeout_s=0.5)) as (client, _):
        recording = await client.start("call-77")
        async with client.connect(path) as socket:
            await socket.send(tone(0.5))
            await socket.send(b"")
            done = await client.until(recording)
            # As the module does: it says the same again instead of closing.
            with suppress(Exception):
                await socket.send(b"")
            assert (await close_code(socket))[0] == 1000
        samples, _ = await client.listen(recording)
    assert done["end_reason"] == "hangup"
    assert_is_all_that_is_said(samples[:, 0], tone(0.5))


@pytest.mark.parametrize("metadata", ["", '{"rate":8000}'])
async def test_a_stream_of_a_second_is_recorded_though_its_url_says_nothing(tmp_path: Path, metadata: str) -> None:
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("call-77")
        async with client.connect("/media/audio-stream/call-77/a") as socket:
            for _ in range(5):
                await socket.send(tone(0.2))
            if metadata:
                await socket.send(metadata)
        samples, _ = await client.listen(recording)
    assert_is_all_that_is_said(samples[:, 0], 5 * tone(0.2))


async def test_a_stream_whose_metadata_are_refused_does_not_start_with_what_was_held(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, service), client.connect("/media/audio-stream/call-77/a") as socket:
        await socket.send(tone(0.2))
        await socket.send('{"rate":"fast"}')
        closed = await close_code(socket)
        assert service.endpoint.counters.streams_opened == 0
    assert closed[0] == 1008
    assert (closed[1] or "").startswith("rate: 'fast' is not accepted")


async def test_two_texts_in_one_message_are_metadata_and_a_key_that_ends_the_recording(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/audio-fork") as socket:
        recording = await client.start("77-abc", terminators="#")
        await socket.send('{"callid":"77-abc","leg":"a","rate":8000,"from":"+4930"}{"event":"mark","name":"menu"}')
        await socket.send(tone(0.2))
        await client.until_streaming("77-abc", 1)
        await socket.send('{"event":"dtmf","dtmf":"4","duration":"1600"}{"event":"dtmf","dtmf":"#"}')
        done = await client.until(recording)
    assert (done["end_reason"], done["from"]) == ("terminator", "+4930")
    assert done["vendor_ids"] == {"callid": "77-abc"}


async def test_what_metadata_tell_after_the_start_is_known_of_the_session(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _), client.connect("/media/audio-stream/call-77/a?rate=8000") as socket:
        await socket.send(tone(0.2))
        await client.until_streaming("call-77", 1)
        await socket.send('{"from":"+4930","callid":"9911"}')
        await socket.send(tone(0.2))
        await client.until_received("call-77", 400)
        session = (await client.http.get("/v1/sessions/call-77")).json()
    assert (session["from"], session["vendor_ids"]) == ("+4930", {"callid": "9911"})


async def test_the_handshake_of_libwsc_is_taken_and_its_backlog_recorded_before_the_metadata(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (client, _):
        recording = await client.start("9911")
        server = ServerAddress.parse(client.base_url)
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            b"GET /media/audio-stream?call=9911&leg=b HTTP/1.1\r\nHost:127.0.0.1:8080\r\nUpgrade:websocket\r\n"
            b"Connection:upgrade\r\nSec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version:13\r\n"
            b"Origin:http://127.0.0.1:8080\r\nX-Tenant:blue\r\nSec-WebSocket-Extensions:permessage-deflate; "
            b"client_no_context_takeover; server_no_context_takeover; client_max_window_bits=9\r\n\r\n"
        )
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)).lower()
        frames = [Frame(Opcode.BINARY, tone(0.3)), Frame(Opcode.TEXT, b'{"rate":"16k","note":"late"}')]
        frames += [Frame(Opcode.PING, b"ping"), Frame(Opcode.BINARY, tone(0.2)), Frame(Opcode.CLOSE, b"\x03\xe8")]
        writer.write(b"".join(frame.serialize(mask=True) for frame in frames))
        answer = await asyncio.wait_for(reader.read(), WAIT_S)
        writer.close()
        samples, rate_hz = await client.listen(recording)
        done = await client.get(recording)
    assert head.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-extensions" not in head
    assert b"\x8a\x04ping" in answer
    assert rate_hz == 16_000
    assert_is_all_that_is_said(samples[:, 1], tone(0.3) + tone(0.2))
    assert {row["leg"] for row in done["legs"]} == {"b"}


async def test_a_fork_shows_its_key_as_the_password_of_basic_auth(tmp_path: Path) -> None:
    key = "right-key-of-the-default-app"
    async with recorder(tmp_path, api_key=key) as (client, _):
        for password, opens in (("wrong-key-of-the-default-app", False), (key, True)):
            connecting = client.connect("/media/audio-fork/call-77/a?rate=8000")
            connecting.additional_headers = {
                "Authorization": f"Basic {base64.b64encode(f'wavstream:{password}'.encode()).decode()}"
            }
            if opens:
                async with connecting as socket:
                    await socket.send(tone(0.1))
            else:
                with pytest.raises(InvalidStatus) as refusal:
                    await connecting
                assert refusal.value.response.status_code == 401


async def test_a_one_way_stream_is_sent_nothing(tmp_path: Path) -> None:
    for dialect in ("audio-fork", "audio-stream"):
        path = f"/media/{dialect}/{dialect}/a?rate=8000&mix=stereo&keepalive=1"
        async with recorder(tmp_path / dialect) as (client, _), client.connect(path) as socket:
            await socket.send(tone(0.2))
            await client.until_streaming(dialect, 1)
            recording = await client.start(dialect, beep=True)
            await quiet(socket)
            await client.act(recording, "stop")


async def test_a_two_way_fork_hears_the_beep_and_then_silence_as_mono_at_its_own_rate(tmp_path: Path) -> None:
    path = "/media/audio-fork/call-77/a?rate=8000&mix=stereo&two_way=1&return_rate=24000&keepalive=1"
    async with recorder(tmp_path) as (client, _), client.connect(path) as socket:
        for _ in range(5):
            await socket.send(tone(0.04))  # 20 ms of two channels
        await client.until_streaming("call-77", 1)
        recording = await client.start("call-77", beep=True)
        await socket.send(bytes(640 * 20))
        heard = [bytes(await asyncio.wait_for(socket.recv(decode=False), WAIT_S)) for _ in range(15)]
        await client.act(recording, "stop")
        samples, _ = await client.listen(recording)
    played = np.frombuffer(b"".join(heard), np.int16)
    assert {len(message) for message in heard} == {960}
    assert find_beeps(played, 24_000, BEEP_HZ) == [0.0]
    assert not played[4_900:].any()
    # The fork brings on the right what its party hears; the beep is not mixed there once more.
    assert find_beeps(samples[:, 0], 8000, BEEP_HZ) == [0.0]
    assert not find_beeps(samples[:, 1], 8000, BEEP_HZ)


async def test_a_two_way_stream_hears_the_beep_as_one_sound_and_never_silence(tmp_path: Path) -> None:
    path = "/media/audio-stream/call-77/a?rate=16000&two_way=1&keepalive=1"
    async with recorder(tmp_path) as (client, _), client.connect(path) as socket:
        await socket.send(tone(0.2))
        await client.until_streaming("call-77", 1)
        recording = await client.start("call-77", beep=True)
        said = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
        await quiet(socket)
        await client.act(recording, "stop")
    assert said["type"] == "streamAudio"
    assert (said["data"]["audioDataType"], said["data"]["sampleRate"]) == ("raw", 16_000)
    sound = np.frombuffer(base64.b64decode(said["data"]["audioData"]), np.int16)
    assert len(sound) == 3200
    assert find_beeps(sound, 16_000, BEEP_HZ) == [0.0]


@both
async def test_a_load_finds_every_sample(tmp_path: Path, dialect: str) -> None:
    async with recorder(tmp_path) as (client, _):
        url = client.base_url.replace("http", "ws", 1)
        request = LoadRequest(url=url, legs=4, dialect=dialect, duration_s=2.0, verify=True)
        result = await asyncio.to_thread(run_load, request)
    assert result.verified_files == 2
    assert result.complaints == []
    assert result.is_good


def assert_is_all_that_is_said(samples: NDArray[np.int16], said: bytes) -> None:
    """From the beginning of a channel, (samples,); how long nothing is said after it is a matter of the machine."""
    expected = np.frombuffer(said, np.int16)
    assert np.array_equal(samples[: len(expected)], expected)
    assert not samples[len(expected) :].any()


def tone(length_s: float) -> bytes:
    """8 kHz mono."""
    time = np.arange(round(8000 * length_s)) / 8000
    samples = np.rint(8000 * np.sin(2 * np.pi * SAID_HZ * time) + 1).astype(np.int16)
    return encode(samples[:, None], Codec.L16)


async def quiet(socket: ClientConnection) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(socket.recv(), QUIET_S)
