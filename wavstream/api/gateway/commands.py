"""``POST /api/v1/sessions/{id}/commands/...``: 202 with the operation; what came of it follows by webhook."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wavstream.api.gateway.answers import Refused
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard
from wavstream.api.paths import ANY_TEXT
from wavstream.model.operation import Command

TIMEOUT_MS = 2_000
"""As the gateway has it: how long a result may take that has to be waited for. Ours are there with the answer."""
_COMMAND_UID = re.compile(r"[a-zA-Z0-9._-]{1,128}")


def routes(parts: GatewayDependencies, desk: GatewayGuard) -> list[Route]:
    """The route of the commands."""

    async def command(request: Request, app_id: str) -> Response:
        session_id, name = request.path_params["session_id"], request.path_params["command"]
        if name not in list(Command):
            raise Refused(400, "Invalid command")
        command_uid = await _command_uid(request)
        if name == Command.RECORD_STOP:
            operation = await parts.commands.stop(app_id=app_id, session_id=session_id, command_uid=command_uid)
        else:
            options = await parts.known_apps.options(app_id)
            operation = await parts.commands.start(
                app_id=app_id, session_id=session_id, command_uid=command_uid, options=options
            )
        body = {"operation_id": operation.id, "status": "in_progress", "timeout_ms": TIMEOUT_MS}
        return JSONResponse(body, status_code=202)

    async def _command_uid(request: Request) -> str | None:
        said = await desk.json(request)
        if parts.strict_body and said.keys() - {"command_uid"}:
            raise Refused(400, "Invalid request body")
        if "command_uid" not in said:
            return None
        uid = said["command_uid"]
        if not isinstance(uid, str) or _COMMAND_UID.fullmatch(uid) is None:
            raise Refused(400, "Invalid command_uid format")
        return uid

    path = f"/api/v1/sessions/{{session_id:{ANY_TEXT}}}/commands/{{command:{ANY_TEXT}}}"
    return [Route(path, desk.for_app(command), methods=["POST"])]
