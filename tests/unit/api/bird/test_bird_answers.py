"""How Bird shows a recording: every status, every field, and nothing that Bird does not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from jsonschema_rs import ValidationError

from tests.unit.api.bird.conftest import CALL, CHANNEL, CREATED, OTHER_CHANNEL, SAID, WORKSPACE, recording
from tests.unit.api.bird.schemas import conforms
from tests.unit.api.fakes import START
from wavstream.api.bird import answers
from wavstream.api.bird.answers import NEVER, call_recording_object, recording_object
from wavstream.model.call import CallFacts
from wavstream.model.ids import as_uuid
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import EndReason, Receipt, Recording, Status
from wavstream.storage.links import LinkKey, LinkKeys, PublicUrls

URLS = PublicUrls(LinkKeys((LinkKey("k1", b"s" * 32, START),)), "https://rec.example.com")
NOW = CREATED + timedelta(seconds=30.9)


def workspaces(told: Recording) -> dict[str, Any]:
    shown = recording_object(told, is_transcribed=False, urls=URLS, now=NOW, link_ttl_s=600)
    conforms("recording", shown)
    return shown


def calls(told: Recording) -> dict[str, Any]:
    shown = call_recording_object(told, channel_id=OTHER_CHANNEL, now=NOW)
    conforms("call-recording", shown)
    return shown


def test_an_available_recording_of_a_workspace_has_every_field_that_is_known() -> None:
    call = CallFacts("+15550100", "+15550199", "inbound", {"channelId": CHANNEL, "workspaceId": WORKSPACE})
    told = recording(call=call, updated_at=CREATED + timedelta(seconds=61.3))
    shown = workspaces(told)
    url = shown.pop("url")

    assert shown == {
        "id": as_uuid(told.id), "source": "call", "sourceId": CALL, "channelId": CHANNEL, "status": "available",
        "direction": "incoming", "originator": {"number": {"type": "pstn", "number": "+15550100"}},
        "receiver": {"number": {"type": "pstn", "number": "+15550199"}}, "origin": "call-command-record-call",
        "duration": 61, "stereo": False, "format": "mp3", "transcription": False,
        "createdAt": "2026-11-01T09:59:00.000000Z", "updatedAt": "2026-11-01T10:00:01.300000Z",
        "startedAt": "2026-11-01T09:59:00.000000Z", "endedAt": "2026-11-01T10:00:01.240000Z",
    }  # fmt: skip
    path, _, query = url.removeprefix(URLS.public_url).partition("?")
    link = URLS.links.verify(path, dict(part.split("=", 1) for part in query.split("&")))
    assert link.recording_id == told.id
    assert link.expires_at == (NOW + timedelta(seconds=600)).replace(microsecond=0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.ACCEPTED, "accepted"),
        (Status.ONGOING, "ongoing"),
        (Status.PAUSED, "paused"),
        (Status.COMPLETED, "completed"),
        (Status.AVAILABLE, "available"),
        (Status.ABSENT, "absent"),
        (Status.FAILED, "failed"),
        (Status.EXPIRED, "absent"),
        (Status.DELETED, "absent"),
    ],
)
def test_each_status_has_one_of_birds_seven_words_and_only_what_can_be_fetched_has_a_url(
    status: Status, expected: str
) -> None:
    told = recording(status)

    assert workspaces(told)["status"] == calls(told)["status"] == expected
    assert ("url" in workspaces(told)) == (status is Status.AVAILABLE)


def test_what_is_not_known_of_a_recording_is_left_out_for_a_workspace_and_is_there_for_its_call() -> None:
    told = recording(Status.ACCEPTED, origin=Origin())
    absent = {"channelId", "direction", "originator", "receiver", "duration", "url", "startedAt", "endedAt"}

    assert absent.isdisjoint(workspaces(told))
    shown = calls(told)
    assert shown["channelId"] == OTHER_CHANNEL
    assert (shown["startedAt"], shown["endedAt"], shown["duration"], shown["endCause"]) == (NEVER, NEVER, 0, "")


def test_the_channel_is_that_of_the_media_server_before_that_of_the_start_before_that_of_the_path() -> None:
    by_media = recording(call=CallFacts(vendor_ids={"channelId": "of-media"}))

    assert workspaces(replace(by_media, call=CallFacts()))["channelId"] == CHANNEL
    for shown in (
        recording_object(by_media, is_transcribed=False, urls=URLS, now=NOW, link_ttl_s=600),
        call_recording_object(by_media, channel_id=OTHER_CHANNEL, now=NOW),
    ):
        assert shown["channelId"] == "of-media"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (Origin(api="bird", command="recordCall", said=SAID), "call-command-record-call"),
        (Origin(api="bird", command="record", said=SAID), "call-command-record"),
        (Origin(), "call-command-record-call"),
        (Origin(api="telnyx", command="record_start"), "call-command-record-call"),
    ],
)
def test_the_origin_is_the_command_and_for_another_api_the_nearest_word(origin: Origin, expected: str) -> None:
    told = recording(origin=origin)

    assert workspaces(told)["origin"] == calls(told)["origin"] == expected


@pytest.mark.parametrize(
    ("party", "kind"),
    [
        ("+31 20 555 0100", "pstn"),
        ("(020) 555-0100", "webrtc"),
        ("112", "pstn"),
        ("sip:alice@example.com", "webrtc"),
        ("alice", "webrtc"),
        ("+", "webrtc"),
        ("٣٣", "webrtc"),
    ],
)
def test_a_party_is_a_number_of_the_telephone_network_or_something_else(party: str, kind: str) -> None:
    shown = workspaces(recording(call=CallFacts(from_=party, direction="outbound")))

    assert shown["originator"] == {"number": {"type": kind, "number": party}}
    assert shown["direction"] == "outgoing"
    assert "receiver" not in shown


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (recording(Status.ONGOING), 31),
        (recording(Status.PAUSED, updated_at=CREATED + timedelta(seconds=12)), 12),
        (recording(Status.COMPLETED), 61),
        (recording(Status.AVAILABLE), 61),
        (recording(Status.ABSENT, started_at=None), 0),
        (recording(Status.ONGOING, started_at=NOW + timedelta(seconds=5)), 0),
    ],
)
def test_the_duration_for_a_call_is_that_of_the_file_and_before_that_the_time_since_the_start(
    told: Recording, expected: int
) -> None:
    assert calls(told)["duration"] == expected


@pytest.mark.parametrize(("length_ms", "expected"), [(0, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2), (2_500, 3)])
def test_a_file_is_as_many_whole_seconds_long_half_up(length_ms: int, expected: int) -> None:
    told = recording(receipt=Receipt(8000, 1, length_ms * 8, "9f" * 32, 80))

    assert workspaces(told)["duration"] == calls(told)["duration"] == expected


def test_stereo_and_format_are_those_of_the_file() -> None:
    wav = RecordingOptions(format=FileFormat.WAV, channels=ChannelLayout.STEREO)
    asked, made = recording(Status.ONGOING, options=wav), recording(options=wav)  # its receipt says one channel

    assert (workspaces(asked)["stereo"], calls(asked)["stereo"], workspaces(asked)["format"]) == (True, True, "wav")
    assert (workspaces(made)["stereo"], calls(made)["stereo"]) == (False, False)


def test_the_end_has_the_word_of_our_own_api_for_its_cause() -> None:
    assert calls(recording(end_reason=EndReason.TERMINATOR))["endCause"] == "terminator"


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("recording", answers.RECORDING_EXAMPLE),
        ("call-recording", answers.CALL_RECORDING_EXAMPLE),
        ("command", answers.Started.model_json_schema()["examples"][0]),
        ("recording-metrics", answers.RecordingMetrics.model_json_schema()["examples"][0]),
        ("invalid", answers.BirdError.model_json_schema()["examples"][0]),
        ("error", answers.BirdError.model_json_schema()["examples"][1]),
    ],
)
def test_the_examples_of_the_openapi_document_have_the_forms_that_bird_documents(
    name: str, example: dict[str, Any]
) -> None:
    conforms(name, example)
    with pytest.raises(ValidationError):
        conforms(name, example | {"one": "too many"})
