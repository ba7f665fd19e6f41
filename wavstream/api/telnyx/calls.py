"""``/v2/calls/{call_control_id}/actions/...``: the commands to a call.

A call control id is any text; ``:`` and an encoded ``/`` are part of it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Depends, Path, Request
from starlette.responses import JSONResponse

from wavstream.api.facade import AppId, FacadeDependencies
from wavstream.api.paths import ANY_TEXT
from wavstream.api.routes import Router
from wavstream.api.telnyx.answers import CommandAnswer, StartAnswer, Started, errors
from wavstream.api.telnyx.commands import TelnyxCommands
from wavstream.api.telnyx.requests import RecordAction, RecordStart
from wavstream.model.ids import as_uuid

CallControlId = Annotated[
    str,
    Path(
        description="The id of the call, as its media stream names it, percent-encoded.",
        examples=["v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg"],
    ),
]
Action = Annotated[RecordAction | None, Body()]
ERRORS = errors(400, 404, 413, 422)


async def is_retry(request: Request) -> bool:
    """Return whether the vendor's client says that it sends the request again."""
    count = request.headers.get("x-stainless-retry-count", "")
    return count.isascii() and count.isdecimal() and count.strip("0") != ""


IsRetry = Annotated[bool, Depends(is_retry)]
"""Whether the request is sent again, as a parameter of a route."""


def routes(parts: FacadeDependencies) -> Router:
    """Return the routes of calls."""
    router = Router(prefix=f"/v2/calls/{{call_control_id:{ANY_TEXT}}}/actions", tags=["calls"])
    commands = TelnyxCommands(parts)

    @router.post(
        "/record_start",
        operation_id="startRecording",
        summary="Start to record a call",
        response_model=StartAnswer,
        responses=ERRORS,
    )
    async def start(call_control_id: CallControlId, said: RecordStart, app_id: AppId, again: IsRetry) -> JSONResponse:
        """Record a call, until it ends or is stopped. A call may have several recordings at once."""
        recording_id = await commands.start(app_id=app_id, call=call_control_id, said=said, is_retry=again)
        return JSONResponse(StartAnswer(data=Started(recording_id=as_uuid(recording_id))).as_json())

    @router.post(
        "/record_stop",
        operation_id="stopRecording",
        summary="Stop recordings of a call",
        response_model=CommandAnswer,
        responses=ERRORS,
    )
    async def stop(call_control_id: CallControlId, app_id: AppId, again: IsRetry, said: Action = None) -> JSONResponse:
        """Stop them and wait for their files; `call.recording.saved` follows."""
        await commands.stop(app_id=app_id, call=call_control_id, said=said or RecordAction(), is_retry=again)
        return JSONResponse(CommandAnswer().as_json())

    @router.post(
        "/record_pause",
        operation_id="pauseRecording",
        summary="Pause recordings of a call",
        response_model=CommandAnswer,
        responses=ERRORS,
    )
    async def pause(call_control_id: CallControlId, app_id: AppId, again: IsRetry, said: Action = None) -> JSONResponse:
        """From now on nothing that is said reaches the file, which goes on without a gap when it is resumed."""
        await commands.pause(app_id=app_id, call=call_control_id, said=said or RecordAction(), is_retry=again)
        return JSONResponse(CommandAnswer().as_json())

    @router.post(
        "/record_resume",
        operation_id="resumeRecording",
        summary="Resume recordings of a call",
        response_model=CommandAnswer,
        responses=ERRORS,
    )
    async def resume(
        call_control_id: CallControlId, app_id: AppId, again: IsRetry, said: Action = None
    ) -> JSONResponse:
        """Go on after a pause."""
        await commands.resume(app_id=app_id, call=call_control_id, said=said or RecordAction(), is_retry=again)
        return JSONResponse(CommandAnswer().as_json())

    return router
