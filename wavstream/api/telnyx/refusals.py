"""Errors in Telnyx's words: ``errors[]`` with a code, a title, a sentence, and the place of what is wrong.

1. What is wrong in a request is 422, one entry for each wrong field. The vendor's client tries again after 408, 409,
   429 and from 500 on, so what trying again cannot mend has none of these: a state that forbids a command is 422 too.
2. Where the client would try again in vain it is told not to (``x-should-retry``).
3. ``meta``, which at the vendor links to a page about the code, is left out: that page is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import JSONResponse, Response

from wavstream.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidFields,
    NotFound,
    OperatorError,
    PeerError,
    TooSoon,
    Unauthenticated,
    WavstreamError,
)

Code = Literal["10004", "10005", "10006", "10007", "10009", "10010", "10011", "10015", "90015", "90018"]
TITLES: dict[Code, str] = {
    "10004": "Missing required parameter",
    "10005": "Resource not found",
    "10006": "Invalid ID",
    "10007": "Unexpected error",
    "10009": "Authentication failed",
    "10010": "Authorization failed",
    "10011": "Too many requests",
    "10015": "Bad Request",
    "90015": "Invalid Call Control ID",
    "90018": "Call has already ended",
}
_IDS = re.compile(r"/recording_id|/ids/\d+")
"""Fields of a body that hold the id of a recording."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One entry of ``errors[]``."""

    code: Code
    detail: str
    place: str | None = None
    """JSON pointer of a field, the name of a query parameter; None: it is no field's."""

    def as_json(self) -> dict[str, Any]:
        """Return it as values that JSON knows."""
        said: dict[str, Any] = {"code": self.code, "title": TITLES[self.code], "detail": self.detail}
        if self.place is not None:
            said["source"] = {"pointer" if self.place.startswith("/") else "parameter": self.place}
        return said


class Refused(PeerError):
    """A request is refused for these mistakes."""

    http_status = InvalidFields.http_status

    def __init__(self, *mistakes: Mistake, status: int | None = None) -> None:
        super().__init__("; ".join(mistake.detail for mistake in mistakes))
        self.mistakes = mistakes
        if status is not None:
            self.http_status = status


def unknown_call() -> Refused:
    """Return the refusal of a call control id that names no call of the app."""
    detail = "The call_control_id provided was not valid: no such call is live. Stream it, or announce it, first."
    return Refused(Mistake("90015", detail, "/call_control_id"))


def ended_call() -> Refused:
    """Return the refusal of a command to a call that is over."""
    return Refused(Mistake("90018", "This call is no longer active and can't receive commands."))


def no_such_recording(place: str | None = None) -> Refused:
    """Return the refusal of an id that names no recording which the app may know of."""
    return Refused(Mistake("10005", "There is no such recording, or it is not finished.", place), status=404)


def refusal(error: WavstreamError) -> Response:
    """Return the answer to an error of our tree."""
    headers: dict[str, str] = {}
    match error:
        case Refused():
            return _answer(error.http_status, error.mistakes)
        case InvalidFields():
            return _answer(error.http_status, map(_of_field, error.fields))
        case Conflict():  # rule 1
            return _answer(InvalidFields.http_status, [Mistake("10015", _sentence(str(error)))])
        case Unauthenticated():
            headers["WWW-Authenticate"] = 'Bearer realm="wavstream"'
        case OperatorError():
            headers["x-should-retry"] = "false"  # rule 2
    text = str(error) if isinstance(error, PeerError) else error.public_text
    return _answer(error.http_status, [Mistake(_code(error), _sentence(text))], headers)


def _answer(status: int, mistakes: Iterable[Mistake], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"errors": [mistake.as_json() for mistake in mistakes]}, status_code=status, headers=headers)


def _code(error: WavstreamError) -> Code:
    match error:
        case NotFound():
            return "10005"
        case Unauthenticated():
            return "10009"
        case Forbidden():
            return "10010"
        case TooSoon():
            return "10011"
    return "10015" if isinstance(error, PeerError) and error.http_status < 500 else "10007"


def _of_field(field: FieldError) -> Mistake:
    name = field.pointer.removeprefix("/")
    if not name:
        if field.kind == "missing":
            return Mistake("10004", "The body is missing: send a JSON object.")
        return Mistake("10015", _sentence(f"the body {field.detail}"))
    if field.kind == "missing":
        return Mistake("10004", f"The '{name}' parameter is required and cannot be blank.", field.pointer)
    code: Code = "10006" if field.kind == "invalid" and _IDS.fullmatch(field.pointer) else "10015"
    if field.detail.startswith("accepted: "):
        return Mistake(code, f"The value must be one of: {field.detail.removeprefix('accepted: ')}.", field.pointer)
    return Mistake(code, _sentence(f"the '{name}' parameter {field.detail}"), field.pointer)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
