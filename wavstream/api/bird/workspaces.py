"""``/workspaces/{workspaceId}/recordings...``: a workspace's recordings, their files and the storage that they take.

Recordings that another API started are among them. One whose file was deleted, or whose retention is over, stays: it is
``absent``, and has no ``url``.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse, RedirectResponse, Response

from wavstream.api.bird.answers import BirdRecording, RecordingMetrics, Recordings, errors, recording_object
from wavstream.api.bird.options import ListRecordings, Metrics
from wavstream.api.bird.pages import (
    Place,
    RecordingId,
    WorkspaceId,
    channel_of,
    check_workspace,
    find_recording,
    matching_page,
)
from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.errors import NotFound
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import from_uuid
from wavstream.model.options import FileFormat
from wavstream.model.recording import Recording, Status
from wavstream.model.times import rfc3339
from wavstream.webhooks.bird import DIRECTIONS

_OUR_DIRECTIONS = {theirs: ours for ours, theirs in DIRECTIONS.items()}
_fetching: dict[str, Any] = {
    "status_code": 307,
    "response_class": RedirectResponse,
    "response_description": "`Location` is a signed link that opens the file for ten minutes, without a key.",
    "responses": errors(),
}


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of workspaces."""
    router = Router(prefix="/workspaces/{workspaceId}", tags=["recordings"])
    recordings = _WorkspaceRecordings(parts)

    @router.get(
        "/recordings",
        operation_id="listRecordings",
        summary="List recordings",
        response_model=Recordings,
        responses=errors(),
    )
    async def list_all(
        app_id: AppId, workspace_id: WorkspaceId, query: Annotated[ListRecordings, Query()]
    ) -> JSONResponse:
        """List recordings, the newest first. Filters are combined."""
        return await recordings.list(app_id, workspace_id, query)

    # Routes with an extension come before those that take all of the last part of the path as the id.
    async def go_to_file(app_id: str, workspace_id: str, recording_id: str, file_format: FileFormat) -> Response:
        recording = await recordings.find(app_id, workspace_id, recording_id)
        return recordings.file(recording, file_format)

    @router.get(
        "/recordings/{recordingId}.mp3", operation_id="fetchRecordingMp3", summary="Fetch the file as MP3", **_fetching
    )
    @router.head("/recordings/{recordingId}.mp3", include_in_schema=False)
    async def fetch_mp3(app_id: AppId, workspace_id: WorkspaceId, recording_id: RecordingId) -> Response:
        """Go to the finished file. A `Retry-After` with the 404 says that it is still to come."""
        return await go_to_file(app_id, workspace_id, recording_id, FileFormat.MP3)

    @router.get(
        "/recordings/{recordingId}.wav", operation_id="fetchRecordingWav", summary="Fetch the file as WAV", **_fetching
    )
    @router.head("/recordings/{recordingId}.wav", include_in_schema=False)
    async def fetch_wav(app_id: AppId, workspace_id: WorkspaceId, recording_id: RecordingId) -> Response:
        """Go to the finished file, as above. The format that it was not recorded in is made on the first request."""
        return await go_to_file(app_id, workspace_id, recording_id, FileFormat.WAV)

    @router.get(
        "/recordings/{recordingId}",
        operation_id="getRecording",
        summary="Read a recording",
        response_model=BirdRecording,
        responses=errors(),
    )
    async def read(app_id: AppId, workspace_id: WorkspaceId, recording_id: RecordingId) -> JSONResponse:
        """Read a recording, whichever API started it."""
        recording = await recordings.find(app_id, workspace_id, recording_id)
        return JSONResponse(recordings.shown(recording, await parts.transcripts.transcribed_among([recording])))

    @router.delete(
        "/recordings/{recordingId}",
        operation_id="deleteRecording",
        summary="Delete the file of a recording",
        status_code=204,
        response_description="The file is gone, and so are its links; the recording is `absent`.",
        responses=errors(),
    )
    async def delete(app_id: AppId, workspace_id: WorkspaceId, recording_id: RecordingId) -> Response:
        """Delete the file of a recording that has ended and is not held. One that runs must be stopped first."""
        await recordings.delete(await recordings.find(app_id, workspace_id, recording_id))
        return Response(status_code=204)

    @router.get(
        "/recording-metrics",
        operation_id="listRecordingMetrics",
        summary="Read what storage recordings take",
        response_model=RecordingMetrics,
        responses=errors(),
    )
    async def metrics(app_id: AppId, workspace_id: WorkspaceId, query: Annotated[Metrics, Query()]) -> JSONResponse:
        """Count the recordings that can be fetched, and the bytes of their files by the day of their creation."""
        return await recordings.metrics(app_id, workspace_id, query)

    return router


class _WorkspaceRecordings:
    """The recordings of an app, as Bird's recordings API sees them."""

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts
        self._commands = parts.commands

    async def find(self, app_id: str, workspace_id: str, recording_id: str) -> Recording:
        """Return a recording as it is now; raises NotFound."""
        return as_of(self._parts.now(), await find_recording(self._parts, app_id, workspace_id, recording_id))

    def shown(self, recording: Recording, transcribed: Collection[str]) -> dict[str, Any]:
        """Return the object of a recording; ``transcribed``: the ids of those that have a transcript."""
        parts, now = self._parts, self._parts.now()
        return recording_object(
            as_of(now, recording),
            is_transcribed=recording.id in transcribed,
            urls=parts.urls,
            now=now,
            link_ttl_s=parts.link_ttl_s,
        )

    async def list(self, app_id: str, workspace_id: str, query: ListRecordings) -> JSONResponse:
        """List the recordings to which all of the query applies; raises NotFound, and InvalidFields for a token."""
        await check_workspace(self._parts, app_id, workspace_id)
        place, channel_id = Place(workspace_id), query.channel_id
        page = await matching_page(
            self._commands,
            app_id=app_id,
            filters=await self._filters(app_id, query),
            wanted=lambda each: place.has_recording(each) and channel_id in (None, channel_of(each)),
            limit=min(query.limit, self._parts.page_limit),
            token=query.page_token,
        )
        transcribed = await self._parts.transcripts.transcribed_among(page.data)
        return JSONResponse(page.answer(lambda each: self.shown(each, transcribed)))

    def file(self, recording: Recording, file_format: FileFormat) -> Response:
        """Return the redirection to the file; raises NotFound if there is none."""
        parts = self._parts
        if recording.status is not Status.AVAILABLE:
            raise _no_file(recording)
        path = parts.urls.links.signed_path(recording, ext=file_format, now=parts.now(), ttl_s=parts.link_ttl_s)
        return RedirectResponse(parts.urls.public_url + path, 307, headers={"Cache-Control": "no-store"})

    async def delete(self, recording: Recording) -> None:
        """Delete the file; there may be none any more. Raises Conflict for a recording that runs or is held."""
        with suppress(NotFound):  # somebody has deleted it before
            await self._commands.delete(app_id=recording.app_id, recording_id=recording.id)

    async def metrics(self, app_id: str, workspace_id: str, query: Metrics) -> JSONResponse:
        """Return the storage that is taken now."""
        await check_workspace(self._parts, app_id, workspace_id)
        now = self._parts.now()
        days = await self._commands.stored_by_day(app_id=app_id, now=now, session_id=query.source_id)
        return JSONResponse(
            {
                "counter": sum(day.recordings for day in days),
                "dailyStorageUsage": {day.day.isoformat(): day.size_bytes for day in days},
                "updatedAt": rfc3339(now),
            }
        )

    async def _filters(self, app_id: str, query: ListRecordings) -> RecordingFilters:
        calls, ids = [query.source_id], None
        if query.id is not None:
            # Bird's document calls the parameter ``id`` and describes the id of a call: it may be either.
            try:
                ids = ((await self._commands.get(app_id=app_id, recording_id=from_uuid(query.id))).id,)
            except NotFound:
                calls.append(query.id)
        named = {each for each in calls if each is not None}
        return RecordingFilters(
            session_id=next(iter(named), None),
            # No recording is of two calls.
            ids=() if len(named) > 1 else ids,
            statuses=frozenset(Status),
            from_=query.from_,
            to=query.to,
            direction=None if query.direction is None else _OUR_DIRECTIONS[query.direction],
            created_from=query.start_at,
            created_until=None if query.end_at is None else _after(query.end_at),
        )


def _after(moment: datetime) -> datetime:
    """Return the first moment after this one, as far as there is one."""
    last = datetime.max.replace(tzinfo=UTC)
    return moment + timedelta(microseconds=1) if moment < last - timedelta(days=1) else last


def _no_file(recording: Recording) -> NotFound:
    """Return the error that says why there is no file to give."""
    if recording.status is Status.COMPLETED:
        error = NotFound("the file is being finished")
        error.retry_after_s = 1
    elif recording.status.is_running:
        error = NotFound("the recording has not been stopped yet")
        error.retry_after_s = 5
    else:
        error = NotFound("the recording has no file")
    return error
