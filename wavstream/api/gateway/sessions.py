"""``/api/v1/sessions/{id}/...``: commands to a session, and its newest running recording, heard while it is made.

A command that is taken on gets 202 with its operation; its result follows by webhook.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wavstream.api.gateway.answers import Refused, refusal
from wavstream.api.gateway.commands import Command
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard
from wavstream.api.live import heard
from wavstream.api.paths import ANY_TEXT

TIMEOUT_MS = 2_000
"""As the gateway has it: how long a result may take that has to be waited for. Ours are there with the answer."""
_COMMAND_UID = re.compile(r"[a-zA-Z0-9._-]{1,128}")


def routes(parts: GatewayDependencies, guard: GatewayGuard) -> list[Route]:
    """Return the routes of sessions."""

    async def command(request: Request, app_id: str) -> Response:
        session_id, name = request.path_params["session_id"], request.path_params["command"]
        if name not in list(Command):
            raise Refused(400, "Invalid command")
        command_uid = await _command_uid(request)
        if name == Command.RECORD_STOP:
            operation = await parts.commands.stop(app_id=app_id, session_id=session_id, command_uid=command_uid)
        else:
            options = await parts.app_cache.options(app_id)
            operation = await parts.commands.start(
                app_id=app_id, session_id=session_id, command_uid=command_uid, options=options
            )
        body = {"operation_id": operation.id, "status": "in_progress", "timeout_ms": TIMEOUT_MS}
        return JSONResponse(body, status_code=202)

    async def _command_uid(request: Request) -> str | None:
        said = await guard.json(request)
        if parts.strict_body and said.keys() - {"command_uid"}:
            raise Refused(400, "Invalid request body")
        if "command_uid" not in said:
            return None
        uid = said["command_uid"]
        if not isinstance(uid, str) or _COMMAND_UID.fullmatch(uid) is None:
            raise Refused(400, "Invalid command_uid format")
        return uid

    async def listen(request: Request, app_id: str) -> Response:
        recording = parts.commands.newest(app_id=app_id, session_id=request.path_params["session_id"])
        answer = (
            None
            if recording is None
            else await heard(request, parts.live.listen(recording.id, key_id=request.state.key_id))
        )
        if answer is None:
            raise Refused(404, "No recording is running")
        if answer.status_code == 416:
            kept = {name: answer.headers[name] for name in ("Content-Range", "Accept-Ranges")}
            return refusal(416, "Range not satisfiable", headers=kept)
        return answer

    session = f"/api/v1/sessions/{{session_id:{ANY_TEXT}}}"
    return [
        Route(f"{session}/commands/{{command:{ANY_TEXT}}}", guard.for_app(command), methods=["POST"]),
        Route(f"{session}/recording/file.wav", guard.for_app(listen), methods=["GET"]),
    ]
