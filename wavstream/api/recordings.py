"""``/v1/recordings``: start, stop, pause, resume, read, list, fetch and erase."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from wavstream.api.dependencies import ApiDependencies
from wavstream.api.documents import problems
from wavstream.api.middleware import AppId, OfConsole
from wavstream.api.playback import as_of, refusal, to_file
from wavstream.api.routes import Router
from wavstream.api.schemas import RecordingPage
from wavstream.api.translation import with_transcript
from wavstream.api.vendor_options import StartRecordingAs
from wavstream.errors import FieldError, InvalidFields
from wavstream.model.document import RecordingDocument, recording_document
from wavstream.model.filters import RecordingFilters
from wavstream.model.options import FileFormat, PauseBehavior
from wavstream.model.recording import EndReason, Recording, Status


def _said(text: str | None) -> str | None:
    if text is not None and (not text.isprintable() or text.isspace()):
        raise ValueError("must be printable characters, and not only spaces")
    return text


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Any text of your choice. A retry with the same key and body starts nothing and gets the same "
        "recording, as it is by then; the same key with another body is refused with 422. Kept for 24 hours.",
        examples=["7c1e9d42-start"],
    ),
]

ErasureReason = Annotated[
    str | None,
    Query(min_length=1, max_length=256, description="Why, for the log and for what is kept of an erasure."),
    AfterValidator(_said),
]

_fetching: dict[str, Any] = {
    "status_code": 307,
    "response_class": RedirectResponse,
    "response_description": "`Location` is a signed link that opens the file for ten minutes, without a key.",
    "responses": problems(401, 404, 503),
}


def _many(of: type[StrEnum]) -> Callable[[object], object]:
    """Return what reads several values, with commas between them, or each given by itself."""

    def read(given: object) -> object:
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list):
            return given
        try:
            return [of(each.strip()) for text in texts for each in str(text).split(",")]
        except ValueError:
            raise ValueError(f"accepted: {', '.join(of)}") from None

    return read


def _pairs(given: list[str]) -> list[str]:
    if not all(name and colon for name, colon, _ in (each.partition(":") for each in given)):
        raise ValueError("must be name:value")
    return given


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not have a character of the value 0")
    return text


Searched = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_text)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ListQuery(BaseModel):
    """Which recordings to list: those to which everything said applies."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    session_id: str | None = None
    status: Annotated[list[Status] | None, BeforeValidator(_many(Status), json_schema_input_type=str)] = None
    """One, or several with commas between them; without it all but `deleted`."""
    end_reason: Annotated[list[EndReason] | None, BeforeValidator(_many(EndReason), json_schema_input_type=str)] = None
    """One, or several with commas between them."""
    from_: str | None = Field(default=None, alias="from")
    """The calling party, exactly as the switch wrote it."""
    to: str | None = None
    """The called party, exactly as the switch wrote it."""
    party: Searched | None = None
    """The calling or the called party, exactly; with `*` at its end: its beginning."""
    q: Searched | None = None
    """Text that is anywhere in the id, the session id or a party."""
    longer_than_s: Length | None = None
    """At least so many seconds long; of those that have a file."""
    shorter_than_s: Length | None = None
    """Less than so many seconds long; of those that have a file."""
    metadata: Annotated[list[str], Field(max_length=5), AfterValidator(_pairs)] = []
    """`name:value`, exactly; may be given several times."""
    held: bool | None = None
    """Whether it is under a legal hold."""
    since: AwareDatetime | None = None
    """Created at this time or later; RFC 3339."""
    until: AwareDatetime | None = None
    """Created before this time; RFC 3339."""
    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Recordings in the page; the server's own limit (200 unless set otherwise) cuts it."""
    cursor: str | None = None
    """The `next_cursor` of the page before."""

    def filters(self) -> RecordingFilters:
        """Return what is asked for."""
        return RecordingFilters(
            session_id=self.session_id,
            statuses=None if self.status is None else frozenset(self.status),
            end_reasons=None if self.end_reason is None else frozenset(self.end_reason),
            from_=self.from_,
            to=self.to,
            party=self.party,
            text=self.q,
            longer_than_s=self.longer_than_s,
            shorter_than_s=self.shorter_than_s,
            metadata=dict(each.split(":", 1) for each in self.metadata),
            is_held=self.held,
            created_from=self.since,
            created_until=self.until,
        )


class PauseRecording(BaseModel):
    """How a recording is paused."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, json_schema_extra={"examples": [{"behavior": "silence"}]}
    )

    behavior: PauseBehavior | None = None
    """What this pause and those after it leave in the file: `skip` (nothing) or `silence`; null: as the recording's
    options say."""


_AS_ITS_OPTIONS_SAY = PauseRecording()


def routes(parts: ApiDependencies) -> Router:
    """Return the routes of recordings."""
    router = Router(prefix="/v1/recordings", tags=["recordings"])
    commands = parts.commands

    def answer(recording: Recording, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
        return Response(
            _document(recording).as_text(),
            status_code=status_code,
            headers=headers,
            media_type=JSONResponse.media_type,
        )

    def _document(recording: Recording) -> RecordingDocument:
        return recording_document(as_of(parts.now(), recording), url=parts.urls.of(recording))

    @router.post(
        "",
        operation_id="startRecording",
        summary="Start a recording",
        status_code=201,
        response_model=RecordingDocument,
        response_description="The recording: `ongoing`, or `accepted` until its session streams.",
        responses=problems(400, 401, 404, 409, 413, 422, 503),
    )
    async def start(request: StartRecordingAs, app_id: AppId, idempotency_key: IdempotencyKey = None) -> Response:
        """Start a recording of a session. The session need not stream yet: the recording waits for it."""
        options = request.options(await parts.app_cache.options(app_id))
        if parts.transcripts.are_made:
            options = with_transcript(options)
        recording = await commands.start(
            app_id=app_id,
            session_id=request.session_id,
            options=options,
            idempotency_key=idempotency_key,
            request_digest=request.digest(),
        )
        return answer(recording, 201, {"Location": f"/v1/recordings/{recording.id}"})

    @router.get(
        "",
        operation_id="listRecordings",
        summary="List recordings",
        description="The app's recordings, newest first. Recordings that start meanwhile neither repeat nor hide any.",
        response_model=RecordingPage,
        responses=problems(401, 422, 503),
    )
    async def list_page(query: Annotated[ListQuery, Query()], app_id: AppId) -> Response:
        page = await commands.list(
            app_id=app_id,
            filters=query.filters(),
            limit=min(query.limit, parts.page_limit),
            cursor=query.cursor,
        )
        data = [_document(recording).as_json() for recording in page.data]
        return JSONResponse({"data": data, "next_cursor": page.next_cursor})

    # Routes with an extension come before those that take all of the last part of the path as the id.
    async def go_to_file(recording_id: str, app_id: str, file_format: FileFormat) -> Response:
        recording = as_of(parts.now(), await commands.get(app_id=app_id, recording_id=recording_id))
        if refused := refusal(recording):
            return refused
        return to_file(parts, recording, file_format)

    @router.get("/{recording_id}.wav", operation_id="fetchRecording", summary="Fetch the file as WAV", **_fetching)
    @router.head("/{recording_id}.wav", include_in_schema=False)
    async def fetch_wav(recording_id: str, app_id: AppId) -> Response:
        """Go to the finished file. A `Retry-After` with the 404 says that it is still to come."""
        return await go_to_file(recording_id, app_id, FileFormat.WAV)

    @router.get("/{recording_id}.mp3", operation_id="fetchRecordingMp3", summary="Fetch the file as MP3", **_fetching)
    @router.head("/{recording_id}.mp3", include_in_schema=False)
    async def fetch_mp3(recording_id: str, app_id: AppId) -> Response:
        """Go to the finished file, as above. The format that it was not recorded in is made on the first request."""
        return await go_to_file(recording_id, app_id, FileFormat.MP3)

    @router.get(
        "/{recording_id}",
        operation_id="readRecording",
        summary="Read a recording",
        description="The recording as it is now.",
        response_model=RecordingDocument,
        responses=problems(401, 404, 503),
    )
    async def read(recording_id: str, app_id: AppId) -> Response:
        return answer(await commands.get(app_id=app_id, recording_id=recording_id))

    @router.delete(
        "/{recording_id}",
        operation_id="eraseRecording",
        summary="Erase a recording",
        status_code=204,
        response_description="The file is gone, and so are its links.",
        responses=problems(401, 404, 409, 422, 503),
    )
    async def erase(recording_id: str, app_id: AppId, of_console: OfConsole, reason: ErasureReason = None) -> Response:
        """Erase the file of a recording that has ended and is not held. One that runs must be stopped first."""
        if of_console and reason is None:
            raise InvalidFields((FieldError("reason", "say why it is erased"),))
        await commands.delete(app_id=app_id, recording_id=recording_id, reason=reason)
        return Response(status_code=204)

    @router.post(
        "/{recording_id}/stop",
        operation_id="stopRecording",
        summary="Stop a recording",
        response_model=RecordingDocument,
        responses=problems(401, 404, 409, 503),
    )
    async def stop(recording_id: str, app_id: AppId) -> Response:
        """Stop it and wait for the file: with status `available` it can be fetched."""
        return answer(await commands.stop(app_id=app_id, recording_id=recording_id))

    @router.post(
        "/{recording_id}/pause",
        operation_id="pauseRecording",
        summary="Pause a recording",
        description="From now on nothing that is said reaches the file. The body may be left out.",
        response_model=RecordingDocument,
        responses=problems(400, 401, 404, 409, 413, 422, 503),
    )
    async def pause(recording_id: str, app_id: AppId, request: PauseRecording = _AS_ITS_OPTIONS_SAY) -> Response:
        return answer(await commands.pause(app_id=app_id, recording_id=recording_id, behavior=request.behavior))

    @router.post(
        "/{recording_id}/resume",
        operation_id="resumeRecording",
        summary="Resume a recording",
        response_model=RecordingDocument,
        responses=problems(401, 404, 409, 503),
    )
    async def resume(recording_id: str, app_id: AppId) -> Response:
        """Go on after a pause."""
        return answer(await commands.resume(app_id=app_id, recording_id=recording_id))

    return router
