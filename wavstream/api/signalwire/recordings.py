"""``/api/relay/rest/recordings``: list, read and delete the recordings of the app, whichever API started them.

1. What has no file any more, since its retention is over or it was deleted, is not there. A page may so be shorter than
   was asked for, or empty: only a missing ``links.next`` says that there is no more.
2. A recording that cannot be deleted, since it runs or is held, is a wrong ``id``: SignalWire has no 409.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from wavstream.api.facade import Account, AppId, FacadeDependencies
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.api.signalwire.answers import WrongAttributes, refusals
from wavstream.api.signalwire.call_leg import leg_type
from wavstream.errors import Conflict, FieldError, InvalidFields, NotFound
from wavstream.model.document import Document
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import as_uuid, from_uuid
from wavstream.model.recording import Recording, Status
from wavstream.model.times import Moment

_PATH = "/api/relay/rest/recordings"
_GONE = frozenset({Status.EXPIRED, Status.DELETED})
Word = Literal["initiated", "recording", "paused", "processing", "completed", "no_input", "failed"]
STATUSES: Mapping[Status, Word] = {
    Status.ACCEPTED: "initiated",
    Status.ONGOING: "recording",
    Status.PAUSED: "paused",
    Status.COMPLETED: "processing",
    Status.AVAILABLE: "completed",
    Status.ABSENT: "no_input",
    Status.FAILED: "failed",
}
"""SignalWire documents ``completed`` alone; the others are its words for the states of a recording elsewhere."""
FAILED = "recording_failed"

_EXAMPLE: dict[str, Any] = {
    "id": "0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42",
    "project_id": "d369a402-7b43-4512-8735-9d5e1f387814",
    "created_at": "2026-11-01T10:00:00.000000Z",
    "updated_at": "2026-11-01T10:01:01.290000Z",
    "duration_in_seconds": 61,
    "price": 0.0,
    "price_unit": "USD",
    "status": "completed",
    "url": "http://127.0.0.1:8080/files/0d6c8d5f6f0b4b0a9c2f5b0a7c1e9d42/k1.Zm9vYmFy/call-77-1793527200.mp3",
    "stereo": False,
    "byte_size": 122480,
    "track": "inbound",
    "relay_pstn_leg_id": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
}


class RecordingItem(Document):
    """One recording of a leg of a call."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    project_id: str
    """The project that it was started for; for one that another API started, the project that asks."""
    created_at: Moment
    updated_at: Moment
    """When its status changed last."""
    duration_in_seconds: int
    """Of the file, rounded; 0 until it is finished."""
    error_code: str | None = None
    """Is there only if it failed."""
    price: float = 0.0
    price_unit: str = "USD"
    status: Word
    """initiated: its call does not stream yet; processing: the file is being finished; no_input: it ended without
    audio, so there is no file."""
    url: str
    """Address of the file, the same from the start on; opens it without a key while there is one."""
    stereo: bool
    byte_size: int | None = None
    """Is there once the file is finished."""
    track: Literal["both", "inbound", "outbound"]
    relay_pstn_leg_id: str | None = None
    """The id of the call, here or in the next: `relay_sip_leg_id` if a party of it is a SIP address."""
    relay_sip_leg_id: str | None = None


class Links(Document):
    """Where this page, the first and the next one are, on this host."""

    self_: Annotated[str, Field(alias="self")]
    first: str
    next: str | None = None
    """Is there only if there is more."""


class RecordingList(Document):
    """A page of recordings, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "links": {"self": f"{_PATH}?page_size=50", "first": f"{_PATH}?page_size=50"},
                    "data": [_EXAMPLE],
                }
            ]
        }
    )

    links: Links
    data: tuple[RecordingItem, ...]


class ListQuery(BaseModel):
    """Which page of the recordings."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    page_size: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Recordings of a page; the server's own limit (200 unless set otherwise) cuts it."""
    page_token: str | None = None
    """Is in `links.next` of the page before."""


def item_of(recording: Recording, *, url: str, project: str) -> RecordingItem:
    """Return a recording as SignalWire shows it; ``url`` is the address of its file, ``project`` who asks."""
    receipt = recording.receipt
    is_sip = leg_type(recording.call) == "sip"
    return RecordingItem(
        id=as_uuid(recording.id),
        project_id=recording.origin.said.get("project_id", project),
        created_at=recording.created_at,
        updated_at=recording.changed_at,
        duration_in_seconds=0 if receipt is None else (receipt.duration_ms + 500) // 1000,
        error_code=FAILED if recording.status is Status.FAILED else None,
        status=STATUSES[recording.status],
        url=url,
        stereo=(recording.options.file_channels if receipt is None else receipt.channels) == 2,
        byte_size=None if receipt is None else receipt.size_bytes,
        track=recording.options.track.value,
        relay_pstn_leg_id=None if is_sip else recording.session_id,
        relay_sip_leg_id=recording.session_id if is_sip else None,
    )


def _of_token(field: FieldError) -> FieldError:
    """Return what is wrong with the cursor of a list in the words of its caller."""
    return replace(field, pointer="page_token", detail=field.detail.replace("next_cursor", "links.next"))


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of recordings."""
    router = Router(prefix=_PATH, tags=["recordings"])
    filters = RecordingFilters(statuses=frozenset(Status) - _GONE)

    async def found(app_id: str, recording_id: str) -> Recording:
        recording = await parts.commands.get(app_id=app_id, recording_id=from_uuid(recording_id))
        recording = as_of(parts.now(), recording)
        if recording.status in _GONE:  # rule 1
            raise NotFound("no such recording")
        return recording

    def shown(recording: Recording, project: str | None) -> dict[str, Any]:
        item = item_of(recording, url=parts.urls.of(recording), project=project or "")
        return item.model_dump(mode="json", exclude_none=True)

    @router.get(
        "",
        operation_id="listCallRecordings",
        summary="List recordings",
        response_model=RecordingList,
        response_description="A page, newest first.",
        responses=refusals(422, fields=WrongAttributes),
    )
    async def list_page(query: Annotated[ListQuery, Query()], app_id: AppId, project: Account) -> Response:
        """List the recordings of the app. Follow `links.next`: a page may be empty with more to come."""
        size = min(query.page_size, parts.page_limit)
        try:
            page = await parts.commands.list(app_id=app_id, filters=filters, limit=size, cursor=query.page_token)
        except InvalidFields as error:
            raise InvalidFields(tuple(_of_token(field) for field in error.fields)) from None
        now = parts.now()
        links = {"self": _page(size, query.page_token), "first": _page(size, None)}
        if page.next_cursor is not None:
            links["next"] = _page(size, page.next_cursor)
        there = [as_of(now, recording) for recording in page.data]
        data = [shown(recording, project) for recording in there if recording.status not in _GONE]
        return JSONResponse({"links": links, "data": data})

    @router.get(
        "/{recording_id}",
        operation_id="getCallRecording",
        summary="Read a recording",
        response_model=RecordingItem,
        response_description="The recording as it is now.",
        responses=refusals(404, fields=WrongAttributes),
    )
    async def read(recording_id: str, app_id: AppId, project: Account) -> Response:
        """Read a recording, whichever API started it."""
        return JSONResponse(shown(await found(app_id, recording_id), project))

    @router.delete(
        "/{recording_id}",
        operation_id="deleteCallRecording",
        summary="Delete a recording",
        status_code=204,
        response_description="The file is gone, and so are its links.",
        responses=refusals(404, 422, fields=WrongAttributes),
    )
    async def delete(recording_id: str, app_id: AppId) -> Response:
        """Delete the file of a recording that has ended and is not held."""
        recording = await found(app_id, recording_id)
        try:
            await parts.commands.delete(app_id=app_id, recording_id=recording.id)
        except Conflict as error:  # rule 2
            raise InvalidFields((FieldError("id", f"cannot be deleted: {error}"),)) from None
        return Response(status_code=204)

    return router


def _page(size: int, token: str | None) -> str:
    said = {"page_size": str(size)} | ({} if token is None else {"page_token": token})
    return f"{_PATH}?{urlencode(said)}"
