"""The OpenAPI document: what every route shares, and how FastAPI's own is set right."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
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
fields that are not described here are refused in requests. Answers and webhooks may have more fields in a later
version: pass over those that you do not know. The voice gateway's API (`gateway`, `apps`) has answers and errors of its
own."""

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
    502: "The file in the store is not the one that was recorded: whoever runs the server has to look at it",
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
_OF_A_VENDOR = re.compile(r"wavstream__api__([a-z]+)__.*__(\w+)")
"""What the framework calls classes of one name; generators of clients go by the title, which is one for all of them."""


def openapi(document: dict[str, Any]) -> dict[str, Any]:
    """Set FastAPI's document right: problems where they are answered, public names, examples with their nulls."""
    for path in (*document["paths"].values(), *document["webhooks"].values()):
        for operation in path.values():
            operation["responses"] = dict(_answers(operation["responses"]))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    names = _PUBLIC_NAMES | {
        name: f"{match[1].capitalize()}{match[2]}" for name in schemas if (match := _OF_A_VENDOR.fullmatch(name))
    }
    for name, public in names.items():
        schemas[public] = schemas.pop(name) | {"title": public}
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [json.loads(json.dumps(example, sort_keys=True))]
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    renamed = _with_public_references(document, names)
    let_answers_grow(renamed)
    return renamed


def with_other(document: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the operations of another in it; neither has an address or a name that the other has."""
    components = {
        kind: {**document["components"].get(kind, {}), **other["components"].get(kind, {})}
        for kind in (*document["components"], *other["components"])
    }
    return {**document, "paths": {**document["paths"], **other["paths"]}, "components": components}


def let_answers_grow(document: dict[str, Any]) -> None:
    """Let what the server sends have fields that are not described: a later version may say more.

    What it is sent stays closed, since a misspelt field is refused. No schema is both.
    """
    schemas: dict[str, dict[str, Any]] = document.get("components", {}).get("schemas", {})
    asked = [
        operation.get("requestBody", {}) | {"parameters": operation.get("parameters", [])}
        for path in document["paths"].values()
        for operation in path.values()
    ]
    of_requests = reached(asked, schemas)
    for name, schema in schemas.items():
        if name not in of_requests and schema.get("additionalProperties") is False:
            del schema["additionalProperties"]


def reached(part: object, schemas: Mapping[str, Any]) -> set[str]:
    """Return the names of the schemas that a part of a document refers to, directly and through others."""
    found: set[str] = set()
    left = [part]
    while left:
        match left.pop():
            case {"$ref": str(reference)} if (name := reference.rpartition("/")[2]) in schemas:
                if name not in found:
                    found.add(name)
                    left.append(schemas[name])
            case dict(inner):
                left.extend(inner.values())
            case list(inner):
                left.extend(inner)
    return found


def _with_public_references(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    text = json.dumps(document)
    for name, public in names.items():
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
