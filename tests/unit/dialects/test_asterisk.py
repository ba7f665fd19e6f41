"""What the transcripts of Asterisk cannot say: what it is sent, and packets that are decoded."""

from __future__ import annotations

import json

import pytest

from wavstream.dialects.asterisk import AsteriskDialect
from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import Event, Frame, Ignored, Outgoing, Reason, StreamStarted
from wavstream.errors import BadParameter
from wavstream.model.audio import Codec

OPUS_SILENCE = bytes.fromhex("f8fffe")
"""20 ms."""
LONGEST_COMMAND_BYTES = 128


def dialect(**query: str) -> AsteriskDialect:
    return AsteriskDialect(UpgradeRequest(session_id="s", leg="a", query=query, headers={}))


def start(made: AsteriskDialect, form: str, **fields: object) -> list[Event]:
    return list(made.text(json.dumps({"event": "MEDIA_START", "format": form, **fields}).encode()))


@pytest.mark.parametrize(
    ("started", "probe"),
    [
        (b"MEDIA_START format:ulaw", b"GET_STATUS"),
        (b'{"event":"MEDIA_START","format":"ulaw"}', b'{"command":"GET_STATUS"}'),
        (b'\n {"event":"MEDIA_START","format":"ulaw"}', b'{"command":"GET_STATUS"}'),
    ],
)
def test_asterisk_is_asked_for_a_sign_of_life_in_its_own_form_and_only_once_that_is_known(
    started: bytes, probe: bytes
) -> None:
    made = dialect(format="ulaw")
    assert made.probe() is None
    made.binary(bytes(160))
    made.waited()
    assert made.probe() is None
    made.text(started)
    assert made.probe() == Outgoing(is_text=True, data=probe)
    assert len(probe) <= LONGEST_COMMAND_BYTES


def test_no_command_says_farewell_or_takes_back_what_is_played() -> None:
    made = dialect(two_way="1")
    start(made, "ulaw", optimal_frame_size=160)
    assert made.farewell(1000, "over") is None
    assert made.clear() is None
    assert made.message(b"\xff" * 160) == Outgoing(is_text=False, data=b"\xff" * 160)


def test_packets_of_g722_are_decoded_where_they_arrive_however_many_are_read_together() -> None:
    apart, together = dialect(), dialect()
    for made in (apart, together):
        (started,) = start(made, "g722", optimal_frame_size=160)
        assert isinstance(started, StreamStarted)
        assert (started.format.codec, started.format.rate_hz) == (Codec.L16, 16_000)
    packets = [bytes((number * index) % 251 for index in range(160)) for number in range(3)]
    frames = [event for packet in packets for event in apart.binary(packet)]
    assert [(frame.position, frame.samples) for frame in frames if isinstance(frame, Frame)] == [
        (0, 320),
        (320, 320),
        (640, 320),
    ]
    assert list(together.binary(b"".join(packets), 3)) == frames


def test_a_packet_of_opus_that_is_none_is_counted_and_the_next_one_is_heard() -> None:
    made = dialect(two_way="1")
    (started,) = start(made, "opus", optimal_frame_size=0)
    assert isinstance(started, StreamStarted)
    assert (started.format.rate_hz, started.accepts_audio, started.wire_codec) == (48_000, False, "opus")
    assert list(made.binary(bytes(9_000))) == [Ignored(Reason.BAD_MEDIA)]
    assert list(made.binary(b"")) == []
    (frame,) = made.binary(OPUS_SILENCE)
    assert isinstance(frame, Frame)
    assert (frame.position, frame.samples) == (0, 960)


def test_audio_in_packets_that_came_before_the_start_is_decoded_with_it() -> None:
    made = dialect()
    assert list(made.binary(OPUS_SILENCE)) == []
    started, frame = start(made, "opus")
    assert isinstance(started, StreamStarted)
    assert isinstance(frame, Frame)
    assert frame.samples == 960


@pytest.mark.parametrize("form", ["slin96", "slin192", "g729", "silk16"])
def test_a_format_that_cannot_be_recorded_is_refused_with_what_to_set(form: str) -> None:
    with pytest.raises(BadParameter, match=r"^format: .*; set c\(slin16\) or c\(ulaw\)") as refused:
        start(dialect(), form)
    assert len(str(refused.value).encode()) <= 123
