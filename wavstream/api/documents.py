"""The OpenAPI document: what every route shares, and how FastAPI's own is set right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wavstream.api.problems import MEDIA_TYPE
from wavstream.api.schemas.base import Problem
from wavstream.api.schemas.recording import Recording, RecordingPage
from wavstream.api.schemas.session import Session, SessionList

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
    429: "Too many wrong keys from this address",
    503: "A limit of the server is reached, or a part it depends on failed: try again; or whoever runs it has to act",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The description of problems as answers of a route; whoever asks for a key may also answer 429."""
    more = {429} if 401 in statuses else set()
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in sorted({*statuses, *more})}


def openapi(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document, set right: problems where they are answered, and examples with their nulls."""
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"] = dict(_answers(operation["responses"]))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for model in (Recording, RecordingPage, Session, SessionList):
        schemas[model.__name__]["examples"] = model.model_json_schema()["examples"]
    return document


def _answers(responses: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, response in responses.items():
        content = response.get("content", {})
        schema = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        if schema == "HTTPValidationError":
            continue  # Added by FastAPI to whatever has a path, but any text is an id that may be unknown.
        if schema == "Problem":
            response["content"] = {MEDIA_TYPE: content["application/json"]}
        yield status, response
