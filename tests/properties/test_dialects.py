"""Whatever a peer sends is accepted, or refused with an error that says what is wrong; and how it is cut is nothing."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import Event, Frame, Ignored, Paused, Reply, Resumed, StreamStarted, StreamStopped
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import MediaError
from wavstream.media.reader import FrameReader

KEYS = [
    "codec",
    "rate",
    "channels",
    "track",
    "clock",
    "channel",
    "from",
    "to",
    "direction",
    "record",
    "keepalive",
    "two_way",
    "echo",
    "mix",
    "return_rate",
    "call_id",
]
VALUES = st.sampled_from(
    ["l16", "l16be", "pcmu", "pcma", "8000", "48000", "8k", "1", "2", "inbound", "outbound", "left", "stereo", "0"]
)
QUERIES = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES | st.text(max_size=9), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["dtmf", "pause", "resume", "mark", "stop", "other"]) | JSON},
    optional={"digit": st.sampled_from("0123456789*#ABCDa") | JSON, "name": st.text(max_size=9) | JSON},
)
SETTINGS = st.dictionaries(st.sampled_from([*KEYS, "session_id", "leg"]), VALUES | JSON, max_size=4)
NAMES = st.sampled_from(["inbound", "outbound", "inbound_track"]) | JSON
TWILIO = st.fixed_dictionaries(
    {"event": st.sampled_from(["connected", "start", "media", "media", "dtmf", "mark", "stop"])},
    optional={
        "start": st.fixed_dictionaries(
            {},
            optional={
                "callSid": st.just("CA5") | JSON,
                "tracks": st.lists(NAMES, max_size=3) | JSON,
                "customParameters": SETTINGS,
                "mediaFormat": st.fixed_dictionaries(
                    {},
                    optional={"encoding": st.sampled_from(["audio/x-l16", "audio/x-alaw"]) | JSON, "sampleRate": JSON},
                ),
            },
        )
        | st.just({})
        | JSON,
        "media": st.fixed_dictionaries(
            {},
            optional={
                "track": NAMES,
                "timestamp": st.integers(0, 99).map(str) | JSON,
                "payload": st.binary(max_size=9).map(lambda payload: base64.b64encode(payload).decode()) | JSON,
            },
        )
        | JSON,
        "dtmf": st.fixed_dictionaries({"digit": JSON}) | JSON,
        "mark": st.fixed_dictionaries({"name": JSON}) | JSON,
    },
)
SEQUENCES = st.integers(1, 4) | st.integers(0, 9).map(str) | JSON
DURATIONS = st.sampled_from(["PT0S", "PT0.02S", "PT1.5S", "P1D", "PT24H", "PT999999999S"]) | st.text(max_size=9) | JSON
CHANNELS = st.lists(st.sampled_from(["external", "internal"]) | JSON, max_size=3)
OFFERS = st.fixed_dictionaries(
    {"type": st.just("audio"), "format": st.sampled_from(["PCMU", "L16", "OPUS"]), "channels": CHANNELS | JSON},
    optional={"rate": st.sampled_from([8000, 16000, "8000"]) | JSON},
)
HOOK_OPEN = st.fixed_dictionaries(
    {"conversationId": st.sampled_from(["c1", "00000000-0000-0000-0000-000000000000"]) | JSON},
    optional={
        "participant": st.fixed_dictionaries({"id": JSON}, optional={"ani": JSON, "dnis": JSON}) | JSON,
        "media": st.lists(OFFERS | JSON, max_size=3) | JSON,
        "customConfig": SETTINGS | JSON,
        "organizationId": JSON,
    },
)
AUDIOHOOK_KINDS = ["open", "ping", "paused", "resumed", "discarded", "update", "error", "close"]
AUDIOHOOK = st.fixed_dictionaries(
    {
        "version": st.just("2"),
        "type": st.sampled_from(AUDIOHOOK_KINDS) | JSON,
        "id": st.just("e1") | JSON,
        "seq": SEQUENCES,
        "serverseq": SEQUENCES,
    },
    optional={
        "position": DURATIONS,
        "parameters": HOOK_OPEN
        | st.fixed_dictionaries({}, optional={"start": DURATIONS, "discarded": DURATIONS})
        | JSON,
    },
)
AUDIOHOOK_OPEN = {
    "version": "2",
    "type": "open",
    "id": "e1",
    "seq": 1,
    "serverseq": 0,
    "parameters": {
        "conversationId": "c1",
        "participant": {"id": "p1"},
        "media": [{"type": "audio", "format": "L16", "channels": ["external", "internal"], "rate": 8000}],
    },
}
NUMBERS = st.sampled_from([8000, 16000, 48000, "8000", "16k", 1, 2, "2"]) | JSON
DIGITS = st.sampled_from("0123456789*#ABCDa") | st.integers(-1, 11) | JSON
FORKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["hello", "hello", "resume", "dtmf", "bye", "other"]) | JSON},
    optional={
        "callSid": st.just("9b1d") | JSON,
        "rate": NUMBERS,
        "channels": NUMBERS,
        "encoding": st.just("L16") | JSON,
        "metadata": SETTINGS | JSON,
        "gapMs": NUMBERS,
        "droppedMs": NUMBERS,
        "digit": DIGITS,
    },
)
VONAGE = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["connected", "connected", "dtmf", "cleared", "notify"]).map("websocket:{}".format)
        | JSON
    },
    optional={
        "content-type": st.sampled_from(["audio/l16;rate=16000", "audio/l16", "audio/L16; rate=24000"]) | JSON,
        "digit": DIGITS,
        "dtmf": st.fixed_dictionaries({"digit": DIGITS}) | JSON,
        "session_id": JSON,
        "track": NAMES,
    },
)
JAMBONZ = st.fixed_dictionaries(
    {"sampleRate": NUMBERS, "mixType": st.sampled_from(["mono", "mixed", "stereo"]) | JSON, "callSid": JSON},
    optional={"customerData": SETTINGS | JSON, "type": st.sampled_from(["playDone", "mark"]) | JSON, "record": JSON},
)
MUTES = st.fixed_dictionaries({"muted": st.booleans() | JSON})
TEXT = st.sampled_from(["5d1c", "v3:Q1", "s-8", "", "x" * 300]) | JSON
NUMBER = st.integers(-2, 90) | st.integers(0, 99).map(str) | st.just(2**70) | JSON
PAYLOAD = st.binary(max_size=20).map(lambda payload: base64.b64encode(payload).decode()) | JSON
ENCODING = st.sampled_from(
    ["PCMU", "L16", "G722", "OPUS", "AMR-WB", "audio/x-l16;rate=16000", "audio/x-L16", "audio/g722", "audio/x-raw"]
)
FORM = st.fixed_dictionaries(
    {"encoding": ENCODING | JSON}, optional={"sample_rate": NUMBER, "sampleRate": st.just("16000") | JSON}
)
START = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("stream_id", "streamId", "stream_sid", "streamSid", "call_control_id", "callId", "from"), TEXT
        ),
        **dict.fromkeys(("custom_parameters", "customParameters"), SETTINGS | st.lists(SETTINGS, max_size=2) | JSON),
        **dict.fromkeys(("media_format", "mediaFormat"), FORM | JSON),
        "tracks": st.lists(NAMES | st.fixed_dictionaries({"name": NAMES}, optional={"mediaFormat": FORM}), max_size=2),
        "tags": st.lists(TEXT, max_size=2) | JSON,
    },
)
TIMED_AUDIO = {"track": NAMES, "chunk": NUMBER, "timestamp": NUMBER, "payload": PAYLOAD}
HEADERS = st.text(st.sampled_from("{}=:;,-abk01 X"), max_size=30) | SETTINGS | JSON
VENDORS = st.sampled_from(
    ["start", "start", "media", "media", "dtmf", "mark", "stop", "error", "playedStream"]
).flatmap(
    lambda event: st.fixed_dictionaries(
        {"event": st.just(event), "eventType": st.just(event)},
        optional={
            **dict.fromkeys(("stream_id", "streamId", "stream_sid", "streamSid"), TEXT),
            **dict.fromkeys(("start", "metadata"), START | JSON),
            "media": st.fixed_dictionaries({}, optional=TIMED_AUDIO) | JSON,
            **TIMED_AUDIO,
            "sequenceNumber": NUMBER,
            "extra_headers": HEADERS,
            "streamParams": SETTINGS | JSON,
            "name": TEXT,
        },
    )
)
"""What Telnyx, SignalWire, Plivo, Bandwidth and Exotel send, under all their names."""
TIMED = ("twilio", "telnyx", "signalwire", "plivo", "bandwidth", "exotel")
"""Dialects whose frames have a time, or a number, of their own."""
DOCUMENTS = (JSON | EVENTS | SETTINGS | TWILIO | VENDORS | AUDIOHOOK | FORKS | VONAGE | JAMBONZ | MUTES).map(
    msgspec.json.encode
)
MESSAGES = st.lists(
    st.tuples(
        st.just("text"), st.binary(max_size=20) | DOCUMENTS | DOCUMENTS.flatmap(lambda one: DOCUMENTS.map(one.__add__))
    )
    | st.tuples(
        st.just("binary"),
        st.binary(max_size=40) | (st.integers(0, 200).map(lambda size: 4 * size) | st.integers(0, 40_000)).map(bytes),
    ),
    max_size=8,
)
IDS = st.none() | st.text(min_size=1, max_size=5)


@given(st.sampled_from(sorted(DIALECTS)), IDS, IDS, QUERIES, MESSAGES)
def test_any_messages_are_taken_or_refused_with_a_media_error_that_names_a_field(
    name: str, session_id: str | None, leg: str | None, query: dict[str, str], messages: list[tuple[str, bytes]]
) -> None:
    dialect = DIALECTS[name](UpgradeRequest(session_id=session_id, leg=leg, query=query, headers={}))
    events: list[Event] = []
    refused: MediaError | None = None
    try:
        events += dialect.opened()
        for kind, message in messages:
            events += dialect.text(message) if kind == "text" else dialect.binary(message)
        events += dialect.ended()
    except MediaError as error:
        refused = error
    assert refused is None or refused.field
    starts = [event for event in events if isinstance(event, StreamStarted)]
    frames = [event for event in events if isinstance(event, Frame)]
    assert len(starts) <= 1
    told = [event for event in events if not isinstance(event, Ignored | Reply)]
    if told:
        assert isinstance(told[0], StreamStarted)
        assert refused is None or name == "pcm"
    for frame in frames:
        assert 0 <= frame.track < len(starts[0].tracks)
        assert 0 <= frame.position < 2**63 // 1_000_000
        assert frame.samples * starts[0].format.step_bytes == len(frame.payload) > 0
    if name not in (*TIMED, "audiohook"):
        ends = [0, *(frame.position + frame.samples for frame in frames)]
        assert [frame.position for frame in frames] == ends[:-1]


AUDIO = st.tuples(st.just("binary"), st.binary(max_size=40) | st.integers(0, 40_000).map(bytes))


@given(st.lists(st.tuples(st.just("text"), AUDIOHOOK.map(msgspec.json.encode)) | AUDIO, max_size=12))
def test_an_open_session_of_audiohook_goes_on_whatever_comes_and_its_time_never_goes_back(
    messages: list[tuple[str, bytes]],
) -> None:
    dialect = DIALECTS["audiohook"](UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
    events = [*dialect.text(msgspec.json.encode(AUDIOHOOK_OPEN))]
    for kind, message in messages:
        if any(isinstance(event, StreamStopped) for event in events):
            break
        events += dialect.text(message) if kind == "text" else dialect.binary(message)
    assert [type(event) for event in events[:2]] == [Reply, StreamStarted]
    answers = [msgspec.json.decode(event.message.data) for event in events if isinstance(event, Reply)]
    assert [answer["seq"] for answer in answers] == list(range(1, len(answers) + 1))
    assert all(isinstance(answer["parameters"], dict) and answer["id"] == "e1" for answer in answers)
    end, is_paused = 0, False
    for event in events:
        is_paused = isinstance(event, Paused) or (is_paused and not isinstance(event, Resumed))
        if isinstance(event, Frame):
            assert not is_paused
            assert end <= event.position < 2**63 // 1_000_000
            assert len(event.payload) == 4 * event.samples > 0
            end = event.position + event.samples


@given(st.sampled_from(TIMED), QUERIES, st.lists(VENDORS, max_size=30))
def test_a_vendor_that_has_started_is_never_refused_and_what_it_makes_wait_is_bounded(
    name: str, query: dict[str, str], messages: list[dict[str, Any]]
) -> None:
    start = {"stream_id": "1", "streamId": "1", "stream_sid": "1", "streamSid": "1", "callId": "2"}
    head = {"event": "start", "eventType": "start", "start": start, "metadata": start}
    dialect = DIALECTS[name](UpgradeRequest(session_id="s", leg="a", query={}, headers={}, defaults=query))
    try:
        (started,) = dialect.text(msgspec.json.encode(head))
    except MediaError:
        return
    assert isinstance(started, StreamStarted)
    given = [event for message in messages for event in dialect.text(msgspec.json.encode(message))]
    assert not any(isinstance(event, StreamStarted) for event in given)
    dialect.ended()
    assert not dialect.ended()


WIRE_FRAMES = st.builds(
    lambda head, masked, mask, payload: wire_frame(head, masked, mask, payload),
    st.sampled_from([0x81, 0x82, 0x82, 0x82, 0x01, 0x02, 0x00, 0x80, 0x80, 0x89, 0x8A, 0x88, 0xC2, 0x83]),
    st.sampled_from([True] * 20 + [False]),
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=30) | st.integers(120, 140).map(bytes) | st.sampled_from([b"", b"\x03\xe8", bytes(500)]),
)


@given(st.lists(WIRE_FRAMES, max_size=12), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_however_bytes_are_cut_into_reads_the_same_messages_come_out(frames: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(frames)
    whole = heard([wire])
    assert heard([wire[index : index + 1] for index in range(len(wire))]) == whole
    assert heard(cut(wire, cuts)) == whole
    assert heard(frames) == whole
    # The same again, all of it through the core: the fast path changes nothing but the price.
    assert heard([wire], fast=False) == whole


def wire_frame(head: int, masked: bool, mask: bytes, payload: bytes) -> bytes:
    bit = 0x80 if masked else 0
    size = bytes([bit | len(payload)]) if len(payload) < 126 else bytes([bit | 126]) + len(payload).to_bytes(2)
    return bytes([head]) + size + (mask + apply_mask(payload, mask) if masked else payload)


def cut(wire: bytes, sizes: list[int]) -> list[bytes]:
    reads = []
    turn = 0
    while wire:
        size = sizes[turn % len(sizes)]
        reads.append(wire[:size])
        wire = wire[size:]
        turn += 1
    return reads


def heard(reads: list[bytes], *, fast: bool = True) -> tuple[list[Any], bytes]:
    """Messages, and what the core wants to send back: its pongs and its close frame."""
    got: list[Any] = []
    core = ServerProtocol(state=OPEN, max_size=400)
    reader = FrameReader(core, max_message_bytes=400 if fast else -1)
    for read in reads:
        got += reader.feed(read)
    return got, b"".join(core.data_to_send())


@given(
    sizes=st.lists(st.sampled_from([0, 2, 3, 4, 4, 4, 160, 160, 160]), max_size=40),
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=12),
    step=st.sampled_from([1, 2, 4]),
)
def test_joined_messages_are_whole_samples_of_one_size_and_nothing_else_is_joined(
    sizes: list[int], cuts: list[int], step: int
) -> None:
    payloads = [bytes([number]) * size for number, size in enumerate(sizes)]
    wire = b"".join(wire_frame(0x82, True, b"mask", payload) for payload in payloads)
    plain, joining = (FrameReader(ServerProtocol(state=OPEN), max_message_bytes=400) for _ in range(2))
    joining.step_bytes = step
    one_by_one: list[bytes] = []
    parts: list[bytes] = []
    for read in cut(wire, cuts):
        one_by_one += [payload for _, payload, _ in plain.feed(read)]
        for _, payload, messages in joining.feed(read):
            size, rest = divmod(len(payload), messages)
            assert not rest
            assert messages == 1 or (size and not size % step)
            parts += [payload[number * size : (number + 1) * size] for number in range(messages)]
    assert parts == one_by_one == payloads
    assert plain.frames == joining.frames == len(payloads)
