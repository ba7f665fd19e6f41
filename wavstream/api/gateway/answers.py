"""The shapes of the gateway's answers, and the one place where errors become its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavstream.api.paths import allow
from wavstream.errors import (
    Conflict,
    DependencyError,
    Forbidden,
    LimitReached,
    NotFound,
    OperatorError,
    PeerError,
    TooSoon,
    Unauthenticated,
    WavstreamError,
)
from wavstream.sessions.gateway_commands import CommandConflict, NotConfigured

log = structlog.get_logger("wavstream.api")


class Refused(WavstreamError):
    """A request is refused with this status and message."""

    def __init__(
        self, status: int, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.headers = headers


def refusal(status: int, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """An error; ``detail`` says more for a program."""
    body: dict[str, Any] = {"success": False, "error": message}
    if detail is not None:
        body["detail"] = detail
    return JSONResponse(body, status_code=status, headers=headers)


def refusal_of(error: WavstreamError) -> Response:
    """The answer to an error of our tree; those that the caller cannot mend are logged, and it learns little of it."""
    text = str(error)
    match error:
        case Refused():
            return refusal(error.status, text, detail=error.detail, headers=error.headers)
        case Unauthenticated():
            return refusal(401, text)
        case Forbidden():
            return refusal(403, text)
        case NotFound():
            return refusal(404, text)
        case CommandConflict():
            return refusal(409, text, detail=error.detail or None)
        case Conflict():
            return refusal(409, text)
        case LimitReached():
            status = 429 if isinstance(error, TooSoon) else 503
            return refusal(status, text, headers={"Retry-After": str(error.retry_after_s)})
        case PeerError():
            return refusal(400, text)
        case NotConfigured():
            return refusal(503, text)
        case DependencyError():
            log.error("request refused", exc_info=error)
            return refusal(503, "A part that the server depends on failed; try again", headers={"Retry-After": "5"})
        case OperatorError():
            log.error("request refused", exc_info=error)
            return refusal(503, "Whoever runs the server has to change something first; its log says what")
        case _:
            log.error("request failed", exc_info=error)
            return refusal(500, "The server made a mistake; its log says more")


async def of_http(request: Request, error: Exception) -> Response:
    """What the framework refuses: an address or a method that does not exist."""
    assert isinstance(error, HTTPException)
    headers = {"Allow": allow(request)} if error.status_code == 405 else error.headers
    return refusal(error.status_code, str(error.detail), headers=headers)


async def of_mistake(_request: Request, _error: Exception) -> Response:
    """An error that is nobody's: the framework raises it again behind this answer, so the server logs it."""
    return refusal(500, "The server made a mistake; its log says more")
