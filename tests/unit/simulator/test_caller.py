"""A leg played over a real WebSocket on loopback."""

from __future__ import annotations

import base64
import json
import math
import socket
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from tests.unit.simulator.receiver import Heard, receiver
from wavstream.errors import LimitReached, NotFound, OperatorError, PeerError, Unauthenticated
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import MAX_MESSAGE_BYTES, Leg, play_call, play_leg
from wavstream.simulator.quirks import Chunks, Drop, Gap


def noise(samples: int, channels: int = 1) -> Samples:
    return np.random.default_rng(7).integers(-9_000, 9_000, (samples, channels), dtype=np.int16)


async def test_a_leg_introduces_itself_sends_every_sample_and_closes_with_1000() -> None:
    leg = Leg("a b/1", noise(1_000, 2), rate_hz=16_000, codec=Codec.L16BE, query={"record": "1"})
    async with receiver() as heard:
        report = await play_leg(leg, server=heard.address, session_id="call?77", key="secret")
    (one,) = heard.connections
    target = urlsplit(one.target)
    assert target.path == "/media/pcm/call%3F77/a%20b%2F1"
    assert parse_qs(target.query) == {"codec": ["l16be"], "rate": ["16000"], "channels": ["2"], "record": ["1"]}
    assert one.authorization == "Bearer secret"
    assert one.audio == encode(leg.samples, Codec.L16BE)
    assert [len(message) for message in one.messages] == [1280, 1280, 1280, 160]
    assert one.close_code == 1000
    assert (report.samples_sent, report.messages_sent, report.dials) == (1_000, 4, 1)


async def test_a_leg_played_as_fast_as_possible_sends_the_same_audio_in_large_messages() -> None:
    leg = Leg("a", noise(1_000_000))
    async with receiver() as heard:
        await play_leg(leg, server=heard.address, session_id="s", speed=math.inf)
    (one,) = heard.connections
    assert one.audio == encode(leg.samples, Codec.L16)
    assert max(map(len, one.messages)) <= MAX_MESSAGE_BYTES
    assert len(one.messages) == 4


async def test_a_leg_played_fifty_times_faster_stays_below_the_message_rate_limit() -> None:
    async with receiver() as heard:
        await play_leg(Leg("a", noise(8_000)), server=heard.address, session_id="s", speed=50)
    assert {len(message) for message in heard.connections[0].messages[:-1]} == {7 * 320}


async def test_a_dropped_leg_comes_back_as_itself_without_what_was_said_meanwhile() -> None:
    leg = Leg("a", noise(8_000), quirks=[Drop(at_s=0.2, away_s=0.2)])
    async with receiver() as heard:
        report = await play_leg(leg, server=heard.address, session_id="s", speed=8)
    first, second = heard.connections
    assert first.target == second.target
    assert first.close_code == 1006
    assert second.close_code == 1000
    assert encode(leg.samples[:1_600], Codec.L16).startswith(first.audio)
    assert second.audio == encode(leg.samples[3_200:], Codec.L16)
    assert report.dials == 2


async def test_a_gap_and_odd_chunks_are_what_the_wire_carries() -> None:
    leg = Leg("a", noise(4_000), codec=Codec.PCMU, quirks=[Gap(at_s=0.1, for_s=0.2), Chunks(100)])
    async with receiver() as heard:
        await play_leg(leg, server=heard.address, session_id="s", speed=math.inf)
    whole = encode(leg.samples, Codec.PCMU)
    assert heard.connections[0].audio == whole[:800] + whole[2_400:]
    assert {len(message) for message in heard.connections[0].messages} == {100}


async def test_what_the_server_says_is_heard_and_counted() -> None:
    async with receiver(talk=b"\0" * 320) as heard:
        report = await play_leg(Leg("a", noise(160)), server=heard.address, session_id="s")
    assert report.bytes_received == 320


async def test_a_twilio_leg_sends_its_two_tracks_as_text_each_with_its_own_time() -> None:
    leg = Leg("a", noise(480, 2), codec=Codec.PCMU, query={"record": "1"})
    talk = json.dumps({"event": "media", "streamSid": "MZ1", "media": {"payload": "AAAA"}})
    async with receiver(talk=talk) as heard:
        report = await play_leg(leg, server=heard.address, session_id="s", dialect="twilio", speed=8)
    (one,) = heard.connections
    said = [json.loads(text) for text in one.texts]
    assert (one.target, one.messages, one.close_code) == ("/media/twilio/s/a", [], 1000)
    assert [message["event"] for message in said] == ["connected", "start", *["media"] * 6, "stop"]
    assert [message.get("sequenceNumber") for message in said] == [None, *(str(number) for number in range(1, 9))]
    start = said[1]["start"]
    assert (start["tracks"], start["customParameters"]) == (["inbound", "outbound"], {"record": "1"})
    assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    for number, track in enumerate(start["tracks"]):
        media = [message["media"] for message in said[2:-1] if message["media"]["track"] == track]
        assert [(frame["timestamp"], frame["chunk"]) for frame in media] == [("0", "1"), ("20", "2"), ("40", "3")]
        payload = b"".join(base64.b64decode(frame["payload"]) for frame in media)
        assert payload == encode(leg.samples[:, number].copy(), Codec.PCMU)
    assert (report.messages_sent, report.bytes_received) == (6, 3)


async def test_a_twilio_leg_that_comes_back_is_another_stream_whose_time_starts_anew() -> None:
    leg = Leg("a", noise(8_000), codec=Codec.PCMU, quirks=[Drop(at_s=0.2, away_s=0.2)])
    async with receiver() as heard:
        await play_leg(leg, server=heard.address, session_id="s", dialect="twilio", speed=8)
    first, second = ([json.loads(text) for text in one.texts] for one in heard.connections)
    assert first[1]["streamSid"] != second[1]["streamSid"]
    assert second[2]["media"]["timestamp"] == "0"


@pytest.mark.parametrize("dialect", ["audio-fork", "audio-stream"])
async def test_a_freeswitch_leg_sends_metadata_beside_its_audio_on_each_connection(dialect: str) -> None:
    leg = Leg("a", noise(8_000, 2), quirks=[Drop(at_s=0.2, away_s=0.2)], query={"record": "1"})
    before: list[int] = []

    def count_audio(one: Heard) -> None:
        before.append(len(one.messages) if one.texts else -1)

    async with receiver(on_message=count_audio) as heard:
        await play_leg(leg, server=heard.address, session_id="s", dialect=dialect, speed=8)
    for one in heard.connections:
        assert one.target == f"/media/{dialect}/s/a"
        assert [json.loads(text) for text in one.texts] == [{"rate": 8000, "mix": "stereo", "record": "1"}]
    assert next(count for count in before if count >= 0) == (1 if dialect == "audio-stream" else 0)
    assert heard.connections[1].audio == encode(leg.samples[3_200:], Codec.L16)


async def test_a_server_that_ends_the_stream_is_reported_with_its_code_and_reason() -> None:
    def refuse_second(one: Heard) -> tuple[int, str] | None:
        return (1008, "rate: 8000 is not it") if len(one.messages) == 2 else None

    async with receiver(on_message=refuse_second) as heard:
        with pytest.raises(PeerError, match=r"closed the stream with 1008 \(rate: 8000 is not it\)"):
            await play_leg(Leg("a", noise(8_000)), server=heard.address, session_id="s", speed=5)


async def test_one_leg_that_fails_ends_the_call_with_its_error() -> None:
    def refuse_b(one: Heard) -> tuple[int, str] | None:
        return (1007, "payload: half a sample") if "/b?" in one.target else None

    legs = [Leg("a", noise(80_000)), Leg("b", noise(80_000))]
    async with receiver(on_message=refuse_b) as heard:
        with pytest.raises(PeerError, match="1007"):
            await play_call(legs, server=heard.address, session_id="s")
    assert len(heard.connections) == 2


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (HTTPStatus.UNAUTHORIZED, Unauthenticated, "--key"),
        (HTTPStatus.NOT_FOUND, NotFound, "--dialect"),
        (HTTPStatus.SERVICE_UNAVAILABLE, LimitReached, "later"),
    ],
)
async def test_a_refused_upgrade_says_what_to_do(status: HTTPStatus, error: type[Exception], advice: str) -> None:
    async with receiver(status=status) as heard:
        with pytest.raises(error, match=advice):
            await play_leg(Leg("a", noise(160)), server=heard.address, session_id="s")


async def test_an_address_where_nobody_listens_says_so() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = ServerAddress("127.0.0.1", silent.getsockname()[1], False, "")
        with pytest.raises(OperatorError, match="cannot connect"):
            await play_leg(Leg("a", noise(160)), server=address, session_id="s")


@pytest.mark.parametrize(
    ("url", "media_url"),
    [
        ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/media/pcm/s/a"),
        ("ws://127.0.0.1:8080/media", "ws://127.0.0.1:8080/media/pcm/s/a"),
        ("https://rec.example/voice/", "wss://rec.example:443/voice/media/pcm/s/a"),
        ("ws://[::1]:9", "ws://[::1]:9/media/pcm/s/a"),
    ],
)
def test_the_address_of_a_stream_is_made_from_what_the_user_gave(url: str, media_url: str) -> None:
    assert ServerAddress.parse(url).media_url("pcm", "s", "a", {}) == media_url


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "ws://", "ws://x:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(OperatorError, match="ws://HOST:PORT"):
        ServerAddress.parse(url)
