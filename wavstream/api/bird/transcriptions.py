"""``.../transcriptions...``: Bird's transcripts of recordings, none of which there is: nothing makes them yet.

1. A request is checked as if there were: its key, its workspace, its fields, its recording.
2. Then lists are empty, a transcript is not found, and one that is asked for is refused, in Bird's own shapes. So an
   application learns at once what it would else wait for.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from starlette.responses import JSONResponse, Response

from wavstream.api.bird.answers import Transcription, Transcriptions, errors
from wavstream.api.bird.options import CreateTranscription, Page
from wavstream.api.bird.pages import RecordingId, WorkspaceId, check_workspace, find_recording
from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.routes import Router
from wavstream.errors import FieldError, InvalidFields, NotFound
from wavstream.model.ids import from_uuid

TranscriptionId = Annotated[str, Path(alias="transcriptionId")]


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of transcripts."""
    router = Router(prefix="/workspaces/{workspaceId}", tags=["transcriptions"])

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
        """Refuse, with 422: nothing makes transcripts yet. What is wrong in the request is said first."""
        recording = await find_recording(parts, app_id, workspace_id, recording_id)
        if said.recording_id is not None and from_uuid(said.recording_id) != recording.id:
            raise InvalidFields((FieldError("/recordingId", "is not the recording of the path"),))
        raise InvalidFields((FieldError("", "transcripts are not available: this server makes none"),))

    @router.get(
        "/transcriptions",
        operation_id="listTranscriptions",
        summary="List transcripts",
        response_model=Transcriptions,
        responses=errors(),
    )
    async def list_all(app_id: AppId, workspace_id: WorkspaceId, query: Annotated[Page, Query()]) -> JSONResponse:
        """List no transcripts: there are none."""
        await check_workspace(parts, app_id, workspace_id)
        if query.page_token is not None:
            raise InvalidFields((FieldError("cursor", "is not a token of this list: it has one page"),))
        return JSONResponse({"results": []})

    @router.get(
        "/transcriptions/{transcriptionId}.{extension}",
        operation_id="fetchTranscription",
        summary="Fetch the text of a transcript as json, srt, vtt or txt",
        response_class=Response,
        responses=errors(),
    )
    async def fetch(
        app_id: AppId, workspace_id: WorkspaceId, transcription_id: TranscriptionId, extension: str
    ) -> JSONResponse:
        """Find no text, as there is no transcript."""
        raise await not_found(app_id, workspace_id)

    @router.get(
        "/transcriptions/{transcriptionId}",
        operation_id="getTranscription",
        summary="Read a transcript",
        response_model=Transcription,
        responses=errors(),
    )
    async def read(app_id: AppId, workspace_id: WorkspaceId, transcription_id: TranscriptionId) -> JSONResponse:
        """Find no transcript: there are none."""
        raise await not_found(app_id, workspace_id)

    async def not_found(app_id: str, workspace_id: str) -> NotFound:
        await check_workspace(parts, app_id, workspace_id)
        return NotFound("no such transcription: this server makes none")

    return router
