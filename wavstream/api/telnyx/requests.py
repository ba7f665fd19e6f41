"""What Telnyx's API is asked: the bodies of commands and deletions, and the queries of lists.

Types are strict, and what is not described is refused: guessing would hide a mistake until the file sounds wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from wavstream.api.telnyx.options import ClientState, StartOptions

MAX_PAGE = 1_000_000
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


def is_recording_id(text: str) -> bool:
    """Return whether a recording could have this id."""
    return _UUID.fullmatch(text) is not None


def _recording_id(text: str) -> str:
    if not is_recording_id(text):
        raise ValueError("must be the id of a recording: a UUID")
    return text


def _moment(text: object) -> datetime:
    """Return an ISO 8601 time, UTC where it names no zone; the core counts microseconds, which these fit."""
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO 8601 time such as 2026-11-01T10:00:00Z") from None


def after(moment: datetime | None) -> datetime | None:
    """Return the first moment after this one, for lists that end before one."""
    return moment if moment is None or moment > _LAST else moment + datetime.resolution


_LAST = datetime.max.replace(tzinfo=UTC) - datetime.resolution
CommandId = Annotated[str, Field(min_length=1, max_length=255)]
RecordingId = Annotated[str, AfterValidator(_recording_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


class RecordStart(StartOptions):
    """Start to record a call."""

    command_id: CommandId | None = None
    """A second command to the call with the same id, within a minute, is ignored."""


class RecordAction(BaseModel):
    """Stop, pause or resume recordings of a call. The body may be left out."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{}, {"recording_id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42"}]},
    )

    client_state: ClientState | None = None
    """Base64. The recording's webhooks repeat that of its start."""
    command_id: CommandId | None = None
    """A second command to the call with the same id, within a minute, is ignored."""
    recording_id: RecordingId | None = None
    """The only recording that is meant; left out: all that were started here and run."""


class DeleteRecordings(BaseModel):
    """Erase several recordings."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"ids": ["0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42"]}]},
    )

    ids: Annotated[list[RecordingId], Field(min_length=1, max_length=1_000)]
    """All of them, or none if one of them cannot be erased."""


class _Page(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    page_number: Annotated[int, Field(alias="page[number]", ge=1, le=MAX_PAGE)] = 1
    page_size: Annotated[int, Field(alias="page[size]", ge=1, le=250)] = 20
    """Entries of a page; the server's own limit (200 unless set otherwise) cuts it."""


class ListRecordings(_Page):
    """Which recordings to list: those to which everything said applies."""

    call_control_id: str | None = Field(default=None, alias="filter[call_control_id]")
    call_leg_id: str | None = Field(default=None, alias="filter[call_leg_id]")
    call_session_id: str | None = Field(default=None, alias="filter[call_session_id]")
    conference_id: str | None = Field(default=None, alias="filter[conference_id]")
    conference_region: str | None = Field(default=None, alias="filter[conference_region]")
    connection_id: str | None = Field(default=None, alias="filter[connection_id]")
    sip_call_id: str | None = Field(default=None, alias="filter[sip_call_id]")
    from_: str | None = Field(default=None, alias="filter[from]")
    to: str | None = Field(default=None, alias="filter[to]")
    created_from: Moment | None = Field(default=None, alias="filter[created_at][gte]")
    created_to: Moment | None = Field(default=None, alias="filter[created_at][lte]")
    started_from: Moment | None = Field(default=None, alias="filter[start_time][gte]")
    started_to: Moment | None = Field(default=None, alias="filter[start_time][lte]")
    ended_from: Moment | None = Field(default=None, alias="filter[end_time][gte]")
    ended_to: Moment | None = Field(default=None, alias="filter[end_time][lte]")


class ListTranscriptions(_Page):
    """Which transcriptions to list: those to which everything said applies."""

    recording_id: str | None = Field(default=None, alias="filter[recording_id]")
    created_from: Moment | None = Field(default=None, alias="filter[created_at][gte]")
    """When it was asked for."""
    created_to: Moment | None = Field(default=None, alias="filter[created_at][lte]")


class ListDeliveries(_Page):
    """Which deliveries of webhooks to list: those to which everything said applies."""

    status: Literal["delivered", "failed"] | None = Field(default=None, alias="filter[status][eq]")
    event_type: str | None = Field(default=None, alias="filter[event_type]")
    """Names of events, with commas between them."""
    webhook_contains: str | None = Field(default=None, alias="filter[webhook][contains]")
    attempts_contain: str | None = Field(default=None, alias="filter[attempts][contains]")
    started_from: Moment | None = Field(default=None, alias="filter[started_at][gte]")
    started_to: Moment | None = Field(default=None, alias="filter[started_at][lte]")
    finished_from: Moment | None = Field(default=None, alias="filter[finished_at][gte]")
    finished_to: Moment | None = Field(default=None, alias="filter[finished_at][lte]")
