"""Errors as RFC 9457 problems.

The caller's errors (``PeerError``) keep their text, which says what to do. What only the operator or we can mend is
logged with its traceback, and the caller learns no more than whether trying again may help. Which status an error has
is said by its class (``wavstream.errors``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from wavstream.api.mistakes import of_validation, unreadable
from wavstream.api.paths import allow
from wavstream.errors import (
    Conflict,
    FieldError,
    InternalError,
    InvalidFields,
    PeerError,
    Unauthenticated,
    WavstreamError,
)

MEDIA_TYPE = "application/problem+json"

log = structlog.get_logger(__name__)

_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""As RFC 9110 has them; Python 3.11 still uses older names."""


class ProblemResponse(JSONResponse):
    """An RFC 9457 problem."""

    media_type = MEDIA_TYPE


def problem(
    status: int, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ProblemResponse:
    """Return a problem whose title is the status; ``members`` are its extension members."""
    body: dict[str, Any] = {"type": "about:blank", "title": _title(status), "status": status}
    if detail:
        body["detail"] = detail
    return ProblemResponse(body | members, status_code=status, headers=headers)


def problem_of(error: WavstreamError) -> ProblemResponse:
    """Return the answer to an error of our tree; log those that the caller cannot mend."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    match error:
        case InvalidFields():
            return invalid(error.fields)
        case Conflict():
            return problem(error.http_status, str(error), state=error.state)
        case Unauthenticated():
            headers["WWW-Authenticate"] = 'Bearer realm="wavstream"'
    if isinstance(error, PeerError):
        return problem(error.http_status, str(error), headers=headers)
    log.error("request_failed", status=error.http_status, error=str(error), exc_info=error)
    return problem(error.http_status, f"{error.public_text}.", headers=headers)


def invalid(fields: Sequence[FieldError]) -> ProblemResponse:
    """Return 422 with every wrong field."""
    return problem(
        InvalidFields.http_status,
        "; ".join(f"{field.pointer or 'body'}: {field.detail}" for field in fields),
        errors=[{"pointer": field.pointer, "detail": field.detail} for field in fields],
    )


def install(app: FastAPI) -> None:
    """Make every error of ``app``, ours or the framework's, a problem."""
    app.add_exception_handler(WavstreamError, _wavstream_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(UnicodeEncodeError, _half_pair)
    app.add_exception_handler(Exception, _unexpected)


async def _wavstream_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, WavstreamError)
    return problem_of(error)


async def _validation_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    mistake = of_validation(error)
    return invalid(mistake.fields) if isinstance(mistake, InvalidFields) else problem_of(mistake)


async def _http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    detail = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    if error.status_code == 400:
        detail = unreadable(error) or detail
    headers = {"Allow": allow(request)} if error.status_code == 405 else error.headers
    return problem(error.status_code, detail or _DETAILS.get(error.status_code), headers=headers)


async def _half_pair(_request: Request, _error: Exception) -> ProblemResponse:
    # JSON can escape half of a surrogate pair. Where no model has refused it, neither catalog nor journal can hold it.
    return problem(422, "Text in the request must be Unicode: half of a surrogate pair stands alone.")


async def _unexpected(_request: Request, _error: Exception) -> ProblemResponse:
    # Starlette raises the error again behind this answer, so the server logs it with its traceback.
    return problem(InternalError.http_status, f"{InternalError.public_text}.")


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header names those it does.",
}


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase
