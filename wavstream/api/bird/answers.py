"""The objects that Bird's API answers with: what the OpenAPI document says of them, and how a recording becomes one.

There are two objects of a recording. The one of a workspace leaves out what is not known, and is the body of a webhook
too (``wavstream.webhooks.bird``). The one of a call has all of its fields always: Bird's example shows a time that is
still to come as the first moment of the year 1, and not as null.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from wavstream.api.bird.options import USUAL_LOCALE, locale_of
from wavstream.catalog.asked_transcriptions import Transcribed
from wavstream.catalog.transcriptions import TranscriptionStatus
from wavstream.model.document import recording_document
from wavstream.model.ids import as_uuid
from wavstream.model.recording import Recording, Status
from wavstream.model.times import Moment, rfc3339
from wavstream.storage.links import PublicUrls
from wavstream.webhooks import bird

NEVER = "0001-01-01T00:00:00Z"
"""A time that has not come yet, in the object of a call's recording."""

BirdStatus = Literal["accepted", "ongoing", "paused", "completed", "available", "absent", "failed"]
BirdOrigin = Literal["call-command-record", "call-command-record-call", "create-call", "bridge-call"]

_ID, _CALL, _CHANNEL = (
    "5b3b9b1e-8d1a-4a9e-9c2f-1f2d7f4d9a01",
    "1a6f4c1e-63d9-4b0e-8f2a-0a4f7b2c9d10",
    "88c2a0de-2f4b-4f0e-a3d4-6e1f0b5c7a22",
)
_LINK = f"https://rec.example.com/files/{_ID.replace('-', '')}/call-1793527200.mp3?expires=1793527862&signature=k1.Zm9v"
_CREATED, _CHANGED = "2026-11-01T09:59:00.000000Z", "2026-11-01T09:59:12.000000Z"

CALL_RECORDING_EXAMPLE: dict[str, Any] = {
    "id": _ID,
    "callId": _CALL,
    "channelId": _CHANNEL,
    "status": "paused",
    "origin": "call-command-record-call",
    "duration": 12,
    "stereo": True,
    "endCause": "",
    "createdAt": _CREATED,
    "updatedAt": _CHANGED,
    "startedAt": _CREATED,
    "endedAt": NEVER,
}
RECORDING_EXAMPLE: dict[str, Any] = {
    "id": _ID,
    "source": "call",
    "sourceId": _CALL,
    "channelId": _CHANNEL,
    "status": "available",
    "direction": "incoming",
    "originator": {"number": {"type": "pstn", "number": "+15550100"}},
    "receiver": {"number": {"type": "pstn", "number": "+15550199"}},
    "origin": "call-command-record-call",
    "duration": 61,
    "stereo": True,
    "format": "mp3",
    "transcription": False,
    "url": _LINK,
    "createdAt": _CREATED,
    "updatedAt": "2026-11-01T10:00:01.300000Z",
    "startedAt": _CREATED,
    "endedAt": "2026-11-01T10:00:01.240000Z",
}
TRANSCRIPTION_EXAMPLE: dict[str, Any] = {
    "id": "85530fbe-6dc1-4884-a9e6-e62b0f4c6df1",
    "recordingId": _ID,
    "status": "accepted",
    "stereo": False,
    "locale": "en-US",
    "createdAt": _CHANGED,
    "updatedAt": _CHANGED,
}


def _describe_absence(schema: dict[str, Any]) -> None:
    schema.pop("default")


Absent = SkipJsonSchema[None]
"""The type of a field that is left out where there is nothing to say; it is never null."""
_LEFT_OUT = Field(default=None, json_schema_extra=_describe_absence)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


class Command(_Answer):
    """A command to a call that was taken on."""

    id: str
    call_id: str
    call_flow_id: str | None
    """Always null: no flow commands these calls."""
    status: str
    command: str


class Started(_Answer):
    """A recording has begun, or waits for its call's stream."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "command": {
                        "id": "0f0c9a52-3b0e-4a57-9d4c-2b8f6a1d7e33",
                        "callId": _CALL,
                        "callFlowId": None,
                        "status": "accepted",
                        "command": bird.WHOLE_CALL,
                    },
                    "recordingId": _ID,
                }
            ]
        }
    )

    command: Command
    recording_id: str


class CallRecording(_Answer):
    """A recording as its call shows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [CALL_RECORDING_EXAMPLE]})

    id: str
    call_id: str
    channel_id: str
    status: BirdStatus
    origin: BirdOrigin
    duration: int
    """Whole seconds of the file; until there is one, of what was recorded, without pauses."""
    stereo: bool
    end_cause: str
    """Empty until it ends; then what ended it, in the words of `end_reason` in our own API."""
    created_at: Moment
    updated_at: Moment
    started_at: Moment
    """`0001-01-01T00:00:00Z`: not yet. The next field likewise."""
    ended_at: Moment


class CallRecordings(_Answer):
    """A page of the recordings of a call that run, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"results": [CALL_RECORDING_EXAMPLE]}]})

    results: list[CallRecording]
    next_page_token: str | Absent = _LEFT_OUT
    """Left out on the last page."""


class Number(_Answer):
    """The number, or the address, of a party."""

    type: Literal["pstn", "webrtc"]
    number: str


class Party(_Answer):
    """A party of the call."""

    number: Number


class BirdRecording(_Answer):
    """A recording as its workspace shows it. What is not known is left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [RECORDING_EXAMPLE]})

    id: str
    source: Literal["call", "conference"]
    source_id: str
    """The call."""
    channel_id: str | Absent = _LEFT_OUT
    status: BirdStatus
    direction: Literal["incoming", "outgoing"] | Absent = _LEFT_OUT
    originator: Party | Absent = _LEFT_OUT
    receiver: Party | Absent = _LEFT_OUT
    origin: BirdOrigin
    duration: int | Absent = _LEFT_OUT
    """Whole seconds of the file."""
    stereo: bool
    format: str
    transcription: bool
    """Whether there is a transcript."""
    url: str | Absent = _LEFT_OUT
    """Opens the file for ten minutes, without a key; there while it is available."""
    created_at: Moment
    updated_at: Moment
    started_at: Moment | Absent = _LEFT_OUT
    ended_at: Moment | Absent = _LEFT_OUT


class Recordings(_Answer):
    """A page of a workspace's recordings, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"results": [RECORDING_EXAMPLE]}]})

    results: list[BirdRecording]
    next_page_token: str | Absent = _LEFT_OUT
    """Left out on the last page."""


class RecordingMetrics(_Answer):
    """The storage that recordings take."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"counter": 3, "dailyStorageUsage": {"2026-11-01": 1_468_416}, "updatedAt": _CHANGED},
            ]
        }
    )

    counter: int
    """How many can be fetched."""
    daily_storage_usage: dict[str, int]
    """Bytes of the files by the day on which their recording was created, UTC."""
    updated_at: Moment


class Transcription(_Answer):
    """A transcription of a recording."""

    model_config = ConfigDict(json_schema_extra={"examples": [TRANSCRIPTION_EXAMPLE]})

    id: str
    recording_id: str
    status: Literal["accepted", "available", "failed"]
    """`accepted` until there is a text, which is `available` then, or until it has `failed`."""
    stereo: bool
    locale: str
    """Its language: of Bird's list, as far as one of that is near."""
    created_at: Moment
    updated_at: Moment


class Transcriptions(_Answer):
    """A page of a workspace's transcriptions, the last that was asked for first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"results": [TRANSCRIPTION_EXAMPLE]}]})

    results: list[Transcription]
    next_page_token: str | Absent = _LEFT_OUT
    """Left out on the last page."""


class BirdError(_Answer):
    """What was wrong. `details` comes with 422 and names every wrong field."""

    model_config = ConfigDict(
        title="Error",
        json_schema_extra={
            "examples": [
                {
                    "code": "InvalidRequest",
                    "message": "The request has wrong fields: $.maxLength",
                    "details": {"$.maxLength": ["must be greater than or equal to 0"]},
                },
                {"code": "NotFound", "message": "no such recording"},
            ]
        },
    )

    code: str = Field(min_length=5)
    message: str = Field(min_length=5)
    details: dict[str, list[str]] | Absent = _LEFT_OUT
    """By JSON path."""


_MEANINGS = {
    400: "The body is not JSON",
    401: "No key, or a wrong one",
    404: "There is no such thing, or it is another app's",
    413: "The body is too large",
    422: "Fields are wrong, all of which are named; or the recording is in a state that does not allow this",
    429: "Too many wrong keys from this address, or a quota of the app is reached",
    503: "A limit of the server is reached, or a part it depends on failed: try again; or whoever runs it has to act",
}


def errors(*, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """Describe the errors that a route answers, for the OpenAPI document; ``body``: of one that reads a body."""
    of_body = () if body else (400, 413)
    return {
        status: {"model": BirdError, "description": meaning}
        for status, meaning in _MEANINGS.items()
        if status not in of_body
    }


def recording_object(
    recording: Recording, *, is_transcribed: bool, urls: PublicUrls, now: datetime, link_ttl_s: int
) -> dict[str, Any]:
    """Return a recording as its workspace shows it, with a link to the file that there is."""
    document = recording_document(recording, url=urls.of(recording)).as_json()
    is_there = recording.status is Status.AVAILABLE
    url = urls.signed(document, recording.options.format, now, link_ttl_s) if is_there else None
    origin = recording.origin
    return bird.recording_object(
        document, command=origin.command, said=origin.said, url=url, is_transcribed=is_transcribed
    )


def call_recording_object(recording: Recording, *, channel_id: str, now: datetime) -> dict[str, Any]:
    """Return a recording as its call shows it; the channel is that of the path where no other is known."""
    options, receipt, end_reason = recording.options, recording.receipt, recording.end_reason
    said = recording.origin.said
    return {
        "id": as_uuid(recording.id),
        "callId": recording.session_id,
        "channelId": bird.account_of(bird.CHANNEL, recording.call.vendor_ids, said) or channel_id,
        "status": bird.status_of(recording.status),
        "origin": bird.origin_of(recording.origin.command),
        "duration": bird.seconds(_length_ms(recording, now)),
        "stereo": (options.file_channels if receipt is None else receipt.channels) == 2,
        "endCause": "" if end_reason is None else end_reason.value,
        "createdAt": rfc3339(recording.created_at),
        "updatedAt": rfc3339(recording.changed_at),
        "startedAt": NEVER if recording.started_at is None else rfc3339(recording.started_at),
        "endedAt": NEVER if recording.ended_at is None else rfc3339(recording.ended_at),
    }


_STATUSES = {TranscriptionStatus.DONE: "available", TranscriptionStatus.FAILED: "failed"}


def transcription_object(found: Transcribed) -> dict[str, Any]:
    """Return a transcription as its workspace shows it."""
    work, receipt = found.work, found.recording.receipt
    return {
        "id": as_uuid(work.id),
        "recordingId": as_uuid(work.recording_id),
        "status": _STATUSES.get(work.status, "accepted"),
        "stereo": receipt is not None and receipt.channels == 2,
        "locale": locale_of(work.language or USUAL_LOCALE),
        "createdAt": rfc3339(work.since),
        "updatedAt": rfc3339(work.done or work.since),
    }


def _length_ms(recording: Recording, now: datetime) -> int:
    """Return the length of the file; before there is one, the time since the start without the pauses."""
    if recording.receipt is not None:
        return recording.receipt.duration_ms
    if recording.started_at is None:
        return 0
    until = recording.changed_at if recording.status is Status.PAUSED else recording.ended_at or now
    return max(0, int((until - recording.started_at).total_seconds() * 1000) - recording.skipped_us // 1000)
