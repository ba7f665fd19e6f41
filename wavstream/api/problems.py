"""Errors as RFC 9457 problems.

The caller's errors (``PeerError``) keep their text, which says what to do. What only the operator or we can mend is
logged with its traceback, and the caller learns no more than whether trying again may help. Which status an error has
is said by its class (``wavstream.errors``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

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
    log.error("request_failed", status=error.http_status, exc_info=error)
    return problem(error.http_status, f"{error.public_text}.", headers=headers)


def invalid(fields: Sequence[FieldError]) -> ProblemResponse:
    """Return 422 with every wrong field."""
    return problem(
        InvalidFields.http_status,
        "; ".join(f"{field.pointer or 'body'}: {field.detail}" for field in fields),
        errors=[{"pointer": field.pointer, "detail": field.detail} for field in fields],
    )


def json_pointer(path: Sequence[str | int]) -> str:
    """Return a path as RFC 6901 writes it: ``["metadata", "a/b"]`` as ``/metadata/a~1b``; the whole is empty."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def install(app: FastAPI) -> None:
    """Make every error of ``app``, ours or the framework's, a problem."""
    app.add_exception_handler(WavstreamError, _wavstream_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)


async def _wavstream_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, WavstreamError)
    return problem_of(error)


async def _validation_error(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    for detail in details:
        if detail["type"] == "json_invalid":
            return problem(400, f"The body is not JSON: {detail['ctx']['error']}, at character {detail['loc'][-1]}.")
    return invalid([FieldError(_pointer(detail["loc"]), _reworded(detail)) for detail in details])


async def _http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    detail = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    if error.status_code == 400:
        # The framework reads a body and says no more than that it could not.
        detail = next((text for kind, text in _UNREADABLE.items() if isinstance(error.__cause__, kind)), detail)
    headers = {"Allow": allow(request)} if error.status_code == 405 else error.headers
    return problem(error.status_code, detail or _DETAILS.get(error.status_code), headers=headers)


async def _unexpected(_request: Request, _error: Exception) -> ProblemResponse:
    # Starlette raises the error again behind this answer, so the server logs it with its traceback.
    return problem(InternalError.http_status, f"{InternalError.public_text}.")


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header names those it does.",
}

_UNREADABLE: Mapping[type[BaseException], str] = {
    UnicodeDecodeError: "The body is not UTF-8.",
    RecursionError: "The body is nested too deeply.",
    ValueError: "A number in the body has too many digits.",
}
_TYPES = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
    "model_type": "must be a JSON object, sent with Content-Type: application/json",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be text",
    "string_unicode": "must be Unicode text",
    "int_type": "must be a whole number, without a fraction",
    "int_from_float": "must be a whole number, without a fraction",
    "int_parsing": "must be a whole number, without a fraction",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
}
_HEADER_NAMES = {"idempotency-key": "Idempotency-Key"}


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase


def _pointer(loc: Sequence[str | int]) -> str:
    """Return ``("body", "metadata", "a/b")`` as ``/metadata/a~1b``; parameters and headers by their name."""
    place, *path = loc
    if place == "body":
        return json_pointer([step for step in path if step != "[key]"])
    name = str(path[-1]) if path else ""
    return _HEADER_NAMES.get(name, name)


def _reworded(detail: Mapping[str, Any]) -> str:
    """Return what a pydantic error says, in the words of this API."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case str(kind) if kind in _TYPES:
            return _TYPES[kind]
        case "literal_error" | "enum":
            return "accepted: " + re.sub(r" or (?='[^']*'$)", ", ", context["expected"]).replace("'", "")
        case "value_error":
            return str(context["error"])
    message = re.sub(r"^\w+ (should|must) ", "must ", str(detail["msg"]))
    return re.sub(r" after validation, not .*$", "", message)
