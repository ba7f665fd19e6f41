"""What streams with audio in JSON are sent, and their bounds; what they send is in ``tests/vectors``."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.early import HELD_BYTES
from wavstream.dialects.events import Frame, Ignored, Outgoing, Reason, StreamStarted, StreamStopped
from wavstream.dialects.registry import DIALECTS
from wavstream.dialects.sequence_places import SequencePlaces
from wavstream.errors import BadParameter, BadPayload
from wavstream.model.audio import Track

AUDIO = b"\xff" * 160
TEXT = base64.b64encode(AUDIO).decode()
STARTS: dict[str, dict[str, Any]] = {
    "telnyx": {"event": "start", "stream_id": "1", "start": {"call_control_id": "v3:1"}},
    "signalwire": {"event": "start", "start": {"streamSid": "1", "callSid": "2"}},
    "plivo": {"event": "start", "start": {"streamId": "1", "callId": "2"}},
    "bandwidth": {"eventType": "start", "metadata": {"streamId": "1", "callId": "2"}},
    "exotel": {"event": "start", "start": {"stream_sid": "1", "call_sid": "2"}},
}
ONE_WAY = pytest.mark.parametrize("name", STARTS)


def started(name: str, **query: str) -> tuple[Dialect, StreamStarted]:
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query=query, headers={}))
    (event,) = dialect.text(json.dumps(STARTS[name]).encode())
    assert isinstance(event, StreamStarted)
    return dialect, event


def media(name: str, payload: str, **fields: object) -> bytes:
    if name == "bandwidth":
        return json.dumps({"eventType": "media", "track": "inbound", "payload": payload}).encode()
    part = {"track": "inbound", "timestamp": "0", "payload": payload}
    return json.dumps({"event": "media", "media": part, **fields}).encode()


def read(message: Outgoing | None) -> object:
    assert message is not None
    assert message.is_text
    return json.loads(message.data)


@ONE_WAY
def test_a_stream_takes_audio_only_if_it_is_said_to_be_two_way(name: str) -> None:
    assert not started(name)[1].accepts_audio
    assert not started(name, two_way="0")[1].accepts_audio
    assert started(name, two_way="1")[1].accepts_audio


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("telnyx", {"event": "media", "media": {"payload": TEXT}}),
        ("signalwire", {"event": "media", "streamSid": "1", "media": {"payload": TEXT}}),
        (
            "plivo",
            {"event": "playAudio", "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": TEXT}},
        ),
        ("bandwidth", {"eventType": "playAudio", "media": {"contentType": "audio/pcmu", "payload": TEXT}}),
        ("exotel", {"event": "media", "stream_sid": "1", "media": {"payload": TEXT}}),
    ],
)
def test_audio_is_sent_in_the_vendors_form(name: str, said: object) -> None:
    assert read(started(name, two_way="1")[0].message(AUDIO)) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("telnyx", {"event": "clear"}),
        ("signalwire", {"event": "clear", "streamSid": "1"}),
        ("plivo", {"event": "clearAudio", "streamId": "1"}),
        ("bandwidth", {"eventType": "clear"}),
        ("exotel", {"event": "clear", "stream_sid": "1"}),
    ],
)
def test_what_has_not_been_played_is_taken_back_in_the_vendors_form(name: str, said: object) -> None:
    assert read(started(name, two_way="1")[0].clear()) == said


def test_plivo_is_told_the_format_of_16_bit_samples() -> None:
    start = {"streamId": "1", "callId": "2", "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16_000}}
    dialect = DIALECTS["plivo"](UpgradeRequest(session_id="s", leg="a", query={"two_way": "1"}, headers={}))
    dialect.text(json.dumps({"event": "start", "start": start}).encode())
    said = read(dialect.message(b"\1\2"))
    assert said == {
        "event": "playAudio",
        "media": {"contentType": "audio/x-l16", "sampleRate": 16_000, "payload": "AQI="},
    }


def test_what_is_sent_to_signalwire_names_no_stream_that_has_no_name() -> None:
    dialect = DIALECTS["signalwire"](UpgradeRequest(session_id="s", leg="a", query={"two_way": "1"}, headers={}))
    dialect.text(b'{"event":"start","start":{"callSid":"2"}}')
    assert read(dialect.clear()) == {"event": "clear"}


CUSTOM = {
    "twilio": ("start", "customParameters"),
    "telnyx": ("start", "custom_parameters"),
    "signalwire": ("start", "customParameters"),
    "plivo": (None, "extra_headers"),
    "bandwidth": (None, "streamParams"),
    "exotel": ("start", "custom_parameters"),
}
"""Where the customer's own fields stand: in the object ``start``, or beside it."""
ANY_STARTS = {**STARTS, "twilio": {"event": "start", "start": {"streamSid": "1", "callSid": "2"}}}


def start_of(name: str, custom: object) -> StreamStarted:
    start = json.loads(json.dumps(ANY_STARTS[name]))
    place, field = CUSTOM[name]
    (start[place] if place else start)[field] = custom
    request = UpgradeRequest(session_id=None, leg=None, query={}, headers={})
    (event,) = DIALECTS[name](request).text(json.dumps(start).encode())
    assert isinstance(event, StreamStarted)
    return event


@pytest.mark.parametrize("name", CUSTOM)
@pytest.mark.parametrize(
    ("custom", "call"),
    [
        ({"direction": "outbound-api"}, ("", "", "outbound")),  # what Twilio tells the application
        ({"direction": "up", "from": 4930111}, ("4930111", "", "")),
        ({"direction": 7, "from": ["+49"], "to": "9" * 300}, ("", "", "")),
        ({"from": "", "to": None, "track": "premium"}, ("", "", "")),
        ({"track": 7, "to": "+49"}, ("", "+49", "")),
        ([], ("", "", "")),  # an empty object, as PHP writes it
        ("", ("", "", "")),
    ],
)
def test_what_the_customer_calls_by_a_name_of_ours_costs_no_recording(
    name: str, custom: object, call: tuple[str, str, str]
) -> None:
    facts = start_of(name, custom).call
    assert (facts.from_, facts.to, facts.direction) == call


@pytest.mark.parametrize("name", CUSTOM)
def test_the_customers_ids_may_be_numbers(name: str) -> None:
    event = start_of(name, {"session_id": 42, "leg": 7})
    assert (event.session_id, event.leg) == ("42", "7")


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("twilio", {"streamSid": 1, "callSid": 2, "accountSid": None}),
        ("telnyx", {"stream_id": 1, "call_control_id": 2}),
        ("signalwire", {"streamSid": 1, "callSid": 2}),
        ("plivo", {"streamId": 1, "callId": 2}),
        ("bandwidth", {"streamId": 1, "callId": 2}),
        ("exotel", {"stream_sid": 1, "call_sid": 2}),
    ],
)
def test_the_vendors_ids_may_be_numbers(name: str, ids: object) -> None:
    kind = "eventType" if name == "bandwidth" else "event"
    place = "metadata" if name == "bandwidth" else "start"
    dialect = DIALECTS[name](UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
    (event,) = dialect.text(json.dumps({kind: "start", place: ids}).encode())
    assert isinstance(event, StreamStarted)
    assert (event.session_id, event.stream_id) == ("2", "1")


@pytest.mark.parametrize(
    "tracks",
    [
        "both",
        ["both"],
        ["inbound", "outbound"],
        [{"name": "inbound", "mediaFormat": None}, {"name": "outbound", "mediaFormat": {"encoding": None}}],
        [{"name": None}, None],
        None,
    ],
)
def test_bandwidth_names_its_tracks_in_any_shape(tracks: object) -> None:
    start = {"eventType": "start", "metadata": {"callId": "2", "tracks": tracks}}
    dialect = DIALECTS["bandwidth"](UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
    (event,) = dialect.text(json.dumps(start).encode())
    assert isinstance(event, StreamStarted)
    assert event.tracks == tuple(Track)


@pytest.mark.parametrize("name", ["twilio", "signalwire", "plivo", "exotel"])
def test_both_is_two_tracks(name: str) -> None:
    start = json.loads(json.dumps(ANY_STARTS[name]))
    start["start"]["tracks"] = ["both_tracks"]
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg=None, query={}, headers={}))
    (event,) = dialect.text(json.dumps(start).encode())
    assert isinstance(event, StreamStarted)
    assert event.tracks == tuple(Track)


@pytest.mark.parametrize("name", ANY_STARTS)
def test_messages_that_are_joined_to_one_text_are_each_taken(name: str) -> None:
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    payload = base64.b64encode(bytes(320)).decode()
    audio = media(name, payload)
    kind = "eventType" if name == "bandwidth" else "event"
    connected = b"" if name == "bandwidth" else b'{"event":"connected"}'
    start, *frames = dialect.text(connected + json.dumps(ANY_STARTS[name]).encode() + b" " + audio)
    assert isinstance(start, StreamStarted)
    assert [type(frame) for frame in frames] == [Frame]
    stop = json.dumps({kind: "stop"}).encode()
    frame, end, junk = dialect.text(audio + b"\n" + stop + b" and more")
    assert isinstance(frame, Frame)
    assert end == StreamStopped()
    assert junk == Ignored(Reason.NOT_JSON)


@pytest.mark.parametrize("name", ANY_STARTS)
@pytest.mark.parametrize("text", [b'{"event":"connected","eventType":"x"}{', b"{}{}", b"1 2", b"[][]", b"", b"{"])
def test_joined_text_that_makes_no_sense_before_the_start_is_refused(name: str, text: bytes) -> None:
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    with pytest.raises(BadPayload):
        dialect.text(text)


@ONE_WAY
def test_audio_before_the_start_is_held_up_to_a_bound_and_then_counted(name: str) -> None:
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    payload = bytes(1_000)
    text = media(name, base64.b64encode(payload).decode())
    events = [event for _ in range(100) for event in dialect.text(text)]
    held = -(-HELD_BYTES // len(payload))
    assert events == [Ignored(Reason.BEFORE_START)] * (100 - held)
    start, *frames = dialect.text(json.dumps(STARTS[name]).encode())
    assert isinstance(start, StreamStarted)
    assert sum(isinstance(event, Frame) for event in frames) == held


@ONE_WAY
def test_messages_without_audio_are_held_in_a_bounded_number(name: str) -> None:
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    events = [event for _ in range(5_000) for event in dialect.text(media(name, ""))]
    assert len(events) == 5_000 - HELD_BYTES // 16


@ONE_WAY
def test_a_mistake_in_a_parameter_is_told_with_what_is_accepted(name: str) -> None:
    with pytest.raises(BadParameter, match=r"^two_way: 'perhaps' is not accepted; 0 or 1 is$"):
        started(name, two_way="perhaps")


@ONE_WAY
def test_the_path_wins_over_the_query_and_the_query_over_the_vendors_ids(name: str) -> None:
    ids = {"session_id": "q", "leg": "r"}
    assert (started(name, **ids)[1].session_id, started(name, **ids)[1].leg) == ("s", "a")
    dialect = DIALECTS[name](UpgradeRequest(session_id=None, leg=None, query=ids, headers={}))
    (event,) = dialect.text(json.dumps(STARTS[name]).encode())
    assert isinstance(event, StreamStarted)
    assert (event.session_id, event.leg) == ("q", "r")


@ONE_WAY
def test_route_defaults_are_used_where_nobody_says_more(name: str) -> None:
    defaults = {"two_way": "1", "record": "1"}
    request = UpgradeRequest(session_id="s", leg="a", query={"record": "0"}, headers={}, defaults=defaults)
    (event,) = DIALECTS[name](request).text(json.dumps(STARTS[name]).encode())
    assert isinstance(event, StreamStarted)
    assert (event.accepts_audio, event.record) == (True, False)


@pytest.mark.parametrize("numbers", ["track", "stream"])
def test_numbers_of_two_tracks_that_lack_nothing_leave_no_room(numbers: str) -> None:
    places = SequencePlaces(2)
    last = [0, 0]
    for index in range(400):
        track = index % 2
        place = places.place(track, index if numbers == "stream" else index // 2, 160)
        assert (place.position, place.reason) == (last[track], None)
        last[track] += 160


def test_a_peer_that_leaves_room_with_each_message_never_comes_to_a_position_that_cannot_be_written() -> None:
    places = SequencePlaces(1)
    for index in range(20_000):
        place = places.place(0, index * 5, 700_000)
        assert 0 <= place.position < 2**63 // 1_000_000
    for index in range(20_000):
        place = places.place(0, 100_000 + index * 3_000, 960)
        assert 0 <= place.position < 2**63 // 1_000_000
