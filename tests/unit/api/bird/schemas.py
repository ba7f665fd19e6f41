"""The schemas of Bird's answers, and the one that each answer must have: ``tests/vectors/bird``, a file each.

They are written from what Bird documents, not from our code: required fields, formats, enumerations, and no field more.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

_VECTORS = Path(__file__).parents[3] / "vectors" / "bird"
SCHEMAS: dict[str, Any] = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(_VECTORS.glob("*.json"))}
_REGISTRY = jsonschema_rs.Registry([(schema["$id"], schema) for schema in SCHEMAS.values()])
_VALIDATORS = {
    name: jsonschema_rs.validator_for(schema, registry=_REGISTRY, validate_formats=True)
    for name, schema in SCHEMAS.items()
}

_CALL = r"/workspaces/[^/]+/channels/[^/]+/calls/.+"
_ANSWERS = [
    ("POST", rf"{_CALL}/(recordings|record)", 202, "command"),
    ("GET", rf"{_CALL}/recordings", 200, "call-recordings"),
    ("GET", rf"{_CALL}/recordings/[^/]+", 200, "call-recording"),
    ("PATCH", rf"{_CALL}/recordings/[^/]+", 202, "call-recording"),
    ("GET", r"/workspaces/[^/]+/recordings", 200, "recordings"),
    ("GET", r"/workspaces/[^/]+/recordings/[^/]+", 200, "recording"),
    ("GET", r"/workspaces/[^/]+/recording-metrics", 200, "recording-metrics"),
    ("POST", r"/workspaces/[^/]+/recordings/[^/]+/transcriptions", 202, "transcription"),
    ("GET", r"/workspaces/[^/]+/transcriptions", 200, "transcriptions"),
    ("GET", r"/workspaces/[^/]+/transcriptions/[^/.]+", 200, "transcription"),
]
_TEXT = r"/workspaces/[^/]+/transcriptions/[^/]+\.(json|srt|vtt|txt)"
_WITHOUT_BODY = [
    ("GET", r"/workspaces/[^/]+/recordings/[^/]+\.(mp3|wav)", 307),
    ("DELETE", r"/workspaces/[^/]+/recordings/[^/]+", 204),
]


def conforms(name: str, document: Any) -> None:
    """Raise ValidationError if the document has not the form of that schema."""
    _VALIDATORS[name].validate(document)


async def check(answer: httpx.Response) -> None:
    """Fail unless the answer has the form that Bird documents for it; a hook of an HTTP client."""
    method, path = answer.request.method, answer.request.url.path
    if not path.startswith("/workspaces/"):
        return
    await answer.aread()
    if method == "HEAD" or any(
        (method, answer.status_code) == (verb, status) and re.fullmatch(pattern, path)
        for verb, pattern, status in _WITHOUT_BODY
    ):
        assert answer.content == b""
        return
    if answer.status_code == 200 and re.fullmatch(_TEXT, path):  # Bird does not say what its content looks like
        return
    assert answer.headers["content-type"] == "application/json"
    conforms(_schema_of(method, path, answer.status_code), answer.json())


def _schema_of(method: str, path: str, status: int) -> str:
    if status >= 400:
        return "invalid" if status == 422 else "error"
    (name,) = {
        name
        for verb, pattern, expected, name in _ANSWERS
        if (method, status) == (verb, expected) and re.fullmatch(pattern, path)
    }
    return name
