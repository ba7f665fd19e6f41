"""``.../transcriptions...``: Bird's transcriptions of recordings: have one made, list them, read one and its text.

1. A recording has one at most: what is asked for again is made anew, under another id.
2. One is ``accepted`` until there is a text, which is ``available`` then, or until it has ``failed``. Bird's object has
   no place for the reason, so who asks for the text of one that failed is told it, with the 404.
3. Those of recordings that another API started are among them. What is erased with its recording is not.
4. Where this server makes none, one that is asked for is refused, so an application learns at once what it would else
   wait for.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from starlette.responses import JSONResponse, Response

from wavstream.api.bird.answers import Transcription, Transcriptions, errors, transcription_object
from wavstream.api.bird.options import CreateTranscription, Page
from wavstream.api.bird.pages import Place, RecordingId, WorkspaceId, check_workspace, find_recording, matching
from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.catalog.asked_transcriptions import Transcribed
from wavstream.catalog.pages import Page as CatalogPage
from wavstream.catalog.transcriptions import TranscriptionStatus
from wavstream.errors import FieldError, InvalidFields, NotFound
from wavstream.model.ids import from_uuid
from wavstream.transcription.texts import MEDIA_TYPES

TranscriptionId = Annotated[str, Path(alias="transcriptionId")]


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of transcriptions."""
    router = Router(prefix="/workspaces/{workspaceId}", tags=["transcriptions"])
    transcripts = parts.transcripts

    async def find(app_id: str, workspace_id: str, transcription_id: str) -> Transcribed:
        await check_workspace(parts, app_id, workspace_id)
        found = await transcripts.find(app_id, from_uuid(transcription_id))
        if not Place(workspace_id).has_recording(found.recording):
            raise NotFound("no such transcription in this workspace")
        return found

    @router.post(
        "/recordings/{recordingId}/transcriptions",
        operation_id="createTranscription",
        summary="Transcribe a recording",
        status_code=202,
        response_model=Transcription,
        responses=errors(body=True),
    )
    async def transcribe(
        app_id: AppId, workspace_id: WorkspaceId, recording_id: RecordingId, said: CreateTranscription
    ) -> JSONResponse:
        """Transcribe a finished recording. What is under way goes on; what failed, or is there, is made anew."""
        recording = as_of(parts.now(), await find_recording(parts, app_id, workspace_id, recording_id))
        if said.recording_id is not None and from_uuid(said.recording_id) != recording.id:
            raise InvalidFields((FieldError("/recordingId", "is not the recording of the path"),))
        if not transcripts.are_made:  # rule 4
            raise InvalidFields((FieldError("", "transcripts are not available: this server makes none"),))
        asked = await transcripts.ask(recording, said.locale)
        return JSONResponse(transcription_object(Transcribed(asked, recording)), status_code=202)

    @router.get(
        "/transcriptions",
        operation_id="listTranscriptions",
        summary="List transcriptions",
        response_model=Transcriptions,
        responses=errors(),
    )
    async def list_all(app_id: AppId, workspace_id: WorkspaceId, query: Annotated[Page, Query()]) -> JSONResponse:
        """List the transcriptions of the workspace's recordings, the last that was asked for first."""
        await check_workspace(parts, app_id, workspace_id)
        place = Place(workspace_id)

        async def read_page(limit: int, cursor: str | None) -> CatalogPage[Transcribed]:
            return await transcripts.page(app_id, limit=limit, cursor=cursor)

        page = await matching(
            read_page,
            wanted=lambda each: place.has_recording(each.recording),
            limit=min(query.limit, parts.page_limit),
            token=query.page_token,
        )
        return JSONResponse(page.answer(transcription_object))

    # Before the route that takes all of the last part of the path as the id.
    @router.get(
        "/transcriptions/{transcriptionId}.{extension}",
        operation_id="fetchTranscription",
        summary="Fetch the text of a transcription as json, srt, vtt or txt",
        response_class=Response,
        responses={200: {"content": _CONTENT, "description": "What was said."}, **errors()},
    )
    async def fetch(
        app_id: AppId, workspace_id: WorkspaceId, transcription_id: TranscriptionId, extension: str
    ) -> Response:
        """Fetch what was said; the JSON is that of our own API's transcripts."""
        found = await find(app_id, workspace_id, transcription_id)
        if extension not in _MEDIA_TYPES:
            raise NotFound(f"no such form of a text: there are {', '.join(_MEDIA_TYPES)}")
        if found.work.status is not TranscriptionStatus.DONE:
            raise _no_text(found)
        if extension == "json":
            return Response(await transcripts.document(found.recording), media_type=_MEDIA_TYPES[extension])
        text = await transcripts.text(found.recording, extension)
        return Response(text, media_type=_MEDIA_TYPES[extension])

    @router.get(
        "/transcriptions/{transcriptionId}",
        operation_id="getTranscription",
        summary="Read a transcription",
        response_model=Transcription,
        responses=errors(),
    )
    async def read(app_id: AppId, workspace_id: WorkspaceId, transcription_id: TranscriptionId) -> JSONResponse:
        """Read how a transcription is."""
        return JSONResponse(transcription_object(await find(app_id, workspace_id, transcription_id)))

    return router


_MEDIA_TYPES = {"json": "application/json", **MEDIA_TYPES}
_EXAMPLES: dict[str, object] = {
    "json": {"id": "85530fbe6dc14884a9e6e62b0f4c6df1", "segments": [{"channel": 0, "text": "good morning"}]},
    "txt": "[00:00:02] a: good morning\n",
    "srt": "1\n00:00:02,840 --> 00:00:03,310\na: good morning\n",
    "vtt": "WEBVTT\n\n00:00:02.840 --> 00:00:03.310\n<v a>good morning\n",
}
_CONTENT: dict[str, Any] = {
    name.partition(";")[0]: {
        "schema": {"type": "object" if extension == "json" else "string"},
        "example": _EXAMPLES[extension],
    }
    for extension, name in _MEDIA_TYPES.items()
}


def _no_text(found: Transcribed) -> NotFound:
    """Return the error that says why there is no text to give (rule 2)."""
    if found.work.status is TranscriptionStatus.FAILED:
        return NotFound(f"there is no text, since the transcription has failed: {found.work.error}")
    error = NotFound("the transcription is under way")
    error.retry_after_s = 5
    return error
