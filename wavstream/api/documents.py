"""The OpenAPI document: what every route shares, and how FastAPI's own is set right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.responses import JSONResponse
from starlette.responses import Response

from wavstream.api.problems import MEDIA_TYPE
from wavstream.api.schemas import EXAMPLES, Problem
from wavstream.model.document import RecordingDocument
from wavstream.model.recording import LegalHold
from wavstream.model.session import SessionView, StreamView

DESCRIPTION = """Records phone calls that media servers stream over WebSocket.

Start a recording of a session, stop it, fetch the file. Times are RFC 3339 in UTC, errors are RFC 9457 problems, and
fields that are not described here are refused."""

_MEANINGS = {
    400: "The body is not JSON",
    401: "No key, or a wrong one",
    403: "The link is not one of ours, or it has ended",
    404: "There is no such thing, or it is another app's",
    409: "The recording is in a state that does not allow this",
    412: "The file is another one than the caller means",
    413: "The body is too large",
    416: "The range lies outside the file",
    422: "One or more fields are wrong; all of them are named",
    429: "Too many wrong keys from this address, a quota of the app is reached, or it has as much under way as may be",
    503: "A limit of the server is reached, or a part it depends on failed: try again; or whoever runs it has to act",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problems as answers of a route; one that asks for a key may also answer 429."""
    more = {429} if 401 in statuses else set()
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in sorted({*statuses, *more})}


class KeptDocument:
    """A document as its bytes: whoever asks, without a key too, must cost no more than sending them."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._body: bytes | None = None
        self._making = asyncio.Lock()

    async def answer(self) -> Response:
        """Return the document, made when it is asked for first."""
        async with self._making:
            if self._body is None:
                # On a thread: it takes a moment, and the framework reads source files for it.
                self._body = await asyncio.to_thread(lambda: bytes(JSONResponse(self._make()).body))
        return Response(self._body, media_type=JSONResponse.media_type)


_PUBLIC_NAMES = {
    RecordingDocument.__name__: "Recording",
    LegalHold.__name__: "Hold",
    SessionView.__name__: "Session",
    StreamView.__name__: "Stream",
}
"""Schemas whose name in the document is part of the API's contract, and another in the code."""


def openapi(document: dict[str, Any]) -> dict[str, Any]:
    """Set FastAPI's document right: problems where they are answered, public names, examples with their nulls."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"] = dict(_answers(operation["responses"]))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, public in _PUBLIC_NAMES.items():
        schemas[public] = schemas.pop(name) | {"title": public}
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [json.loads(json.dumps(example, sort_keys=True))]
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return _with_public_references(document)


def _with_public_references(document: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(document)
    for name, public in _PUBLIC_NAMES.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{public}"')
    renamed: dict[str, Any] = json.loads(text)
    return renamed


def _answers(responses: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, response in responses.items():
        content = response.get("content", {})
        schema = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        if schema == "HTTPValidationError":
            continue  # Added by FastAPI to whatever has a path, but any text is an id that may be unknown.
        if schema == "Problem":
            response["content"] = {MEDIA_TYPE: content["application/json"]}
        yield status, response
