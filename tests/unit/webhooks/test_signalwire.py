"""SignalWire's status callbacks, field by field, and their signatures by SignalWire's own validators."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from signalwire.core.security.webhook_validator import (
    validate_webhook_signature,
    validate_webhook_signature_sha256,
)
from signalwire.relay.event import RecordEvent

from wavstream.model.audio import Channel, Track
from wavstream.model.fact import Fact, FactKind, recording_fact
from wavstream.model.options import FileFormat, PauseBehavior, RecordingOptions, TrackChoice
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, LegReceipt, Receipt, Recording, Status
from wavstream.webhooks.signalwire import VOCABULARY
from wavstream.webhooks.vocabulary import Keys, Occasion

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
END = START + timedelta(seconds=15.5)
FILE = "https://rec.example.net/files/a.mp3"
HOOK = "https://shop.example:8443/hooks?of=calls"
RECORDING_ID = "0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42"
OCCASION = Occasion(sequence=3, attempt=1, url=HOOK, now=END, file_url=lambda *_: "")
LEG = LegReceipt("a", Track.INBOUND, Channel.LEFT, "pcm", "l16", 8000, 40, 15_500)
OPTIONS = RecordingOptions(format=FileFormat.MP3, track=TrackChoice.INBOUND)
RUNNING = Recording(
    id=RECORDING_ID, app_id="shop", session_id="call-77", status=Status.ONGOING, options=OPTIONS, object_key="k",
    file_name="f.mp3", created_at=START, started_at=START, updated_at=START,
    origin=Origin("signalwire", "calling.record", "rec-1", HOOK, {"project_id": "the-shop"}),
)  # fmt: skip
AVAILABLE = RUNNING.became(
    Status.AVAILABLE, END, ended_at=END, end_reason=EndReason.STOPPED,
    receipt=Receipt(8000, 1, 15_500 * 8, "9f", 248_320, legs=(LEG,)),
)  # fmt: skip


def fact_of(recording: Recording) -> Fact:
    return recording_fact(recording, url=FILE, at=END + timedelta(seconds=0.25))


def message(recording: Recording) -> dict[str, Any]:
    return json.loads(VOCABULARY.render(fact_of(recording), OCCASION))  # type: ignore[no-any-return]


def test_a_finished_recording_is_told_in_both_forms_at_once() -> None:
    audio = {"format": "mp3", "direction": "speak", "stereo": False}

    assert message(AVAILABLE) == {
        "event_type": "calling.call.record",
        "event_channel": "rest:call-77",
        "timestamp": 1793527215.75,
        "project_id": "the-shop",
        "space_id": "shop",
        "params": {
            "call_id": "call-77",
            "node_id": "wavstream",
            "control_id": "rec-1",
            "state": "finished",
            "recording_id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42",
            "url": FILE,
            "duration": 15.5,
            "size": 248_320,
            "start_time": 1793527200.0,
            "end_time": 1793527215.5,
            "first_frame_time": 1793527200.04,
            "record": {"url": FILE, "duration": 15.5, "size": 248_320, "format": "mp3", "audio": audio},
        },
    }


def test_the_clients_own_class_reads_a_finished_recording() -> None:
    event = RecordEvent.from_payload(message(AVAILABLE))

    assert (event.control_id, event.state, event.url, event.duration, event.size) == (
        "rec-1", "finished", FILE, 15.5, 248_320,
    )  # fmt: skip
    assert event.call_id == "call-77"


@pytest.mark.parametrize(
    ("recording", "state", "has_file"),
    [
        (RUNNING, "recording", True),
        (RUNNING.became(Status.PAUSED, END), "paused", True),
        (RUNNING.became(Status.ONGOING, END), "recording", True),
        (AVAILABLE, "finished", True),
        (replace(AVAILABLE, end_reason=EndReason.NO_INPUT), "no_input", True),
        (RUNNING.became(Status.ABSENT, END, ended_at=END), "no_input", False),
        (RUNNING.became(Status.FAILED, END, ended_at=END, error="its file is gone"), "error", False),
    ],
    ids=["started", "paused", "resumed", "finished", "no input", "absent", "failed"],
)
def test_each_state_has_its_word_and_the_address_of_the_file_if_there_is_or_will_be_one(
    recording: Recording, state: str, has_file: bool
) -> None:
    params = message(recording)["params"]

    assert params["state"] == state
    assert ("url" in params, "url" in params["record"]) == (has_file, has_file)
    assert ("duration" in params) == ("size" in params) == (recording.receipt is not None)
    assert ("end_time" in params) == (recording.ended_at is not None)


@pytest.mark.parametrize("behavior", PauseBehavior)
def test_what_a_pause_leaves_is_told_with_the_pause_alone(behavior: PauseBehavior) -> None:
    paused = replace(RUNNING, options=replace(OPTIONS, pause_behavior=behavior)).became(Status.PAUSED, END)

    assert message(paused)["params"]["pause_behavior"] == behavior.value
    assert "pause_behavior" not in message(paused.became(Status.ONGOING, END + timedelta(seconds=1)))["params"]


@pytest.mark.parametrize(
    ("track", "direction", "stereo"),
    [("inbound", "speak", False), ("outbound", "listen", False), ("both", "both", True)],
)
def test_tracks_are_told_as_directions(track: str, direction: str, stereo: bool) -> None:
    recording = replace(RUNNING, options=replace(OPTIONS, track=TrackChoice(track)))

    audio = message(recording)["params"]["record"]["audio"]

    assert (audio["direction"], audio["stereo"]) == (direction, stereo)


@pytest.mark.parametrize("verb", ["record_call", "record"])
def test_a_recording_of_a_document_is_told_on_its_channel(verb: str) -> None:
    recording = replace(AVAILABLE, origin=replace(RUNNING.origin, command=verb, said={}))

    told = message(recording)

    assert (told["event_channel"], told["project_id"]) == ("swml:call-77", "")


def test_a_callback_is_signed_as_the_clients_validators_want_it() -> None:
    key = bytes(range(32))
    body = VOCABULARY.render(fact_of(AVAILABLE), OCCASION)
    headers = VOCABULARY.sign("message-1", body, Keys(vendor=key), OCCASION)
    assert VOCABULARY.key_text is not None
    text = VOCABULARY.key_text(key)

    sha1, sha256 = headers["X-Signalwire-Signature"], headers["X-Signalwire-SHA256-Signature"]
    assert validate_webhook_signature(text, sha1, HOOK, body.decode())
    assert validate_webhook_signature_sha256(text, sha256, HOOK, body.decode())
    for changed in (body.replace(b"finished", b"error"), body + b" "):
        assert not validate_webhook_signature(text, sha1, HOOK, changed.decode())
        assert not validate_webhook_signature_sha256(text, sha256, HOOK, changed.decode())
    assert not validate_webhook_signature(text, sha1, "https://shop.example/hooks", body.decode())
    assert not validate_webhook_signature(text[:-1] + "0", sha1, HOOK, body.decode())
    assert not validate_webhook_signature_sha256(text[:-1] + "0", sha256, HOOK, body.decode())


def test_a_callback_that_is_not_taken_is_tried_three_times_more_and_given_up() -> None:
    for each_try_s in (0.01, 5.0):
        now, waited = START, list[float]()
        for failed in range(1, 6):
            now += timedelta(seconds=each_try_s)
            then = VOCABULARY.retries.next_at(failed, begun_at=START, now=now)
            if then is None:
                break
            waited.append((then - now).total_seconds())
            now = then
        assert waited == [1, 5, 30]


def test_every_state_of_a_recording_has_the_one_event_and_transcripts_have_none() -> None:
    assert set(VOCABULARY.events.values()) == {"calling.call.record"}
    assert VOCABULARY.usual == set()
    assert FactKind.RECORDING_TRANSCRIBED not in VOCABULARY.events
    assert FactKind.COMMAND_DONE not in VOCABULARY.events
