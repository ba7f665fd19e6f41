"""What a stream is that was opened without a dialect: every row of evidence, and streams that show none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from wavstream.dialects import detection
from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.detection import AutoDialect
from wavstream.dialects.early import HELD_BYTES
from wavstream.dialects.events import Detected, Event, Frame, Ignored, Reason, Refused, StreamStarted
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter, BadPayload

UUID = "2b0f8a5e-5c0a-4a52-9d3e-0f3a1b2c3d4e"
MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
TWILIO_START = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ01",
    "start": {
        "streamSid": "MZ01",
        "accountSid": "AC9",
        "callSid": "CA5",
        "tracks": ["inbound", "outbound"],
        "customParameters": {"case": "42"},
        "mediaFormat": MULAW,
    },
}
TELNYX_START = {
    "event": "start",
    "sequence_number": "1",
    "stream_id": "5d1c",
    "start": {
        "call_control_id": "v3:Q1",
        "call_session_id": "s-8",
        "from": "+4930111",
        "to": "+4930222",
        "media_format": {"encoding": "PCMA", "sample_rate": 8000, "channels": 1},
    },
}
SIGNALWIRE_START = {"event": "start", "start": {"streamSid": UUID, "callSid": UUID, "mediaFormat": MULAW}}
MEDIA_START = {
    "event": "MEDIA_START",
    "connection_id": "rec1",
    "channel": "WebSocket/rec1/0x7f",
    "channel_id": "1767.13",
    "format": "slin16",
    "optimal_frame_size": 640,
    "ptime": 20,
}
CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
UPGRADES: list[tuple[str, dict[str, str], str]] = [
    ("a header of AudioHook", {"audiohook-session-id": UUID, "audiohook-organization-id": UUID}, "audiohook"),
    ("a header of AudioHook", {"audiohook-organization-id": UUID}, "audiohook"),
    ("signed by Twilio", {"x-twilio-signature": ""}, "twilio"),
    ("a token of Telnyx", {"x-telnyx-streaming-auth-token": ""}, "telnyx"),
    ("jambonz' subprotocol", {"sec-websocket-protocol": "audio.jambonz.org"}, "jambonz"),
    ("mod_audio_fork's subprotocol", {"sec-websocket-protocol": "audio.drachtio.org"}, "audio-fork"),
    ("mod_audio_fork's subprotocol", {"sec-websocket-protocol": "x, audio.drachtio.org"}, "audio-fork"),
    ("the rewritten fork's subprotocol", {"sec-websocket-protocol": "audiofork"}, "audiofork2"),
    ("Asterisk's subprotocol", {"sec-websocket-protocol": "media"}, "asterisk"),
]
"""Of each row, what a request with its evidence has."""
LIBWSC = {
    "origin": "http://rec.example.com:8080",
    "sec-websocket-extensions": "permessage-deflate; client_no_context_takeover; server_no_context_takeover; "
    "client_max_window_bits=9",
}
TEXTS: list[tuple[str, object, str]] = [
    (
        "Asterisk's MEDIA_START in plain text",
        "MEDIA_START connection_id:rec1 channel:WebSocket/rec1/0x7f channel_id:1767.13 format:ulaw "
        "optimal_frame_size:160 ptime:20",
        "asterisk",
    ),
    ("Asterisk's MEDIA_START", MEDIA_START, "asterisk"),
    (
        "AudioHook's open",
        {
            "version": "2",
            "id": UUID,
            "type": "open",
            "seq": 1,
            "serverseq": 0,
            "position": "PT0S",
            "parameters": {
                "organizationId": UUID,
                "conversationId": UUID,
                "participant": {"id": UUID, "ani": "+4930111", "aniName": "A", "dnis": "+4930222"},
                "media": [{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}],
            },
        },
        "audiohook",
    ),
    (
        "the rewritten fork's hello",
        {"type": "hello", "version": "1.0", "callSid": UUID, "rate": 16000, "channels": 2, "encoding": "L16"},
        "audiofork2",
    ),
    (
        "VoiceAI Connect of AudioCodes",
        {"type": "session.initiate", "conversationId": UUID, "supportedMediaFormats": ["raw/lpcm16"]},
        "audiocodes",
    ),
    ("VoiceAI Connect of AudioCodes", {"type": "connection.validate", "conversationId": UUID}, "audiocodes"),
    (
        "Sinch's connect",
        {"command": "connect", "version": 1, "callId": "c", "applicationKey": "k", "codec": "PCM", "sampleRate": 8000},
        "sinch",
    ),
    (
        "Vonage's first message",
        {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "call": "77"},
        "vonage",
    ),
    (
        "Bandwidth's start",
        {
            "eventType": "start",
            "metadata": {
                "accountId": "1",
                "callId": "c-1",
                "streamId": "s-1",
                "streamName": "n",
                "tracks": [{"name": "inbound", "mediaFormat": {"encoding": "audio/PCMU", "sampleRate": 8000}}],
            },
        },
        "bandwidth",
    ),
    ("SignalWire's connected", {"event": "connected", "protocol": "Call", "version": "0.2.0"}, "signalwire"),
    (
        "Telnyx' connected, with its token",
        {"event": "connected", "version": "1.0.0", "connected": {"x-telnyx-streaming-auth-token": "t"}},
        "telnyx",
    ),
    (
        "Telnyx' connected, with its token",
        {"event": "connected", "version": "1.0.0", "x-telnyx-streaming-auth-token": "t"},
        "telnyx",
    ),
    ("Telnyx' start", TELNYX_START, "telnyx"),
    (
        "Plivo's start",
        {
            "event": "start",
            "sequenceNumber": 1,
            "start": {
                "callId": "c-1",
                "streamId": "s-1",
                "accountId": "MA0",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000},
            },
            "extra_headers": "case=42",
        },
        "plivo",
    ),
    (
        "Exotel's start",
        {
            "event": "start",
            "sequence_number": "1",
            "stream_sid": "s",
            "start": {
                "stream_sid": "s",
                "call_sid": "c",
                "account_sid": "a",
                "from": "0301",
                "to": "0302",
                "media_format": {"encoding": "audio/x-raw", "sample_rate": "8000"},
            },
        },
        "exotel",
    ),
    ("SignalWire's start", SIGNALWIRE_START, "signalwire"),
    (
        "SignalWire's start",
        {
            "event": "start",
            "start": {"streamSid": "s", "mediaFormat": {"encoding": "audio/x-L16", "sampleRate": 24000}},
        },
        "signalwire",
    ),
    ("Twilio's start, or a clone's", TWILIO_START, "twilio"),
    (
        "Twilio's start, or a clone's",
        {"event": "start", "streamSid": "MZ01", "start": {"callSid": "CA5", "mediaFormat": MULAW}},
        "twilio",
    ),
    (
        "a start in Twilio's form without an id of the stream",
        {"event": "start", "start": {"callSid": "CA5", "mediaFormat": MULAW}},
        "twilio",
    ),
    (
        "Voximplant's start",
        {"event": "start", "sequenceNumber": 0, "start": {"tag": "a", "mediaFormat": {"encoding": "PCM16"}}},
        "voximplant",
    ),
    (
        "jambonz' first message",
        {
            "sampleRate": 8000,
            "mixType": "stereo",
            "callSid": "7f0e",
            "direction": "inbound",
            "from": "+4930111",
            "to": "+4930222",
            "callId": "a@b",
            "accountSid": "acc1",
        },
        "jambonz",
    ),
    ("LiveKit's word of a mute", {"muted": True}, "livekit"),
    ("our own settings", {"codec": "pcmu", "rate": 8000, "leg": "a"}, "pcm"),
]
"""Of each row, a first text as its vendor sends it."""
UNDECIDED = {"connected"}
REFUSED = {"audiocodes", "sinch", "voximplant"}
"""Vendors that are known and have no dialect."""


def opened(
    headers: dict[str, str] | None = None, defaults: dict[str, str] | None = None, **query: str
) -> tuple[AutoDialect, Sequence[Event]]:
    request = UpgradeRequest(session_id="s", leg="a", query=query, headers=headers or {}, defaults=defaults or {})
    dialect = AutoDialect(request)
    return dialect, dialect.opened()


def encoded(text: object) -> bytes:
    return text.encode() if isinstance(text, str) else json.dumps(text).encode()


def name_in(events: Sequence[Event]) -> str:
    """Return the dialect that was found, which is told first and once."""
    assert [type(event) is Detected for event in events] == [True] + [False] * (len(events) - 1)
    assert isinstance(events[0], Detected)
    return events[0].dialect.name


def audio_in(events: Sequence[Event]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, Frame))


def test_every_row_has_an_example() -> None:
    assert [row.what for row in detection._BY_UPGRADE] == list(dict.fromkeys(what for what, _, _ in UPGRADES))
    rows = [detection._PLAIN.what, *(row.what for row in detection._BY_TEXT if row.what not in UNDECIDED)]
    assert rows == list(dict.fromkeys(what for what, _, _ in TEXTS))
    assert {row.what for row in detection._BY_TEXT if row.dialect is None} == UNDECIDED


def test_every_dialect_is_found_by_something_but_those_that_only_send_samples() -> None:
    named = {name for _, _, name in (*UPGRADES, *TEXTS)} | {row.dialect for row in detection._HINTS}
    assert DIALECTS.keys() <= named
    assert not REFUSED & DIALECTS.keys()


@pytest.mark.parametrize(("headers", "name"), [(headers, name) for _, headers, name in UPGRADES if name in DIALECTS])
def test_the_request_shows_the_dialect(headers: dict[str, str], name: str) -> None:
    _, events = opened(headers)
    assert name_in(events) == name


@pytest.mark.parametrize(("text", "name"), [(text, name) for _, text, name in TEXTS if name in DIALECTS])
def test_the_first_text_shows_the_dialect_and_is_its_first_text(text: object, name: str) -> None:
    dialect, events = opened()
    assert events == ()
    found = dialect.text(encoded(text))
    assert name_in(found) == name
    assert not any(isinstance(event, Refused) for event in found)
    direct = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    assert list(found[1:]) == [*direct.opened(), *direct.text(encoded(text))]


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, text, name in TEXTS if name in REFUSED])
def test_a_vendor_without_a_dialect_is_refused_by_its_name(what: str, text: object) -> None:
    dialect, _ = opened()
    with pytest.raises(BadParameter, match=what):
        dialect.text(encoded(text))


def test_a_dialect_that_this_version_does_not_have_is_refused_and_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "DIALECTS", {})
    dialect, _ = opened()
    with pytest.raises(BadParameter, match="Twilio's start"):
        dialect.text(encoded(TWILIO_START))


def test_the_request_counts_before_the_text_and_the_route_before_nothing() -> None:
    _, events = opened({"x-twilio-signature": "", "sec-websocket-protocol": "audio.drachtio.org"}, {"dialect": "pcm"})
    assert name_in(events) == "twilio"
    dialect, _ = opened(LIBWSC, {"dialect": "pcm"})
    assert name_in(dialect.text(encoded(TWILIO_START))) == "twilio"
    dialect, _ = opened(LIBWSC, {"dialect": "pcm"})
    assert name_in(dialect.text(b'{"codec_of": "nothing"}')) == "pcm"


def test_the_compression_that_libwsc_offers_is_a_hint_and_no_proof() -> None:
    dialect, events = opened(LIBWSC)
    assert events == ()
    assert name_in(dialect.text(encoded(TWILIO_START))) == "twilio"
    for text in (b"call=9911;leg=b", b'{"call": "9911"}'):
        dialect, _ = opened(LIBWSC)
        dialect.binary(bytes(320))
        assert name_in(dialect.text(text)) == "audio-stream"
    dialect, _ = opened({"sec-websocket-extensions": "permessage-deflate; client_max_window_bits"})
    assert name_in(dialect.text(b"free text")) == "audio-fork"


def test_a_codec_in_the_query_is_ours_where_nothing_else_is_said() -> None:
    dialect, events = opened(LIBWSC, codec="pcmu")
    assert events == ()
    dialect.binary(bytes(160))
    events = dialect.waited()
    assert name_in(events) == "pcm"
    assert audio_in(events) == bytes(160)
    dialect, _ = opened(codec="pcmu")
    assert name_in(dialect.text(encoded(TWILIO_START))) == "twilio"


@pytest.mark.parametrize(("start", "name"), [(TWILIO_START, "twilio"), (TELNYX_START, "telnyx")])
def test_connected_alone_is_kept_for_whoever_says_more(start: object, name: str) -> None:
    if name not in DIALECTS:
        pytest.skip("not registered yet")
    dialect, _ = opened()
    assert dialect.text(encoded(CONNECTED)) == ()
    events = dialect.text(encoded(start))
    assert name_in(events) == name
    assert [type(event) for event in events[1:]] == [StreamStarted]


def test_the_start_behind_connected_is_waited_for_however_late_it_is() -> None:
    dialect, _ = opened()
    dialect.text(encoded(CONNECTED))
    assert dialect.waited() == ()
    assert name_in(dialect.text(encoded(TWILIO_START))) == "twilio"


def test_behind_connected_the_route_says_what_waits_too_long() -> None:
    dialect, _ = opened(defaults={"dialect": "twilio"})
    dialect.text(encoded(CONNECTED))
    assert name_in(dialect.waited()) == "twilio"


@pytest.mark.parametrize("text", [b"free text", b'{"event": "other"}', b"[1]", b"\xff", b""])
def test_behind_connected_a_text_that_shows_nothing_is_refused(text: bytes) -> None:
    dialect, _ = opened()
    dialect.text(encoded(CONNECTED))
    with pytest.raises(BadPayload, match="no start"):
        dialect.text(text)


def test_a_peer_that_only_ever_says_connected_is_refused_and_little_of_it_is_kept() -> None:
    dialect, _ = opened()
    for _ in range(3):
        assert dialect.text(encoded(CONNECTED)) == ()
    with pytest.raises(BadPayload, match="no start"):
        dialect.text(encoded(CONNECTED))


@pytest.mark.parametrize(
    "text",
    [b"call=9911;leg=b", b"", b"\xff\xfe", b"[1, 2]", b'"text"', b"7", b'{"call": "9911"}', b'{"codec": ["l16"]}'],
)
def test_any_other_text_is_metadata_of_freeswitch(text: bytes) -> None:
    dialect, _ = opened()
    assert name_in(dialect.text(text)) == "audio-fork"


def test_free_text_behind_audio_starts_with_the_audio_that_was_kept() -> None:
    dialect, _ = opened()
    payloads = [bytes([number]) * 320 for number in range(5)]
    assert [dialect.binary(payload) for payload in payloads] == [()] * 5
    events = dialect.text(b"call=9911;leg=b")
    assert audio_in(events) == b"".join(payloads)
    assert Ignored(Reason.FREE_TEXT) in events


def test_what_was_kept_comes_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    class Listening(AudioForkDialect):
        def text(self, message: bytes) -> Sequence[Event]:
            heard.append(message)
            return ()

        def binary(self, payload: bytes, messages: int = 1) -> Sequence[Event]:
            heard.append(payload)
            return ()

    monkeypatch.setattr(detection, "DIALECTS", {"twilio": Listening})
    dialect, _ = opened()
    connected = encoded(CONNECTED)
    dialect.binary(b"1")
    dialect.binary(b"2")
    dialect.text(connected)
    dialect.binary(b"3")
    dialect.text(encoded(TWILIO_START))
    assert heard == [b"1", b"2", connected, b"3", encoded(TWILIO_START)]


def test_text_that_never_comes_is_not_waited_for_any_longer() -> None:
    dialect, _ = opened()
    dialect.binary(bytes(320))
    events = dialect.waited()
    assert name_in(events) == "audio-fork"
    assert [type(event) for event in events[1:]] == [StreamStarted, Frame]
    dialect, _ = opened(defaults={"dialect": "pcm", "codec": "pcmu"})
    dialect.binary(bytes(160))
    events = dialect.waited()
    assert name_in(events) == "pcm"
    assert [type(event) for event in events[1:]] == [StreamStarted, Frame]


def test_audio_that_fills_its_room_is_not_waited_with_any_longer() -> None:
    dialect, _ = opened()
    sent = 0
    events: Sequence[Event] = ()
    while not events:
        sent += 320
        events = dialect.binary(bytes(320))
    assert HELD_BYTES <= sent < HELD_BYTES + 320
    assert name_in(events) == "audio-fork"
    assert len(audio_in(events)) == sent


def test_a_thousand_early_messages_are_all_there() -> None:
    dialect, _ = opened()
    payloads = [number.to_bytes(2, "little") * 16 for number in range(1_000)]
    for payload in payloads:
        assert dialect.binary(payload) == ()
    assert audio_in(dialect.text(b'{"call": "9911", "rate": 8000}')) == b"".join(payloads)


def test_messages_without_a_byte_are_not_kept_without_end() -> None:
    dialect, _ = opened()
    kept = 0
    while not dialect.binary(b""):
        kept += 1
        assert kept < 10_000


def test_a_peer_that_ends_meanwhile_leaves_its_audio() -> None:
    dialect, _ = opened()
    dialect.binary(bytes(320))
    events = dialect.ended()
    assert name_in(events) == "audio-fork"
    assert audio_in(events) == bytes(320)


@pytest.mark.parametrize("texts", [[], [encoded(CONNECTED)]])
def test_a_peer_that_ends_without_audio_leaves_nothing(texts: list[bytes]) -> None:
    dialect, _ = opened()
    for text in texts:
        dialect.text(text)
    assert dialect.ended() == ()


def test_json_that_is_nested_too_deeply_is_refused() -> None:
    dialect, _ = opened()
    with pytest.raises(BadPayload, match="nested this deeply"):
        dialect.text(b'{"a":' * 100_000)
    dialect, _ = opened()
    _, refused = dialect.text(b"[" * 100_000)  # no object: FreeSWITCH's dialect reads it
    assert isinstance(refused, Refused)
    assert "nested this deeply" in str(refused.error)


def test_a_huge_first_text_with_the_vendors_fields_is_the_vendors() -> None:
    fields: dict[str, Any] = {**TWILIO_START, **{f"more_{number}": "x" * 20 for number in range(50_000)}}
    dialect, _ = opened()
    assert name_in(dialect.text(encoded(fields))) == "twilio"


def test_what_the_dialect_refuses_is_refused_in_its_name_behind_what_it_took() -> None:
    dialect, _ = opened()
    wrong = {**TWILIO_START, "start": {**TWILIO_START["start"], "mediaFormat": {"encoding": "opus"}}}  # type: ignore[dict-item]
    events = dialect.text(encoded(wrong))
    assert name_in(events) == "twilio"
    assert isinstance(events[-1], Refused)
    assert isinstance(events[-1].error, BadParameter)
    assert events[-1].error.field == "start.mediaFormat.encoding"


def test_wrong_parameters_of_the_url_are_refused_in_the_name_of_the_dialect_that_reads_them() -> None:
    _, events = opened({"sec-websocket-protocol": "audio.drachtio.org"}, rate="fast")
    assert name_in(events) == "audio-fork"
    assert isinstance(events[-1], Refused)


def test_a_peer_is_not_pinged_before_it_is_known_for_it_may_be_an_old_asterisk() -> None:
    assert AutoDialect.server_pings is False


@pytest.mark.parametrize(
    ("texts", "dialect"),
    [
        ((CONNECTED, TWILIO_START), "twilio"),
        ((CONNECTED, TELNYX_START), "telnyx"),
        ((CONNECTED, SIGNALWIRE_START), "signalwire"),
        (({"sampleRate": 8000, "mixType": "mono", "callSid": "7f0e"}, {"event": "dtmf", "dtmf": "4"}), "jambonz"),
    ],
)
def test_messages_that_are_joined_to_one_text_show_it_too(texts: Sequence[object], dialect: str) -> None:
    auto = AutoDialect(UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    found, start, *_ = auto.text("".join(map(json.dumps, texts)).encode())
    assert isinstance(found, Detected)
    assert found.dialect.name == dialect
    assert isinstance(start, StreamStarted)
