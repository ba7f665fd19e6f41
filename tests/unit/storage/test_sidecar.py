"""A recording survives the way into its sidecar and back."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from tests.support.sessions import a_recording, at
from wavstream.model.audio import Channel, Track
from wavstream.model.call import CallFacts
from wavstream.model.document import recording_document
from wavstream.model.options import ChannelLayout, FileFormat, PauseBehavior, RecordingOptions, Trim
from wavstream.model.recording import (
    EndReason,
    Gap,
    Integrity,
    LegalHold,
    LegReceipt,
    Pause,
    Receipt,
    Recording,
    Status,
)
from wavstream.model.times import utc
from wavstream.storage.sidecar import read_sidecar

OPTIONS = RecordingOptions(
    channels=ChannelLayout.STEREO,
    sample_rate=16_000,
    pause_behavior=PauseBehavior.SILENCE,
    client_state="YQ==",
    metadata={"order": "7"},
    retention_hours=5,
    format=FileFormat.MP3,
    trim=Trim.SILENCE,
    terminators="#",
)
INTEGRITY = Integrity(
    samples=32_000,
    lost_ms=3,
    gaps=(Gap("a", Track.INBOUND, 10, 20, "stall"),),
    pauses=(Pause(5, 6),),
    drift_ppm={"a": 3},
)


def finished(options: RecordingOptions = OPTIONS) -> Recording:
    """Return a recording that is available."""
    channels = options.file_channels
    leg = LegReceipt("a", Track.INBOUND, Channel.LEFT, "pcm", "l16", 8000, 0, 1000)
    return replace(
        a_recording(options=options),
        status=Status.AVAILABLE,
        end_reason=EndReason.HANGUP,
        call=CallFacts("+4930", "+4940", "inbound", {"sid": "CA1"}),
        started_at=utc(at(0) + 1),
        ended_at=utc(at(2)),
        updated_at=utc(at(2)),
        expires_at=utc(at(3)),
        receipt=Receipt(16_000, channels, 32_000 // channels, "9f", 64_044, (leg,), INTEGRITY),
    )


def sidecar(recording: Recording, **changed: object) -> bytes:
    return msgspec.json.encode({**recording_document(recording, url="http://x/y").as_json(), **changed})


@pytest.mark.parametrize("layout", ChannelLayout)
def test_a_recording_comes_back_from_its_sidecar_as_it_was(layout: ChannelLayout) -> None:
    recording = finished(replace(OPTIONS, channels=layout))

    assert read_sidecar(sidecar(recording), object_key=recording.object_key) == recording


def test_a_hold_of_before_the_end_and_no_expiry_come_back_too() -> None:
    recording = replace(finished(), hold=LegalHold("legal", "case 4711", utc(at(1))), expires_at=None)

    assert read_sidecar(sidecar(recording), object_key=recording.object_key) == recording


def test_a_sidecar_that_is_older_than_some_options_has_their_defaults() -> None:
    recording = finished(RecordingOptions(sample_rate=16_000))
    facts = recording_document(recording, url="http://x/y").as_json()
    for younger in (
        "max_length_s",
        "initial_timeout_s",
        "end_silence_timeout_s",
        "sensitivity",
        "trim",
        "beep",
        "terminators",
        "transcription",
        "api",
        "updated_at",
    ):
        del facts[younger]
    for younger in ("clock_restarts", "after_limit_ms"):
        del facts["integrity"][younger]

    assert read_sidecar(msgspec.json.encode(facts), object_key=recording.object_key) == recording


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"not JSON",
        b"[]",
        b'{"id": 7}',
        sidecar(finished(), status="failed"),
        sidecar(finished(), audio_sha256=None),
    ],
    ids=["empty", "no facts", "not JSON", "a list", "wrong type", "not available", "no hash"],
)
def test_what_is_not_a_sidecar_of_a_finished_recording_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the decoder's own text
        read_sidecar(content, object_key="x.wav")
