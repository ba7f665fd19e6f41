"""``/v2/recording_transcriptions``: list, read and erase what was said in finished recordings.

1. A transcription is there from the moment that it is asked for: it is ``in-progress`` until it is ``completed``. The
   vendor has no word for one that failed; here it is ``failed``, with the reason in ``error``, since who waits for the
   end of one that is in progress would wait for ever.
2. With its recording it is gone; and of what belongs to another app there is nothing.
3. One that is erased leaves the recording as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import JSONResponse

from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.routes import Router
from wavstream.api.telnyx.answers import (
    TranscriptionAnswer,
    TranscriptionData,
    TranscriptionList,
    errors,
    page_meta,
    transcription_data,
)
from wavstream.api.telnyx.refusals import Mistake, Refused
from wavstream.api.telnyx.requests import ListTranscriptions, after, is_recording_id
from wavstream.catalog.asked_transcriptions import Transcribed, TranscriptionFilters
from wavstream.errors import NotFound
from wavstream.model.ids import from_uuid

Id = Annotated[str, Path(description="A transcription's id.", examples=["5b0a7c1e-9d42-4d6c-8d5f-6f0b4b0a9c2f"])]


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of transcriptions."""
    router = Router(prefix="/v2/recording_transcriptions", tags=["transcriptions"])
    transcripts = parts.transcripts

    async def find(app_id: str, transcription_id: str) -> Transcribed:
        if not is_recording_id(transcription_id):
            raise Refused(Mistake("10006", "The id of a transcription is a UUID."), status=NotFound.http_status)
        try:
            return await transcripts.find(app_id, from_uuid(transcription_id))
        except NotFound:
            raise Refused(Mistake("10005", "There is no such transcription."), status=NotFound.http_status) from None

    async def shown(found: Transcribed) -> TranscriptionData:
        return transcription_data(found, await transcripts.said(found))

    @router.get(
        "",
        operation_id="listRecordingTranscriptions",
        summary="List transcriptions",
        response_model=TranscriptionList,
        responses=errors(422),
    )
    async def list_page(query: Annotated[ListTranscriptions, Query()], app_id: AppId) -> JSONResponse:
        """List the app's transcriptions, whichever API asked for them, the last that was asked for first."""
        size = min(query.page_size, parts.page_limit)
        filters = TranscriptionFilters(asked_from=query.created_from, asked_until=after(query.created_to))
        if query.recording_id is not None:
            filters = replace(filters, recording_id=from_uuid(query.recording_id))
        page = await transcripts.numbered_page(app_id, filters, number=query.page_number, size=size)
        meta = page_meta(number=query.page_number, size=size, total=page.total)
        return JSONResponse(TranscriptionList(data=[await shown(each) for each in page.data], meta=meta).as_json())

    @router.get(
        "/{recording_transcription_id}",
        operation_id="readRecordingTranscription",
        summary="Read a transcription",
        response_model=TranscriptionAnswer,
        responses=errors(404),
    )
    async def read(recording_transcription_id: Id, app_id: AppId) -> JSONResponse:
        """Read a transcription: how far it is, and what was said."""
        found = await find(app_id, recording_transcription_id)
        return JSONResponse(TranscriptionAnswer(data=await shown(found)).as_json())

    @router.delete(
        "/{recording_transcription_id}",
        operation_id="eraseRecordingTranscription",
        summary="Erase a transcription",
        response_model=TranscriptionAnswer,
        responses=errors(404, 422),
    )
    async def erase(recording_transcription_id: Id, app_id: AppId) -> JSONResponse:
        """Erase a transcription whose recording is not held; the recording stays. One in progress is not written."""
        found = await find(app_id, recording_transcription_id)
        answer = TranscriptionAnswer(data=await shown(found))
        await transcripts.erase(found)
        return JSONResponse(answer.as_json())

    return router
