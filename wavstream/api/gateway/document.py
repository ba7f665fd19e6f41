"""The OpenAPI document of the gateway's API, which is served without a framework that could write it."""

from __future__ import annotations

from typing import Any

from wavstream import __version__
from wavstream.api.gateway.apps import AppBody
from wavstream.api.gateway.sessions import TIMEOUT_MS

_JSON = "application/json"
_REFUSAL = {"success": False, "error": "Invalid command_uid format"}
_OPERATION = {"operation_id": "0b9c0f5e-6d2b-4c8e-9a41-2f6a7c1d8e90", "status": "in_progress", "timeout_ms": TIMEOUT_MS}
_APP = {
    "success": True,
    "app_id": "shop",
    "webhook_url": "https://shop.example/hooks",
    "rate_limit": 200,
    "events": [],
    "retention_hours": None,
    "recording": {"channels": "mono"},
    "webhook_event_failover_url": None,
    "vendor_accounts": {},
    "created_at": "2026-11-01T10:00:00.000000Z",
}
_SESSION = {
    "name": "session_id",
    "in": "path",
    "required": True,
    "description": "The session's id, percent-encoded: any text.",
    "schema": {"type": "string"},
    "example": "acW68-f47ac10b-58cc-4372-a567-0e02b2c3d479",
}
_APP_ID = {"name": "app_id", "in": "path", "required": True, "schema": {"type": "string"}, "example": "shop"}
_MEANINGS = {
    400: "The request is not what the address takes",
    401: "No key, or a wrong one",
    403: "The session is another app's",
    404: "There is no such session, app or running recording",
    409: "The session is not in a state that allows the command",
    413: "The body is too large",
    416: "The range lies outside what there is",
    429: "Too many requests, or a command in the cooldown of another",
    503: "A limit is reached, or whoever runs the server has to act",
}


def gateway_document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wavstream: the voice gateway's API",
            "version": __version__,
            "description": "record/start and record/stop of a session, what is recorded so far, and the apps.",
        },
        "paths": {
            **{f"/api/v1/sessions/{{session_id}}/commands/record/{name}": _command(name) for name in ("start", "stop")},
            "/api/v1/sessions/{session_id}/recording/file.wav": {"get": _listen()},
            "/admin/apps": {"get": _operation("listApps", "List the apps", _apps(), admin=True)},
            "/admin/apps/{app_id}": _app_methods(),
            "/health": {"get": _operation("gatewayHealth", "Ask whether the server is there", {"status": "ok"})},
        },
        "components": {
            "securitySchemes": {
                "gateway_app": {"type": "apiKey", "in": "header", "name": "X-App-ID"},
                "gateway_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "admin": {"type": "apiKey", "in": "header", "name": "X-Admin-API-Key"},
            },
            "schemas": {"App": AppBody.model_json_schema()},
        },
    }


def _command(name: str) -> dict[str, Any]:
    body = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"command_uid": {"type": "string", "pattern": "^[a-zA-Z0-9._-]{1,128}$"}},
    }
    errors = (400, 401, 403, 404, 409, 413, 429, 503)
    command = _operation(f"record_{name}", f"{name.capitalize()} the recording", _OPERATION, status=202, errors=errors)
    command["security"] = [{"gateway_app": [], "gateway_key": []}]
    command["requestBody"] = {"content": {_JSON: {"schema": body, "example": {"command_uid": "rec-1"}}}}
    command["parameters"] = [_SESSION]
    return {"post": command}


def _listen() -> dict[str, Any]:
    listen = _operation("listen", "Listen to the newest running recording", None, errors=(400, 401, 403, 404, 416, 429))
    audio = {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}
    listen["responses"]["200"]["content"] = audio
    listen["responses"]["206"] = {"description": "The range that was asked for", "content": audio}
    listen["parameters"] = [_SESSION]
    listen["security"] = [{"gateway_app": [], "gateway_key": []}]
    return listen


def _app_methods() -> dict[str, Any]:
    register = _operation("registerApp", "Register an app, or write over it", _APP, errors=(400, 409, 413), admin=True)
    example = {"api_key": "sixteen-characters-or-more", "webhook_url": "https://shop.example/hooks", "rate_limit": 200}
    schema = {"$ref": "#/components/schemas/App"}
    register["requestBody"] = {"content": {_JSON: {"schema": schema, "example": example}}}
    removed = {"success": True, "app_id": "shop"}
    methods = {
        "post": register,
        "get": _operation("readApp", "Read an app", _APP, errors=(400, 404), admin=True),
        "delete": _operation("removeApp", "Remove an app", removed, errors=(400, 404), admin=True),
    }
    return {name: {**method, "parameters": [_APP_ID]} for name, method in methods.items()}


def _apps() -> dict[str, Any]:
    return {"success": True, "apps": [{name: value for name, value in _APP.items() if name != "success"}]}


def _operation(
    operation_id: str,
    summary: str,
    example: dict[str, Any] | None,
    *,
    status: int = 200,
    errors: tuple[int, ...] = (),
    admin: bool = False,
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": summary}
    if example is not None:
        answer["content"] = {_JSON: {"schema": {"type": "object"}, "example": example}}
    refused = sorted({*errors, *((401, 429, 503) if admin else ())})
    responses = {str(status): answer} | {str(each): _refused(each) for each in refused}
    operation = {
        "operationId": operation_id,
        "tags": ["apps" if admin else "gateway"],
        "summary": summary,
        "description": f"{summary}: as the voice gateway has it.",
        "responses": responses,
    }
    return operation | ({"security": [{"admin": []}]} if admin else {})


def _refused(status: int) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["success", "error"],
        "properties": {"success": {"const": False}, "error": {"type": "string"}, "detail": {"type": "object"}},
    }
    return {"description": _MEANINGS[status], "content": {_JSON: {"schema": schema, "example": _REFUSAL}}}
