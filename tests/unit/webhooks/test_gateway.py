"""The gateway's messages, field by field."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.wanted import USUAL
from wavstream.model.app import WebhookTarget
from wavstream.model.fact import Fact, FactKind, command_done, recording_fact, transcribed_fact
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.webhooks.gateway import render
from wavstream.webhooks.vocabulary import Occasion

START = datetime(2026, 11, 1, 10, tzinfo=UTC)
URL = "https://rec.example.net/files/a.wav"


def recording(status: Status, *, samples: int = 0, error: str | None = None) -> Recording:
    return Recording(
        id="r1", app_id="shop", session_id="acW68-f47a", status=status, options=RecordingOptions(), object_key="k",
        file_name="f.wav", created_at=START, error=error, request_id="rec-1",
        receipt=Receipt(8000, 2, samples, "9f", 80) if samples else None,
    )  # fmt: skip


def fact_of(told: Recording) -> Fact:
    return recording_fact(told, url=URL, at=START)


def command(error: str | None) -> Fact:
    return command_done(
        app_id="shop", session_id="acW68-f47a", operation_id="op-1", command="record/stop", request_id="stop-1",
        error=error, at=START,
    )  # fmt: skip


def message(fact: Fact) -> object:
    occasion = Occasion(sequence=7, attempt=1, url="https://shop.example/hooks", now=START, file_url=lambda *_: URL)
    return json.loads(render(fact, occasion))


def test_a_finished_recording_is_told_flat_and_again_in_data() -> None:
    fields = {"recording_url": URL, "duration": 62, "command_uid": "rec-1", "recording_id": "r1"}

    assert message(fact_of(recording(Status.AVAILABLE, samples=62 * 8000))) == {
        "event": "recording.completed", "session_uuid": "acW68-f47a", **fields, "sequence": 7, "data": fields,
    }  # fmt: skip


@pytest.mark.parametrize(("duration_ms", "duration"), [(1, 0), (499, 0), (500, 1), (1499, 1), (1500, 2), (2500, 3)])
def test_duration_is_in_whole_seconds_half_up(duration_ms: int, duration: int) -> None:
    told = message(fact_of(recording(Status.AVAILABLE, samples=duration_ms * 8)))

    assert isinstance(told, dict)
    assert told["duration"] == told["data"]["duration"] == duration
    assert isinstance(told["duration"], int)


def test_a_command_that_succeeded_is_told_without_an_error() -> None:
    fields = {"command_uid": "stop-1", "command": "record/stop", "success": True}

    assert message(command(None)) == {
        "event": "command.result", "session_uuid": "acW68-f47a", **fields, "sequence": 7, "data": fields,
    }  # fmt: skip


def test_a_command_that_failed_is_told_with_its_error() -> None:
    fields = {"command_uid": "stop-1", "command": "record/stop", "success": False, "error": "not recording"}

    assert message(command("not recording")) == {
        "event": "command.result", "session_uuid": "acW68-f47a", **fields, "sequence": 7, "data": fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("told", "event", "fields"),
    [
        (recording(Status.ONGOING), "recording.started", {}),
        (recording(Status.ABSENT), "recording.failed", {"error": "no audio was received"}),
        (recording(Status.FAILED, error="its file is gone"), "recording.failed", {"error": "its file is gone"}),
    ],
)
def test_what_gives_no_file_has_an_event_of_its_own(told: Recording, event: str, fields: dict[str, str]) -> None:
    fields = {**fields, "command_uid": "rec-1", "recording_id": "r1"}

    assert message(fact_of(told)) == {
        "event": event, "session_uuid": "acW68-f47a", **fields, "sequence": 7, "data": fields,
    }  # fmt: skip


def test_a_transcript_is_told_with_its_text_and_one_that_failed_with_the_reason() -> None:
    told = recording(Status.AVAILABLE, samples=8000)
    said = {"id": "t1", "language": "en-US", "engine": "http", "words": 2, "speech_ms": 900, "text": "good morning"}
    failed = {"id": "t1", "language": None, "engine": "http", "error": "the key is wrong"}

    made, lost = (transcribed_fact(told, each, url=URL, at=START) for each in (said, failed))

    uid = {"command_uid": "rec-1", "recording_id": "r1"}
    for fact, event, fields in (
        (made, "recording.transcribed", {"transcription": said}),
        (
            lost,
            "recording.transcription_failed",
            {"error": "the key is wrong", "transcription": {"id": "t1", "language": None, "engine": "http"}},
        ),
    ):
        told_of = {**fields, **uid}
        head = {"event": event, "session_uuid": "acW68-f47a", "sequence": 7}
        assert message(fact) == {**head, **told_of, "data": told_of}
    assert made.id != lost.id


def test_the_same_thing_told_again_has_the_same_id_and_another_thing_another() -> None:
    available = recording(Status.AVAILABLE, samples=8)
    same = recording_fact(available, url=URL, at=datetime.now(UTC))

    assert fact_of(available).id == same.id
    others = [available, replace(available, id="r2"), recording(Status.ONGOING), recording(Status.FAILED)]
    assert len({fact_of(each).id for each in others} | {command(None).id}) == 5


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ((), {FactKind.COMMAND_DONE, FactKind.RECORDING_FINISHED}),
        (("recording.completed", "call.hangup"), {FactKind.RECORDING_FINISHED}),
        (("recording.failed",), {FactKind.RECORDING_ABSENT, FactKind.RECORDING_FAILED}),
        (("dtmf",), set()),
    ],
)
def test_an_allow_list_chooses_the_kinds_that_it_names(events: tuple[str, ...], told: set[FactKind]) -> None:
    target = WebhookTarget("https://shop.example/hooks", events)
    known = fact_of(recording(Status.AVAILABLE))

    assert {kind for kind in FactKind if USUAL(replace(known, kind=kind), target)} == told


def test_a_fact_of_before_ids_had_a_name_of_no_vendors_is_told_with_its_id() -> None:
    now = command(None)
    body = {name: value for name, value in now.body.items() if name != "request_id"}

    assert message(replace(now, body={**body, "command_uid": "stop-1"})) == message(now)
