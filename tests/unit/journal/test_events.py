"""Events as journals have them, those of before included."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.support.sessions import OPTIONS, a_recording
from wavstream.journal.events import RecordingStarted, decode, encode
from wavstream.model.origin import GATEWAY, Origin

# As the version before wrote the start of a recording by the gateway's command ``rec-1``.
OF_BEFORE = b"""{"type":"recording_started","recording":{"id":"ffffffffffffffffffffffffffffffff","app_id":"default",
"session_id":"call-77","status":"accepted","options":{"format":"wav","channels":"stereo","track":"both",
"sample_rate":null,"max_length_s":0,"initial_timeout_s":0.0,"end_silence_timeout_s":0.0,"sensitivity":44.0,
"trim":"none","beep":false,"terminators":"","pause_behavior":"skip","file_name":null,"client_state":null,
"metadata":{},"retention_hours":null},"object_key":"default/k.wav","file_name":"call-77.wav",
"created_at":"2027-01-15T08:00:00Z","call":{"from_":"","to":"","direction":"","vendor_ids":{}},"end_reason":null,
"started_at":null,"ended_at":null,"expires_at":null,"receipt":null,"error":null,"hold":null,"command_uid":"rec-1",
"opened":false},"streams":[],"leg_order":["a"],"returns_beep":[]}"""


def started(**metadata: str) -> RecordingStarted:
    recording = replace(
        a_recording(options=replace(OPTIONS, metadata=metadata)), id="f" * 32, object_key="default/k.wav"
    )
    return RecordingStarted(recording=recording, streams=(), leg_order=("a",))


def test_a_start_of_before_has_its_request_id_and_keeps_streams_alive() -> None:
    event = decode(OF_BEFORE)

    recording = replace(started().recording, request_id="rec-1", keepalive=True, origin=Origin(api=GATEWAY))
    assert event == msgspec.structs.replace(started(), recording=recording)


def test_a_start_of_before_without_an_id_keeps_none_alive() -> None:
    assert decode(OF_BEFORE.replace(b'"rec-1"', b"null")) == started()


@pytest.mark.parametrize("metadata", [{}, {"command_uid": "theirs"}])
def test_a_start_of_today_is_read_as_it_was_written(metadata: dict[str, str]) -> None:
    event = started(**metadata)

    assert decode(memoryview(encode(event))) == event
