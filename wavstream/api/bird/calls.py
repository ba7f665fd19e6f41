"""``/workspaces/.../channels/.../calls/{callId}/...``: record a call, and pause, resume and stop that.

``callId`` is the id of the session. The workspace and the channel are looked at only where they are known to be others:
the media server may have told them, or the command that started the recording did.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Body, Query
from starlette.responses import JSONResponse

from wavstream.api.bird.answers import CallRecording, CallRecordings, Started, call_recording_object, errors
from wavstream.api.bird.options import CallPage, ChangeRecording, Record, RecordCall, options_of
from wavstream.api.bird.pages import (
    API,
    CallId,
    ChannelId,
    Place,
    RecordingId,
    WorkspaceId,
    check_workspace,
    find_recording,
    matching_page,
)
from wavstream.api.facade import AppId, FacadeDependencies, check_call
from wavstream.api.paths import ANY_TEXT
from wavstream.api.playback import as_of
from wavstream.api.routes import Router
from wavstream.api.translation import NO_TRANSCRIPTS, with_transcript
from wavstream.errors import Conflict, FieldError, Forbidden, InvalidFields, LimitReached, NotFound
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import as_uuid
from wavstream.model.options import RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status
from wavstream.webhooks.bird import CHANNEL, VOICEMAIL, WHOLE_CALL, WORKSPACE

_RUNNING = frozenset(status for status in Status if status.is_running)


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of calls."""
    call = f"/workspaces/{{workspaceId}}/channels/{{channelId}}/calls/{{callId:{ANY_TEXT}}}"
    router = Router(prefix=call, tags=["calls"])
    recordings = _CallRecordings(parts)

    @router.post(
        "/recordings",
        operation_id="recordCallSession",
        summary="Record a call",
        status_code=202,
        response_model=Started,
        responses=errors(body=True),
    )
    async def record_call(
        app_id: AppId,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        call_id: CallId,
        said: Annotated[RecordCall | None, Body()] = None,
    ) -> JSONResponse:
        """Record the whole call, both of its bridged streams, as MP3. The body may be empty."""
        place = Place(workspace_id, channel_id)
        return await recordings.start(app_id, place, call_id, WHOLE_CALL, said or RecordCall())

    @router.post(
        "/record",
        operation_id="recordCall",
        summary="Record a message",
        status_code=202,
        response_model=Started,
        responses=errors(body=True),
    )
    async def record(
        app_id: AppId,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        call_id: CallId,
        said: Annotated[Record | None, Body()] = None,
    ) -> JSONResponse:
        """Record as voicemail does: until a key, a silence or a length ends it. The body may be empty."""
        place = Place(workspace_id, channel_id)
        return await recordings.start(app_id, place, call_id, VOICEMAIL, said or Record())

    @router.get(
        "/recordings",
        operation_id="listCallRecordings",
        summary="List the recordings of a call that run",
        response_model=CallRecordings,
        responses=errors(),
    )
    async def list_running(
        app_id: AppId,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        call_id: CallId,
        query: Annotated[CallPage, Query()],
    ) -> JSONResponse:
        """List what is being recorded of a call that goes on; for the rest ask the workspace."""
        return await recordings.list_running(app_id, Place(workspace_id, channel_id), call_id, query)

    @router.get(
        "/recordings/{recordingId}",
        operation_id="getCallRecording",
        summary="Read a recording of a call",
        response_model=CallRecording,
        responses=errors(),
    )
    async def read(
        app_id: AppId,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        call_id: CallId,
        recording_id: RecordingId,
    ) -> JSONResponse:
        """Read a recording of a call, which may be over."""
        place = Place(workspace_id, channel_id)
        return recordings.answer(await recordings.find(app_id, place, call_id, recording_id), place)

    @router.patch(
        "/recordings/{recordingId}",
        operation_id="updateCallRecording",
        summary="Pause, resume or stop a recording of a call",
        status_code=202,
        response_model=CallRecording,
        responses=errors(body=True),
    )
    async def change(
        app_id: AppId,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        call_id: CallId,
        recording_id: RecordingId,
        said: ChangeRecording,
    ) -> JSONResponse:
        """Pause, resume or stop. What is said during a pause is left out of the file; the file follows the stop."""
        place = Place(workspace_id, channel_id)
        recording = await recordings.find(app_id, place, call_id, recording_id)
        changed = await recordings.change(recording, Status(said.status))
        return recordings.answer(changed, place, status_code=202)

    return router


class _CallRecordings:
    """The recordings of calls, as Bird's commands see them."""

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts
        self._commands = parts.commands

    async def start(
        self, app_id: str, place: Place, call_id: str, command: str, said: RecordCall | Record
    ) -> JSONResponse:
        """Start a recording; raises NotFound, InvalidFields, and what the commands raise."""
        await check_workspace(self._parts, app_id, place.workspace_id)
        check_call(self._parts, app_id, call_id)
        if not place.has(self._vendor_ids(app_id, call_id), {}):
            raise _no_such_call()
        recording = await self._commands.start(
            app_id=app_id,
            session_id=call_id,
            options=self._options(await self._parts.app_cache.options(app_id), said),
            origin=Origin(api=API, command=command, said={WORKSPACE: place.workspace_id, CHANNEL: place.channel_id}),
        )
        return JSONResponse(
            {
                "command": {
                    "id": str(uuid.uuid4()),
                    "callId": call_id,
                    "callFlowId": None,
                    "status": "accepted",
                    "command": command,
                },
                "recordingId": as_uuid(recording.id),
            },
            status_code=202,
        )

    async def list_running(self, app_id: str, place: Place, call_id: str, query: CallPage) -> JSONResponse:
        """List what runs of a call; raises NotFound for one that is not the app's or not here, and LimitReached."""
        parts = self._parts
        await check_workspace(parts, app_id, place.workspace_id)
        try:
            running = {each.id: each for each in self._commands.recordings_of(app_id, call_id)}
        except (NotFound, Forbidden):  # whose it is must not be told
            raise _no_such_call() from None
        if not place.has(self._vendor_ids(app_id, call_id), {}):
            raise _no_such_call()
        # Its row is written last, so what runs is looked up among the live ones.
        page = await matching_page(
            self._commands,
            app_id=app_id,
            filters=RecordingFilters(session_id=call_id, statuses=_RUNNING),
            wanted=lambda row: row.id in running and place.has_recording(row),
            limit=min(query.limit, parts.page_limit),
            token=query.page_token,
        )
        return JSONResponse(page.answer(lambda row: self._object(running[row.id], place)))

    async def find(self, app_id: str, place: Place, call_id: str, recording_id: str) -> Recording:
        """Return the recording that the path names, as it is now; raises NotFound."""
        recording = await find_recording(self._parts, app_id, place.workspace_id, recording_id)
        if recording.session_id != call_id or not place.has_recording(recording):
            raise NotFound("no such recording of this call")
        return as_of(self._parts.now(), recording)

    async def change(self, recording: Recording, wanted: Status) -> Recording:
        """Pause, resume or stop a recording, which may be so already; return it as it is then.

        Raises Conflict for one that cannot become so from what it is. A stop of one that has ended is done: the answer
        to the stop before it may have been lost.
        """
        commands, app_id, recording_id = self._commands, recording.app_id, recording.id
        try:
            if wanted is Status.PAUSED:
                return await commands.pause(app_id=app_id, recording_id=recording_id)
            if wanted is Status.ONGOING:
                return await commands.resume(app_id=app_id, recording_id=recording_id)
            await commands.end(app_id=app_id, recording_id=recording_id)
        except Conflict as error:
            if error.state != wanted and not (wanted is Status.COMPLETED and not Status(error.state).is_running):
                raise
        return await commands.get(app_id=app_id, recording_id=recording_id)

    def answer(self, recording: Recording, place: Place, *, status_code: int = 200) -> JSONResponse:
        """Return the object of a recording."""
        return JSONResponse(self._object(recording, place), status_code=status_code)

    def _object(self, recording: Recording, place: Place) -> dict[str, Any]:
        assert place.channel_id is not None
        return call_recording_object(recording, channel_id=place.channel_id, now=self._parts.now())

    def _vendor_ids(self, app_id: str, call_id: str) -> Mapping[str, str]:
        try:
            return self._commands.session(app_id, call_id).vendor_ids
        except (NotFound, LimitReached):  # it is waited for, or a restart has it in its hands
            return {}

    def _options(self, defaults: RecordingOptions, said: RecordCall | Record) -> RecordingOptions:
        options = options_of(said, defaults)
        if self._parts.rules.transcribes:
            return with_transcript(options)
        if options.transcription and self._parts.rules.refuse_unavailable:
            raise InvalidFields((FieldError("/transcribe", NO_TRANSCRIPTS),))
        return options


def _no_such_call() -> NotFound:
    return NotFound("no such call here: stream it, or announce it, under this workspace and channel")
