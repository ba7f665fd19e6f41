"""What Telnyx's API answers, as documents: recordings, pages of them, the results of commands, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from wavstream.catalog.asked_transcriptions import Transcribed
from wavstream.catalog.transcriptions import TranscriptionStatus
from wavstream.model.document import Document
from wavstream.model.ids import as_uuid
from wavstream.model.recording import Recording
from wavstream.model.times import Moment
from wavstream.webhooks.telnyx import call_ids


def with_example(example: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a document that is shown with an example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class DownloadUrls(Document):
    """Links to the file in either format, which open it for ten minutes; the other format is made when it is asked for.

    Empty in the answer to a deletion.
    """

    wav: str | None = None
    mp3: str | None = None


RECORDING_EXAMPLE: dict[str, Any] = {
    "record_type": "recording",
    "id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42",
    "call_control_id": "v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg",
    "call_leg_id": "428c31b6-7af4-4bcb-b7f5-5013ef9657c1",
    "call_session_id": "428c31b6-abf3-3bc1-b7f4-5013ef9657c1",
    "conference_id": None,
    "connection_id": "1700000000000000001",
    "channels": "dual",
    "from": "+15550100",
    "to": "+15550199",
    "initiated_by": "StartCallRecordingAPI",
    "source": "call",
    "status": "completed",
    "duration_millis": 61240,
    "recording_started_at": "2026-11-01T10:00:00.000000Z",
    "recording_ended_at": "2026-11-01T10:01:01.240000Z",
    "created_at": "2026-11-01T10:00:00.000000Z",
    "updated_at": "2026-11-01T10:01:01.248310Z",
    "download_urls": {
        "wav": "https://rec.example.com/files/0d6c8d5f/leg-1793527200.wav?expires=1793528461&signature=k1.Zm9v",
        "mp3": "https://rec.example.com/files/0d6c8d5f/leg-1793527200.mp3?expires=1793528461&signature=k1.YmFy",
    },
}


class RecordingData(Document):
    """A finished recording."""

    model_config = with_example(RECORDING_EXAMPLE)

    record_type: Literal["recording"] = "recording"
    id: str
    call_control_id: str
    """The id of the call, as its commands and its media stream name it."""
    call_leg_id: str
    """As the media server told it; where it told none, the call control id. So with the next, and with our app's id in
    `connection_id`."""
    call_session_id: str
    conference_id: str | None
    connection_id: str
    channels: Literal["single", "dual"]
    from_: Annotated[str, Field(alias="from")]
    to: str
    initiated_by: Literal["StartCallRecordingAPI"] = "StartCallRecordingAPI"
    source: Literal["call"] = "call"
    status: Literal["completed"] = "completed"
    duration_millis: int
    recording_started_at: Moment | None
    recording_ended_at: Moment | None
    created_at: Moment
    """When the recording was asked for."""
    updated_at: Moment
    download_urls: DownloadUrls


Link = Callable[[Recording, Literal["wav", "mp3"]], str]
"""Makes a link that opens a recording's file in a format for ten minutes."""


def recording_data(recording: Recording, link: Link | None) -> RecordingData:
    """Return a finished recording as the vendor shows it; without ``link`` its file is gone."""
    receipt, call = recording.receipt, recording.call
    ids = call_ids(session_id=recording.session_id, app_id=recording.app_id, vendor_ids=call.vendor_ids)
    channels = receipt.channels if receipt is not None else recording.options.file_channels
    urls = {} if link is None else {"wav": link(recording, "wav"), "mp3": link(recording, "mp3")}
    return RecordingData(
        id=as_uuid(recording.id),
        call_control_id=ids["call_control_id"],
        call_leg_id=ids["call_leg_id"],
        call_session_id=ids["call_session_id"],
        connection_id=ids["connection_id"],
        conference_id=call.vendor_ids.get("conference_id"),
        channels="dual" if channels == 2 else "single",
        from_=call.from_,
        to=call.to,
        duration_millis=receipt.duration_ms if receipt is not None else 0,
        recording_started_at=recording.started_at,
        recording_ended_at=recording.ended_at,
        created_at=recording.created_at,
        updated_at=recording.changed_at,
        download_urls=DownloadUrls(**urls),
    )


class RecordingAnswer(Document):
    """A recording."""

    model_config = with_example({"data": RECORDING_EXAMPLE})

    data: RecordingData


class PageMeta(Document):
    """Which page this is, of how many."""

    page_number: int
    page_size: int
    """Entries that a full page has: as asked for, unless the server's own limit is less."""
    total_pages: int
    total_results: int


def page_meta(*, number: int, size: int, total: int) -> PageMeta:
    """Return what is told of page ``number`` of ``total`` entries."""
    return PageMeta(page_number=number, page_size=size, total_pages=-(-total // size), total_results=total)


META_EXAMPLE = {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}


class RecordingList(Document):
    """A page of recordings."""

    model_config = with_example({"data": [RECORDING_EXAMPLE], "meta": META_EXAMPLE})

    data: list[RecordingData]
    meta: PageMeta


TRANSCRIPTION_EXAMPLE: dict[str, Any] = {
    "record_type": "recording_transcription",
    "id": "5b0a7c1e-9d42-4d6c-8d5f-6f0b4b0a9c2f",
    "recording_id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42",
    "status": "completed",
    "transcription_text": "good morning\nhello there",
    "duration_millis": 61240,
    "error": None,
    "created_at": "2026-11-01T10:01:01.248310Z",
    "updated_at": "2026-11-01T10:01:09.310000Z",
}


class TranscriptionData(Document):
    """The transcription of a recording."""

    model_config = with_example(TRANSCRIPTION_EXAMPLE)

    record_type: Literal["recording_transcription"] = "recording_transcription"
    id: str
    recording_id: str
    status: Literal["in-progress", "completed", "failed"]
    """`failed` is a word of ours: the vendor has none for it."""
    transcription_text: str | None
    """All that was said, a line for each stretch of speech; null unless it is completed."""
    duration_millis: int
    """Of the recording."""
    error: str | None
    """Why it failed, for a person: a field of ours."""
    created_at: Moment
    """When it was asked for."""
    updated_at: Moment


def transcription_data(found: Transcribed, said: str | None) -> TranscriptionData:
    """Return a transcription as the vendor shows it, with what was ``said``."""
    work, receipt = found.work, found.recording.receipt
    status: Literal["in-progress", "completed", "failed"] = "in-progress"
    if said is not None:
        status = "completed"
    elif work.status is TranscriptionStatus.FAILED:
        status = "failed"
    return TranscriptionData(
        id=as_uuid(work.id),
        recording_id=as_uuid(work.recording_id),
        status=status,
        transcription_text=said,
        duration_millis=receipt.duration_ms if receipt is not None else 0,
        error=work.error if status == "failed" else None,
        created_at=work.since,
        updated_at=work.done or work.since,
    )


class TranscriptionAnswer(Document):
    """A transcription."""

    model_config = with_example({"data": TRANSCRIPTION_EXAMPLE})

    data: TranscriptionData


class TranscriptionList(Document):
    """A page of transcriptions."""

    model_config = with_example({"data": [TRANSCRIPTION_EXAMPLE], "meta": META_EXAMPLE})

    data: list[TranscriptionData]
    meta: PageMeta


class Started(Document):
    """The command was carried out; the id is what `recording_id` of the other commands takes."""

    result: Literal["ok"] = "ok"
    recording_id: str


class StartAnswer(Document):
    """The outcome of `record_start`."""

    model_config = with_example({"data": {"result": "ok", "recording_id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42"}})

    data: Started


class Done(Document):
    """The command was carried out."""

    result: Literal["ok"] = "ok"


class CommandAnswer(Document):
    """The outcome of a command."""

    model_config = with_example({"data": {"result": "ok"}})

    data: Done = Done()


class DeletionAnswer(Document):
    """All recordings that were named are gone."""

    model_config = with_example({"status": "ok"})

    status: Literal["ok"] = "ok"


class PublicKey(Document):
    """What the signatures of the app's webhooks are checked with."""

    record_type: Literal["public_key"] = "public_key"
    public: str
    """32 bytes in base64, as the client takes it for `public_key`."""
    organization_id: str
    """The app whose webhooks it is for."""


class PublicKeyAnswer(Document):
    """The app's public key."""

    model_config = with_example(
        {
            "data": {
                "record_type": "public_key",
                "public": "iGtB96aTJO4SmJPzRPqW20Zc10AWCiN8OQLE5Tg330U=",
                "organization_id": "shop",
            }
        }
    )

    data: PublicKey


class ErrorSource(Document):
    """Where the mistake is."""

    pointer: str | None = None
    """JSON pointer of a field of the body."""
    parameter: str | None = None
    """Name of a query parameter."""


class ErrorEntry(Document):
    """One mistake."""

    code: str
    title: str
    detail: str
    source: ErrorSource | None = None


class Errors(Document):
    """All that is wrong with the request."""

    model_config = with_example(
        {
            "errors": [
                {
                    "code": "10004",
                    "title": "Missing required parameter",
                    "detail": "The 'format' parameter is required and cannot be blank.",
                    "source": {"pointer": "/format"},
                }
            ]
        }
    )

    errors: list[ErrorEntry]


_MEANINGS = {
    400: "The body is not JSON",
    401: "No key, or a wrong one",
    404: "There is no such thing, or it is another app's",
    413: "The body is too large",
    422: "One or more fields are wrong, and all of them are named; or the call's state forbids the command",
    429: "Too many wrong keys from this address, or a quota of the app is reached",
    500: "The server made a mistake",
    503: "A limit of the server is reached, or a part it depends on failed: try again; or whoever runs it has to act",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors as answers of a route, beside those that any route may have."""
    return {
        status: {"model": Errors, "description": _MEANINGS[status]}
        for status in sorted({401, 429, 500, 503, *statuses})
    }
