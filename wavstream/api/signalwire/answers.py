"""SignalWire's three shapes of errors.

1. ``{"error": "Not Found"}``, the words of the status: what is not about a field. Where the words do not say what to
   do, ``message`` does; SignalWire has no such member, and its clients read past it. Its words for 401, 403, 404 and
   500 stand alone.
2. ``errors`` of type, code, message, attribute and url: wrong fields of a body, which only the calling API and SWML
   have. The codes are those of SignalWire's list.
3. ``errors`` of detail, status, title and code: wrong parameters of the recordings API, which has no bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from wavstream.api.signalwire.call_recordings import ControlIdInUse
from wavstream.errors import (
    Conflict,
    FieldError,
    InvalidFields,
    PeerError,
    Unauthenticated,
    WavstreamError,
)

ERROR_CODES_URL = "https://signalwire.com/docs/apis/error-codes"
"""What the codes of rule 2 mean."""
_PLAIN = (401, 403, 404, 500)
"""What SignalWire tells in the words of the status alone."""
_TITLES = {413: "Content Too Large"}
"""As RFC 9110 has it; Python 3.11 still uses an older name."""
_NAMES = {"session_id": "id"}
"""What an opener finds wrong in the id of a call, by SignalWire's name for it."""
_CODES = {"missing": "missing_required_parameter", "unknown": "invalid_parameter", "invalid": "invalid_parameter"}


class Refusal(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [{"error": "Not Found"}]})

    error: str
    """The words of the status."""
    message: str | None = None
    """What to do about it, where the words do not say it."""


class WrongParameter(BaseModel):
    """One wrong field of a command."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    code: str
    message: str
    attribute: str | None
    """The field, by its path without `params`; null: the body as a whole."""
    url: str


class WrongParameters(BaseModel):
    """Every wrong field of a command."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "errors": [
                        {
                            "type": "validation_error",
                            "code": "invalid_parameter",
                            "message": "audio.format accepted: wav, mp3",
                            "attribute": "audio.format",
                            "url": ERROR_CODES_URL,
                        }
                    ]
                }
            ]
        }
    )

    errors: list[WrongParameter]


class WrongAttribute(BaseModel):
    """One wrong parameter of a request about recordings."""

    detail: str
    status: str
    title: str
    code: str


class WrongAttributes(BaseModel):
    """Every wrong parameter of a request about recordings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "errors": [
                        {
                            "detail": "page_size must be greater than or equal to 1",
                            "status": "422",
                            "title": "Invalid Attribute",
                            "code": "422",
                        }
                    ]
                }
            ]
        }
    )

    errors: list[WrongAttribute]


_MEANINGS = {
    400: "The body is not JSON",
    401: "No key, or a wrong one, or a project that is not the app's",
    404: "There is no such call or recording, or it is another app's",
    405: "The address does not take this method",
    413: "The body is too large",
    422: "One or more fields are wrong; all of them are named",
    429: "Too many wrong keys from this address, or a quota of the app is reached",
    503: "A limit of the server is reached, or a part it depends on failed: try again; or whoever runs it has to act",
}


def refusals(*statuses: int, fields: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe refusals as answers of a route; ``fields`` is how it tells of wrong ones."""
    return {
        status: {"model": fields if status == 422 else Refusal, "description": _MEANINGS[status]}
        for status in sorted({401, 429, 503, *statuses})
    }


def refusal(error: WavstreamError) -> Response:
    """Return the answer to an error of our tree."""
    headers = {}
    match error:
        case ControlIdInUse():
            return _wrong_parameters(error.fields, code="value_not_unique")
        case Conflict():
            return _wrong_parameters((FieldError("/params/control_id", str(error)),), code="cannot_process")
        case InvalidFields(fields=fields) if all(field.pointer[:1] in ("", "/") for field in fields):  # of a body
            return _wrong_parameters(fields)
        case InvalidFields():
            errors = [_attribute(field) for field in error.fields]  # rule 3
            return JSONResponse({"errors": errors}, status_code=error.http_status)
        case Unauthenticated():
            headers["WWW-Authenticate"] = 'Basic realm="wavstream"'
    body = {"error": _title(error.http_status)}  # rule 1
    if error.http_status not in _PLAIN:
        body["message"] = str(error) if isinstance(error, PeerError) else error.public_text
    return JSONResponse(body, status_code=error.http_status, headers=headers)


def _wrong_parameters(fields: Sequence[FieldError], *, code: str | None = None) -> Response:
    errors = [_parameter(field, code or _CODES[field.kind]) for field in fields]  # rule 2
    return JSONResponse({"errors": errors}, status_code=InvalidFields.http_status)


def _parameter(field: FieldError, code: str) -> dict[str, Any]:
    path = [step.replace("~1", "/").replace("~0", "~") for step in field.pointer.split("/")[1:]]
    attribute = ".".join(path[1:] if path[:1] == ["params"] and len(path) > 1 else path) or None
    attribute = _NAMES.get(attribute or "", attribute)
    return {
        "type": "validation_error",
        "code": code,
        "message": f"{attribute or 'The body'} {field.detail}",
        "attribute": attribute,
        "url": ERROR_CODES_URL,
    }


def _attribute(field: FieldError) -> dict[str, Any]:
    status = str(InvalidFields.http_status)
    return {
        "detail": f"{field.pointer} {field.detail}",
        "status": status,
        "title": "Invalid Attribute",
        "code": status,
    }


def _title(status: int) -> str:
    return _TITLES.get(status) or HTTPStatus(status).phrase
