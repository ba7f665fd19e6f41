"""``/api/v1/sessions/{id}/recording/file.wav``: the session's newest running recording, heard while it is made."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wavstream.api.gateway.answers import Refused, refusal
from wavstream.api.gateway.dependencies import GatewayDependencies
from wavstream.api.gateway.guard import GatewayGuard
from wavstream.api.live import heard
from wavstream.api.paths import ANY_TEXT


def routes(parts: GatewayDependencies, desk: GatewayGuard) -> list[Route]:
    """The route of listening."""

    async def listen(request: Request, app_id: str) -> Response:
        recording = parts.commands.newest(app_id=app_id, session_id=request.path_params["session_id"])
        answer = None if recording is None else await heard(request, parts.listen(recording.id))
        if answer is None:
            raise Refused(404, "No recording is running")
        if answer.status_code == 416:
            kept = {name: answer.headers[name] for name in ("Content-Range", "Accept-Ranges")}
            return refusal(416, "Range not satisfiable", headers=kept)
        return answer

    path = f"/api/v1/sessions/{{session_id:{ANY_TEXT}}}/recording/file.wav"
    return [Route(path, desk.for_app(listen), methods=["GET"])]
