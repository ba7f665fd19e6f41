"""Telnyx's webhooks: the bodies, as the vendor's own client reads them, and a signature that it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from telnyx import Telnyx
from telnyx.types import CallRecordingError, CallRecordingSaved, CallRecordingTranscriptionSaved

from tests.unit.api.telnyx.conftest import CALL, CREATED, IDS, recording
from wavstream.api.registry import VOCABULARIES
from wavstream.model.app import WebhookTarget
from wavstream.model.call import CallFacts
from wavstream.model.fact import Fact, FactKind, recording_fact
from wavstream.model.ids import as_uuid
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.webhooks.telnyx import EVENTS, VOCABULARY, public_key, render
from wavstream.webhooks.vocabulary import Keys, Occasion

HOOK = "https://shop.example/hooks"
URL = "https://rec.example.com/files/a.wav"
SEED = bytes(range(32))
STATE = "aGVsbG8="
WITH_STATE = RecordingOptions(client_state=STATE)
PUBLIC = Origin(api="telnyx", command="record_start", said={"public_links": True})


def occasion(attempt: int = 1, now: datetime = CREATED) -> Occasion:
    def file_url(document: Mapping[str, Any], ext: str, ttl_s: int) -> str:
        expires_at = int((now + timedelta(seconds=ttl_s)).timestamp())
        return f"https://rec.example.com/{document['id']}.{ext}?expires={expires_at}"

    return Occasion(sequence=1, attempt=attempt, url=HOOK, now=now, file_url=file_url)


def fact_of(told: Recording) -> Fact:
    return recording_fact(told, url=URL, at=CREATED + timedelta(seconds=61.5))


def told_as(fact: Fact, **when: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(render(fact, occasion(**when)))
    return body


def test_a_file_that_can_be_fetched_is_told_with_a_link_to_the_format_that_was_asked_for() -> None:
    made = recording(options=WITH_STATE)
    expires_at = int(CREATED.timestamp()) + 600

    assert told_as(fact := fact_of(made)) == {
        "data": {
            "record_type": "event",
            "event_type": "call.recording.saved",
            "id": as_uuid(fact.id),
            "occurred_at": "2026-11-01T10:01:01.500000Z",
            "payload": {
                "call_control_id": CALL,
                **IDS,
                "client_state": STATE,
                "channels": "dual",
                "recording_id": as_uuid(made.id),
                "format": "wav",
                "recording_started_at": "2026-11-01T10:00:00.000000Z",
                "recording_ended_at": "2026-11-01T10:01:01.240000Z",
                "recording_urls": {"wav": f"https://rec.example.com/{made.id}.wav?expires={expires_at}"},
                "public_recording_urls": {},
            },
        },
        "meta": {"attempt": 1, "delivered_to": HOOK},
    }


def test_the_link_is_made_for_each_try_and_the_id_stays() -> None:
    fact = fact_of(recording())
    first = told_as(fact)
    third = told_as(fact, attempt=3, now=CREATED + timedelta(hours=1))

    assert third["meta"]["attempt"] == 3
    assert third["data"]["id"] == first["data"]["id"]
    assert first["data"]["payload"]["recording_urls"]["wav"].endswith("=1793527800")
    assert third["data"]["payload"]["recording_urls"]["wav"].endswith("=1793531400")


def test_a_lasting_link_is_told_where_the_server_gives_one() -> None:
    made = recording(origin=PUBLIC, options=RecordingOptions(format=FileFormat.MP3))

    assert told_as(fact_of(made))["data"]["payload"]["public_recording_urls"] == {"mp3": URL}


@pytest.mark.parametrize(
    "made",
    [
        recording(receipt=Receipt(8000, 1, 8000, "9f" * 32, 16_044)),
        recording(Status.AVAILABLE, receipt=None, options=RecordingOptions(channels=ChannelLayout.MONO)),
    ],
)
def test_a_mono_file_is_single(made: Recording) -> None:
    assert told_as(fact_of(made))["data"]["payload"]["channels"] == "single"


def test_what_the_media_server_did_not_tell_of_the_call_is_called_as_the_call_and_the_app_are() -> None:
    payload = told_as(fact_of(recording(call=CallFacts())))["data"]["payload"]

    assert (payload["call_leg_id"], payload["call_session_id"], payload["connection_id"]) == (CALL, CALL, "shop")


@pytest.mark.parametrize(
    ("status", "result"), [(Status.FAILED, "Internal server error"), (Status.ABSENT, "No audio was received")]
)
def test_a_recording_without_a_file_is_an_error_and_says_whether_audio_was_missing(status: Status, result: str) -> None:
    made = recording(status, options=WITH_STATE, error="the disk is full")
    data = told_as(fact_of(made))["data"]

    assert data["event_type"] == "call.recording.error"
    assert data["payload"] == {
        "call_control_id": CALL,
        **IDS,
        "client_state": STATE,
        "recording_id": as_uuid(made.id),
        "reason": "Internal server error",
        "result": result,
    }


@pytest.mark.parametrize(("caller", "kind"), [("+15550100", "pstn"), ("sip:alice@example.com", "sip"), ("", "pstn")])
def test_a_transcript_is_told_with_its_text(caller: str, kind: str) -> None:
    made = recording(call=CallFacts(from_=caller, vendor_ids=IDS))
    fact = fact_of(made)
    transcription = {"id": "a" * 32, "text": "hello there", "language": "en"}
    fact = replace(fact, kind=FactKind.RECORDING_TRANSCRIBED, body={**fact.body, "transcription": transcription})
    data = told_as(fact)["data"]
    typed: Any = Telnyx(api_key="key").webhooks.unsafe_unwrap(json.dumps({"data": data}))

    assert isinstance(typed.data, CallRecordingTranscriptionSaved)
    assert data["event_type"] == "call.recording.transcription.saved"
    assert data["payload"] == {
        "call_control_id": CALL,
        **IDS,
        "client_state": None,
        "recording_id": as_uuid(made.id),
        "recording_transcription_id": as_uuid("a" * 32),
        "transcription_text": "hello there",
        "calling_party_type": kind,
        "status": "completed",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.AVAILABLE, CallRecordingSaved),
        (Status.FAILED, CallRecordingError),
        (Status.ABSENT, CallRecordingError),
    ],
)
def test_the_vendors_client_takes_the_signature_and_knows_the_event(status: Status, kind: type) -> None:
    fact = fact_of(recording(status))
    now = occasion(now=datetime.now(UTC))
    body = render(fact, now)
    headers = VOCABULARY.sign(fact.id, body, Keys(vendor=SEED), now)
    client = Telnyx(api_key="key", public_key=public_key(SEED))

    event: Any = client.webhooks.unwrap(body.decode(), headers=headers)

    assert isinstance(event.data, kind)
    assert headers["telnyx-timestamp"] == str(int(now.now.timestamp()))
    for wrong in (public_key(bytes(32)), public_key(SEED[::-1])):
        with pytest.raises(ValueError, match="does not match"):
            client.webhooks.unwrap(body.decode(), headers=headers, key=wrong)
    with pytest.raises(ValueError, match="does not match"):
        client.webhooks.unwrap(body.decode().replace("call.", "cell."), headers=headers)
    with pytest.raises(ValueError, match="does not match"):
        client.webhooks.unwrap(body.decode(), headers={**headers, "telnyx-timestamp": str(int(time.time()) + 60)})


def test_the_text_of_the_key_is_what_receivers_configure() -> None:
    assert VOCABULARY.key_text is not None
    assert VOCABULARY.key_text(SEED) == public_key(SEED) == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ((), set(EVENTS)),
        (("recording.completed",), set(EVENTS)),
        (("call.recording.saved", "call.hangup"), {FactKind.RECORDING_FINISHED}),
        (("call.recording.error",), {FactKind.RECORDING_ABSENT, FactKind.RECORDING_FAILED}),
    ],
)
def test_an_app_is_told_the_vendors_events_that_it_names_or_else_all(
    events: tuple[str, ...], told: set[FactKind]
) -> None:
    known, target = fact_of(recording()), WebhookTarget(HOOK, events)

    assert {
        kind for kind in FactKind if VOCABULARIES.is_wanted(replace(known, kind=kind), target, usual_of_first=set())
    } == told


def test_tries_are_those_of_the_gateways_webhooks() -> None:
    begun_at, retries = CREATED, VOCABULARY.retries

    assert [
        (then - begun_at).total_seconds()
        for failed in range(1, 8)
        if (then := retries.next_at(failed, begun_at=begun_at, now=begun_at))
    ] == [1, 5, 30, 120, 600, 600, 600]
    assert retries.next_at(9, begun_at=begun_at, now=begun_at + timedelta(hours=23, minutes=51)) is None
