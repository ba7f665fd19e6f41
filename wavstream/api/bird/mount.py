"""Bird's API as an application: who is asking, what a refusal looks like, and all of its routes.

1. A refusal is ``{"code": ..., "message": ...}``. Both texts have five characters at least, as one half of Bird's API
   promises; the other half promises less.
2. A 422 names every wrong field in ``details``, by its JSON path (``$.maxLength``), each with a list of what is wrong.
   A parameter of the query or of the path is named like a field.
3. Bird has no 409. A command that does not fit the state of a recording is a 422 about ``$.status``, the field by which
   one would have it changed.
4. What only the operator or we can mend is told in no more than a sentence.
"""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from wavstream.api.bird import calls, transcriptions, workspaces
from wavstream.api.bird.options import StartOptions, options_of
from wavstream.api.bird.pages import API
from wavstream.api.facade import Credentials, Facade, FacadeDependencies, facade_app
from wavstream.api.routes import add_routes
from wavstream.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidFields,
    NotFound,
    PeerError,
    Unauthenticated,
    WavstreamError,
)
from wavstream.webhooks.bird import VOCABULARY

_DESCRIPTION = """Recordings of calls, in the words of Bird's voice API.

Change the base URL and the key of an application that was written for `https://api.bird.com`, and nothing else."""


def create(parts: FacadeDependencies) -> FastAPI:
    """Return Bird's API over its collaborators."""
    app = facade_app(
        parts,
        vendor=API,
        title="wavstream: Bird",
        description=_DESCRIPTION,
        scheme="AccessKey",
        credentials=credentials,
        refusal=refusal,
    )
    for room in (calls, workspaces, transcriptions):
        add_routes(app, room.routes(parts))
    return app


def credentials(headers: Headers) -> Credentials:
    """Return the key of ``Authorization: AccessKey <key>``."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return Credentials(key=key.strip() or None if scheme.lower() == "accesskey" else None)


_CODES = {
    400: "InvalidRequest",
    401: "Unauthorized",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "ContentTooLarge",
    422: "InvalidRequest",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


def refusal(error: WavstreamError) -> Response:
    """Return the answer to an error of our tree."""
    status, headers = error.http_status, {}
    message = str(error) if isinstance(error, PeerError) else error.public_text  # rule 4
    details: dict[str, list[str]] | None = None
    match error:
        case InvalidFields():
            details = _details(error.fields)
            message = f"wrong in the request: {', '.join(details)}" if details.keys() != {"$"} else details["$"][0]
        case Conflict():  # rule 3
            status = InvalidFields.http_status
            details = {"$.status": [_readable(message)]}
        case Forbidden():  # what belongs to another app does not exist
            status, message = NotFound.http_status, "there is no such thing"
        case Unauthenticated():
            headers["WWW-Authenticate"] = "AccessKey"
    body: dict[str, object] = {"code": _CODES.get(status, "InvalidRequest"), "message": _readable(message)}  # rule 1
    if details is not None:
        body["details"] = details
    return JSONResponse(body, status_code=status, headers=headers)


_OUR_NAMES = {"cursor": "pageToken", "session_id": "callId"}
"""Fields that the core names, by Bird's names for them."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def json_path(pointer: str) -> str:
    """Return where a wrong field is as JSON path: ``/a/b`` and ``limit`` as ``$.a.b`` and ``$.limit``."""
    steps = pointer.split("/")[1:] if pointer.startswith("/") else [pointer] if pointer else []
    return "$" + "".join(_step(step.replace("~1", "/").replace("~0", "~")) for step in steps)


def _step(name: str) -> str:
    name = _OUR_NAMES.get(name, name)
    if _PLAIN.fullmatch(name) is not None:
        return f".{name}"
    quoted = _readable(name).replace("\\", "\\\\").replace("'", "\\'")
    return f"['{quoted}']"


def _details(fields: tuple[FieldError, ...]) -> dict[str, list[str]]:
    """Return what is wrong by JSON path (rule 2)."""
    details: dict[str, list[str]] = {}
    for each in fields:
        said = each.detail.replace("next_cursor", "nextPageToken")
        if not each.pointer:
            said = f"the body {said}"
        details.setdefault(json_path(each.pointer), []).append(_readable(said))
    return details


def _readable(text: str) -> str:
    """Return text as it can be sent: half a surrogate pair, which JSON may bring, has no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


BIRD = Facade(
    name=API,
    paths=("/workspaces/",),
    create=create,
    start_options=StartOptions,
    options_of=options_of,
    vocabulary=VOCABULARY,
)
"""Its line in the registry."""
