"""The shapes of the gateway's answers, and of its refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wavstream.api.gateway.commands import CommandConflict, NotConfigured
from wavstream.api.paths import allow
from wavstream.errors import InternalError, InvalidFields, PeerError, WavstreamError

log = structlog.get_logger(__name__)


class Refused(WavstreamError):
    """A request is refused with this status and message."""

    def __init__(
        self, status: int, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.http_status = status
        self.detail = detail
        self.headers = headers


def refusal(status: int, message: str, *, detail: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error; ``detail`` says more for a program."""
    body: dict[str, Any] = {"success": False, "error": message}
    if detail is not None:
        body["detail"] = detail
    return JSONResponse(body, status_code=status, headers=headers)


def refusal_of(error: WavstreamError) -> Response:
    """Return the answer to an error of our tree; log those that the caller cannot mend, who learns little of them."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    match error:
        case Refused():
            return refusal(error.http_status, str(error), detail=error.detail, headers=error.headers)
        case CommandConflict():
            return refusal(error.http_status, str(error), detail=error.detail or None)
        case InvalidFields():  # the gateway's contract has no 422: what is wrong in a request is 400
            return refusal(PeerError.http_status, str(error))
        case PeerError() | NotConfigured():
            return refusal(error.http_status, str(error), headers=headers)
    log.error("request_failed", status=error.http_status, error=str(error), exc_info=error)
    return refusal(error.http_status, error.public_text, headers=headers)


async def of_http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: an address or a method that does not exist."""
    assert isinstance(error, HTTPException)
    headers = {"Allow": allow(request)} if error.status_code == 405 else error.headers
    return refusal(error.status_code, str(error.detail), headers=headers)


async def of_mistake(_request: Request, _error: Exception) -> Response:
    """Answer an error of no class of ours; the framework raises it again behind this answer, so the server logs it."""
    return refusal(InternalError.http_status, InternalError.public_text)
