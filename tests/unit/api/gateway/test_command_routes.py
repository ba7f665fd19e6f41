"""The commands over HTTP: the envelope, and every refusal in the gateway's words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.gateway.conftest import KEY, SERVER_OPTIONS, SHOP, Gateway
from wavstream.api.gateway.commands import Command, CommandConflict, NotConfigured
from wavstream.errors import (
    DependencyError,
    FieldError,
    Forbidden,
    InvalidFields,
    LimitReached,
    NotFound,
    OperatorError,
    TooSoon,
)
from wavstream.model.options import ChannelLayout, FileFormat

START = "/api/v1/sessions/acW68-f47ac10b/commands/record/start"
STOP = "/api/v1/sessions/acW68-f47ac10b/commands/record/stop"
OPERATOR_MUST_ACT = "Whoever runs the server has to change something first; its log says what"


@pytest.mark.parametrize("body", [b"{}", b"", b" {\n} "])
async def test_a_command_is_taken_on_with_the_envelope(gateway: Gateway, shop: httpx.AsyncClient, body: bytes) -> None:
    for path in (START, STOP):
        answer = await shop.post(path, content=body)
        assert answer.status_code == 202
        assert answer.json() == {"operation_id": "operation-1", "status": "in_progress", "timeout_ms": 2000}
    assert gateway.commands.asked == [
        (Command.RECORD_START, "shop", "acW68-f47ac10b", None),
        (Command.RECORD_STOP, "shop", "acW68-f47ac10b", None),
    ]


async def test_a_session_id_is_any_text(gateway: Gateway, shop: httpx.AsyncClient) -> None:
    path = "/api/v1/sessions/a%2Fcommands%2Fb%20%C3%A4%0A/commands/record/start"
    assert (await shop.post(path, json={"command_uid": "x" * 128})).status_code == 202
    assert gateway.commands.asked == [(Command.RECORD_START, "shop", "a/commands/b ä\n", "x" * 128)]
    gateway.commands.failure = NotFound("Session not found")
    answer = await shop.get("/api/v1/sessions/a%0Ab/recording/file.wav")
    assert (answer.status_code, answer.json()["error"]) == (404, "Session not found")


@pytest.mark.parametrize("uid", ["", "x" * 129, "a b", "ä", "a\n", "a/b", 7, None, ["a"]])
async def test_a_command_uid_that_cannot_be_one_is_refused(
    gateway: Gateway, shop: httpx.AsyncClient, uid: object
) -> None:
    answer = await shop.post(START, json={"command_uid": uid})
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "Invalid command_uid format"})
    assert gateway.commands.asked == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'"x"', b'{"format": "wav"}', b"\xff", b'{"command_uid": "\xff"}', b"[" * 50_000]
)
async def test_a_body_that_is_not_a_known_object_is_refused(
    gateway: Gateway, shop: httpx.AsyncClient, body: bytes
) -> None:
    answer = await shop.post(START, content=body)
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "Invalid request body"})
    assert gateway.commands.asked == []


async def test_an_unknown_field_can_be_let_pass(gateway: Gateway, shop: httpx.AsyncClient) -> None:
    async with gateway.client(SHOP, strict_body=False) as lenient:
        assert (await lenient.post(START, json={"format": "wav", "command_uid": "a"})).status_code == 202
    assert gateway.commands.asked[0][3] == "a"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413_and_ends_the_connection(
    gateway: Gateway, shop: httpx.AsyncClient, announced: bool
) -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b" " * 32_768

    answer = await shop.post(START, content=b" " * 65_537 if announced else pieces())
    assert (answer.status_code, answer.json()["success"]) == (413, False)
    assert answer.headers["connection"] == "close"
    assert (await shop.post(START, content=b" " * 65_534 + b"{}")).status_code == 202


@pytest.mark.parametrize(
    "path", [START.replace("start", "pause"), START + "/", START + "%0A", START.replace("record/", "")]
)
async def test_another_command_is_invalid(shop: httpx.AsyncClient, path: str) -> None:
    answer = await shop.post(path, json={})
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": "Invalid command"})


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 400, "Missing X-App-ID header"),
        ({"X-API-Key": KEY}, 400, "Missing X-App-ID header"),
        ({"X-App-ID": "sh op", "X-API-Key": KEY}, 400, "Invalid X-App-ID format"),
        ({"X-App-ID": "x" * 65}, 400, "Invalid X-App-ID format"),
        ({"X-App-ID": "shop"}, 401, "Missing API key"),
        ({"X-App-ID": "shop", "X-API-Key": "wrong"}, 401, "Invalid API key"),
        ({"X-App-ID": "bank", "X-API-Key": KEY}, 401, "Invalid API key"),
    ],
)
async def test_who_asks_is_looked_at_first(
    gateway: Gateway, shop: httpx.AsyncClient, headers: dict[str, str], status: int, message: str
) -> None:
    async with gateway.client(headers) as stranger:
        answer = await stranger.post(START, content=b"{")
    assert (answer.status_code, answer.json()) == (status, {"success": False, "error": message})


@pytest.mark.parametrize(
    ("failure", "status", "retry_after", "body"),
    [
        (NotFound("Session not found"), 404, None, {"error": "Session not found"}),
        (InvalidFields((FieldError("/session_id", "does not name a channel"),)), 400, None, {}),
        (Forbidden("Session belongs to another application"), 403, None, {}),
        (CommandConflict("It runs", state="ongoing", recording_id="r1"), 409, None, {"detail": {"recording_id": "r1"}}),
        (CommandConflict("No recording is running", state="none"), 409, None, {"error": "No recording is running"}),
        (TooSoon("Command cooldown", retry_after_s=2), 429, "2", {"error": "Command cooldown"}),
        (LimitReached("the disk is full", retry_after_s=60), 503, "60", {"error": "the disk is full"}),
        (NotConfigured("WAVSTREAM_URL not configured"), 503, None, {"error": "WAVSTREAM_URL not configured"}),
        (DependencyError("/srv/catalog.db: disk I/O error"), 503, "5", {}),
        (OperatorError("/srv: the module is not loaded"), 503, None, {"error": OPERATOR_MUST_ACT}),
        (RuntimeError("a mistake in /srv"), 500, None, {}),
    ],
)
async def test_what_a_command_raises_leaves_in_the_gateways_shape(
    gateway: Gateway,
    shop: httpx.AsyncClient,
    failure: Exception,
    status: int,
    retry_after: str | None,
    body: dict[str, Any],
) -> None:
    gateway.commands.failure = failure
    answer = await shop.post(START, json={})
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert answer.json()["success"] is False
    assert answer.json().items() >= body.items()
    assert "/srv" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", START, 405, "POST"),
        ("PUT", "/admin/apps/shop", 405, "DELETE, GET, HEAD, POST"),
        ("POST", "/admin/apps", 405, "GET, HEAD"),
        ("GET", "/api/v1/calls", 404, None),
    ],
)
async def test_what_is_not_there_is_refused_in_the_gateways_shape(
    shop: httpx.AsyncClient, method: str, path: str, status: int, allowed: str | None
) -> None:
    answer = await shop.request(method, path)
    assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert answer.headers.get("allow") == allowed


async def test_a_recording_has_the_apps_options_over_the_servers(
    gateway: Gateway, admin: httpx.AsyncClient, shop: httpx.AsyncClient
) -> None:
    await shop.post(START, json={})
    assert gateway.commands.options == SERVER_OPTIONS
    said = {"api_key": KEY, "recording": {"format": "wav", "channels": "mono", "metadata": {"by": "gateway"}}}
    assert (await admin.post("/admin/apps/shop", json=said)).status_code == 200
    await shop.post(START, json={})
    assert (options := gateway.commands.options) is not None
    assert (options.format, options.channels, options.max_length_s) == (FileFormat.WAV, ChannelLayout.MONO, 60)
    assert options.metadata == {"by": "gateway"}


async def test_without_a_recording_that_runs_there_is_nothing_to_listen_to(shop: httpx.AsyncClient) -> None:
    answer = await shop.get("/api/v1/sessions/acW68-f47ac10b/recording/file.wav")
    assert (answer.status_code, answer.json()) == (404, {"success": False, "error": "No recording is running"})
