"""What the framework has to say of a request, as errors of our tree and in words that a caller can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from wavstream.api.paths import allow
from wavstream.errors import (
    BadBody,
    FieldError,
    InternalError,
    InvalidFields,
    NoSuchMethod,
    NotFound,
    TooLarge,
    WavstreamError,
)


def json_pointer(path: Sequence[str | int]) -> str:
    """Return a path as RFC 6901 writes it: ``["metadata", "a/b"]`` as ``/metadata/a~1b``; the whole is empty."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def of_validation(error: RequestValidationError) -> InvalidFields | BadBody:
    """Return every wrong field of a request; BadBody if the body is not JSON at all."""
    details = error.errors()
    for detail in details:
        if detail["type"] == "json_invalid":
            return BadBody(f"The body is not JSON: {detail['ctx']['error']}, at character {detail['loc'][-1]}.")
    return InvalidFields(tuple(field_error(detail) for detail in details))


def of_http(request: Request, error: HTTPException) -> WavstreamError:
    """Return an error of ours for what the framework refuses: an address, a method, a body that cannot be read."""
    match error.status_code:
        case 404:
            return NotFound("there is nothing at this address")
        case 405:
            methods = allow(request)
            return NoSuchMethod(f"this address takes {methods}", allow=methods)
        case 413:
            return TooLarge(str(error.detail))
        case status if 400 <= status < 500:
            return BadBody(unreadable(error) or str(error.detail))
    return InternalError(str(error.detail))


def field_error(detail: Mapping[str, Any]) -> FieldError:
    """Return what pydantic found wrong in one field."""
    kind = _KINDS.get(detail["type"], "invalid")
    if len(detail["loc"]) > 1 and detail["type"] in _OBJECTS:
        return FieldError(_pointer(detail["loc"]), "must be an object", kind)
    return FieldError(_pointer(detail["loc"]), _reworded(detail), kind)


def unreadable(error: HTTPException) -> str | None:
    """Return why a body could not be read; None: the framework has said so itself."""
    # The framework reads a body and says no more than that it could not.
    return next((text for kind, text in _UNREADABLE.items() if isinstance(error.__cause__, kind)), None)


_OBJECTS = frozenset(("model_attributes_type", "model_type", "dict_type"))
_Kind = Literal["invalid", "missing", "unknown"]
_KINDS: Mapping[str, _Kind] = {"missing": "missing", "extra_forbidden": "unknown"}
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
